#include <sys/stat.h>

#include <cstring>

#include "fs/fuse/Request.h"

namespace keyfold {
namespace {

constexpr char kKeyXattr[] = "user.keyfold.key";
constexpr char kKeyIdXattr[] = "user.keyfold.key-id";
constexpr char kFolderIdXattr[] = "user.keyfold.folder-id";
constexpr char kKeyStateXattr[] = "user.keyfold.key-state";
constexpr char kDataKeyIdXattr[] = "user.keyfold.data-key-id";
constexpr char kSocketXattr[] = "user.keyfold.socket";
constexpr std::string_view kOwnPrefix = "user.keyfold.";
constexpr std::string_view kUserPrefix = "user.";

bool IsAcl(std::string_view name) { return name == kAccessAcl || name == kDefaultAcl; }

// KeyfoldXattr answers the attributes by which the mount describes itself.
Result<std::string> KeyfoldXattr(Request& r, const InodeRef& inode,
                                 std::string_view name) {
  const Status absent = Status::FromErrno(ENODATA, "xattr");
  if (name == kSocketXattr && inode->node == FUSE_ROOT_ID)
    return r.fs().options.socket_path;
  if (name == kFolderIdXattr && inode->folder) return inode->folder->id().Hex();
  const bool of_both = name == kKeyXattr || name == kKeyIdXattr;
  const bool of_file = name == kKeyStateXattr || name == kDataKeyIdXattr;
  if (!of_both && !(of_file && S_ISREG(inode->type))) return absent;
  Vault::KeyInfo info;
  if (inode->folder) {
    info.key_id = inode->folder->key_id();
  } else if (S_ISREG(inode->type)) {
    KF_ASSIGN_OR_RETURN(const auto fd, r.inodes().Hold(inode));
    KF_ASSIGN_OR_RETURN(info, r.vault().KeyOf(fd.get()));
  } else {
    return absent;
  }
  if (name == kDataKeyIdXattr) return info.data_key_id;
  if (name == kKeyStateXattr)
    return std::string(info.current ? "current" : "old") +
           (info.reencrypts ? " reencrypting" : "");
  return name == kKeyIdXattr ? info.key_id : r.vault().keys().KeyLabel(info.key_id);
}

// HoldNamed holds an object whose own attributes are asked for. A file is first found
// to be the one that its name was given to, as when it is opened.
Result<Anchor::Held> HoldNamed(Request& r, const InodeRef& inode) {
  KF_ASSIGN_OR_RETURN(auto fd, r.inodes().Hold(inode));
  if (S_ISREG(inode->type))
    KF_RETURN_IF_ERROR(AtPlace(r, inode, [&](const Place& place) -> Status {
      const bool removed = !place.folder;
      return removed ? OkStatus() : r.vault().CheckBinding(place, fd.get());
    }));
  return fd;
}

Result<Bytes> GetAnyXattr(Request& r, const InodeRef& inode, const std::string& name) {
  if (name.starts_with(kOwnPrefix)) {
    KF_ASSIGN_OR_RETURN(std::string value, KeyfoldXattr(r, inode, name));
    return Bytes(value.begin(), value.end());
  }
  if (!IsAcl(name) && !name.starts_with(kUserPrefix))
    return Status::FromErrno(ENODATA, "xattr");
  KF_ASSIGN_OR_RETURN(const auto fd, HoldNamed(r, inode));
  if (IsAcl(name)) return r.vault().GetAcl(fd.get(), name);
  return r.vault().GetUserXattr(fd.get(), name.substr(kUserPrefix.size()));
}

void ReplyXattr(fuse_req_t req, size_t size, ByteView value) {
  if (size == 0) {
    fuse_reply_xattr(req, value.size());
  } else if (value.size() > size) {
    fuse_reply_err(req, ERANGE);
  } else {
    fuse_reply_buf(req, reinterpret_cast<const char*>(value.data()), value.size());
  }
}

void GetXattrOp(fuse_req_t req, fuse_ino_t node, const char* name, size_t size) {
  // The kernel asks before each write; the vault holds no file capabilities.
  if (std::strcmp(name, "security.capability") == 0) {
    fuse_reply_err(req, ENODATA);
    return;
  }
  Guard(req, [&](Request& r) {
    const InodeRef inode = r.Inode(node);
    if (!inode) return r.Reply(NoSuchInode());
    auto value = GetAnyXattr(r, inode, name);
    if (!value.ok()) return r.Refuse(value.status(), "GetXattr", inode);
    ReplyXattr(req, size, *value);
  });
}

// SetKey binds a folder or file to another CMK. That is for the owner, whatever
// the mode bits say.
Status SetKey(Request& r, const InodeRef& inode, const std::string& key) {
  struct stat st;
  KF_ASSIGN_OR_RETURN(const auto fd, r.inodes().Hold(inode));
  KF_RETURN_IF_ERROR(r.vault().Stat(fd.get(), &st));
  const std::string path = r.inodes().PathOf(inode);
  if (st.st_uid != r.caller().uid) {
    const Status refused(Error::kAccessDenied, "Only its owner may change its key.");
    KF_ASSIGN_OR_RETURN(const std::string now, KeyfoldXattr(r, inode, kKeyIdXattr));
    (void)r.vault().keys().RecordFileEvent(
        r.caller(), now,
        {inode->folder ? "SetFolderKey" : "SetFileKey", path, KeyUse::kWrite}, refused);
    return Status::FromErrno(EPERM, "set-key");
  }
  if (inode->folder)
    return AtPlace(r, inode, [&](const Place& place) -> Status {
      if (!place.folder && inode->node != FUSE_ROOT_ID) return NoSuchInode();
      return r.vault().SetFolderKey(place, *inode->folder, key, r.caller(), path);
    });
  if (!S_ISREG(inode->type)) return Status::FromErrno(EOPNOTSUPP, "set-key");
  const Status status = AtPlace(r, inode, [&](const Place& place) -> Status {
    if (!place.folder) return NoSuchInode();
    return r.vault().SetFileKey(place, fd.get(), key, r.caller(), path);
  });
  // Who has the file open may have no right to the new key, which may be the file's
  // even if it could not be synced.
  r.fs().Changed();
  return status;
}

Status SetAnyXattr(Request& r, const InodeRef& inode, const std::string& name,
                   ByteView value, int flags) {
  if (name.starts_with(kOwnPrefix)) return Status::FromErrno(EPERM, "xattr");
  if (!IsAcl(name) && !name.starts_with(kUserPrefix))
    return Status::FromErrno(EOPNOTSUPP, "xattr");
  KF_ASSIGN_OR_RETURN(const auto fd, HoldNamed(r, inode));
  if (IsAcl(name)) return r.vault().SetAcl(fd.get(), name, value, r.user());
  return r.vault().SetUserXattr(fd.get(), name.substr(kUserPrefix.size()), value,
                                flags);
}

Status RemoveAnyXattr(Request& r, const InodeRef& inode, const std::string& name) {
  if (name.starts_with(kOwnPrefix)) return Status::FromErrno(EPERM, "xattr");
  if (!IsAcl(name) && !name.starts_with(kUserPrefix))
    return Status::FromErrno(ENODATA, "xattr");
  KF_ASSIGN_OR_RETURN(const auto fd, HoldNamed(r, inode));
  if (IsAcl(name)) return r.vault().RemoveAcl(fd.get(), name);
  return r.vault().RemoveUserXattr(fd.get(), name.substr(kUserPrefix.size()));
}

void SetXattrOp(fuse_req_t req, fuse_ino_t node, const char* raw_name,
                const char* value, size_t size, int flags) {
  Guard(req, [&](Request& r) {
    const InodeRef inode = r.Inode(node);
    if (!inode) return r.Reply(NoSuchInode());
    const std::string name = raw_name;
    if (name == kKeyXattr) {
      const std::string key(value, size);
      const Status status = SetKey(r, inode, key);
      if (IsPostponed(status))
        return r.fs().Postpone([req, node, key, flags] {
          SetXattrOp(req, node, kKeyXattr, key.data(), key.size(), flags);
        });
      return r.Refuse(status, inode->folder ? "SetFolderKey" : "SetFileKey", inode);
    }
    const ByteView bytes(reinterpret_cast<const uint8_t*>(value), size);
    r.Refuse(SetAnyXattr(r, inode, name, bytes, flags), "SetXattr", inode);
  });
}

void ListXattrOp(fuse_req_t req, fuse_ino_t node, size_t size) {
  Guard(req, [&](Request& r) {
    const InodeRef inode = r.Inode(node);
    if (!inode) return r.Reply(NoSuchInode());
    const auto fd = HoldNamed(r, inode);
    auto names = fd.ok() ? r.vault().ListXattrs(fd->get()) : fd.status();
    if (!names.ok()) return r.Refuse(names.status(), "ListXattr", inode);
    std::string list;
    for (const std::string& name : *names) list += name + '\0';
    ReplyXattr(req, size, AsBytes(list));
  });
}

void RemoveXattrOp(fuse_req_t req, fuse_ino_t node, const char* raw_name) {
  Guard(req, [&](Request& r) {
    const InodeRef inode = r.Inode(node);
    if (!inode) return r.Reply(NoSuchInode());
    r.Refuse(RemoveAnyXattr(r, inode, raw_name), "RemoveXattr", inode);
  });
}

}  // namespace

void AddXattrOperations(fuse_lowlevel_ops* ops) {
  ops->getxattr = GetXattrOp;
  ops->setxattr = SetXattrOp;
  ops->listxattr = ListXattrOp;
  ops->removexattr = RemoveXattrOp;
}

}  // namespace keyfold
