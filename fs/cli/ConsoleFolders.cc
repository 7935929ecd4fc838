#include "fs/cli/ConsoleFolders.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <mutex>

#include "fs/backend/Backend.h"
#include "fs/backend/OpenAt2.h"
#include "fs/cli/KeyAttributes.h"
#include "fs/cli/KeyRefusal.h"

namespace keyfold {
namespace {

using nlohmann::json;
using std::chrono::steady_clock;

constexpr size_t kMostEntries = 1000;  // of a folder, in one answer
constexpr std::chrono::seconds kSearchTime{2};
constexpr int kMostDepth = 200;  // a descriptor each

Result<std::string> RequestText(const json& request, const char* name) {
  const auto it = request.find(name);
  if (it != request.end() && it->is_string()) return it->get<std::string>();
  return Status(Error::kValidation,
                std::string("1 validation error detected: ") + name + " is missing");
}

Result<UniqueFd> OpenBeneath(int folder, const std::string& path, uint64_t flags) {
  UniqueFd fd = OpenAt2(
      folder, path, flags,
      RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV);
  if (!fd.valid()) return Status::FromErrno(errno, path);
  return fd;
}

// OpenOnMount opens "/reports" of the mount.
Result<UniqueFd> OpenOnMount(const MountEntry& mount, const std::string& path,
                             uint64_t flags) {
  KF_ASSIGN_OR_RETURN(const UniqueFd root, OpenRoot(mount));
  const size_t begin = path.find_first_not_of('/');
  return OpenBeneath(root.get(), begin == std::string::npos ? "." : path.substr(begin),
                     flags);
}

std::mutex names_mutex;  // the machine's list of names is one thread's at a time

std::string OwnerName(uid_t uid) {
  const std::lock_guard lock(names_mutex);
  const passwd* user = ::getpwuid(uid);
  return user != nullptr ? user->pw_name : std::to_string(uid);
}

std::string GroupName(gid_t gid) {
  const std::lock_guard lock(names_mutex);
  const group* one = ::getgrgid(gid);
  return one != nullptr ? one->gr_name : std::to_string(gid);
}

const char* KindOf(mode_t mode) {
  if (S_ISDIR(mode)) return "folder";
  if (S_ISREG(mode)) return "file";
  return S_ISLNK(mode) ? "link" : "other";
}

std::string ModeText(mode_t mode) {
  std::string text;
  for (int shift = 6; shift >= 0; shift -= 3) {
    text += (mode >> shift & 4) != 0 ? 'r' : '-';
    text += (mode >> shift & 2) != 0 ? 'w' : '-';
    text += (mode >> shift & 1) != 0 ? 'x' : '-';
  }
  return text;
}

// Describe tells of an object opened with O_PATH. Without a key for what has none, and
// for what the user may not ask about.
Result<json> Describe(int fd) {
  struct stat st;
  if (::fstat(fd, &st) != 0) return Status::FromErrno(errno, "stat");
  json answer = {{"Kind", KindOf(st.st_mode)},    {"Size", st.st_size},
                 {"Mode", ModeText(st.st_mode)},  {"Owner", OwnerName(st.st_uid)},
                 {"Group", GroupName(st.st_gid)}, {"Modified", st.st_mtime}};
  if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode)) return answer;
  const std::string path = FdPath(fd);
  if (auto key = KeyLabelOf(path); key.ok()) answer["Key"] = *std::move(key);
  if (auto id = KeyIdOf(path); id.ok()) answer["KeyId"] = *std::move(id);
  if (S_ISDIR(st.st_mode))
    if (auto id = FolderIdOf(path); id.ok()) answer["FolderId"] = *std::move(id);
  return answer;
}

