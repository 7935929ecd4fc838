// AuditFiles: the files a log is made of: audit.log, which grows, and before it the
// archives, each named by the number of its first record.
//
// Owns: names, and descriptors while they are needed. Must not know: records. Not
// synchronised.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kms/base/Status.h"

namespace keyfold {

// On disk: never change.
inline constexpr char kAuditFile[] = "audit.log";
inline constexpr char kNextAuditFile[] = "audit.log.next";

// AuditFile is one of them, open.
class AuditFile {
 public:
  AuditFile(std::string name, int fd) : name_(std::move(name)), fd_(fd) {}
  ~AuditFile();
  AuditFile(const AuditFile&) = delete;
  AuditFile& operator=(const AuditFile&) = delete;
  const std::string& name() const { return name_; }
  int fd() const { return fd_; }
  // Its size now, in bytes.
  Result<uint64_t> Size() const;

 private:
  const std::string name_;
  const int fd_;
};

// ArchiveName is "audit-000000000101.log" for an archive that begins with record 101.
std::string ArchiveName(uint64_t first_sequence);
// ArchiveStart undoes it; nothing for other names.
std::optional<uint64_t> ArchiveStart(const std::string& name);
// ListArchives returns the first numbers of all archives in the folder, ascending.
Result<std::vector<uint64_t>> ListArchives(int folder);
// OpenAuditFile opens one for reading; kSystem/ENOENT, kCorrupt for what is no file.
Result<std::shared_ptr<const AuditFile>> OpenAuditFile(int folder,
                                                       const std::string& name);
// CreateAuditFile makes an empty one (0600) in the place of any of that name.
Result<std::shared_ptr<const AuditFile>> CreateAuditFile(int folder,
                                                         const std::string& name);

}  // namespace keyfold
