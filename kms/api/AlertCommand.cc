#include "kms/api/AlertCommand.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <vector>

#include "kms/base/LocalUser.h"

namespace keyfold {
namespace {

using std::chrono::milliseconds;

constexpr auto kGrace = std::chrono::seconds(3);
constexpr int kCannotBecome = 126, kCannotRun = 127;

// Whom the program runs as, looked up before the fork.
struct Identity {
  LocalUser user;
  std::vector<gid_t> groups;
};

std::optional<Identity> LookUp(const std::string& name) {
  auto user = FindLocalUser(name);
  if (!user) return std::nullopt;
  auto groups = GroupsOf(*user);
  if (!groups) return std::nullopt;
  return Identity{*std::move(user), *std::move(groups)};
}

// What is made before the fork; behind it only system calls are safe, since other
// threads may have held any lock.
struct Prepared {
  std::vector<std::string> environment;
  std::vector<char*> arguments, variables;
  int input = -1, null = -1;
  bool change_user = false;
};

[[noreturn]] void BecomeProgram(const Identity& who, const Prepared& prepared) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  for (int signal : {SIGPIPE, SIGCHLD, SIGUSR1, SIGHUP, SIGINT, SIGTERM})
    ::signal(signal, SIG_DFL);
  if (setsid() < 0 || dup2(prepared.input, 0) < 0 || dup2(prepared.null, 1) < 0 ||
      dup2(prepared.null, 2) < 0 || close_range(3, ~0U, 0) != 0 || chdir("/") != 0)
    _exit(kCannotBecome);
  umask(022);
  if (prepared.change_user &&
      (setgroups(who.groups.size(), who.groups.data()) != 0 ||
       setresgid(who.user.gid, who.user.gid, who.user.gid) != 0 ||
       setresuid(who.user.uid, who.user.uid, who.user.uid) != 0))
    _exit(kCannotBecome);
  execve(prepared.arguments[0], prepared.arguments.data(), prepared.variables.data());
  _exit(kCannotRun);
}

// Input is a file in memory, so that nobody waits for the program to read.
int InputOf(const std::string& record) {
  const int fd = memfd_create("keyfold-alert", MFD_CLOEXEC);
  if (fd < 0) return -1;
  const std::string line = record + "\n";
  for (size_t done = 0; done < line.size();) {
    const ssize_t put = write(fd, line.data() + done, line.size() - done);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) {
      close(fd);
      return -1;
    }
    done += static_cast<size_t>(put);
  }
  lseek(fd, 0, SEEK_SET);
  return fd;
}

// KillAs ends a process of the user's, or one that has yet to become it, without
// CAP_KILL, the right to end anybody's.
bool KillAs(uid_t user, pid_t pid) {
  if (kill(pid, SIGKILL) == 0) return true;
  constexpr auto kAsItIs = static_cast<uid_t>(-1);
  const uid_t own = geteuid();
  // This thread alone.
  if (errno != EPERM || syscall(SYS_setresuid, kAsItIs, user, kAsItIs) != 0)
    return false;
  const bool killed = kill(pid, SIGKILL) == 0;
  if (syscall(SYS_setresuid, kAsItIs, own, kAsItIs) != 0) std::abort();
  return killed;
}

// KillSession ends what the program left behind, whatever process groups it made. Its
// number is nobody else's until it is waited for. Who forks meanwhile is found when it
// is looked for again.
void KillSession(uid_t user, pid_t leader) {
  constexpr int kMostRounds = 100;
  bool found = true;
  for (int round = 0; found && round < kMostRounds; ++round) {
    found = false;
    DIR* processes = opendir("/proc");
    if (processes == nullptr) return;
    while (const dirent* entry = readdir(processes)) {
      const pid_t pid = static_cast<pid_t>(std::strtol(entry->d_name, nullptr, 10));
      if (pid <= 0 || pid == leader || getsid(pid) != leader) continue;
      found = KillAs(user, pid) || found;
    }
    closedir(processes);
  }
}

// Await returns the exit status; nothing when the time was over and it was killed.
std::optional<int> Await(uid_t user, pid_t child, std::chrono::seconds timeout,
                         const std::atomic<bool>& ending) {
  auto end = std::chrono::steady_clock::now() + timeout;
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, child, 0));
  bool over = fd < 0;
  while (!over) {
    if (ending) end = std::min(end, std::chrono::steady_clock::now() + kGrace);
    const auto left = std::chrono::duration_cast<milliseconds>(
        end - std::chrono::steady_clock::now());
    if (left.count() <= 0) {
      over = true;
      break;
    }
    pollfd wait{fd, POLLIN, 0};
    if (poll(&wait, 1, static_cast<int>(std::min(left, milliseconds(500)).count())) > 0)
      break;
  }
  if (fd >= 0) close(fd);
  if (over) KillAs(user, child);
  KillSession(user, child);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  if (over) return std::nullopt;
  return status;
}

Status Verdict(std::optional<int> status, const policy::AlertAction& action) {
  const std::string& program = action.command.front();
  if (!status)
    return Status::FromErrno(ETIMEDOUT, program + " did not end in " +
                                            std::to_string(action.timeout.count()) +
                                            " seconds and was killed");
  if (WIFEXITED(*status) && WEXITSTATUS(*status) == 0) return OkStatus();
  if (WIFEXITED(*status) && WEXITSTATUS(*status) == kCannotRun)
    return {Error::kSystem, program + " cannot be run."};
  if (WIFEXITED(*status) && WEXITSTATUS(*status) == kCannotBecome)
    return {Error::kSystem, "Keyfold could not become user " + action.user + "."};
  if (WIFEXITED(*status))
    return {Error::kSystem, program + " ended with exit code " +
                                std::to_string(WEXITSTATUS(*status)) + "."};
  return {Error::kSystem,
          program + " was ended by signal " + std::to_string(WTERMSIG(*status)) + "."};
}

}  // namespace

Status RunAlertCommand(const policy::AlertAction& action, const std::string& alert,
                       const std::string& record, const std::atomic<bool>& ending) {
  const auto who = LookUp(action.user);
  if (!who) return {Error::kUsage, "There is no user " + action.user + "."};
  Prepared prepared;
  prepared.change_user = geteuid() == 0;
  if (!prepared.change_user && who->user.uid != geteuid())
    return {Error::kUsage, "Only a daemon of root's can run programs as another user."};
  prepared.environment = {
      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      "HOME=" + who->user.home, "USER=" + who->user.name, "LOGNAME=" + who->user.name,
      "KEYFOLD_ALERT=" + alert};
  for (std::string& one : prepared.environment)
    prepared.variables.push_back(one.data());
  prepared.variables.push_back(nullptr);
  std::vector<std::string> words = action.command;
  for (std::string& word : words) prepared.arguments.push_back(word.data());
  prepared.arguments.push_back(nullptr);
  prepared.input = InputOf(record);
  prepared.null = open("/dev/null", O_RDWR | O_CLOEXEC);
  pid_t child = -1;
  if (prepared.input >= 0 && prepared.null >= 0) child = fork();
  if (child == 0) BecomeProgram(*who, prepared);
  const int failed = errno;
  if (prepared.input >= 0) close(prepared.input);
  if (prepared.null >= 0) close(prepared.null);
  if (child < 0) return Status::FromErrno(failed, action.command.front());
  return Verdict(Await(who->user.uid, child, action.timeout, ending), action);
}

}  // namespace keyfold
