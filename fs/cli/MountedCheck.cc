#include "fs/cli/MountedCheck.h"

#include <fcntl.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

#include "fs/cli/AlignedRoom.h"

namespace keyfold {
namespace {

constexpr uint64_t kChunk = 1 << 20;       // read at once
constexpr uint64_t kPart = 64 * kChunk;    // read by one thread
constexpr uint64_t kBlock = kDirectBlock;  // what authenticates by itself
constexpr int kMostAnew = 3;
constexpr int kMostAttempts = 20;
constexpr auto kPause = std::chrono::milliseconds(50);

// OpenByName also waits out a revocation, while which names are stale.
Result<UniqueFd> OpenByName(const std::string& path, int flags, struct stat* st) {
  for (int attempt = 1;; ++attempt) {
    UniqueFd fd(::open(path.c_str(), flags | O_NOFOLLOW | O_CLOEXEC));
    if (fd.valid() && ::fstat(fd.get(), st) == 0) return fd;
    if (errno != ESTALE || attempt == kMostAttempts)
      return Status::FromErrno(errno, path);
    std::this_thread::sleep_for(kPause);
  }
}

// IsDaemonGone: nothing more can be read.
bool IsDaemonGone(const Status& status) {
  return status.sys_errno() == ENOTCONN || status.sys_errno() == ECONNABORTED;
}

}  // namespace

// A file that several threads read may be closed before all have come to it.
struct MountedCheck::Found {
  std::string path;
  UniqueFd at;  // O_PATH
};

void MountedCheck::Failed(const std::string& path, FindingKind kind,
                          const Status& status, std::optional<ByteRange> range) {
  const std::lock_guard lock(told_mutex_);
  switch (status.sys_errno()) {
    case ENOENT:  // it went away meanwhile
      return;
    case EACCES:
    case EPERM:
      return options_.found(
          {FindingKind::kNoRight, path, "", {}, "you may not open it", false, ""});
    case ENOKEY:
      return options_.found({FindingKind::kKeyUnavailable,
                             path,
                             "",
                             {},
                             "its key cannot be used",
                             false,
                             ""});
    case EIO:
      return options_.found({kind, path, "", range,
                             range ? "these bytes do not authenticate, or the disk "
                                     "fails to read them"
                                   : "it does not authenticate, or the disk fails",
                             false, ""});
    case ESTALE:
      return options_.found({FindingKind::kNotReached,
                             path,
                             "",
                             {},
                             "somebody's right to it changed meanwhile; check it again",
                             false,
                             ""});
    default:
      // Of one file that cannot be opened the others are none the wiser.
      if (failure_.ok()) failure_ = status;
      if (IsDaemonGone(status)) stopped_ = true;
      return options_.found(
          {FindingKind::kNotReached, path, "", {}, status.message(), false, ""});
  }
}

Status MountedCheck::Run(const std::string& path) {
  struct stat st;
  KF_ASSIGN_OR_RETURN(const UniqueFd at, OpenByName(path, O_PATH, &st));
  device_ = st.st_dev;
  try {
    workers_ = std::make_unique<Workers>(options_.jobs);
    Object(at, path);
  } catch (const std::bad_alloc&) {
    stopped_ = true;
    failure_ = Status::NoMemory();
  }
  workers_.reset();
  return failure_;
}

void MountedCheck::Object(const UniqueFd& at, const std::string& path) {
  struct stat st;
  if (::fstat(at.get(), &st) != 0)
    return Failed(path, FindingKind::kNames, Status::FromErrno(errno, path));
  if (st.st_dev != device_) return;
  if (S_ISDIR(st.st_mode)) return Folder(at, path);
  if (S_ISREG(st.st_mode)) return File(at, st, path);
  if (!S_ISLNK(st.st_mode)) {
    ++tally_.nodes;
    return;
  }
  ++tally_.links;
  if (const auto text = ReadLinkAt(at.get(), ""); !text.ok())
    Failed(path, FindingKind::kSymlink, text.status());
}

void MountedCheck::Folder(const UniqueFd& at, const std::string& path) {
  ++tally_.folders;
  Attributes(at, path);
  const auto names = SortedEntries(at.get());
  if (!names.ok()) return Failed(path, FindingKind::kFolder, names.status());
  for (const std::string& name : *names) {
    if (stopped_) return;
    const std::string below = (path == "/" ? "" : path) + "/" + name;
    const auto entry = OpenAt(at.get(), name, O_PATH);
    if (entry.ok())
      Object(*entry, below);
    else
      Failed(below, FindingKind::kNames, entry.status());
  }
}

void MountedCheck::Attributes(const UniqueFd& at, const std::string& path) {
  const auto names = ListXattrNames(at.get());
  if (!names.ok()) return Failed(path, FindingKind::kAttribute, names.status());
  for (const std::string& name : *names)
    if (const auto value = GetXattr(at.get(), name); !value.ok())
      Failed(path, FindingKind::kAttribute, value.status());
}

void MountedCheck::File(const UniqueFd& at, const struct stat& st,
                        const std::string& path) {
  if (st.st_nlink > 1 && !linked_.insert(st.st_ino).second) return;
  ++tally_.files;
  const auto file = std::make_shared<const Found>(
      Found{path, UniqueFd(::fcntl(at.get(), F_DUPFD_CLOEXEC, 0))});
  const auto size = options_.contents ? static_cast<uint64_t>(st.st_size) : 0;
  uint64_t begin = 0;
  do {
    const uint64_t end = std::min(size, begin + kPart);
    workers_->Hand([this, file, begin, end] {
      if (stopped_) return;
      const Status status = OrNoMemory([&] { return Part(*file, {begin, end}); });
      if (!status.ok()) Failed(file->path, FindingKind::kHeader, status);
    });
    begin = end;
  } while (begin < size && !stopped_);
}

// Part opens the file, the first part's for all, and reads what is the part's.
Status MountedCheck::Part(const Found& file, const ByteRange& range) {
  auto data = Reopen(file.at.get(), O_RDONLY | O_DIRECT | O_NOCTTY);
  // Why it does not open is told once.
  if (!data.ok()) return range.begin == 0 ? data.status() : OkStatus();
  if (range.begin == 0) Attributes(file.at, file.path);
  if (range.begin == range.end) return OkStatus();
  // Without O_DIRECT the kernel's cache would answer for the disk.
  const AlignedRoom room = RoomFor(kChunk);
  int times_anew = 0;
  for (uint64_t at = range.begin; at < range.end && !stopped_;) {
    const uint64_t end = std::min(range.end, at + kChunk);
    Status status = Read(data->get(), {at, end}, room.get());
    if (status.sys_errno() == EIO)
      status = ReadBlocks(file, data->get(), {at, end}, room.get());
    // Somebody lost a right to the file, and all have to open it again, by its name.
    if (status.sys_errno() == ESTALE && times_anew++ < kMostAnew) {
      KF_ASSIGN_OR_RETURN(*data, OpenAnew(file));
      continue;
    }
    KF_RETURN_IF_ERROR(status);
    tally_.bytes += end - at;
    at = end;
  }
  return OkStatus();
}

Status MountedCheck::Read(int fd, const ByteRange& range, uint8_t* room) {
  for (uint64_t at = range.begin; at < range.end;) {
    const ssize_t got =
        ::pread(fd, room, RoundUp(range.end - at), static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Status::FromErrno(errno, "read");
    if (got == 0) return OkStatus();  // it was cut meanwhile
    at += static_cast<uint64_t>(got);
  }
  return OkStatus();
}

// OpenAnew is for a file that was opened before. It stays on the mount.
Result<UniqueFd> MountedCheck::OpenAnew(const Found& file) const {
  struct stat st;
  KF_ASSIGN_OR_RETURN(
      UniqueFd fd,
      OpenByName(file.path, O_RDONLY | O_DIRECT | O_NONBLOCK | O_NOCTTY, &st));
  if (st.st_dev != device_ || !S_ISREG(st.st_mode))
    return Status::FromErrno(ESTALE, file.path);
  return fd;
}

// ReadBlocks finds out which of the blocks are bad, and tells of neighbours as one.
Status MountedCheck::ReadBlocks(const Found& file, int fd, const ByteRange& range,
                                uint8_t* room) {
  std::optional<ByteRange> bad;
  for (uint64_t at = range.begin; at < range.end; at += kBlock) {
    const uint64_t end = std::min(range.end, at + kBlock);
    const Status read = Read(fd, {at, end}, room);
    const bool good = read.sys_errno() != EIO;
    if (good && !read.ok()) return read;
    if (!good) bad = ByteRange{bad ? bad->begin : at, end};
    if (bad && (good || end == range.end)) {
      Failed(file.path, FindingKind::kBlocks, Status::FromErrno(EIO, "read"), bad);
      bad.reset();
    }
  }
  return OkStatus();
}

}  // namespace keyfold
