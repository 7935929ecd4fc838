// NoTmpfile: while one is alive, openat refuses O_TMPFILE with `error`, as
// filesystems do that have no unnamed files. It stands before the C library's.
#pragma once

namespace keyfold {

class NoTmpfile {
 public:
  explicit NoTmpfile(int error);
  ~NoTmpfile();
};

}  // namespace keyfold
