#include "fs/vault/VaultKeys.h"

#include <algorithm>

namespace keyfold {

VaultKeys::VaultKeys(const MetadataKey& key, std::string store_id)
    : store_id_(std::move(store_id)),
      names_(Hkdf(key.bytes(), {}, AsBytes(kNamesKeyLabel), 64)),
      bindings_(Hkdf(key.bytes(), {}, AsBytes(kBindingsKeyLabel))),
      xattrs_(Hkdf(key.bytes(), {}, AsBytes(kXattrsKeyLabel))) {}

Binding VaultKeys::Truncated(ByteView input) const {
  const Sha256Digest full = Mac(input);
  Binding binding;
  std::copy_n(full.begin(), binding.bytes.size(), binding.bytes.begin());
  return binding;
}

}  // namespace keyfold
