#include "kms/audit/AuditFiles.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "kms/base/PrivateFile.h"

namespace keyfold {
namespace {

constexpr std::string_view kPrefix = "audit-", kSuffix = ".log";
constexpr size_t kDigits = 12;

struct CloseFolder {
  void operator()(DIR* folder) const { closedir(folder); }
};

}  // namespace

AuditFile::~AuditFile() { close(fd_); }

Result<uint64_t> AuditFile::Size() const {
  struct stat info;
  if (fstat(fd_, &info) != 0) return Status::FromErrno(errno, name_);
  return static_cast<uint64_t>(info.st_size);
}

std::string ArchiveName(uint64_t first_sequence) {
  std::string number = std::to_string(first_sequence);
  if (number.size() < kDigits) number.insert(0, kDigits - number.size(), '0');
  return std::string(kPrefix) + number + std::string(kSuffix);
}

std::optional<uint64_t> ArchiveStart(const std::string& name) {
  if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) return std::nullopt;
  const char* end = name.data() + name.size() - kSuffix.size();
  uint64_t first = 0;
  const auto parsed = std::from_chars(name.data() + kPrefix.size(), end, first);
  if (parsed.ec != std::errc() || parsed.ptr != end || ArchiveName(first) != name)
    return std::nullopt;
  return first;
}

Result<std::vector<uint64_t>> ListArchives(int folder) {
  const int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return Status::FromErrno(errno, "reading the audit folder");
  const std::unique_ptr<DIR, CloseFolder> entries(fdopendir(fd));
  if (!entries) {
    const int failed = errno;
    close(fd);
    return Status::FromErrno(failed, "reading the audit folder");
  }
  std::vector<uint64_t> found;
  errno = 0;
  while (const dirent* entry = readdir(entries.get()))
    if (const auto first = ArchiveStart(entry->d_name)) found.push_back(*first);
  if (errno != 0) return Status::FromErrno(errno, "reading the audit folder");
  std::sort(found.begin(), found.end());
  return found;
}

Result<std::shared_ptr<const AuditFile>> OpenAuditFile(int folder,
                                                       const std::string& name) {
  const int fd =
      openat(folder, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return Status::FromErrno(errno, name);
  auto file = std::make_shared<const AuditFile>(name, fd);
  struct stat info;
  if (fstat(fd, &info) != 0) return Status::FromErrno(errno, name);
  if (!S_ISREG(info.st_mode))
    return Status(Error::kCorrupt, name + " is not a regular file.");
  return file;
}

Result<std::shared_ptr<const AuditFile>> CreateAuditFile(int folder,
                                                         const std::string& name) {
  if (unlinkat(folder, name.c_str(), 0) != 0 && errno != ENOENT)
    return Status::FromErrno(errno, name);
  const int fd =
      openat(folder, name.c_str(),
             O_RDWR | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return Status::FromErrno(errno, "creating " + name);
  auto file = std::make_shared<const AuditFile>(kAuditFile, fd);
  KF_RETURN_IF_ERROR(GiveToOwnerOf(folder, fd));
  if (fchmod(fd, 0600) != 0 || fsync(fd) != 0)
    return Status::FromErrno(errno, "creating " + name);
  return file;
}

}  // namespace keyfold
