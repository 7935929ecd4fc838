#include "fs/fuse/Counting.h"

#include <cerrno>

namespace keyfold {
namespace {

using std::chrono::steady_clock;

// Counted stands before one operation of libfuse's, which is `member`.
template <auto member>
struct Counted;

template <typename... Rest, void (*fuse_lowlevel_ops::*member)(fuse_req_t, Rest...)>
struct Counted<member> {
  static inline void (*operation)(fuse_req_t, Rest...) = nullptr;
  static inline FileOperation kind = FileOperation::kOther;

  static void Run(fuse_req_t req, Rest... rest) {
    // The request is gone once it is answered.
    FileCounts& counts =
        static_cast<FuseMount::Impl*>(fuse_req_userdata(req))->vault.counts();
    const auto began = steady_clock::now();
    operation(req, rest...);
    counts.operations[static_cast<size_t>(kind)].Note(steady_clock::now() - began);
  }
};

template <auto member>
void Wrap(fuse_lowlevel_ops* ops, FileOperation kind) {
  if (ops->*member == nullptr) return;
  Counted<member>::kind = kind;
  Counted<member>::operation = std::exchange(ops->*member, Counted<member>::Run);
}

}  // namespace

void CountOperations(fuse_lowlevel_ops* ops) {
  using Ops = fuse_lowlevel_ops;
  Wrap<&Ops::lookup>(ops, FileOperation::kLookup);
  Wrap<&Ops::getattr>(ops, FileOperation::kGetAttr);
  Wrap<&Ops::setattr>(ops, FileOperation::kSetAttr);
  Wrap<&Ops::create>(ops, FileOperation::kCreate);
  Wrap<&Ops::open>(ops, FileOperation::kOpen);
  Wrap<&Ops::read>(ops, FileOperation::kRead);
  Wrap<&Ops::write_buf>(ops, FileOperation::kWrite);
  Wrap<&Ops::fsync>(ops, FileOperation::kFsync);
  Wrap<&Ops::fsyncdir>(ops, FileOperation::kFsync);
  Wrap<&Ops::release>(ops, FileOperation::kRelease);
  Wrap<&Ops::releasedir>(ops, FileOperation::kRelease);
  Wrap<&Ops::opendir>(ops, FileOperation::kOpenDir);
  Wrap<&Ops::readdir>(ops, FileOperation::kReadDir);
  Wrap<&Ops::readdirplus>(ops, FileOperation::kReadDir);
  Wrap<&Ops::mkdir>(ops, FileOperation::kMake);
  Wrap<&Ops::mknod>(ops, FileOperation::kMake);
  Wrap<&Ops::symlink>(ops, FileOperation::kMake);
  Wrap<&Ops::link>(ops, FileOperation::kMake);
  Wrap<&Ops::unlink>(ops, FileOperation::kRemove);
  Wrap<&Ops::rmdir>(ops, FileOperation::kRemove);
  Wrap<&Ops::rename>(ops, FileOperation::kRename);
  Wrap<&Ops::readlink>(ops, FileOperation::kReadLink);
  Wrap<&Ops::getxattr>(ops, FileOperation::kXattr);
  Wrap<&Ops::setxattr>(ops, FileOperation::kXattr);
  Wrap<&Ops::listxattr>(ops, FileOperation::kXattr);
  Wrap<&Ops::removexattr>(ops, FileOperation::kXattr);
  Wrap<&Ops::fallocate>(ops, FileOperation::kSpace);
  Wrap<&Ops::lseek>(ops, FileOperation::kSpace);
  Wrap<&Ops::copy_file_range>(ops, FileOperation::kSpace);
  Wrap<&Ops::statfs>(ops, FileOperation::kOther);
  Wrap<&Ops::ioctl>(ops, FileOperation::kOther);
}

void CountFailure(FileCounts& counts, int error) {
  const auto up = [&](FileFailure why) {
    Up(counts.failures[static_cast<size_t>(why)]);
  };
  switch (error) {
    case EACCES:
      return up(FileFailure::kNoRight);
    case ENOKEY:
      return up(FileFailure::kNoKey);
    case EIO:
      return up(FileFailure::kIo);
    case ESTALE:
      return up(FileFailure::kStale);
    case ENOSPC:
    case EDQUOT:
      return up(FileFailure::kNoSpace);
    case ENOMEM:
      return up(FileFailure::kNoMemory);
    default:  // what programs are told every day
      return;
  }
}

}  // namespace keyfold
