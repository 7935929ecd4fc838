// SecretBytes: memory for keys. Move-only, locked where the limits allow,
// excluded from core dumps, wiped before it is freed.
//
// Raw bytes are reachable only with a SecretAccess token, which only
// kms/crypto may construct. Not synchronised: one owner at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace keyfold {

using ByteView = std::span<const uint8_t>;
using MutableBytes = std::span<uint8_t>;

// SecretAccess is the permission to see raw key bytes. Its constructor is
// private to the cryptographic library.
class SecretAccess {
 private:
  SecretAccess() = default;
  friend class CryptoInternal;
};

class SecretBytes {
 public:
  SecretBytes() = default;
  // Allocates `size` zeroed bytes: up to 64 in a shared arena of locked pages,
  // more on pages of their own.
  explicit SecretBytes(size_t size);
  SecretBytes(SecretBytes&& other) noexcept;
  SecretBytes& operator=(SecretBytes&& other) noexcept;
  SecretBytes(const SecretBytes&) = delete;
  SecretBytes& operator=(const SecretBytes&) = delete;
  ~SecretBytes() { Reset(); }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  // Reset wipes, unlocks and frees; the object is then empty.
  void Reset();

  ByteView Expose(const SecretAccess&) const { return {data_, size_}; }
  MutableBytes ExposeMutable(const SecretAccess&) { return {data_, size_}; }

 private:
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

// SecretKey<Tag> gives each kind of key a type of its own, so that a data key
// cannot be passed where key material of a CMK is meant.
template <typename Tag>
class SecretKey {
 public:
  SecretKey() = default;
  explicit SecretKey(SecretBytes bytes) : bytes_(std::move(bytes)) {}
  bool empty() const { return bytes_.empty(); }
  const SecretBytes& bytes() const { return bytes_; }
  SecretBytes Release() { return std::move(bytes_); }

 private:
  SecretBytes bytes_;
};

using RootKey = SecretKey<struct RootKeyTag>;          // 32 bytes
using CmkMaterial = SecretKey<struct CmkMaterialTag>;  // 28 to 64 bytes
using DataKey = SecretKey<struct DataKeyTag>;          // 32 bytes
using MetadataKey = SecretKey<struct MetadataKeyTag>;  // 32 bytes

}  // namespace keyfold
