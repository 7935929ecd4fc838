#include "kms/store/SpareRoom.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kms/base/PrivateFile.h"

namespace keyfold {

void SpareRoom::Take() {
  if (whole_) return;
  const int fd = open(path_.c_str(),
                      O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
  if (fd < 0) return;
  struct stat info;
  const auto is_file = [&] { return fstat(fd, &info) == 0 && S_ISREG(info.st_mode); };
  (void)GiveToOwnerOfParent(path_, fd);  // it is room all the same
  whole_ = is_file() && fallocate(fd, 0, 0, kSize) == 0;
  // What failed for want of room may have got some of it.
  held_ = whole_ || (is_file() && info.st_blocks > 0);
  close(fd);
}

bool SpareRoom::Give() {
  if (!held_) return false;
  held_ = whole_ = false;
  return unlink(path_.c_str()) == 0;
}

}  // namespace keyfold
