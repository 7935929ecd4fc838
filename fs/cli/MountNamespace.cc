#include "fs/cli/MountNamespace.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "fs/cli/ForkedProcess.h"
#include "fs/cli/Messages.h"
#include "kms/base/Bytes.h"
#include "kms/base/UniqueFd.h"

namespace keyfold {
namespace {

// DoThere is the life of the process that does it.
void DoThere(const UniqueFd& socket, const std::string& file,
             const std::function<Result<std::string>()>& what) {
  const auto result = [&]() -> Result<std::string> {
    KF_RETURN_IF_ERROR(EnterMountNamespace(file));
    return what();
  }();
  nlohmann::json message = ToMessage(result.status());
  // A path need not be text, as JSON's must.
  if (result.ok()) message["Result"] = ToBase64(AsBytes(*result));
  (void)SendMessage(socket.get(), message);
}

}  // namespace

Status EnterMountNamespace(const std::string& file) {
  if (::geteuid() != 0)
    return {Error::kAccessDenied,
            "Only root may mount in another mount namespace than its own."};
  // Whatever it is, opening it does not wait.
  const UniqueFd space(
      ::open(file.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (space.valid() && ::setns(space.get(), CLONE_NEWNS) == 0) return OkStatus();
  const int error = errno;
  if (error == EPERM || error == EACCES)
    return {Error::kAccessDenied,
            "This process may not enter the mount namespace " + file +
                ". It takes CAP_SYS_ADMIN and CAP_SYS_CHROOT, and CAP_SYS_PTRACE for "
                "that of a process with more rights."};
  if (space.valid() && error == EINVAL)
    return {Error::kUsage,
            file + " is no mount namespace. Name one, such as /proc/1/ns/mnt."};
  return Status::FromErrno(error, file);
}

Result<std::string> InMountNamespace(const std::string& file,
                                     const std::function<Result<std::string>()>& what) {
  if (file.empty()) return what();
  KF_ASSIGN_OR_RETURN(const ForkedProcess there,
                      ForkProcess(SOCK_STREAM, [&](const UniqueFd& socket) {
                        DoThere(socket, file, what);
                      }));
  const nlohmann::json message = ReceiveMessage(there.socket.get());
  while (::waitpid(there.pid, nullptr, 0) < 0 && errno == EINTR) continue;
  KF_RETURN_IF_ERROR(StatusIn(message));
  const Bytes result = FromBase64(message.value("Result", "")).value_or(Bytes());
  return std::string(AsText(result));
}

}  // namespace keyfold
