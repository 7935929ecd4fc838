#include "fs/cli/WholeFile.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "fs/cli/Contents.h"
#include "fs/cli/PartialCopy.h"

namespace keyfold {
namespace {

bool IsSame(const timespec& a, const timespec& b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

// CheckUnchanged: the file is the one `st` was found of, as it was then.
Status CheckUnchanged(int fd, const struct stat& st) {
  struct stat now;
  if (::fstat(fd, &now) != 0) return Status::FromErrno(errno, "read");
  const bool same = S_ISREG(now.st_mode) && now.st_ino == st.st_ino &&
                    now.st_dev == st.st_dev && now.st_size == st.st_size &&
                    IsSame(now.st_mtim, st.st_mtim);
  return same ? OkStatus() : ChangedMeanwhile();
}

Result<UniqueFd> OpenFile(const FilePlace& from, const struct stat& st) {
  // Not to wait for what a fifo in its place would bring.
  KF_ASSIGN_OR_RETURN(UniqueFd fd, OpenSource(from.folder, from.name,
                                              O_RDONLY | O_NONBLOCK | O_NOCTTY));
  KF_RETURN_IF_ERROR(CheckUnchanged(fd.get(), st));
  return fd;
}

ReadSteps StepsOf(const WholeFileOptions& options, bool again) {
  return {again ? 0 : options.part, [&options, again](uint64_t bytes) {
            return options.passed ? options.passed(bytes, again) : OkStatus();
          }};
}

Result<ContentHash> Hash(int fd, const struct stat& st,
                         const WholeFileOptions& options) {
  return ReadContents(fd, static_cast<uint64_t>(st.st_size), StepsOf(options, true),
                      [](uint64_t, ByteView) { return OkStatus(); });
}

// Write writes what is no hole of the source.
Result<ContentHash> Write(int source, const struct stat& st, int copy,
                          const WholeFileOptions& options, bool* of_source) {
  Status written;
  auto hash =
      ReadContents(source, static_cast<uint64_t>(st.st_size), StepsOf(options, false),
                   [&](uint64_t offset, ByteView contents) {
                     written = WriteAt(copy, static_cast<off_t>(offset), contents);
                     return written;
                   });
  *of_source = written.ok();
  KF_RETURN_IF_ERROR(hash.status());
  KF_RETURN_IF_ERROR(CheckUnchanged(source, st));
  *of_source = false;
  if (::ftruncate(copy, st.st_size) != 0) return Status::FromErrno(errno, "write");
  return hash;
}

Status ReadBack(int copy, const struct stat& st, const ContentHash& wanted,
                const WholeFileOptions& options) {
  if (!options.read_back) return OkStatus();
  KF_ASSIGN_OR_RETURN(const ContentHash found, Hash(copy, st, options));
  if (found == wanted) return OkStatus();
  return {Error::kCorrupt, "what was read back is not what was written"};
}

Status Fill(int source, const struct stat& st, int copy,
            const WholeFileOptions& options, bool* of_source) {
  KF_RETURN_IF_ERROR(LockPartial(copy));
  KF_ASSIGN_OR_RETURN(const ContentHash hash,
                      Write(source, st, copy, options, of_source));
  // First, as a change of the attributes would tell what could not be written as its
  // own failure. They reach the disk before the name does where a journal orders the
  // two.
  KF_RETURN_IF_ERROR(PassCache(copy));
  KF_RETURN_IF_ERROR(
      GiveAttributes(source, st, copy, options.keeping, 0, options.lost));
  KF_RETURN_IF_ERROR(ReadBack(copy, st, hash, options));
  // By its time a later run knows what is done.
  return GiveTimes(st, copy, options.lost);
}

}  // namespace

Result<UniqueFd> OpenSource(int folder, const std::string& name, int flags) {
  auto fd = OpenAt(folder, name, flags | O_NOATIME);
  // Only the owner may.
  if (fd.status().sys_errno() != EPERM) return fd;
  return OpenAt(folder, name, flags);
}

Status MakeWholeFile(const FilePlace& from, const struct stat& st, const FilePlace& to,
                     const WholeFileOptions& options, bool* of_source) {
  *of_source = true;
  KF_ASSIGN_OR_RETURN(const UniqueFd source, OpenFile(from, st));
  *of_source = false;
  const std::string partial = NewPartialName();
  KF_ASSIGN_OR_RETURN(const UniqueFd copy,
                      OpenAt(to.folder, partial, O_RDWR | O_CREAT | O_EXCL, 0600));
  Status status = Fill(source.get(), st, copy.get(), options, of_source);
  if (status.ok())
    status = GivePartialItsName(to.folder, partial, to.name, options.overwrite);
  if (!status.ok()) (void)::unlinkat(to.folder, partial.c_str(), 0);
  return status;
}

Result<ComparedFiles> CompareContents(const FilePlace& from, const struct stat& st,
                                      const FilePlace& to,
                                      const WholeFileOptions& options) {
  ComparedFiles files;
  KF_ASSIGN_OR_RETURN(files.source, OpenFile(from, st));
  KF_ASSIGN_OR_RETURN(files.copy,
                      OpenAt(to.folder, to.name, O_RDONLY | O_NONBLOCK | O_NOCTTY));
  KF_RETURN_IF_ERROR(PassCache(files.copy.get()));
  KF_ASSIGN_OR_RETURN(const ContentHash wanted, Hash(files.source.get(), st, options));
  KF_RETURN_IF_ERROR(CheckUnchanged(files.source.get(), st));
  KF_ASSIGN_OR_RETURN(const ContentHash found, Hash(files.copy.get(), st, options));
  struct stat now;
  if (::fstat(files.copy.get(), &now) != 0) return Status::FromErrno(errno, "read");
  files.same = found == wanted && now.st_size == st.st_size;
  return files;
}

}  // namespace keyfold
