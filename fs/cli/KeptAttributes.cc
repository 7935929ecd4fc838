#include "fs/cli/KeptAttributes.h"

#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>

namespace keyfold {
namespace {

constexpr const char* kAcls[] = {"system.posix_acl_access", "system.posix_acl_default"};
constexpr mode_t kPermissions = 07777;

// What the mount shows of its keys is no attribute of the file's.
bool IsOfKeyfold(const std::string& name) { return name.starts_with("user.keyfold."); }
// Every object of some machines has one, which the machine gives.
bool IsOfMachine(const std::string& name) { return name == "security.selinux"; }

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

// A copy has what its folder's default list says, until it is told otherwise.
void GiveAcl(int from, const std::string& to, const char* name, bool kept,
             const Lost& lost) {
  const auto list = GetXattr(from, name);
  if (!list.ok() && list.status().sys_errno() != EOPNOTSUPP)
    return lost("access control list", list.status());
  if (kept && list.ok() && *list) {
    if (::setxattr(to.c_str(), name, (*list)->data(), (*list)->size(), 0) != 0)
      lost("access control list", Status::FromErrno(errno, "access control list"));
  } else if (::removexattr(to.c_str(), name) != 0 && errno != ENODATA &&
             errno != EOPNOTSUPP) {
    lost("lack of an access control list", Status::FromErrno(errno, name));
  }
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
    if (!name.starts_with("user.")) {
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

void GiveMode(const struct stat& st, int to, mode_t mode, const Lost& lost) {
  struct stat now;
  if (::fstat(to, &now) != 0) return lost("mode", Status::FromErrno(errno, "mode"));
  if ((mode & S_ISUID) != 0 && now.st_uid != st.st_uid) {
    mode &= ~static_cast<mode_t>(S_ISUID);
    lost("set-user-id bit",
         Status::Told(Error::kSystem, EPERM, "the copy has another owner"));
  }
  if ((mode & S_ISGID) != 0 && now.st_gid != st.st_gid) {
    mode &= ~static_cast<mode_t>(S_ISGID);
    lost("set-group-id bit",
         Status::Told(Error::kSystem, EPERM, "the copy has another group"));
  }
  if ((now.st_mode & kPermissions) == mode) return;
  if (::chmod(FdPath(to).c_str(), mode) != 0)
    lost("mode", Status::FromErrno(errno, "mode"));
}

}  // namespace

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
  GiveAcl(from, path, kAcls[0], acls, judged);
  if (S_ISDIR(st.st_mode)) GiveAcl(from, path, kAcls[1], acls, judged);
  // Before the mode, which may forbid it.
  if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
    GiveUserAttributes(from, path, judged);
  GiveMode(st, to, ModeOf(st, keeping) | also, judged);
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
