#include "kms/service/Identity.h"

#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <sstream>

#include "kms/base/LocalUser.h"

namespace keyfold {
namespace {

constexpr auto kMemory = std::chrono::milliseconds(500);
constexpr size_t kMostRemembered = 4096;

// Lookup calls a reentrant function of pwd.h or grp.h with a growing buffer. Empty
// when there is no such entry; kAccessDenied when that can't be told, since a
// denial by name must not fall away with the name.
template <typename Entry, typename Call>
Result<std::optional<std::string>> Lookup(Call&& call, char* Entry::*member) {
  std::vector<char> buffer(4096);
  Entry entry;
  Entry* found = nullptr;
  int error;
  while ((error = call(&entry, buffer.data(), buffer.size(), &found)) == ERANGE &&
         buffer.size() < (1 << 20))
    buffer.resize(buffer.size() * 2);
  // What getpwnam(3) lists for "not found".
  const bool absent = error == 0 || error == ENOENT || error == ESRCH || error == EPERM;
  if (found == nullptr && !absent)
    return Status(
        Error::kAccessDenied,
        "Users and groups cannot be looked up now, so no right can be given: " +
            Status::FromErrno(error, "look-up").message());
  if (found == nullptr) return std::optional<std::string>();
  return std::optional<std::string>(found->*member);
}

Result<std::string> UserName(uid_t uid) {
  KF_ASSIGN_OR_RETURN(
      const std::optional<std::string> name,
      Lookup<passwd>(
          [&](passwd* entry, char* buffer, size_t size, passwd** found) {
            return getpwuid_r(uid, entry, buffer, size, found);
          },
          &passwd::pw_name));
  return name ? *name : "uid:" + std::to_string(uid);
}

Result<std::vector<std::string>> GroupNames(const std::vector<gid_t>& gids) {
  std::vector<std::string> names;
  for (gid_t gid : gids) {
    KF_ASSIGN_OR_RETURN(
        const std::optional<std::string> name,
        Lookup<group>(
            [&](group* entry, char* buffer, size_t size, group** found) {
              return getgrgid_r(gid, entry, buffer, size, found);
            },
            &group::gr_name));
    if (name) names.push_back(*name);
  }
  return names;
}

// The supplementary groups of a running process.
std::optional<std::vector<gid_t>> GroupsOf(pid_t pid) {
  if (pid <= 0) return std::nullopt;
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  std::string line;
  while (std::getline(status, line)) {
    if (!line.starts_with("Groups:")) continue;
    std::istringstream numbers(line.substr(7));
    std::vector<gid_t> groups;
    for (gid_t gid; numbers >> gid;) groups.push_back(gid);
    return groups;
  }
  return std::nullopt;
}

// UserNamed asks the machine for a user and its groups.
std::optional<Caller> UserNamed(const std::string& name) {
  const auto user = FindLocalUser(name);
  auto groups = user ? GroupsOf(*user) : std::nullopt;
  if (!groups) return std::nullopt;
  Caller caller;
  caller.uid = user->uid;
  caller.gid = user->gid;
  caller.groups = *std::move(groups);
  return caller;
}

}  // namespace

policy::Principal UnresolvedPrincipal(uid_t uid) {
  policy::Principal principal;
  principal.arn = principal.user_name = "uid:" + std::to_string(uid);
  return principal;
}

std::string Executable(pid_t pid) {
  if (pid <= 0) return {};
  char path[PATH_MAX];
  const std::string link = "/proc/" + std::to_string(pid) + "/exe";
  const ssize_t size = readlink(link.c_str(), path, sizeof path);
  return size > 0 ? std::string(path, static_cast<size_t>(size)) : std::string();
}

Result<policy::Principal> Identity::Look(const Caller& caller,
                                         const policy::IamIndex& iam) const {
  if (caller.is_service) return iam.Service();
  std::vector<std::string> group_names;
  if (iam.HasGroups()) {
    auto groups = caller.groups;
    if (!groups)
      return Status(Error::kAccessDenied,
                    "The groups of process " + std::to_string(caller.pid) +
                        " cannot be read, so its rights are not known.");
    groups->push_back(caller.gid);
    KF_ASSIGN_OR_RETURN(group_names, GroupNames(*groups));
  }
  KF_ASSIGN_OR_RETURN(const std::string name, UserName(caller.uid));
  policy::Principal principal = iam.User(name, group_names);
  principal.is_account_root = caller.uid == root_uid_;
  if (caller.role.empty()) return principal;
  policy::Principal role;
  if (!iam.AssumeRole(caller.role, principal, &role))
    return Status(Error::kAccessDenied,
                  "User: " + principal.arn +
                      " is not authorized to perform: "
                      "sts:AssumeRole on resource: " +
                      policy::RoleArn(iam.account(), caller.role));
  return role;
}

void Identity::ForgetOld() {
  const auto now = std::chrono::steady_clock::now();
  if (now - remembered_at_ <= kMemory && remembered_.size() <= kMostRemembered &&
      named_.size() <= kMostRemembered)
    return;
  remembered_.clear();
  named_.clear();
  remembered_at_ = now;
}

Identity::Known Identity::Remembered(const Caller& caller) {
  std::lock_guard lock(mutex_);
  ForgetOld();
  const auto it =
      remembered_.find({caller.uid, caller.gid, caller.pid, caller.access_key_id});
  return it == remembered_.end() ? Known{} : it->second;
}

void Identity::Remember(const Caller& caller, Known known) {
  std::lock_guard lock(mutex_);
  remembered_[{caller.uid, caller.gid, caller.pid, caller.access_key_id}] =
      std::move(known);
}

std::optional<Caller> Identity::CallerNamed(const std::string& user) {
  {
    std::lock_guard lock(mutex_);
    ForgetOld();
    const auto it = named_.find(user);
    if (it != named_.end()) return it->second;
  }
  const std::optional<Caller> caller = UserNamed(user);
  std::lock_guard lock(mutex_);
  return named_[user] = caller;
}

Caller Identity::Pin(const Caller& caller) {
  Caller pinned = caller;
  if (caller.groups || caller.is_service) return pinned;
  Known known = Remembered(caller);
  if (!known.groups) {
    known.groups = GroupsOf(caller.pid);
    if (known.groups) Remember(caller, known);
  }
  pinned.groups = known.groups;
  return pinned;
}

Result<policy::Principal> Identity::Resolve(const Caller& caller,
                                            const policy::IamIndex& iam) {
  if (caller.is_service) return Look(caller, iam);
  const Caller pinned = iam.HasGroups() ? Pin(caller) : caller;
  if (!caller.role.empty()) return Look(pinned, iam);
  const Known known = Remembered(caller);
  // A caller may come with the document that was in force when it looked.
  if (known.principal && known.iam == iam.number() && known.groups == pinned.groups)
    return *known.principal;
  KF_ASSIGN_OR_RETURN(policy::Principal principal, Look(pinned, iam));
  Remember(caller, {pinned.groups, principal, iam.number()});
  return principal;
}

Result<policy::Principal> Identity::Named(const std::string& name,
                                          const policy::IamIndex& iam) const {
  std::string user = name;
  for (const std::string& prefix :
       {std::string("user:"), policy::UserArn(iam.account(), "")})
    if (user.starts_with(prefix)) user.erase(0, prefix.size());
  const std::optional<Caller> found = UserNamed(user);
  if (!found && !iam.iam().users.contains(user))
    return Status(Error::kValidation, "There is no user \"" + user +
                                          "\" on this machine or in the account.");
  std::vector<std::string> groups;
  if (found) {
    KF_ASSIGN_OR_RETURN(groups, GroupNames(*found->groups));
  }
  policy::Principal principal = iam.User(user, groups);
  principal.is_account_root = found && found->uid == root_uid_;
  return principal;
}

}  // namespace keyfold
