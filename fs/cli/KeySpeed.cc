#include "fs/cli/KeySpeed.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "fs/backend/Backend.h"
#include "fs/cli/Reencrypt.h"
#include "kms/crypto/Crypto.h"

namespace keyfold {
namespace {

constexpr size_t kSample = 2 << 20;

}  // namespace

Result<KeySpeed> MeasureKeySpeed(const std::string& folder) {
  const std::string path = folder + "/.keyfold-measured-" + RandomUuid();
  const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd.valid()) return Status::FromErrno(errno, folder);
  if (::unlink(path.c_str()) != 0) return Status::FromErrno(errno, path);
  KF_RETURN_IF_ERROR(WriteAt(fd.get(), 0, RandomBytes(kSample)));
  if (::fsync(fd.get()) != 0) return Status::FromErrno(errno, path);
  Reencryption asked;
  const auto seconds_of = [&](uint64_t bytes) -> Result<double> {
    const auto begun = std::chrono::steady_clock::now();
    asked.bytes = bytes;
    KF_RETURN_IF_ERROR(AskToReencrypt(fd.get(), &asked));
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun)
        .count();
  };
  KeySpeed speed;
  KF_ASSIGN_OR_RETURN(speed.seconds_per_file, seconds_of(0));
  KF_ASSIGN_OR_RETURN(const double contents, seconds_of(kSample));
  speed.bytes_per_second = kSample / std::max(contents, 1e-6);
  return speed;
}

}  // namespace keyfold
