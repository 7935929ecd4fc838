// Folder: the extended attributes that tie folders and files to their names.
//
// Owns: the bytes of user.keyfold.folder and user.keyfold.names and of the
// inputs of their MACs. Must not know: keys; fs/vault computes the MACs and
// bindings. Plain values, not synchronised.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fs/format/Ids.h"
#include "kms/base/Bytes.h"
#include "kms/base/Status.h"

namespace keyfold {

inline constexpr std::string_view kFolderXattr = "user.keyfold.folder";
inline constexpr std::string_view kNamesXattr = "user.keyfold.names";
inline constexpr uint8_t kFolderVersion = 1;
inline constexpr uint8_t kNamesVersion = 1;
// Opens a binding's HMAC input: a descriptor's, under the same key, begins with
// its version byte instead.
inline constexpr std::string_view kBindingLabel = "binding";
inline constexpr size_t kMaxFolderBindings = 3;
// 19 + 16 n bytes fit the 64 KiB the kernel allows an attribute.
inline constexpr size_t kMaxNameBindings = 4094;

// Binding is a truncated HMAC that ties an object to one of its names.
using Binding = OpaqueId<struct BindingTag>;

// Operations on a set of bindings, shared by folders and files. Comparison takes time
// independent of the bytes, since one side is a MAC.
bool HasBinding(const std::vector<Binding>& bindings, const Binding& binding);
// AddBinding does nothing when it is there already.
void AddBinding(std::vector<Binding>& bindings, const Binding& binding);
void RemoveBinding(std::vector<Binding>& bindings, const Binding& binding);

// FolderDescriptor says which folder a backing directory is, which CMK new
// files get, and where it hangs.
struct FolderDescriptor {
  FolderId id;
  std::string key_id;             // UUID of the CMK
  std::vector<Binding> bindings;  // 1 to 3, distinct

  bool operator==(const FolderDescriptor&) const = default;
};

// EncodeFolder returns the bytes that are MACed; the MAC of 32 bytes follows
// them in the attribute. kValidation when a field is out of range.
Result<Bytes> EncodeFolder(const FolderDescriptor& folder);
// ParseFolder reads an attribute value, MAC included, and checks all but the
// MAC. kNewerFormat for a higher version, kCorrupt else.
Result<FolderDescriptor> ParseFolder(ByteView raw);
// The bytes the MAC is computed over, and the MAC, of an attribute value that
// ParseFolder accepted.
inline ByteView FolderMacedBytes(ByteView raw) {
  return raw.first(raw.size() - kMacSize);
}
inline ByteView FolderMac(ByteView raw) { return raw.last(kMacSize); }

// FileNames lists the bindings of a file's names: one per hard link, and while
// a rename is under way the old and the new.
struct FileNames {
  FileId id;
  std::vector<Binding> bindings;  // 1 to kMaxNameBindings, distinct

  bool operator==(const FileNames&) const = default;
};

// Each binding is a MAC by itself, so the attribute needs none.
Result<Bytes> EncodeFileNames(const FileNames& names);
Result<FileNames> ParseFileNames(ByteView raw);

// BindingInput is the HMAC input for the name `name` of object `object` in
// folder `parent`; the binding is the first 16 bytes of the HMAC. The root
// folder has a zero parent and an empty name. A store id or name above 65,535
// bytes aborts.
template <typename Object>
Bytes BindingInput(std::string_view store_id, const OpaqueId<Object>& object,
                   const FolderId& parent, std::string_view name) {
  ByteWriter writer;
  writer.Prefixed(kBindingLabel);
  writer.Prefixed(store_id);
  writer.Append(object.view());
  writer.Append(parent.view());
  writer.Prefixed(name);
  return writer.Take();
}

}  // namespace keyfold
