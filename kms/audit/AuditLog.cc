#include "kms/audit/AuditLog.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <exception>
#include <mutex>

#include "kms/audit/AuditChain.h"
#include "kms/audit/AuditRecord.h"
#include "kms/audit/LineReader.h"
#include "kms/crypto/Crypto.h"

namespace keyfold {
namespace {

using nlohmann::json;

constexpr char kFileName[] = "audit.log";
constexpr int kMaxTornFiles = 10000;
// Room on the disk that the log has before it needs it; half of it may be gone
// when more is asked for.
constexpr uint64_t kRoomAhead = 1 << 20;

// AsDaemon lets the calling thread act as the daemon until it goes out of scope: those
// that serve a filesystem act as nobody on the disk (fs/backend/Reserve.h), and the
// log's room is not a user's. Nothing without privilege.
class AsDaemon {
 public:
  AsDaemon() : former_(setfsuid(geteuid())) {}
  ~AsDaemon() { setfsuid(static_cast<uid_t>(former_)); }
  AsDaemon(const AsDaemon&) = delete;
  AsDaemon& operator=(const AsDaemon&) = delete;

 private:
  const int former_;
};

Status Corrupt(std::string message) { return {Error::kCorrupt, std::move(message)}; }

Status CopyRange(int from, uint64_t offset, uint64_t size, int to) {
  char buffer[16384];
  while (size > 0) {
    const ssize_t got = pread(from, buffer, std::min<uint64_t>(size, sizeof buffer),
                              static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Status::FromErrno(errno, "reading the audit log");
    if (got == 0) return Status::FromErrno(EIO, "reading the audit log");
    for (ssize_t done = 0; done < got;) {
      const ssize_t put = write(to, buffer + done, static_cast<size_t>(got - done));
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) return Status::FromErrno(errno, "keeping the audit log's torn end");
      done += put;
    }
    offset += static_cast<uint64_t>(got);
    size -= static_cast<uint64_t>(got);
  }
  return OkStatus();
}

}  // namespace

struct AuditLog::Impl {
  Impl(SecretBytes the_key, const Clock& the_clock)
      : key(std::move(the_key)), clock(the_clock) {}
  ~Impl() {
    if (fd >= 0) close(fd);
    if (folder >= 0) close(folder);
  }

  Status OpenFile(const std::string& directory);
  Status KeepTornEnd();
  Status LoadEnd();
  Status TakeRoom(size_t size, AuditRoom room);
  Status WriteLine(const std::string& line);
  Status SyncUpTo(uint64_t wanted);
  Status CheckFileUnchanged() const;
  Status Poison(std::string why);

  const SecretBytes key;
  const Clock& clock;
  int folder = -1;
  int fd = -1;

  mutable std::mutex mutex;  // guards what follows, up to sync_mutex
  AuditHead head{0, std::string(2 * kSha256Size, '0')};
  uint64_t end = 0;       // the offset after the last whole record
  uint64_t torn = 0;      // bytes of a record that a crash cut short, behind it
  uint64_t room_end = 0;  // the file has its blocks up to here, as far as known
  std::string poison;     // why no append may follow
  AuditHead read_head;    // the last record of an earlier Read
  uint64_t read_end = 0;  // and the offset after it

  std::mutex sync_mutex;  // taken before mutex; guards synced
  uint64_t synced = 0;    // bytes known to be on disk
};

Status AuditLog::Impl::Poison(std::string why) {
  if (poison.empty()) poison = std::move(why);
  return Corrupt(poison);
}

Status AuditLog::Impl::OpenFile(const std::string& directory) {
  folder = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return Status::FromErrno(errno, directory);
  const int flags = O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
  fd = openat(folder, kFileName, flags);
  if (fd < 0 && errno == ENOENT) {
    fd = openat(folder, kFileName, flags | O_CREAT | O_EXCL, 0600);
    if (fd >= 0 && (fchmod(fd, 0600) != 0 || fsync(folder) != 0))
      return Status::FromErrno(errno, "creating the audit log");
  }
  const std::string path = directory + "/" + kFileName;
  if (fd < 0) return Status::FromErrno(errno, path);
  struct stat info;
  if (fstat(fd, &info) != 0) return Status::FromErrno(errno, path);
  if (!S_ISREG(info.st_mode)) return Corrupt(path + " is not a regular file.");
  // Two writers would fork the chain.
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK)
      return {Error::kLocked, path + " is in use by another process."};
    return Status::FromErrno(errno, path);
  }
  return OkStatus();
}

