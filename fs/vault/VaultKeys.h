// VaultKeys: what is derived from the store's metadata key: names, bindings,
// extended attributes. Immutable and thread-safe.
#pragma once

#include <string>

#include "fs/format/Folder.h"
#include "fs/format/Ids.h"
#include "kms/crypto/Crypto.h"

namespace keyfold {

// NewId makes a random FileId or FolderId.
template <typename Id>
Id NewId() {
  Id id;
  FillRandom(id.bytes);
  return id;
}

class VaultKeys {
 public:
  VaultKeys(const MetadataKey& key, std::string store_id);

  // Names and symlink targets: AES-256-SIV bound to `aad`.
  Bytes SealName(ByteView aad, std::string_view name) const {
    return names_.Seal(aad, AsBytes(name));
  }
  Result<Bytes> OpenName(ByteView aad, ByteView sealed) const {
    return names_.Open(aad, sealed);
  }
  // Bind says that object `id` is called `name` in folder `parent`.
  template <typename Object>
  Binding Bind(const OpaqueId<Object>& id, const FolderId& parent,
               std::string_view name) const {
    return Truncated(BindingInput(store_id_, id, parent, name));
  }
  // Mac authenticates a folder descriptor.
  Sha256Digest Mac(ByteView data) const { return HmacSha256(bindings_, data); }
  Bytes SealXattr(ByteView aad, ByteView value) const {
    return SealBytes(xattrs_, aad, value);
  }
  Result<Bytes> OpenXattr(ByteView aad, ByteView sealed) const {
    return OpenBytes(xattrs_, aad, sealed);
  }
  const std::string& store_id() const { return store_id_; }

 private:
  Binding Truncated(ByteView input) const;

  const std::string store_id_;
  const DeterministicAead names_;
  const SecretBytes bindings_;
  const SecretBytes xattrs_;
};

}  // namespace keyfold
