#include "fs/cli/ForkedProcess.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace keyfold {

Result<ForkedProcess> ForkProcess(int type, const std::function<void(UniqueFd)>& life) {
  int ends[2];
  if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) != 0)
    return Status::FromErrno(errno, "socketpair");
  UniqueFd mine(ends[0]), theirs(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) return Status::FromErrno(errno, "fork");
  if (child > 0) return ForkedProcess{child, std::move(mine)};
  mine.Close();
  life(std::move(theirs));
  ::_exit(0);
}

}  // namespace keyfold
