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

}  // namespace keyfold