Status AuditLog::Impl::KeepTornEnd() {
  if (torn == 0) return OkStatus();
  const AsDaemon as;
  int kept = -1;
  for (int n = 1; kept < 0; ++n) {
    const std::string name = std::string(kFileName) + ".torn-" + std::to_string(n);
    kept = openat(folder, name.c_str(),
                  O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (kept < 0 && (errno != EEXIST || n >= kMaxTornFiles))
      return Status::FromErrno(errno, name);
  }
  Status status = CopyRange(fd, end, torn, kept);
  if (status.ok() && fsync(kept) != 0)
    status = Status::FromErrno(errno, "keeping the audit log's torn end");
  close(kept);
  KF_RETURN_IF_ERROR(status);
  if (fsync(folder) != 0) return Status::FromErrno(errno, "syncing the audit folder");
  if (ftruncate(fd, static_cast<off_t>(end)) != 0 || fsync(fd) != 0)
    return Status::FromErrno(errno, "removing the audit log's torn end");
  torn = 0;
  return OkStatus();
}

Status AuditLog::Impl::LoadEnd() {
  struct stat info;
  if (fstat(fd, &info) != 0) return Status::FromErrno(errno, kFileName);
  const auto size = static_cast<uint64_t>(info.st_size);
  KF_ASSIGN_OR_RETURN(const uint64_t whole, AfterLastNewline(fd, size));
  torn = size - whole;
  end = whole;
  if (whole == 0) return OkStatus();
  KF_ASSIGN_OR_RETURN(const uint64_t start, AfterLastNewline(fd, whole - 1));
  LineReader reader(fd, start, whole);
  KF_ASSIGN_OR_RETURN(const std::optional<std::string_view> line, reader.Next());
  const auto record = line ? ParseRecord(key, *line) : std::nullopt;
  if (!record)
    return Corrupt(
        "The last record of the audit log does not authenticate. Keep the "
        "file as evidence and restore it from a copy.");
  head = {record->sequence, HashOfLine(*line)};
  return OkStatus();
}

// CheckFileUnchanged refuses to add to a file that others wrote, shortened or
// removed.
Status AuditLog::Impl::CheckFileUnchanged() const {
  struct stat info;
  if (fstat(fd, &info) != 0) return Status::FromErrno(errno, kFileName);
  if (info.st_nlink == 0) return Corrupt("The audit log was removed.");
  if (static_cast<uint64_t>(info.st_size) != end + torn)
    return Corrupt(
        "The audit log was changed by another program. Run 'keyfold audit "
        "verify'.");
  return OkStatus();
}

// TakeRoom lets a full disk stop uses of keys before it stops changes: what
// revokes a right must still find room for its record.
Status AuditLog::Impl::TakeRoom(size_t size, AuditRoom room) {
  if (end + size + kRoomAhead / 2 <= room_end) return OkStatus();
  const uint64_t wanted = size + kRoomAhead;
  const AsDaemon as;
  if (fallocate(fd, FALLOC_FL_KEEP_SIZE, static_cast<off_t>(end),
                static_cast<off_t>(wanted)) == 0) {
    room_end = end + wanted;
    return OkStatus();
  }
  // A filesystem that cannot set room aside is asked anew for each record.
  if (room == AuditRoom::kReserved || (errno != ENOSPC && errno != EDQUOT))
    return OkStatus();
  return Status::FromErrno(errno, "writing the audit log");
}

Status AuditLog::Impl::WriteLine(const std::string& line) {
  ssize_t put;
  do {
    put = write(fd, line.data(), line.size());
  } while (put < 0 && errno == EINTR);
  if (put == static_cast<ssize_t>(line.size())) return OkStatus();
  // A short write means that the rest had no room.
  const int failed = put < 0 ? errno : ENOSPC;
  room_end = 0;
  if (put > 0 && ftruncate(fd, static_cast<off_t>(end)) != 0)
    (void)Poison(
        "The audit log ends in a partial record that could not be removed. "
        "Make room and mount again.");
  return Status::FromErrno(failed, "writing the audit log");
}

// SyncUpTo lets one fdatasync serve all that wait for it.
Status AuditLog::Impl::SyncUpTo(uint64_t wanted) {
  std::lock_guard sync_lock(sync_mutex);
  if (synced >= wanted) return OkStatus();
  uint64_t target;
  {
    std::lock_guard lock(mutex);
    if (!poison.empty()) return Corrupt(poison);
    target = end;
  }
  if (fdatasync(fd) != 0) {
    const int failed = errno;
    // The kernel may have dropped the pages: what is on disk is unknown.
    std::lock_guard lock(mutex);
    (void)Poison(
        "An earlier sync of the audit log failed. Check the disk and mount "
        "again.");
    return Status::FromErrno(failed, "syncing the audit log");
  }
  synced = target;
  return OkStatus();
}

AuditLog::AuditLog() = default;
AuditLog::~AuditLog() = default;

Result<std::unique_ptr<AuditLog>> AuditLog::Open(const std::string& directory,
                                                 SecretBytes key, const Clock& clock) {
  if (key.size() != kKeySize)
    return Status(Error::kInternal, "The audit key does not have 32 bytes.");
  std::unique_ptr<AuditLog> log(new AuditLog());
  log->impl_ = std::make_unique<Impl>(std::move(key), clock);
  KF_RETURN_IF_ERROR(log->impl_->OpenFile(directory));
  KF_RETURN_IF_ERROR(log->impl_->LoadEnd());
  return log;
}

Status AuditLog::Append(JsonText record, AuditRoom room) {
  record.Add("eventVersion", "1.11").Add("eventID", RandomUuid());
  std::lock_guard lock(impl_->mutex);
  if (!impl_->poison.empty()) return Corrupt(impl_->poison);
  KF_RETURN_IF_ERROR(impl_->CheckFileUnchanged());
  KF_RETURN_IF_ERROR(impl_->KeepTornEnd());
  const uint64_t sequence = impl_->head.sequence + 1;
  record.Add("eventTime", FormatUtc(impl_->clock.Now()));
  record.Add("sequence", sequence).Add("previousHash", impl_->head.hash);
  KF_ASSIGN_OR_RETURN(std::string line, FormatRecord(impl_->key, record));
  std::string hash = HashOfLine(line);
  line += '\n';
  KF_RETURN_IF_ERROR(impl_->TakeRoom(line.size(), room));
  KF_RETURN_IF_ERROR(impl_->WriteLine(line));
  impl_->end += line.size();
  impl_->head.sequence = sequence;
  impl_->head.hash = std::move(hash);
  return OkStatus();
}

Status AuditLog::Append(const json& record, AuditRoom room) {
  try {
    KF_ASSIGN_OR_RETURN(JsonText text, TextOf(record));
    return Append(std::move(text), room);
  } catch (const std::exception&) {
    return {Error::kInternal, "An audit record could not be built."};
  }
}

Status AuditLog::Sync() {
  uint64_t wanted;
  {
    std::lock_guard lock(impl_->mutex);
    wanted = impl_->end;
  }
  return impl_->SyncUpTo(wanted);
}

AuditHead AuditLog::head() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->head;
}

