#include "fs/cli/Unmount.h"

#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "fs/backend/Backend.h"
#include "fs/cli/Store.h"

extern char** environ;

namespace keyfold {
namespace {

namespace stdfs = std::filesystem;

std::string ReadAll(int fd) {
  std::string text;
  char part[512];
  for (;;) {
    const ssize_t count = ::read(fd, part, sizeof part);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return text;
    text.append(part, static_cast<size_t>(count));
  }
}

// Fusermount asks the privileged helper of fuse3. It tells why it fails only in
// words, which are not translated.
Status Fusermount(const std::string& mountpoint, bool lazy) {
  std::vector<std::string> words = {"fusermount3", "-u"};
  if (lazy) words.push_back("-z");
  words.push_back("--");
  words.push_back(mountpoint);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return Status::FromErrno(errno, "pipe");
  const UniqueFd complaints(ends[0]);
  UniqueFd writing(ends[1]);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, writing.get(), STDERR_FILENO);
  pid_t child = 0;
  const int error =
      ::posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  writing.Close();
  if (error != 0) return Status::FromErrno(error, "fusermount3");
  std::string reason = ReadAll(complaints.get());
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return OkStatus();
  if (reason.find("busy") != std::string::npos)
    return Status::FromErrno(EBUSY, mountpoint);
  while (reason.ends_with('\n')) reason.pop_back();
  return {Error::kSystem, reason.empty() ? "fusermount3 failed." : reason};
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
