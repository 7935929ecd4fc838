#include "kms/audit/AuditLog.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <mutex>

#include "kms/audit/AuditChain.h"
#include "kms/audit/AuditFiles.h"
#include "kms/audit/AuditRecord.h"
#include "kms/audit/LineReader.h"
#include "kms/audit/RecordSelection.h"
#include "kms/base/PrivateFile.h"
#include "kms/base/Turn.h"
#include "kms/crypto/Crypto.h"

namespace keyfold {
namespace {

using nlohmann::json;

constexpr int kMaxTornFiles = 10000;
// Room on the disk that the log has before it needs it; half of it may be gone
// when more is asked for.
constexpr uint64_t kRoomAhead = 1 << 20;

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
    if (folder >= 0) close(folder);
  }

  int fd() const { return file->fd(); }
  Status OpenFile(const std::string& directory);
  Status FinishRotation();
  Status KeepTornEnd();
  Status LoadEnd();
  Status TakeRoom(size_t size, AuditRoom room);
  Status WriteLine(const std::string& line);
  Status SyncUpTo(uint64_t wanted);
  Status CheckFileUnchanged() const;
  Status CheckFileInPlace() const;
  Status Append(JsonText record, AuditRoom room);
  Status Switch(std::shared_ptr<const AuditFile> next);
  Status Poison(std::string why);

  const SecretBytes key;
  const Clock& clock;
  int folder = -1;

  // Selecting records takes a processor and much memory: two at a time.
  Turn::Few readers{2};
  mutable std::mutex mutex;               // guards what follows, up to sync_mutex
  std::shared_ptr<const AuditFile> file;  // audit.log
  uint64_t first = 1;                     // the first record in it, or to be
  AuditHead head{0, std::string(2 * kSha256Size, '0')};
  uint64_t end = 0;       // the offset in `file` after the last whole record
  uint64_t torn = 0;      // bytes of a record that a crash cut short, behind it
  uint64_t room_end = 0;  // the file has its blocks up to here, as far as known
  std::string poison;     // why no append may follow
  AuditHead read_head;    // the last record of an earlier Read
  uint64_t read_end = 0;  // and the offset in `file` after it

  std::mutex sync_mutex;  // taken before mutex; guards synced
  uint64_t synced = 0;    // the last record known to be on disk
};

Status AuditLog::Impl::Poison(std::string why) {
  if (poison.empty()) poison = std::move(why);
  return CorruptLog(poison);
}

Status AuditLog::Impl::OpenFile(const std::string& directory) {
  folder = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return Status::FromErrno(errno, directory);
  const int flags = O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
  int fd = openat(folder, kAuditFile, flags);
  if (fd < 0 && errno == ENOENT) {
    fd = openat(folder, kAuditFile, flags | O_CREAT | O_EXCL, 0600);
    if (fd >= 0) {
      Status made = GiveToOwnerOf(folder, fd);
      if (made.ok() && (fchmod(fd, 0600) != 0 || fsync(folder) != 0))
        made = Status::FromErrno(errno, "creating the audit log");
      if (!made.ok()) {
        close(fd);
        return made;
      }
    }
  }
  const std::string path = directory + "/" + kAuditFile;
  if (fd < 0) return Status::FromErrno(errno, path);
  file = std::make_shared<const AuditFile>(kAuditFile, fd);
  struct stat info;
  if (fstat(fd, &info) != 0) return Status::FromErrno(errno, path);
  if (!S_ISREG(info.st_mode)) return CorruptLog(path + " is not a regular file.");
  // Two writers would fork the chain.
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK)
      return {Error::kLocked, path + " is in use by another process."};
    return Status::FromErrno(errno, path);
  }
  return FinishRotation();
}