Result<std::vector<json>> AuditLog::Read(const AuditFilter& filter, bool* cut) const {
  uint64_t start = 0, end;
  AuditHead head;
  {
    std::lock_guard lock(impl_->mutex);
    end = impl_->end;
    head = impl_->head;
    if (filter.after_sequence >= head.sequence) return std::vector<json>();
    // Whoever follows the log reads only what is new.
    if (filter.after_sequence >= impl_->read_head.sequence) start = impl_->read_end;
  }
  try {
    std::deque<std::pair<json, size_t>> kept;  // with the size of its line
    size_t bytes = 0;
    const auto drop = [&] {
      bytes -= kept.front().second;
      kept.pop_front();
    };
    if (cut != nullptr) *cut = false;
    LineReader reader(impl_->fd, start, end);
    while (true) {
      const uint64_t offset = reader.offset();
      KF_ASSIGN_OR_RETURN(const std::optional<std::string_view> line, reader.Next());
      if (!line) break;
      auto record = ParseRecord(impl_->key, *line);
      if (!record)
        return Corrupt("The audit record at byte " + std::to_string(offset) +
                       " does not authenticate. Run 'keyfold audit verify'.");
      if (!Selects(filter, *record)) continue;
      kept.emplace_back(std::move(record->value), line->size());
      bytes += line->size();
      if (filter.limit != 0 && kept.size() > filter.limit) drop();
      while (filter.max_bytes != 0 && bytes > filter.max_bytes && kept.size() > 1) {
        if (cut != nullptr) *cut = true;
        drop();
      }
    }
    std::lock_guard lock(impl_->mutex);
    if (head.sequence > impl_->read_head.sequence) {
      impl_->read_head = head;
      impl_->read_end = end;
    }
    std::vector<json> records;
    for (auto& [record, size] : kept) records.push_back(std::move(record));
    return records;
  } catch (const std::exception&) {
    return Status(Error::kInternal, "The audit log could not be read into memory.");
  }
}

Result<uint64_t> AuditLog::Verify(const std::optional<AuditHead>& at_least) const {
  AuditHead known;
  uint64_t end, torn;
  struct stat info, named;
  {
    std::lock_guard lock(impl_->mutex);
    known = impl_->head;
    end = impl_->end;
    torn = impl_->torn;
    if (fstat(impl_->fd, &info) != 0) return Status::FromErrno(errno, kFileName);
  }
  if (fstatat(impl_->folder, kFileName, &named, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return Corrupt("The audit log was removed.");
    return Status::FromErrno(errno, kFileName);
  }
  if (named.st_dev != info.st_dev || named.st_ino != info.st_ino)
    return Corrupt("The audit log was replaced by another file.");
  const auto size = static_cast<uint64_t>(info.st_size) - torn;
  try {
    LineReader lines(impl_->fd, 0, size);
    KF_ASSIGN_OR_RETURN(const AuditHead found,
                        VerifyChain(impl_->key, lines, at_least));
    KF_RETURN_IF_ERROR(CheckChainEnd(found, known));
    if (size != end) return Corrupt("The audit log was changed by another program.");
    return found.sequence;
  } catch (const std::exception&) {
    return Status(Error::kInternal, "The audit log could not be verified.");
  }
}

}  // namespace keyfold
