#include <errno.h>
#include <sys/xattr.h>

#include "fs/vault/Vault.h"

namespace keyfold {
namespace {

// Attributes are bound to the object they belong to; its id lies in Keyfold's
// own attribute. Symlinks and nodes have none, as user.* is not allowed there.
Result<Bytes> ObjectIdOf(const VaultKeys& keys, int fd) {
  struct stat st;
  if (::fstatat(fd, "", &st, AT_EMPTY_PATH) != 0)
    return Status::FromErrno(errno, "stat");
  if (S_ISDIR(st.st_mode)) {
    KF_ASSIGN_OR_RETURN(const FolderDescriptor folder, ReadFolderDescriptor(keys, fd));
    return Bytes(folder.id.bytes.begin(), folder.id.bytes.end());
  }
  if (!S_ISREG(st.st_mode)) return Status::FromErrno(EPERM, "xattr");
  KF_ASSIGN_OR_RETURN(const FileNames names, ReadFileNames(fd));
  return Bytes(names.id.bytes.begin(), names.id.bytes.end());
}

std::string BackingXattr(const VaultKeys& keys, ByteView object,
                         const std::string& name) {
  return EncodeXattrName(keys.SealName(XattrNameAad(object), name));
}

Status CheckXattrName(const std::string& name) {
  if (name.empty()) return Status::FromErrno(EINVAL, "xattr");
  return name.size() > kMaxXattrName ? Status::FromErrno(ERANGE, "xattr") : OkStatus();
}

}  // namespace

Result<Bytes> Vault::GetUserXattr(int fd, const std::string& name) {
  KF_RETURN_IF_ERROR(CheckXattrName(name));
  KF_ASSIGN_OR_RETURN(const Bytes object, ObjectIdOf(vault_keys_, fd));
  KF_ASSIGN_OR_RETURN(auto sealed,
                      GetXattr(fd, BackingXattr(vault_keys_, object, name)));
  if (!sealed) return Status::FromErrno(ENODATA, "getxattr");
  auto value = vault_keys_.OpenXattr(XattrValueAad(object, name), *sealed);
  if (!value.ok()) return Status(Error::kCorrupt, "extended attribute was altered");
  return value;
}

Status Vault::SetUserXattr(int fd, const std::string& name, ByteView value, int flags) {
  KF_RETURN_IF_ERROR(CheckXattrName(name));
  KF_ASSIGN_OR_RETURN(const Bytes object, ObjectIdOf(vault_keys_, fd));
  return SetXattr(fd, BackingXattr(vault_keys_, object, name),
                  vault_keys_.SealXattr(XattrValueAad(object, name), value), flags);
}

Status Vault::RemoveUserXattr(int fd, const std::string& name) {
  KF_RETURN_IF_ERROR(CheckXattrName(name));
  KF_ASSIGN_OR_RETURN(const Bytes object, ObjectIdOf(vault_keys_, fd));
  const std::string backing = BackingXattr(vault_keys_, object, name);
  if (::removexattr(FdPath(fd).c_str(), backing.c_str()) != 0)
    return Status::FromErrno(errno, "removexattr");
  return OkStatus();
}

Result<std::vector<std::string>> Vault::ListXattrs(int fd) {
  auto object = ObjectIdOf(vault_keys_, fd);
  const bool has_id = object.status().sys_errno() != EPERM;  // no symlink or node
  if (has_id && !object.ok()) return object.status();
  KF_ASSIGN_OR_RETURN(const auto present, ListXattrNames(fd));
  std::vector<std::string> names;
  for (const std::string& backing : present) {
    if (backing == kAccessAcl || backing == kDefaultAcl) names.push_back(backing);
    auto sealed = DecodeXattrName(backing);
    if (!has_id || !sealed.ok()) continue;
    auto name = vault_keys_.OpenName(XattrNameAad(*object), *sealed);
    if (name.ok()) names.push_back("user." + std::string(AsText(*name)));
  }
  return names;
}

bool Vault::HasAcls() const {
  return GetXattr(root_->fd(), kDefaultAcl).status().sys_errno() != EOPNOTSUPP;
}

Result<Bytes> Vault::GetAcl(int fd, const std::string& name) {
  auto value = GetXattr(fd, name);
  if (!value.ok() && value.status().sys_errno() != EOPNOTSUPP) return value.status();
  if (!value.ok() || !*value) return Status::FromErrno(ENODATA, "getxattr");
  return std::move(**value);
}

Status Vault::SetAcl(int fd, const std::string& name, ByteView value,
                     const User& user) {
  struct stat st;
  if (::fstatat(fd, "", &st, AT_EMPTY_PATH) != 0)
    return Status::FromErrno(errno, "stat");
  // The kernel has checked that it is the owner, or one who may do it for them.
  if (user.caller.uid != st.st_uid) return SetXattr(fd, name, value);
  return MakeAs(user.identity(), true, [&] { return SetXattr(fd, name, value); });
}

Status Vault::RemoveAcl(int fd, const std::string& name) {
  return ::removexattr(FdPath(fd).c_str(), name.c_str()) == 0
             ? OkStatus()
             : Status::FromErrno(errno, "removexattr");
}

}  // namespace keyfold
