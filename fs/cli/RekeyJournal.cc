#include "fs/cli/RekeyJournal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "fs/cli/Parameters.h"
#include "kms/crypto/Crypto.h"

namespace keyfold {
namespace {

constexpr size_t kIdLine = 33;  // 32 hexadecimal digits and a newline
constexpr size_t kMaxJournal = 1 << 30;

// StateFolder opens the folder of journals. One that another user could write to, such
// as that of a HOME kept by sudo, would let them choose what is left out.
Result<UniqueFd> StateFolder() {
  const char* state = std::getenv("XDG_STATE_HOME");
  const char* home = std::getenv("HOME");
  std::string path;
  if (state != nullptr && state[0] == '/') {
    path = state;
  } else if (home != nullptr && home[0] == '/') {
    path = std::string(home) + "/.local";
    (void)::mkdir(path.c_str(), 0700);
    path += "/state";
  } else {
    return Status(Error::kUsage, "neither XDG_STATE_HOME nor HOME names a folder");
  }
  (void)::mkdir(path.c_str(), 0700);
  path += "/keyfold";
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
    return Status::FromErrno(errno, path);
  KF_ASSIGN_OR_RETURN(UniqueFd folder, OpenAt(AT_FDCWD, path, O_RDONLY | O_DIRECTORY));
  struct stat st;
  if (::fstat(folder.get(), &st) != 0) return Status::FromErrno(errno, path);
  if (st.st_uid != ::geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    return Status(Error::kAccessDenied, path + " is not yours alone to write to");
  return folder;
}

std::string NameOf(const std::vector<std::string>& paths, const std::string& key) {
  ByteWriter writer;
  writer.Prefixed(key);
  for (const std::string& path : paths) writer.Prefixed(path);
  return "rekey-" + ToHex(ByteView(Sha256(writer.Take())).first(16));
}

}  // namespace

Result<RekeyJournal> RekeyJournal::Open(const std::vector<std::string>& paths,
                                        const std::string& key, bool restart) {
  KF_ASSIGN_OR_RETURN(UniqueFd folder, StateFolder());
  const std::string name = NameOf(paths, key);
  KF_ASSIGN_OR_RETURN(UniqueFd fd,
                      OpenAt(folder.get(), name, O_RDWR | O_CREAT | O_APPEND, 0600));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0)
    return Status(Error::kLocked, "Another keyfold rekey is at work on that.");
  if (restart && ::ftruncate(fd.get(), 0) != 0) return Status::FromErrno(errno, name);
  KF_ASSIGN_OR_RETURN(const std::string text,
                      ReadTextFile(FdPath(fd.get()), kMaxJournal));
  // A line that was cut off would shift those that follow.
  const size_t whole = text.size() / kIdLine * kIdLine;
  if (::ftruncate(fd.get(), static_cast<off_t>(whole)) != 0)
    return Status::FromErrno(errno, name);
  RekeyJournal journal(std::move(folder), name, std::move(fd));
  for (size_t at = 0; at < whole; at += kIdLine)
    journal.made_.insert(text.substr(at, kIdLine - 1));
  return journal;
}

Status RekeyJournal::Add(const std::string& data_key_id) {
  if (!made_.insert(data_key_id).second) return OkStatus();
  const std::string line = data_key_id + "\n";
  const ssize_t n = ::write(fd_.get(), line.data(), line.size());
  if (n != static_cast<ssize_t>(line.size()))
    return Status::FromErrno(n < 0 ? errno : ENOSPC, name_);
  return OkStatus();
}

void RekeyJournal::Remove() { (void)::unlinkat(folder_.get(), name_.c_str(), 0); }

}  // namespace keyfold
