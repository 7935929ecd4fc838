#include "fs/cli/BrowserLauncher.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "kms/base/UniqueFd.h"

namespace keyfold {
namespace {

constexpr char kSuffix[] = ".html";
constexpr mode_t kUsualMask = 022;  // for the browser, which may be long-lived

Status StartOpener(const std::string& file) {
  const pid_t child = ::fork();
  if (child < 0) return Status::FromErrno(errno, "fork");
  if (child == 0) {
    // Once more, so that nobody has to wait for it.
    if (::fork() == 0) {
      ::umask(kUsualMask);
      ::execlp("xdg-open", "xdg-open", file.c_str(), nullptr);
    }
    ::_exit(0);
  }
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) continue;
  return OkStatus();
}

}  // namespace

Result<BrowserLauncher> BrowserLauncher::Launch(const std::string& url) {
  const char* folder = ::getenv("XDG_RUNTIME_DIR");
  if (folder == nullptr || *folder == '\0')
    return Status(Error::kUsage,
                  "--open needs a desktop session (XDG_RUNTIME_DIR). Open the printed "
                  "address instead.");
  std::string file = std::string(folder) + "/keyfold-console-XXXXXX" + kSuffix;
  const UniqueFd fd(::mkostemps(file.data(), sizeof kSuffix - 1, O_CLOEXEC));
  if (!fd.valid()) return Status::FromErrno(errno, folder);
  BrowserLauncher launcher(file);
  const std::string page =
      "<!doctype html><meta charset=\"utf-8\"><title>Keyfold</title>"
      "<meta http-equiv=\"refresh\" content=\"0; url=" +
      url + "\">\n";
  if (::write(fd.get(), page.data(), page.size()) != static_cast<ssize_t>(page.size()))
    return Status::FromErrno(errno, file);
  KF_RETURN_IF_ERROR(StartOpener(file));
  return launcher;
}

void BrowserLauncher::Forget() {
  if (!file_.empty()) ::unlink(file_.c_str());
  file_.clear();
}

}  // namespace keyfold
