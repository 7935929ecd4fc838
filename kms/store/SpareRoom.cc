#include "kms/store/SpareRoom.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "kms/base/PrivateFile.h"

namespace keyfold {

void SpareRoom::Take() {
  if (whole_) return;
  held_ = false;
  // Anew each time, lest it be another file that is given away or written to.
  if (unlink(path_.c_str()) != 0 && errno != ENOENT) return;
  const int fd =
      open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return;
  // It is room all the same if that fails; nor may it throw after a commit.
  (void)OrNoMemory([&] { return GiveToOwnerOfParent(path_, fd); });
  whole_ = fallocate(fd, 0, 0, kSize) == 0;
  // What failed for want of room may have got some of it.
  struct stat info;
  held_ = whole_ || (fstat(fd, &info) == 0 && info.st_blocks > 0);
  close(fd);
}

bool SpareRoom::Give() {
  if (!held_) return false;
  held_ = whole_ = false;
  return unlink(path_.c_str()) == 0;
}

}  // namespace keyfold
