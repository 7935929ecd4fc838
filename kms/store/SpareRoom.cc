#include "kms/store/SpareRoom.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace keyfold {

void SpareRoom::Take() {
  if (taken_) return;
  const int fd = open(path_.c_str(),
                      O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
  if (fd < 0) return;
  struct stat info;
  taken_ =
      fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && fallocate(fd, 0, 0, kSize) == 0;
  close(fd);
}

bool SpareRoom::Give() {
  if (!taken_) return false;
  taken_ = false;
  return unlink(path_.c_str()) == 0;
}

}  // namespace keyfold