Result<json> ListFolder(const MountEntry& mount, const json& request) {
  KF_ASSIGN_OR_RETURN(const std::string path, RequestText(request, "Path"));
  KF_ASSIGN_OR_RETURN(const UniqueFd folder,
                      OpenOnMount(mount, path, O_RDONLY | O_DIRECTORY));
  KF_ASSIGN_OR_RETURN(json answer, Describe(folder.get()));
  KF_ASSIGN_OR_RETURN(const auto names, SortedEntries(folder.get()));
  json entries = json::array();
  for (const std::string& name : names) {
    if (entries.size() == kMostEntries) break;
    const auto fd = OpenBeneath(folder.get(), name, O_PATH | O_NOFOLLOW);
    auto entry = fd.ok() ? Describe(fd->get()) : Result<json>(fd.status());
    if (!entry.ok()) entry = json{{"Kind", "other"}};
    (*entry)["Name"] = name;
    entries.push_back(*std::move(entry));
  }
  answer["Mountpoint"] = mount.mountpoint;
  answer["Truncated"] = entries.size() < names.size();
  answer["Entries"] = std::move(entries);
  return answer;
}

// DescribePath tells of one object; FolderId is its folder's, if it is a file.
Result<json> DescribePath(const MountEntry& mount, const json& request) {
  KF_ASSIGN_OR_RETURN(const std::string path, RequestText(request, "Path"));
  KF_ASSIGN_OR_RETURN(const UniqueFd fd, OpenOnMount(mount, path, O_PATH | O_NOFOLLOW));
  KF_ASSIGN_OR_RETURN(json answer, Describe(fd.get()));
  if (answer["Kind"] != "file") return answer;
  const auto folder =
      OpenOnMount(mount, path.substr(0, path.rfind('/') + 1), O_PATH | O_DIRECTORY);
  if (!folder.ok()) return answer;
  if (auto id = FolderIdOf(FdPath(folder->get())); id.ok())
    answer["FolderId"] = *std::move(id);
  return answer;
}

// Search finds the folders of a key, as far as the user may look and the time lasts.
class Search {
 public:
  explicit Search(std::string key_id) : key_id_(std::move(key_id)) {}

  void Look(const UniqueFd& folder, const std::string& path, int depth) {
    if (steady_clock::now() >= end_ || depth > kMostDepth) {
      truncated_ = true;
      return;
    }
    const auto key = KeyIdOf(FdPath(folder.get()));
    if (key.ok() && *key == key_id_) found_.push_back(path);
    const auto names = SortedEntries(folder.get());
    if (!names.ok()) return;
    for (const std::string& name : *names) {
      const auto below = OpenBeneath(folder.get(), name, O_RDONLY | O_DIRECTORY);
      if (below.ok()) Look(*below, (path == "/" ? "" : path) + "/" + name, depth + 1);
    }
  }
  json Answer() const { return {{"Folders", found_}, {"Truncated", truncated_}}; }

 private:
  const std::string key_id_;
  const steady_clock::time_point end_ = steady_clock::now() + kSearchTime;
  std::vector<std::string> found_;
  bool truncated_ = false;
};

Result<json> FoldersOfKey(const MountEntry& mount, const json& request) {
  KF_ASSIGN_OR_RETURN(std::string key_id, RequestText(request, "KeyId"));
  KF_ASSIGN_OR_RETURN(const UniqueFd root,
                      OpenOnMount(mount, "/", O_RDONLY | O_DIRECTORY));
  Search search(std::move(key_id));
  search.Look(root, "/", 0);
  return search.Answer();
}

Result<json> BindKey(const MountEntry& mount, const json& request) {
  KF_ASSIGN_OR_RETURN(const std::string path, RequestText(request, "Path"));
  KF_ASSIGN_OR_RETURN(const std::string key, RequestText(request, "KeyId"));
  KF_ASSIGN_OR_RETURN(const UniqueFd fd, OpenOnMount(mount, path, O_PATH | O_NOFOLLOW));
  const std::string at = FdPath(fd.get());
  const Status set = SetKeyOf(at, key);
  if (set.ok()) return json::object();
  const auto current = KeyIdOf(at);
  return ExplainRefusal(mount, path, key, current.ok() ? *current : "", set);
}

}  // namespace

void AddFolderOperations(const MountEntry& mount, ConsoleBackend* backend) {
  const auto add = [&](const char* name, auto operation) {
    backend->own[name] = [mount, operation](const json& request) {
      return operation(mount, request);
    };
  };
  add("ListFolder", ListFolder);
  add("DescribePath", DescribePath);
  add("FoldersOfKey", FoldersOfKey);
  add("SetKey", BindKey);
}

}  // namespace keyfold
