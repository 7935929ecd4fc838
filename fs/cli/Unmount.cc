#include "fs/cli/Unmount.h"

#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

#include "fs/backend/Backend.h"
#include "fs/cli/Figures.h"
#include "fs/cli/Harmless.h"
#include "fs/cli/Parameters.h"
#include "fs/cli/Store.h"
#include "fs/cli/UserName.h"

extern char** environ;

namespace keyfold {
namespace {

namespace stdfs = std::filesystem;

std::string ReadAll(int fd) {
  std::string text;
  char part[512];
  for (;;) {
    const ssize_t count = ::read(fd, part, sizeof part);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return text;
    text.append(part, static_cast<size_t>(count));
  }
}

// Fusermount asks the privileged helper of fuse3. It tells why it fails only in
// words, which are not translated.
Status Fusermount(const std::string& mountpoint, bool lazy) {
  std::vector<std::string> words = {"fusermount3", "-u"};
  if (lazy) words.push_back("-z");
  words.push_back("--");
  words.push_back(mountpoint);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return Status::FromErrno(errno, "pipe");
  const UniqueFd complaints(ends[0]);
  UniqueFd writing(ends[1]);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, writing.get(), STDERR_FILENO);
  pid_t child = 0;
  const int error =
      ::posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  writing.Close();
  if (error != 0) return Status::FromErrno(error, "fusermount3");
  std::string reason = ReadAll(complaints.get());
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return OkStatus();
  if (reason.find("busy") != std::string::npos)
    return Status::FromErrno(EBUSY, mountpoint);
  while (reason.ends_with('\n')) reason.pop_back();
  return {Error::kSystem, reason.empty() ? "fusermount3 failed." : reason};
}

// Target is where a link of /proc leads, if that is on the mount; else empty.
std::string Target(const stdfs::path& link, const std::string& mountpoint) {
  std::error_code error;
  const std::string target = stdfs::read_symlink(link, error);
  return !error && IsInside(target, mountpoint) ? target : "";
}

bool IsForWriting(const stdfs::path& process, const std::string& descriptor) {
  constexpr std::string_view kFlags = "flags:\t";
  const auto info = ReadTextFile(process / "fdinfo" / descriptor, 4096);
  const size_t flags = info.ok() ? info->find(kFlags) : std::string::npos;
  if (flags == std::string::npos) return false;
  const char* octal = info->c_str() + flags + kFlags.size();
  return (std::strtol(octal, nullptr, 8) & O_ACCMODE) != O_RDONLY;
}

// Look fills in what `process` uses of the mount; false if that is nothing.
bool Look(const stdfs::path& process, const std::string& mountpoint, BusyProcess* of) {
  std::set<std::string> files;
  bool uses = false;
  for (const char* link : {"cwd", "root", "exe"})
    uses |= !Target(process / link, mountpoint).empty();
  for (const char* folder : {"fd", "map_files"}) {
    std::error_code error;
    for (const auto& entry : stdfs::directory_iterator(process / folder, error)) {
      const std::string target = Target(entry.path(), mountpoint);
      if (target.empty()) continue;
      files.insert(target);
      if (std::string_view(folder) == "fd")
        of->writes |= IsForWriting(process, entry.path().filename());
    }
  }
  of->files.assign(files.begin(), files.end());
  return uses || !files.empty();
}

}  // namespace

Status Unmount(const std::string& mountpoint, bool lazy) {
  if (::geteuid() != 0) return Fusermount(mountpoint, lazy);
  if (::umount2(mountpoint.c_str(), UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) != 0)
    return Status::FromErrno(errno, mountpoint);
  return OkStatus();
}

std::string BusyProcess::ToString() const {
  constexpr size_t kMostFiles = 3;
  std::string text = std::to_string(pid) + " (" + name + ") of " + UserName(uid);
  for (size_t i = 0; i < files.size() && i < kMostFiles; ++i)
    text += (i > 0 ? ", " : writes ? ": writes " : ": reads ") + files[i];
  if (files.size() > kMostFiles)
    text += " and " + Number(files.size() - kMostFiles, "more", "more");
  return Harmless(text);
}

std::vector<BusyProcess> BusyProcesses(const std::string& mountpoint) {
  std::vector<BusyProcess> found;
  std::error_code error;
  for (const auto& entry : stdfs::directory_iterator("/proc", error)) {
    const std::string pid = entry.path().filename();
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    BusyProcess process;
    process.pid = static_cast<pid_t>(std::strtol(pid.c_str(), nullptr, 10));
    if (process.pid == ::getpid() || !Look(entry.path(), mountpoint, &process))
      continue;
    struct stat st;
    if (::stat(entry.path().c_str(), &st) == 0) process.uid = st.st_uid;
    std::getline(std::ifstream(entry.path() / "comm"), process.name);
    found.push_back(std::move(process));
  }
  return found;
}

}  // namespace keyfold
