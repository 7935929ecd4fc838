#include "fs/cli/Reencrypt.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "fs/backend/Backend.h"

namespace keyfold {
namespace {

// Step opens the file if need be, and does the next part of it.
Status Step(const std::string& path, const ReencryptSteps& steps, UniqueFd* fd,
            Reencryption* asked) {
  if (!fd->valid()) {
    *fd = UniqueFd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK));
    if (!fd->valid()) return Status::FromErrno(errno, "open");
    asked->bytes = 0;
    KF_RETURN_IF_ERROR(AskToReencrypt(fd->get(), asked));
    KF_RETURN_IF_ERROR(steps.begun());
  }
  if (asked->finished != 0) return OkStatus();
  asked->bytes = std::min(steps.part(), kMostReencrypted);
  const uint64_t before = asked->done;
  KF_RETURN_IF_ERROR(AskToReencrypt(fd->get(), asked));
  if (asked->done > before) steps.passed(asked->done - before);
  return OkStatus();
}

}  // namespace

Status AskToReencrypt(int fd, Reencryption* asked) {
  if (::ioctl(fd, kReencryptIoctl, asked) == 0) return OkStatus();
  return Status::FromErrno(errno, "re-encrypt");
}

Status Reencrypt(const std::string& path, const ReencryptSteps& steps) {
  // When another user loses the right to the file, all have to open it again.
  constexpr int kMostLosses = 10;
  UniqueFd fd;
  Reencryption asked;
  for (int losses = 0; asked.finished == 0;) {
    const Status status = Step(path, steps, &fd, &asked);
    if (status.sys_errno() == ESTALE && losses++ < kMostLosses) {
      fd.Close();
      continue;
    }
    KF_RETURN_IF_ERROR(status);
  }
  return OkStatus();
}

}  // namespace keyfold
