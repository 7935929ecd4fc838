#include <sys/stat.h>

#include <cstring>

#include "fs/fuse/Request.h"

namespace keyfold {
namespace {

void LookupOp(fuse_req_t req, fuse_ino_t parent, const char* name) {
  Guard(req, [&](Request& r) {
    const InodeRef folder = r.Inode(parent);
    if (!folder) return r.Reply(NoSuchInode());
    fuse_entry_param entry;
    const Status status = r.Lookup(folder, name, &entry);
    if (status.sys_errno() == ENOENT) {
      std::memset(&entry, 0, sizeof entry);
      entry.entry_timeout = kCacheSeconds;  // remembered as absent
    } else if (IsPostponed(status)) {
      return r.fs().Postpone([req, parent, child = std::string(name)] {
        LookupOp(req, parent, child.c_str());
      });
    } else if (!status.ok()) {
      return r.Refuse(status, "LookupFile", folder, name);
    }
    if (fuse_reply_entry(req, &entry) != 0 && entry.ino != 0)
      r.inodes().Forget(entry.ino, 1);
  });
}

void ForgetOp(fuse_req_t req, fuse_ino_t node, uint64_t count) {
  static_cast<FuseMount::Impl*>(fuse_req_userdata(req))->inodes.Forget(node, count);
  fuse_reply_none(req);
}

void ForgetMultiOp(fuse_req_t req, size_t count, fuse_forget_data* forgets) {
  auto& fs = *static_cast<FuseMount::Impl*>(fuse_req_userdata(req));
  for (size_t i = 0; i < count; ++i)
    fs.inodes.Forget(forgets[i].ino, forgets[i].nlookup);
  fuse_reply_none(req);
}

void ReadLinkOp(fuse_req_t req, fuse_ino_t node) {
  Guard(req, [&](Request& r) {
    const InodeRef inode = r.Inode(node);
    if (!inode) return r.Reply(NoSuchInode());
    auto target = AtPlace(r, inode, [&](const Place& place) -> Result<std::string> {
      KF_ASSIGN_OR_RETURN(const auto fd, r.inodes().Hold(inode));
      return r.vault().ReadSymlink(place, fd.get());
    });
    if (!target.ok()) return r.Refuse(target.status(), "ReadLink", inode);
    fuse_reply_readlink(req, target->c_str());
  });
}

// Make runs `action` on the place and answers with the new entry.
template <typename Action>
void Make(fuse_req_t req, fuse_ino_t parent, const char* name, const char* event,
          Action&& action) {
  Guard(req, [&](Request& r) {
    const InodeRef folder = r.Inode(parent);
    if (!folder || !folder->folder) return r.Reply(NoSuchInode());
    const Status status = action(r, folder, Place{folder->folder, name});
    if (!status.ok()) return r.Refuse(status, event, folder, name);
    LookupOp(req, parent, name);
  });
}

void MkNodOp(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode,
             dev_t dev) {
  Make(req, parent, name, "CreateFile",
       [&](Request& r, const InodeRef& folder, const Place& place) -> Status {
         // A mode without a type is a file's, as for mknod(2).
         const bool file = S_ISREG(mode) || (mode & S_IFMT) == 0;
         if (!file) return r.vault().MakeNode(place, mode, dev, r.user());
         KF_ASSIGN_OR_RETURN(
             auto made,
             r.vault().Create(place, mode, r.user(), r.inodes().PathOf(folder, name)));
         r.vault().Close(made.handle);
         return OkStatus();
       });
}

void MkDirOp(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode) {
  Make(req, parent, name, "CreateFolder",
       [&](Request& r, const InodeRef&, const Place& place) {
         return r.vault().MakeFolder(place, mode, r.user());
       });
}

void SymlinkOp(fuse_req_t req, const char* target, fuse_ino_t parent,
               const char* name) {
  Make(req, parent, name, "CreateLink",
       [&](Request& r, const InodeRef&, const Place& place) {
         return r.vault().MakeSymlink(place, target, r.user());
       });
}

void LinkOp(fuse_req_t req, fuse_ino_t node, fuse_ino_t parent, const char* name) {
  Make(req, parent, name, "LinkFile",
       [&](Request& r, const InodeRef&, const Place& to) -> Status {
         const InodeRef inode = r.Inode(node);
         if (!inode) return NoSuchInode();
         return AtPlace(r, inode, [&](const Place& from) -> Status {
           // Without a known name the kernel has to look the file up again.
           if (!from.folder) return NoSuchInode();
           KF_ASSIGN_OR_RETURN(const auto fd, r.inodes().Hold(inode));
           return r.vault().Link(from, fd.get(), to, r.user());
         });
       });
}

void UnlinkOp(fuse_req_t req, fuse_ino_t parent, const char* name) {
  Guard(req, [&](Request& r) {
    const InodeRef folder = r.Inode(parent);
    if (!folder || !folder->folder) return r.Reply(NoSuchInode());
    r.Reply(r.vault().Unlink({folder->folder, name}, [&](ino_t ino) {
      r.inodes().Unnamed(ino, folder, name);
    }));
  });
}

void RmDirOp(fuse_req_t req, fuse_ino_t parent, const char* name) {
  Guard(req, [&](Request& r) {
    const InodeRef folder = r.Inode(parent);
    if (!folder || !folder->folder) return r.Reply(NoSuchInode());
    r.Reply(r.vault().RemoveFolder({folder->folder, name}));
  });
}

InodeTable::MadeAnew Anchored(Request& r, UniqueFd link) {
  struct stat st;
  if (!link.valid() || ::fstatat(link.get(), "", &st, AT_EMPTY_PATH) != 0) return {};
  return {r.fs().AnchorOf(std::move(link)), st.st_ino};
}

void RenameOp(fuse_req_t req, fuse_ino_t parent, const char* name,
              fuse_ino_t new_parent, const char* new_name, unsigned flags) {
  Guard(req, [&](Request& r) {
    const InodeRef from = r.Inode(parent), to = r.Inode(new_parent);
    if (!from || !from->folder || !to || !to->folder) return r.Reply(NoSuchInode());
    const Status status = r.vault().Rename(
        {from->folder, name}, {to->folder, new_name}, flags, [&](Vault::Moved& moved) {
          if (moved.exchanged)
            r.inodes().Renamed(moved.other, from, name,
                               Anchored(r, std::move(moved.new_other)));
          else if (moved.other != 0)
            r.inodes().Unnamed(moved.other, to, new_name);
          r.inodes().Renamed(moved.object, to, new_name,
                             Anchored(r, std::move(moved.new_object)));
        });
    if (!status.ok()) return r.Refuse(status, "RenameFile", from, name);
    r.Fail(0);
  });
}

}  // namespace

void AddNameOperations(fuse_lowlevel_ops* ops) {
  ops->lookup = LookupOp;
  ops->forget = ForgetOp;
  ops->forget_multi = ForgetMultiOp;
  ops->readlink = ReadLinkOp;
  ops->mknod = MkNodOp;
  ops->mkdir = MkDirOp;
  ops->symlink = SymlinkOp;
  ops->link = LinkOp;
  ops->unlink = UnlinkOp;
  ops->rmdir = RmDirOp;
  ops->rename = RenameOp;
}

}  // namespace keyfold
