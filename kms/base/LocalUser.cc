#include "kms/base/LocalUser.h"

#include <grp.h>
#include <pwd.h>

#include <cerrno>

namespace keyfold {
namespace {

constexpr size_t kFirstRoom = 1 << 12, kMostRoom = 1 << 20;  // bytes of an entry
constexpr int kMostGroups = 1024;

}  // namespace

std::optional<LocalUser> FindLocalUser(const std::string& name) {
  std::vector<char> room(kFirstRoom);
  passwd entry;
  passwd* found = nullptr;
  while (::getpwnam_r(name.c_str(), &entry, room.data(), room.size(), &found) ==
             ERANGE &&
         room.size() < kMostRoom)
    room.resize(room.size() * 2);
  if (found == nullptr) return std::nullopt;
  return LocalUser{entry.pw_uid, entry.pw_gid, name, entry.pw_dir};
}

std::optional<std::vector<gid_t>> GroupsOf(const LocalUser& user) {
  int count = kMostGroups;
  std::vector<gid_t> groups(kMostGroups);
  if (::getgrouplist(user.name.c_str(), user.gid, groups.data(), &count) < 0 ||
      count < 0)
    return std::nullopt;
  groups.resize(static_cast<size_t>(count));
  return groups;
}

}  // namespace keyfold