// FinishRotation undoes a rotation that was cut off before its last step: the file that
// was to be the archive is still audit.log.
Status AuditLog::Impl::FinishRotation() {
  struct stat current;
  if (fstat(fd(), &current) != 0) return Status::FromErrno(errno, kAuditFile);
  KF_ASSIGN_OR_RETURN(const auto archives, ListArchives(folder));
  for (const uint64_t start : archives) {
    const std::string name = ArchiveName(start);
    struct stat info;
    if (fstatat(folder, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
      return Status::FromErrno(errno, name);
    if (info.st_dev == current.st_dev && info.st_ino == current.st_ino &&
        unlinkat(folder, name.c_str(), 0) != 0)
      return Status::FromErrno(errno, name);
  }
  if (unlinkat(folder, kNextAuditFile, 0) != 0 && errno != ENOENT)
    return Status::FromErrno(errno, kNextAuditFile);
  return OkStatus();
}

Status AuditLog::Impl::KeepTornEnd() {
  if (torn == 0) return OkStatus();
  int kept = -1;
  for (int n = 1; kept < 0; ++n) {
    const std::string name = std::string(kAuditFile) + ".torn-" + std::to_string(n);
    kept = openat(folder, name.c_str(),
                  O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (kept < 0 && (errno != EEXIST || n >= kMaxTornFiles))
      return Status::FromErrno(errno, name);
  }
  Status status = GiveToOwnerOf(folder, kept);
  if (status.ok()) status = CopyRange(fd(), end, torn, kept);
  if (status.ok() && fsync(kept) != 0)
    status = Status::FromErrno(errno, "keeping the audit log's torn end");
  close(kept);
  KF_RETURN_IF_ERROR(status);
  if (fsync(folder) != 0) return Status::FromErrno(errno, "syncing the audit folder");
  if (ftruncate(fd(), static_cast<off_t>(end)) != 0 || fsync(fd()) != 0)
    return Status::FromErrno(errno, "removing the audit log's torn end");
  torn = 0;
  return OkStatus();
}

namespace {

// LastLine is the last of the first `size` bytes, which end with a line; empty if there
// is none.
Result<std::string> LastLine(const AuditFile& file, uint64_t size) {
  if (size == 0) return std::string();
  KF_ASSIGN_OR_RETURN(const uint64_t start, AfterLastNewline(file.fd(), size - 1));
  LineReader reader(file.fd(), start, size);
  KF_ASSIGN_OR_RETURN(const std::optional<std::string_view> line, reader.Next());
  return std::string(line.value_or(std::string_view()));
}

Result<std::string> FirstLine(const AuditFile& file, uint64_t size) {
  LineReader reader(file.fd(), 0, size);
  KF_ASSIGN_OR_RETURN(const std::optional<std::string_view> line, reader.Next());
  return std::string(line.value_or(std::string_view()));
}

}  // namespace

Status AuditLog::Impl::LoadEnd() {
  KF_ASSIGN_OR_RETURN(const uint64_t size, file->Size());
  KF_ASSIGN_OR_RETURN(const uint64_t whole, AfterLastNewline(fd(), size));
  torn = size - whole;
  end = whole;
  std::shared_ptr<const AuditFile> holder = file;
  uint64_t holder_size = whole;
  // A file that a rotation has just begun continues the last archive.
  if (whole == 0) {
    KF_ASSIGN_OR_RETURN(const auto archives, ListArchives(folder));
    if (archives.empty()) return OkStatus();
    KF_ASSIGN_OR_RETURN(holder, OpenAuditFile(folder, ArchiveName(archives.back())));
    KF_ASSIGN_OR_RETURN(holder_size, holder->Size());
  }
  KF_ASSIGN_OR_RETURN(const std::string line, LastLine(*holder, holder_size));
  const auto record = ParseRecord(key, line);
  if (!record)
    return CorruptLog(
        "The last record of " + holder->name() +
        " of the audit log does not authenticate. Keep the file as evidence "
        "and restore it from a copy.");
  head = {record->sequence, HashOfLine(line)};
  first = head.sequence + 1;
  if (whole == 0) return OkStatus();
  // A damaged first record is for Verify to name.
  const auto first_line = FirstLine(*file, whole);
  const auto first_record =
      first_line.ok() ? ParseRecord(key, *first_line) : std::nullopt;
  first = first_record ? first_record->sequence : 1;
  return OkStatus();
}

// CheckFileUnchanged refuses to add to a file that others wrote, shortened or
// removed.
Status AuditLog::Impl::CheckFileUnchanged() const {
  struct stat info;
  if (fstat(fd(), &info) != 0) return Status::FromErrno(errno, kAuditFile);
  if (info.st_nlink == 0) return CorruptLog("The audit log was removed.");
  if (static_cast<uint64_t>(info.st_size) != end + torn)
    return CorruptLog(
        "The audit log was changed by another program. Run 'keyfold audit "
        "verify'.");
  return OkStatus();
}

// CheckFileInPlace is kCorrupt unless audit.log still is the file written to.
Status AuditLog::Impl::CheckFileInPlace() const {
  struct stat info, named;
  if (fstat(fd(), &info) != 0) return Status::FromErrno(errno, kAuditFile);
  if (fstatat(folder, kAuditFile, &named, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return CorruptLog("The audit log was removed.");
    return Status::FromErrno(errno, kAuditFile);
  }
  if (named.st_dev != info.st_dev || named.st_ino != info.st_ino)
    return CorruptLog("The audit log was replaced by another file.");
  return OkStatus();
}

// TakeRoom lets a full disk stop uses of keys before it stops changes: what
// revokes a right must still find room for its record.
Status AuditLog::Impl::TakeRoom(size_t size, AuditRoom room) {
  if (end + size + kRoomAhead / 2 <= room_end) return OkStatus();
  const uint64_t wanted = size + kRoomAhead;
  if (fallocate(fd(), FALLOC_FL_KEEP_SIZE, static_cast<off_t>(end),
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
    put = write(fd(), line.data(), line.size());
  } while (put < 0 && errno == EINTR);
  if (put == static_cast<ssize_t>(line.size())) return OkStatus();
  // A short write means that the rest had no room.
  const int failed = put < 0 ? errno : ENOSPC;
  room_end = 0;
  if (put > 0 && ftruncate(fd(), static_cast<off_t>(end)) != 0)
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
  std::shared_ptr<const AuditFile> current;
  {
    std::lock_guard lock(mutex);
    if (!poison.empty()) return CorruptLog(poison);
    target = head.sequence;
    current = file;
  }
  if (fdatasync(current->fd()) != 0) {
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

// Switch archives audit.log and goes on in `next`. The archive's name is there before
// audit.log changes hands, so that no record is without a name at any moment.
Status AuditLog::Impl::Switch(std::shared_ptr<const AuditFile> next) {
  const std::string archive = ArchiveName(first);
  if (linkat(folder, kAuditFile, folder, archive.c_str(), 0) != 0)
    return Status::FromErrno(errno, "archiving the audit log as " + archive);
  if (fsync(folder) != 0 || renameat(folder, kNextAuditFile, folder, kAuditFile) != 0) {
    const int failed = errno;
    unlinkat(folder, archive.c_str(), 0);
    return Status::FromErrno(failed, "archiving the audit log as " + archive);
  }
  file = std::move(next);
  first = head.sequence + 1;
  end = room_end = 0;
  read_head = {};
  read_end = 0;
  // The next record may be on disk before the new name is; not if this fails.
  if (fsync(folder) != 0) {
    const int failed = errno;
    (void)Poison(
        "An earlier sync of the audit folder failed. Check the disk and mount again.");
    return Status::FromErrno(failed, "syncing the audit folder");
  }
  return OkStatus();
}

Status AuditLog::Impl::Append(JsonText record, AuditRoom room) {
  record.Add("eventVersion", "1.11").Add("eventID", RandomUuid());
  const uint64_t sequence = head.sequence + 1;
  record.Add("eventTime", FormatUtc(clock.Now()));
  record.Add("sequence", sequence).Add("previousHash", head.hash);
  KF_ASSIGN_OR_RETURN(std::string line, FormatRecord(key, record));
  std::string hash = HashOfLine(line);
  line += '\n';
  KF_RETURN_IF_ERROR(TakeRoom(line.size(), room));
  KF_RETURN_IF_ERROR(WriteLine(line));
  end += line.size();
  head.sequence = sequence;
  head.hash = std::move(hash);
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
  return AppendWith([&record](const AuditHead&) { return std::move(record); }, room);
}

Status AuditLog::AppendWith(const RecordMaker& make, AuditRoom room) {
  std::lock_guard lock(impl_->mutex);
  if (!impl_->poison.empty()) return CorruptLog(impl_->poison);
  KF_RETURN_IF_ERROR(impl_->CheckFileUnchanged());
  KF_RETURN_IF_ERROR(impl_->KeepTornEnd());
  KF_ASSIGN_OR_RETURN(JsonText record, make(impl_->head));
  return impl_->Append(std::move(record), room);
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
    wanted = impl_->head.sequence;
  }
  return impl_->SyncUpTo(wanted);
}

AuditHead AuditLog::head() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->head;
}

uint64_t AuditLog::size() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->end;
}

uint64_t AuditLog::first_sequence() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->first;
}

Status AuditLog::Rotate(const RecordMaker& make, bool* appended) {
  *appended = false;
  std::lock_guard sync_lock(impl_->sync_mutex);
  std::lock_guard lock(impl_->mutex);
  if (!impl_->poison.empty()) return CorruptLog(impl_->poison);
  KF_RETURN_IF_ERROR(impl_->CheckFileUnchanged());
  KF_RETURN_IF_ERROR(impl_->CheckFileInPlace());
  KF_RETURN_IF_ERROR(impl_->KeepTornEnd());
  // What can fail for want of room is done before the record.
  KF_ASSIGN_OR_RETURN(auto next, CreateAuditFile(impl_->folder, kNextAuditFile));
  if (flock(next->fd(), LOCK_EX | LOCK_NB) != 0)
    return Status::FromErrno(errno, kNextAuditFile);
  KF_ASSIGN_OR_RETURN(JsonText record, make(impl_->head));
  KF_RETURN_IF_ERROR(impl_->Append(std::move(record), AuditRoom::kReserved));
  *appended = true;
  if (fdatasync(impl_->fd()) != 0) {
    const int failed = errno;
    (void)impl_->Poison(
        "An earlier sync of the audit log failed. Check the disk and mount again.");
    return Status::FromErrno(failed, "syncing the audit log");
  }
  impl_->synced = impl_->head.sequence;
  return impl_->Switch(std::move(next));
}

Result<std::vector<std::string>> AuditLog::Archives() const {
  KF_ASSIGN_OR_RETURN(const auto archives, ListArchives(impl_->folder));
  std::vector<std::string> names;
  for (const uint64_t first : archives) names.push_back(ArchiveName(first));
  return names;
}

Result<AuditHead> AuditLog::ArchiveEnd(const std::string& name) const {
  if (!ArchiveStart(name))
    return Status(Error::kValidation, name + " is no archive of the audit log.");
  const auto archive = OpenAuditFile(impl_->folder, name);
  if (archive.status().sys_errno() == ENOENT)
    return Status(Error::kValidation,
                  "There is no archive " + name + " of the audit log.");
  if (!archive.ok()) return archive.status();
  KF_ASSIGN_OR_RETURN(const uint64_t size, (*archive)->Size());
  KF_ASSIGN_OR_RETURN(const std::string line, LastLine(**archive, size));
  const auto record = ParseRecord(impl_->key, line);
  if (!record)
    return CorruptLog("The last record of " + name + " does not authenticate.");
  return AuditHead{record->sequence, HashOfLine(line)};
}

Result<std::vector<json>> AuditLog::ReadAll(const AuditFilter& filter) const {
  KF_ASSIGN_OR_RETURN(AuditRecords found, Read(filter));
  if (!found.damage.empty()) return CorruptLog(found.damage);
  return std::move(found.records);
}

Result<AuditRecords> AuditLog::Read(const AuditFilter& filter) const {
  const Turn turn(&impl_->readers);
  std::vector<uint64_t> archives;
  std::shared_ptr<const AuditFile> file;
  AuditHead head;
  uint64_t start = 0, end, first;
  {
    std::lock_guard lock(impl_->mutex);
    head = impl_->head;
    if (filter.after_sequence >= head.sequence) return AuditRecords();
    file = impl_->file;
    end = impl_->end;
    first = impl_->first;
    // Whoever follows the log reads only what is new.
    if (filter.after_sequence >= impl_->read_head.sequence) start = impl_->read_end;
    KF_ASSIGN_OR_RETURN(archives, ListArchives(impl_->folder));
  }
  try {
    RecordSelection selection(impl_->key, filter);
    // The last records are wanted, so the newest file comes first.
    KF_RETURN_IF_ERROR(selection.AddFile(*file, start, end));
    for (; !archives.empty() && filter.after_sequence + 1 < first &&
           !selection.complete();
         archives.pop_back()) {
      const uint64_t behind = std::exchange(first, archives.back());
      if (filter.before_sequence != 0 && filter.before_sequence <= first) continue;
      if (first >= behind) continue;
      auto archive = OpenAuditFile(impl_->folder, ArchiveName(first));
      // Somebody took it away meanwhile; Verify tells whether that was right.
      if (archive.status().sys_errno() == ENOENT) continue;
      if (!archive.ok()) return archive.status();
      KF_ASSIGN_OR_RETURN(const uint64_t size, (*archive)->Size());
      KF_RETURN_IF_ERROR(selection.AddFile(**archive, 0, size));
    }
    std::lock_guard lock(impl_->mutex);
    if (impl_->file == file && head.sequence > impl_->read_head.sequence) {
      impl_->read_head = head;
      impl_->read_end = end;
    }
    return selection.Take();
  } catch (const std::exception&) {
    return Status(Error::kInternal, "The audit log could not be read into memory.");
  }
}

Result<AuditSummary> AuditLog::Verify(const std::optional<AuditHead>& at_least,
                                      const AuditHead& released) const {
  AuditHead known;
  uint64_t end, size;
  std::vector<ChainPart> parts;
  {
    std::lock_guard lock(impl_->mutex);
    known = impl_->head;
    end = impl_->end;
    KF_RETURN_IF_ERROR(impl_->CheckFileInPlace());
    KF_ASSIGN_OR_RETURN(const auto archives, ListArchives(impl_->folder));
    for (const uint64_t first : archives) {
      ChainPart part;
      KF_ASSIGN_OR_RETURN(part.file, OpenAuditFile(impl_->folder, ArchiveName(first)));
      KF_ASSIGN_OR_RETURN(part.size, part.file->Size());
      parts.push_back(std::move(part));
    }
    KF_ASSIGN_OR_RETURN(const uint64_t whole, impl_->file->Size());
    size = whole - std::min(whole, impl_->torn);
    parts.push_back({impl_->file, size});
  }
  try {
    ChainRules rules;
    rules.key = &impl_->key;
    rules.at_least = at_least;
    rules.released = released;
    KF_ASSIGN_OR_RETURN(AuditSummary found, VerifyChain(rules, parts));
    KF_RETURN_IF_ERROR(CheckChainEnd(found.end, known));
    if (size != end) return CorruptLog("The audit log was changed by another program.");
    return found;
  } catch (const std::exception&) {
    return Status(Error::kInternal, "The audit log could not be verified.");
  }
}

}  // namespace keyfold
