#include "kms/audit/AuditLog.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <exception>
#include <mutex>

#include "kms/audit/LineReader.h"
#include "kms/crypto/Crypto.h"

namespace keyfold {
namespace {

using nlohmann::json;

constexpr char kFileName[] = "audit.log";
constexpr int kMaxDepth = 64;
constexpr int kMaxTornFiles = 10000;
constexpr std::string_view kMacStart = ",\"mac\":\"";
constexpr std::string_view kMacEnd = "\"}";
constexpr size_t kMacHexSize = 2 * kSha256Size;
constexpr size_t kMacMemberSize = kMacStart.size() + kMacHexSize + kMacEnd.size();

std::string HashOfLine(std::string_view line) { return ToHex(Sha256(AsBytes(line))); }

// A record this deep is refused: writing it out recurses.
bool DepthWithin(const json& value, int limit) {
  if (!value.is_structured()) return true;
  if (limit == 0) return false;
  return std::all_of(value.begin(), value.end(), [limit](const json& member) {
    return DepthWithin(member, limit - 1);
  });
}

// AddMac puts the mac of `text`, a JSON object, into it as the last member.
std::string AddMac(const SecretBytes& key, std::string text) {
  const std::string mac = ToHex(HmacSha256(key, AsBytes(text)));
  text.pop_back();
  text += kMacStart;
  text += mac;
  text += kMacEnd;
  return text;
}

// HasValidMac undoes AddMac on the text itself: nothing is parsed before it is
// known to be ours.
bool HasValidMac(const SecretBytes& key, std::string_view line) {
  if (line.size() <= kMacMemberSize) return false;
  const std::string_view member = line.substr(line.size() - kMacMemberSize);
  if (!member.starts_with(kMacStart) || !member.ends_with(kMacEnd)) return false;
  std::string text(line.substr(0, line.size() - kMacMemberSize));
  text += '}';
  const std::string mac = ToHex(HmacSha256(key, AsBytes(text)));
  return ConstantTimeEqual(AsBytes(mac),
                           AsBytes(member.substr(kMacStart.size(), kMacHexSize)));
}

struct ParsedRecord {
  json value;
  uint64_t sequence = 0;
};

std::optional<ParsedRecord> ParseRecord(const SecretBytes& key, std::string_view line) {
  if (!HasValidMac(key, line)) return std::nullopt;
  ParsedRecord record;
  record.value = json::parse(line, nullptr, false);
  if (!record.value.is_object()) return std::nullopt;
  const auto sequence = record.value.find("sequence");
  const auto previous = record.value.find("previousHash");
  if (sequence == record.value.end() || !sequence->is_number_unsigned() ||
      previous == record.value.end() || !previous->is_string())
    return std::nullopt;
  record.sequence = sequence->get<uint64_t>();
  return record;
}

std::string_view Member(const json& object, const char* name) {
  if (!object.is_object()) return {};
  const auto it = object.find(name);
  if (it == object.end() || !it->is_string()) return {};
  return it->get_ref<const std::string&>();
}

bool NamesKey(const json& record, const std::string& key) {
  const auto resources = record.find("resources");
  if (resources == record.end() || !resources->is_array()) return false;
  const std::string tail = "/" + key;
  for (const json& resource : *resources) {
    const std::string_view arn = Member(resource, "ARN");
    if (arn == key || arn.ends_with(tail)) return true;
  }
  return false;
}

bool Selects(const AuditFilter& filter, const ParsedRecord& record) {
  if (record.sequence <= filter.after_sequence) return false;
  if (!filter.since.empty() && Member(record.value, "eventTime") < filter.since)
    return false;
  if (!filter.user.empty()) {
    const auto identity = record.value.find("userIdentity");
    if (identity == record.value.end()) return false;
    if (Member(*identity, "userName") != filter.user &&
        Member(*identity, "arn") != filter.user)
      return false;
  }
  return filter.key.empty() || NamesKey(record.value, filter.key);
}

Status Corrupt(std::string message) { return {Error::kCorrupt, std::move(message)}; }

std::string Place(uint64_t sequence, uint64_t line) {
  return "record " + std::to_string(sequence) + " (line " + std::to_string(line) + ")";
}

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
  Status KeepTornEnd(uint64_t from, uint64_t size);
  Status LoadEnd();
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
  uint64_t end = 0;       // the file's size
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

Status AuditLog::Impl::KeepTornEnd(uint64_t from, uint64_t size) {
  int torn = -1;
  for (int n = 1; torn < 0; ++n) {
    const std::string name = std::string(kFileName) + ".torn-" + std::to_string(n);
    torn = openat(folder, name.c_str(),
                  O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (torn < 0 && (errno != EEXIST || n >= kMaxTornFiles))
      return Status::FromErrno(errno, name);
  }
  Status status = CopyRange(fd, from, size, torn);
  if (status.ok() && fsync(torn) != 0)
    status = Status::FromErrno(errno, "keeping the audit log's torn end");
  close(torn);
  KF_RETURN_IF_ERROR(status);
  if (fsync(folder) != 0) return Status::FromErrno(errno, "syncing the audit folder");
  if (ftruncate(fd, static_cast<off_t>(from)) != 0 || fsync(fd) != 0)
    return Status::FromErrno(errno, "removing the audit log's torn end");
  return OkStatus();
}

Status AuditLog::Impl::LoadEnd() {
  struct stat info;
  if (fstat(fd, &info) != 0) return Status::FromErrno(errno, kFileName);
  const auto size = static_cast<uint64_t>(info.st_size);
  KF_ASSIGN_OR_RETURN(const uint64_t whole, AfterLastNewline(fd, size));
  if (whole < size) KF_RETURN_IF_ERROR(KeepTornEnd(whole, size - whole));
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
  if (static_cast<uint64_t>(info.st_size) != end)
    return Corrupt(
        "The audit log was changed by another program. Run 'keyfold audit "
        "verify'.");
  return OkStatus();
}

Status AuditLog::Impl::WriteLine(const std::string& line) {
  ssize_t put;
  do {
    put = write(fd, line.data(), line.size());
  } while (put < 0 && errno == EINTR);
  if (put == static_cast<ssize_t>(line.size())) return OkStatus();
  // A short write means that the rest had no room.
  const int failed = put < 0 ? errno : ENOSPC;
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

Status AuditLog::Append(json record, bool durable) {
  if (!record.is_object() || !DepthWithin(record, kMaxDepth))
    return {Error::kInternal, "An audit record must be an object of bounded depth."};
  uint64_t wanted;
  try {
    record.erase("mac");
    record["eventVersion"] = "1.11";
    record["eventID"] = RandomUuid();
    std::lock_guard lock(impl_->mutex);
    if (!impl_->poison.empty()) return Corrupt(impl_->poison);
    KF_RETURN_IF_ERROR(impl_->CheckFileUnchanged());
    const uint64_t sequence = impl_->head.sequence + 1;
    record["eventTime"] = FormatUtc(impl_->clock.Now());
    record["sequence"] = sequence;
    record["previousHash"] = impl_->head.hash;
    // File names need not be UTF-8; what isn't is replaced.
    std::string line =
        AddMac(impl_->key, record.dump(-1, ' ', false, json::error_handler_t::replace));
    if (line.size() > kMaxLineSize)
      return {Error::kValidation, "The request is too large to be recorded."};
    std::string hash = HashOfLine(line);
    line += '\n';
    KF_RETURN_IF_ERROR(impl_->WriteLine(line));
    impl_->end += line.size();
    impl_->head.sequence = sequence;
    impl_->head.hash = std::move(hash);
    wanted = impl_->end;
  } catch (const std::exception&) {
    return {Error::kInternal, "An audit record could not be built."};
  }
  return durable ? impl_->SyncUpTo(wanted) : OkStatus();
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

Result<std::vector<json>> AuditLog::Read(const AuditFilter& filter) const {
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
      while (filter.max_bytes != 0 && bytes > filter.max_bytes && kept.size() > 1)
        drop();
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

namespace {

// ChainWalk judges one line after another.
class ChainWalk {
 public:
  ChainWalk(const SecretBytes& key, const std::optional<AuditHead>& at_least)
      : key_(key), at_least_(at_least) {}

  uint64_t count() const { return line_; }
  uint64_t last() const { return line_; }
  const std::string& last_hash() const { return hash_; }

  Status Take(std::string_view line) {
    const uint64_t expected = ++line_;
    const auto record = ParseRecord(key_, line);
    if (!record) return Corrupt("Audit " + Place(expected, line_) + " was changed.");
    if (record->sequence < expected)
      return Corrupt("Audit " + Place(record->sequence, line_) +
                     " was moved or repeated; record " + std::to_string(expected) +
                     " belongs there.");
    if (record->sequence > expected) {
      gap_ = expected;
      return OkStatus();
    }
    if (Member(record->value, "previousHash") != hash_)
      return Corrupt("Audit " + Place(expected, line_) +
                     " was changed: it does not continue the record before it.");
    hash_ = HashOfLine(line);
    if (at_least_ && at_least_->sequence == expected && at_least_->hash != hash_)
      return Corrupt("Audit " + Place(expected, line_) +
                     " was changed: it is not the record that was sealed.");
    return OkStatus();
  }

  // TakeAfterGap looks for the record that did not stand in its place.
  bool TakeAfterGap(std::string_view line, uint64_t at_line) {
    const auto record = ParseRecord(key_, line);
    if (!record || record->sequence != *gap_) return false;
    found_at_ = at_line;
    return true;
  }
  bool has_gap() const { return gap_.has_value(); }
  Status GapStatus() const {
    std::string text = "Audit " + Place(*gap_, *gap_);
    if (found_at_)
      return Corrupt(text + " was moved to line " + std::to_string(*found_at_) + ".");
    return Corrupt(text + " is missing.");
  }

 private:
  const SecretBytes& key_;
  const std::optional<AuditHead>& at_least_;
  uint64_t line_ = 0;  // a good chain's line and sequence numbers are equal
  std::string hash_ = std::string(2 * kSha256Size, '0');
  std::optional<uint64_t> gap_, found_at_;
};

Status Truncated(uint64_t next, uint64_t known) {
  return Corrupt("Audit " + Place(next, next) + " is missing: the log was truncated; " +
                 std::to_string(known) + " records were written.");
}

}  // namespace

Result<uint64_t> AuditLog::Verify(const std::optional<AuditHead>& at_least) const {
  AuditHead known;
  uint64_t end;
  struct stat info, named;
  {
    std::lock_guard lock(impl_->mutex);
    known = impl_->head;
    end = impl_->end;
    if (fstat(impl_->fd, &info) != 0) return Status::FromErrno(errno, kFileName);
  }
  if (fstatat(impl_->folder, kFileName, &named, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return Corrupt("The audit log was removed.");
    return Status::FromErrno(errno, kFileName);
  }
  if (named.st_dev != info.st_dev || named.st_ino != info.st_ino)
    return Corrupt("The audit log was replaced by another file.");
  const auto size = static_cast<uint64_t>(info.st_size);
  try {
    ChainWalk walk(impl_->key, at_least);
    LineReader reader(impl_->fd, 0, size);
    for (uint64_t line_number = 1;; ++line_number) {
      auto next = reader.Next();
      if (!next.ok() && next.status().error() != Error::kCorrupt) return next.status();
      if (walk.has_gap()) {
        if (!next.ok() || !*next || walk.TakeAfterGap(**next, line_number))
          return walk.GapStatus();
        continue;
      }
      if (!next.ok())
        return Corrupt("Audit " + Place(line_number, line_number) + " was changed.");
      if (!*next) break;
      KF_RETURN_IF_ERROR(walk.Take(**next));
    }
    if (at_least && walk.last() < at_least->sequence)
      return Truncated(walk.last() + 1, at_least->sequence);
    if (walk.last() < known.sequence) return Truncated(walk.last() + 1, known.sequence);
    if (size != end || (known.sequence != 0 && walk.last_hash() != known.hash))
      return Corrupt("Audit " + Place(walk.last(), walk.count()) +
                     " was not written by this log.");
    return walk.count();
  } catch (const std::exception&) {
    return Status(Error::kInternal, "The audit log could not be verified.");
  }
}

}  // namespace keyfold
