#include "fs/cli/KeptAttributes.h"

#include <endian.h>
#include <fcntl.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <optional>
#include <vector>

namespace keyfold {
namespace {

constexpr const char* kAcls[] = {"system.posix_acl_access", "system.posix_acl_default"};
constexpr mode_t kPermissions = 07777;

// What the mount shows of its keys is no attribute of the file's.
bool IsOfKeyfold(const std::string& name) { return name.starts_with("user.keyfold."); }
// Every object of some machines has one, which the machine gives.
bool IsOfMachine(const std::string& name) { return name == "security.selinux"; }

struct AclEntry {
  uint16_t tag;
  mode_t permissions;
};

// EntriesOf is empty if the bytes are no list.
std::vector<AclEntry> EntriesOf(ByteView list) {
  std::vector<AclEntry> entries;
  posix_acl_xattr_entry entry;
  constexpr size_t kHeader = sizeof(posix_acl_xattr_header);
  if (list.size() < kHeader || (list.size() - kHeader) % sizeof entry != 0)
    return entries;
  for (size_t at = kHeader; at < list.size(); at += sizeof entry) {
    std::memcpy(&entry, list.data() + at, sizeof entry);
    entries.push_back(
        {le16toh(entry.e_tag), static_cast<mode_t>(le16toh(entry.e_perm) & 7)});
  }
  return entries;
}

// IsForGood: it would fail another time too.
bool IsForGood(const Status& why) {
  switch (why.sys_errno()) {
    case EPERM:
    case EOPNOTSUPP:
    case ENOSYS:
    case EINVAL:
    case ENOSPC:
    case EDQUOT:
    case ERANGE:
    case E2BIG:
    case ENAMETOOLONG:
    case EOVERFLOW:
      return true;
    default:
      return false;
  }
}

// Judging tells what is lost for good, and keeps the first other failure.
Lost Judging(const Lost& lost, Status* failure) {
  return [&lost, failure](const std::string& what, const Status& why) {
    if (IsForGood(why))
      lost(what, why);
    else if (failure->ok())
      *failure = why;
  };
}

void GiveOwner(const struct stat& st, int to, const Lost& lost) {
  const auto give = [&](uid_t uid, gid_t gid) {
    return ::fchownat(to, "", uid, gid, AT_EMPTY_PATH) == 0;
  };
  struct stat now;
  if (::fstat(to, &now) != 0) return lost("owner", Status::FromErrno(errno, "owner"));
  if (now.st_uid != st.st_uid && !give(st.st_uid, static_cast<gid_t>(-1)))
    lost("owner", Status::FromErrno(errno, "owner"));
  if (now.st_gid != st.st_gid && !give(static_cast<uid_t>(-1), st.st_gid))
    lost("group", Status::FromErrno(errno, "group"));
}

// GiveAcl returns the list that could not be kept. A copy has what its folder's default
// list says, until it is told otherwise.
std::optional<Bytes> GiveAcl(int from, const std::string& to, const char* name,
                             bool kept, const Lost& lost) {
  auto list = GetXattr(from, name);
  if (!list.ok() && list.status().sys_errno() != EOPNOTSUPP)
    lost("access control list", list.status());
  if (kept && list.ok() && *list) {
    if (::setxattr(to.c_str(), name, (*list)->data(), (*list)->size(), 0) == 0)
      return {};
    lost("access control list", Status::FromErrno(errno, "access control list"));
    return **list;
  }
  if (::removexattr(to.c_str(), name) != 0 && errno != ENODATA && errno != EOPNOTSUPP)
    lost("lack of an access control list", Status::FromErrno(errno, name));
  return {};
}

bool IsToBeGiven(const std::string& name) {
  return name.starts_with("user.") && !IsOfKeyfold(name);
}

void GiveUserAttributes(int from, const std::string& to, const Lost& lost) {
  const auto names = ListXattrNames(from);
  if (!names.ok()) {
    if (names.status().sys_errno() != EOPNOTSUPP) lost("attributes", names.status());
    return;
  }
  for (const std::string& name : *names) {
    if (IsOfKeyfold(name) || IsOfMachine(name) || name == kAcls[0] || name == kAcls[1])
      continue;
    if (!IsToBeGiven(name)) {
      lost("attribute " + name, Status::FromErrno(EOPNOTSUPP, name));
      continue;
    }
    const auto value = GetXattr(from, name);
    if (!value.ok())
      lost("attribute " + name, value.status());
    else if (*value && ::setxattr(to.c_str(), name.c_str(), (*value)->data(),
                                  (*value)->size(), 0) != 0)
      lost("attribute " + name, Status::FromErrno(errno, name));
  }
}

// HeldMode is `mode` without what a copy of another owner must not have.
mode_t HeldMode(const struct stat& st, const struct stat& copy, mode_t mode) {
  if (copy.st_uid != st.st_uid) mode &= ~static_cast<mode_t>(S_ISUID);
  if (copy.st_gid != st.st_gid) mode &= ~static_cast<mode_t>(S_ISGID);
  return mode;
}

void GiveMode(const struct stat& st, int to, mode_t mode, const Lost& lost) {
  struct stat now;
  if (::fstat(to, &now) != 0) return lost("mode", Status::FromErrno(errno, "mode"));
  const mode_t held = HeldMode(st, now, mode);
  if (((mode ^ held) & S_ISUID) != 0)
    lost("set-user-id bit",
         Status::Told(Error::kSystem, EPERM, "the copy has another owner"));
  if (((mode ^ held) & S_ISGID) != 0)
    lost("set-group-id bit",
         Status::Told(Error::kSystem, EPERM, "the copy has another group"));
  mode = held;
  if ((now.st_mode & kPermissions) == mode) return;
  if (::chmod(FdPath(to).c_str(), mode) != 0)
    lost("mode", Status::FromErrno(errno, "mode"));
}

}  // namespace

mode_t WithoutList(mode_t mode, ByteView list) {
  const std::vector<AclEntry> entries = EntriesOf(list);
  constexpr mode_t kAll = 7, kOfOthers = 077;
  mode_t mask = entries.empty() ? 0 : kAll;
  for (const AclEntry& entry : entries)
    if (entry.tag == ACL_MASK) mask &= entry.permissions;
  mode_t group = mask, other = entries.empty() ? 0 : kAll;
  for (const AclEntry& entry : entries) {
    const mode_t allowed = entry.permissions & mask;
    // Who was named comes under the group or the others.
    if (entry.tag == ACL_GROUP_OBJ || entry.tag == ACL_USER) group &= allowed;
    if (entry.tag == ACL_GROUP || entry.tag == ACL_USER) other &= allowed;
  }
  return (mode & ~kOfOthers) | (mode & (group << 3 | other));
}

std::string OtherStatus(const struct stat& st, const struct stat& copy,
                        const Keeping& keeping) {
  if (keeping.owners && st.st_uid != copy.st_uid) return "owner";
  if (keeping.owners && st.st_gid != copy.st_gid) return "group";
  if (S_ISLNK(st.st_mode)) return {};
  const mode_t mode = HeldMode(st, copy, ModeOf(st, keeping));
  return (copy.st_mode & kPermissions) == mode ? "" : "mode";
}

Result<std::string> OtherAttributes(int from, const struct stat& st, int to,
                                    const Keeping& keeping) {
  struct stat copy;
  if (::fstat(to, &copy) != 0) return Status::FromErrno(errno, "look at");
  std::string what = OtherStatus(st, copy, keeping);
  if (!what.empty() || S_ISLNK(st.st_mode)) return what;
  std::vector<std::string> names;
  if (keeping.permissions == kPermissions) names.push_back(kAcls[0]);
  const auto all = ListXattrNames(from);
  if (!all.ok() && all.status().sys_errno() != EOPNOTSUPP) return all.status();
  if (all.ok())
    std::copy_if(all->begin(), all->end(), std::back_inserter(names), IsToBeGiven);
  const auto value_of = [](int fd, const std::string& name) {
    const auto value = GetXattr(fd, name);
    return value.ok() ? *value : std::nullopt;
  };
  for (const std::string& name : names)
    if (value_of(from, name) != value_of(to, name)) return "attribute " + name;
  return std::string();
}

mode_t ModeOf(const struct stat& st, const Keeping& keeping) {
  return st.st_mode & keeping.permissions;
}

Status GiveAttributes(int from, const struct stat& st, int to, const Keeping& keeping,
                      mode_t also, const Lost& lost) {
  Status failure;
  const Lost judged = Judging(lost, &failure);
  if (keeping.owners) GiveOwner(st, to, judged);
  if (S_ISLNK(st.st_mode)) return failure;
  const std::string path = FdPath(to);
  const bool acls = keeping.permissions == kPermissions;
  const auto lost_list = GiveAcl(from, path, kAcls[0], acls, judged);
  if (S_ISDIR(st.st_mode)) (void)GiveAcl(from, path, kAcls[1], acls, judged);
  // Before the mode, which may forbid it.
  if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
    GiveUserAttributes(from, path, judged);
  const mode_t mode = ModeOf(st, keeping);
  GiveMode(st, to, (lost_list ? WithoutList(mode, *lost_list) : mode) | also, judged);
  return failure;
}

Status GiveTimes(const struct stat& st, int to, const Lost& lost) {
  const timespec times[] = {st.st_atim, st.st_mtim};
  if (::utimensat(to, "", times, AT_EMPTY_PATH) == 0) return OkStatus();
  Status failure;
  Judging(lost, &failure)("times", Status::FromErrno(errno, "times"));
  return failure;
}

}  // namespace keyfold
