// Vault: an encrypted tree. Folders with encrypted names and a CMK each; files
// with a DEK each; handles bound to who opened them.
//
// Owns: naming, binding and content cryptography, authorization at open,
// revocation. Must not know: FUSE, sockets, how keys are kept. Thread-safe.
#pragma once

#include <sys/stat.h>

#include <functional>
#include <memory>
#include <string>

#include "kms/base/Status.h"
#include "kms/service/DataKeys.h"

namespace keyfold {

struct VaultOptions {
  std::string tree_path;  // STORE/tree
  std::string store_id;   // UUID
};

class Folder;
class File;
class Handle;

class Vault {
 public:
  // CreateTree makes the root folder of a new store, bound to `key_id`.
  static Status CreateTree(const VaultOptions& options, const MetadataKey& key,
                           const std::string& key_id);
  // Open opens the tree. kCorrupt when the root folder does not authenticate.
  static Result<std::unique_ptr<Vault>> Open(const VaultOptions& options,
                                             const MetadataKey& key, DataKeys& keys);
  ~Vault();

  struct Impl;
  Impl& impl() { return *impl_; }

 private:
  Vault();
  std::unique_ptr<Impl> impl_;
};

}  // namespace keyfold
