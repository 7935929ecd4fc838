#include "fs/cli/Rekey.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <thread>

#include "fs/cli/KeyAttributes.h"
#include "fs/cli/Reencrypt.h"
#include "fs/fuse/Reencryption.h"

namespace keyfold {
namespace {

// What wrapping a key writes: a page of the file's header.
constexpr uint64_t kHeaderPage = 4096;

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

RekeyCounts& RekeyCounts::operator+=(const RekeyCounts& other) {
  files += other.files;
  bytes += other.bytes;
  bound += other.bound;
  wrapped += other.wrapped;
  wrapped_bytes += other.wrapped_bytes;
  reencrypted += other.reencrypted;
  reencrypted_bytes += other.reencrypted_bytes;
  refused += other.refused;
  return *this;
}

void Rekey::Refused(const std::string& path, const Wanted& keys, const Status& why) {
  // What went away meanwhile needs nothing.
  if (why.sys_errno() == ENOENT) return;
  ++counts_.refused;
  listener_.refused(path, keys.wanted, keys.current, why);
}

// Spend waits as the limit wants it.
void Rekey::Spend(uint64_t bytes) {
  spent_ += bytes;
  listener_.progress(counts_);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begun_).count();
  const double pause = plan_.limit.Pause(spent_, seconds);
  if (pause > 0) std::this_thread::sleep_for(std::chrono::duration<double>(pause));
}

void Rekey::Run(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat st;
  if (!fd.valid() || ::fstat(fd.get(), &st) != 0)
    return Refused(path, {}, Status::FromErrno(errno, path));
  device_ = st.st_dev;
  if (S_ISDIR(st.st_mode)) return Folder(fd, path);
  if (!S_ISREG(st.st_mode)) return;
  const auto folder_key = KeyIdOf(FolderOf(path));
  if (!folder_key.ok()) return Refused(path, {}, folder_key.status());
  OneFile(fd, st, *folder_key, path);
}

// Bind binds the folder to the key that all is to be under; `key_id` is then its key.
Status Rekey::Bind(const std::string& at, const std::string& path,
                   std::string* key_id) {
  KF_ASSIGN_OR_RETURN(*key_id, KeyIdOf(at));
  if (plan_.key_id.empty() || *key_id == plan_.key_id) return OkStatus();
  if (!plan_.dry_run) {
    const Status bound = SetKeyOf(at, plan_.key_id);
    // Its files can be under the key all the same.
    if (!bound.ok()) Refused(path, {plan_.key_id, *key_id}, bound);
    if (!bound.ok()) return OkStatus();
  }
  *key_id = plan_.key_id;
  ++counts_.bound;
  return OkStatus();
}

void Rekey::Folder(const UniqueFd& fd, const std::string& path) {
  std::string key_id;
  if (const Status bound = Bind(FdPath(fd.get()), path, &key_id); !bound.ok())
    return Refused(path, {}, bound);
  const auto names = SortedEntries(fd.get());
  if (!names.ok()) return Refused(path, {}, names.status());
  for (const std::string& name : *names)
    Entry(fd, key_id, name, (path == "/" ? "" : path) + "/" + name);
}

void Rekey::Entry(const UniqueFd& folder, const std::string& key_id,
                  const std::string& name, const std::string& path) {
  const auto fd = OpenAt(folder.get(), name, O_PATH);
  if (!fd.ok()) return Refused(path, {}, fd.status());
  struct stat st;
  if (::fstat(fd->get(), &st) != 0)
    return Refused(path, {}, Status::FromErrno(errno, path));
  if (st.st_dev != device_) return;
  if (S_ISDIR(st.st_mode)) return Folder(*fd, path);
  if (S_ISREG(st.st_mode)) OneFile(*fd, st, key_id, path);
}

void Rekey::OneFile(const UniqueFd& fd, const struct stat& st,
                    const std::string& folder_key, const std::string& path) {
  if (st.st_nlink > 1 && !seen_.insert(st.st_ino).second) return;
  ++counts_.files;
  counts_.bytes += static_cast<uint64_t>(st.st_size);
  const std::string at = FdPath(fd.get());
  Wanted keys;
  const auto current = KeyIdOf(at);
  if (!current.ok()) return Refused(path, keys, current.status());
  keys.current = *current;
  // A file with several names may have folders of several keys: which one it is to be
  // under has to be said.
  keys.wanted = !plan_.key_id.empty() ? plan_.key_id
                : st.st_nlink > 1     ? keys.current
                                      : folder_key;
  if (const Status status = Change(at, st, &keys); !status.ok())
    Refused(path, keys, status);
}

Status Rekey::Change(const std::string& at, const struct stat& st, Wanted* keys) {
  KF_ASSIGN_OR_RETURN(const WrapState state, WrapStateOf(at));
  bool anew = plan_.reencrypt || state.reencrypting;
  if (anew && plan_.journal != nullptr && !state.reencrypting) {
    KF_ASSIGN_OR_RETURN(const std::string id, DataKeyIdOf(at));
    anew = !plan_.journal->Has(id);
  }
  // Another data key comes wrapped as it should be, if it is to be of the same CMK.
  const bool fresh = anew && !state.reencrypting;
  const bool wrap = keys->wanted != keys->current || (state.old && !fresh);
  if (wrap) {
    if (!plan_.dry_run) KF_RETURN_IF_ERROR(SetKeyOf(at, keys->wanted));
    keys->current = keys->wanted;
    ++counts_.wrapped;
    counts_.wrapped_bytes += static_cast<uint64_t>(st.st_size);
    if (!plan_.dry_run) Spend(kHeaderPage);
  }
  if (!anew) return OkStatus();
  if (plan_.dry_run)
    counts_.reencrypted_bytes += static_cast<uint64_t>(st.st_size);
  else
    KF_RETURN_IF_ERROR(EncryptAnew(at));
  ++counts_.reencrypted;
  return OkStatus();
}

Status Rekey::EncryptAnew(const std::string& at) {
  ReencryptSteps steps;
  steps.begun = [&]() -> Status {
    Spend(kHeaderPage);
    if (plan_.journal == nullptr) return OkStatus();
    KF_ASSIGN_OR_RETURN(const std::string id, DataKeyIdOf(at));
    return plan_.journal->Add(id);
  };
  steps.part = [&] { return plan_.limit.Part(kMostReencrypted); };
  steps.passed = [&](uint64_t bytes) {
    counts_.reencrypted_bytes += bytes;
    Spend(bytes);
  };
  return Reencrypt(at, steps);
}

}  // namespace keyfold
