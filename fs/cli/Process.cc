#include "fs/cli/Process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "fs/cli/ExitCode.h"
#include "fs/cli/Report.h"

namespace keyfold {
namespace {

void RaiseLimit(__rlimit_resource resource) {
  rlimit limit;
  if (::getrlimit(resource, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(resource, &limit);
}

}  // namespace

void Harden() {
  ::prctl(PR_SET_DUMPABLE, 0);
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  RaiseLimit(RLIMIT_NOFILE);
  RaiseLimit(RLIMIT_MEMLOCK);
  ::umask(077);
}

void CloseInherited() { CloseAllBut({}); }

void CloseAllBut(std::vector<int> kept) {
  std::sort(kept.begin(), kept.end());
  unsigned from = STDERR_FILENO + 1;
  for (const int one : kept) {
    const auto next = static_cast<unsigned>(one);
    if (next > from) ::close_range(from, next - 1, 0);
    from = std::max(from, next + 1);
  }
  ::close_range(from, ~0U, 0);
}

void Detach() {
  ::setsid();
  if (::chdir("/") != 0) return;
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) return;
  for (int fd : {0, 1, 2}) ::dup2(null, fd);
  if (null > 2) ::close(null);
}

int RunInBackground(
    const std::function<int(const std::function<void()>& ready)>& serve) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return Fail(Status::FromErrno(errno, "pipe"));
  const pid_t child = ::fork();
  if (child < 0) return Fail(Status::FromErrno(errno, "fork"));
  if (child == 0) {
    ::close(ends[0]);
    const int code = serve([&] {
      Detach();
      if (::write(ends[1], "r", 1) != 1) return;  // the parent is gone
      ::close(ends[1]);
    });
    std::exit(code);
  }
  ::close(ends[1]);
  char answer;
  ssize_t count;
  do {
    count = ::read(ends[0], &answer, 1);
  } while (count < 0 && errno == EINTR);
  if (count == 1) return kExitOk;
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  std::fprintf(stderr, "keyfold: the daemon was ended by signal %d (%s).\n",
               WTERMSIG(status), ::strsignal(WTERMSIG(status)));
  return kExitFailed;
}

}  // namespace keyfold
