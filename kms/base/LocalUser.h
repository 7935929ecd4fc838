// LocalUser: an account of this machine, from wherever nsswitch.conf(5) has it.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace keyfold {

struct LocalUser {
  uid_t uid = 0;
  gid_t gid = 0;
  std::string name, home;
};

// FindLocalUser looks a login name up (getpwnam_r(3)). Nothing if there is no such
// user, or that can't be told.
std::optional<LocalUser> FindLocalUser(const std::string& name);
// GroupsOf is the user's groups, `gid` included (getgrouplist(3)). Nothing if there are
// more than 1,024: a few of them would be a lie where a group is denied something.
std::optional<std::vector<gid_t>> GroupsOf(const LocalUser& user);

}  // namespace keyfold
