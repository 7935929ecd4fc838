#include "fs/cli/Unmount.h"

#include <limits.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "fs/cli/Store.h"

extern char** environ;

namespace keyfold {
namespace {

namespace stdfs = std::filesystem;

// Fusermount asks the privileged helper of fuse3; its complaints are ours to make.
Status Fusermount(const std::string& mountpoint, bool lazy) {
  std::vector<std::string> words = {"fusermount3", "-q", "-u"};
  if (lazy) words.push_back("-z");
  words.push_back("--");
  words.push_back(mountpoint);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t child = 0;
  const int error =
      ::posix_spawnp(&child, argv[0], nullptr, nullptr, argv.data(), environ);
  if (error != 0) return Status::FromErrno(error, "fusermount3");
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return OkStatus();
  return Status::FromErrno(EBUSY, mountpoint);
}

bool LinkLeadsInto(const stdfs::path& link, const std::string& mountpoint) {
  std::error_code error;
  const stdfs::path target = stdfs::read_symlink(link, error);
  return !error && IsInside(target.string(), mountpoint);
}

bool Uses(const stdfs::path& process, const std::string& mountpoint) {
  for (const char* link : {"cwd", "root", "exe"})
    if (LinkLeadsInto(process / link, mountpoint)) return true;
  for (const char* folder : {"fd", "map_files"}) {
    std::error_code error;
    for (const auto& entry : stdfs::directory_iterator(process / folder, error))
      if (LinkLeadsInto(entry.path(), mountpoint)) return true;
  }
  return false;
}

}  // namespace

Status Unmount(const std::string& mountpoint, bool lazy) {
  if (::geteuid() != 0) return Fusermount(mountpoint, lazy);
  if (::umount2(mountpoint.c_str(), UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) != 0)
    return Status::FromErrno(errno, mountpoint);
  return OkStatus();
}

std::vector<std::string> BusyProcesses(const std::string& mountpoint) {
  std::vector<std::string> found;
  std::error_code error;
  for (const auto& entry : stdfs::directory_iterator("/proc", error)) {
    const std::string pid = entry.path().filename();
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    if (pid == std::to_string(::getpid()) || !Uses(entry.path(), mountpoint)) continue;
    std::string name;
    std::getline(std::ifstream(entry.path() / "comm"), name);
    found.push_back(pid + " (" + name + ")");
  }
  return found;
}

}  // namespace keyfold
