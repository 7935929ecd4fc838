// An open file as FUSE sees it: the vault's handle behind fuse_file_info::fh.
#pragma once

#include <memory>

#include "fs/fuse/Request.h"

namespace keyfold {

inline std::shared_ptr<Handle>& HandleOf(fuse_file_info* fi) {
  return *reinterpret_cast<std::shared_ptr<Handle>*>(fi->fh);
}

// OpenInode opens the file for the request's caller. kSystem/ESTALE when the
// kernel has to look it up again first, kSystem/EAGAIN as Vault::OpenFile.
Result<std::shared_ptr<Handle>> OpenInode(Request& r, const InodeRef& inode, KeyUse use,
                                          const char* event);

// ForgetAttributes makes the kernel ask for a file's attributes again. It learns of
// sizes and times by itself, but not how much space what it wrote back takes.
inline void ForgetAttributes(Request& r, fuse_ino_t node) {
  (void)fuse_lowlevel_notify_inval_inode(r.fs().session, node, -1, 0);
}

// ClearSetId takes the set-id bits from a file whose contents the caller changes,
// unless it may keep them.
Status ClearSetId(Request& r, const InodeRef& inode);

// RefuseContents answers with why the contents can't be read or written, on
// record if they are not what Keyfold wrote. The kernel reads ahead and writes
// back in no one's name: the handle says for whom.
void RefuseContents(Request& r, const Handle& handle, const char* event,
                    const Status& status);

}  // namespace keyfold
