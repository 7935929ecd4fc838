#include "fs/backend/OpenAt2.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace keyfold {

UniqueFd OpenAt2(int folder, const std::string& path, uint64_t flags,
                 uint64_t resolve) {
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.resolve = resolve;
  return UniqueFd(
      static_cast<int>(::syscall(SYS_openat2, folder, path.c_str(), &how, sizeof how)));
}

}  // namespace keyfold
