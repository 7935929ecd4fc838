// Names: how encrypted names, symlink targets and extended attribute names are
// written in the backing tree.
//
// Owns: the strings, their limits and the associated data. Must not know: keys;
// fs/vault seals and opens (AES-256-SIV, RFC 5297) and hashes. Stateless.
#pragma once

#include <string>
#include <string_view>

#include "fs/format/Ids.h"
#include "kms/base/Bytes.h"
#include "kms/base/Status.h"

namespace keyfold {

inline constexpr size_t kSivOverhead = 16;
inline constexpr size_t kMaxNameSize = 255;       // NAME_MAX, plaintext bytes
inline constexpr size_t kMaxShortNameSize = 175;  // its encoding fills 255 characters
inline constexpr size_t kMaxSymlinkTarget = 3050;
inline constexpr size_t kNameHashSize = 32;
inline constexpr char kLongNamePrefix = '=';
inline constexpr std::string_view kSidecarSuffix = ".name";
inline constexpr std::string_view kUserXattrPrefix = "user.kf.";
inline constexpr size_t kMaxXattrName = 169;  // plaintext bytes

// CheckName accepts 1 to 255 bytes without '/' or NUL, other than "." and "..".
// kSystem with ENAMETOOLONG or EINVAL else.
Status CheckName(std::string_view name);
// CheckSymlinkTarget accepts 1 to 3050 bytes without NUL. kSystem with ENOENT
// (empty, as symlink(2) says), ENAMETOOLONG or EINVAL else.
Status CheckSymlinkTarget(std::string_view target);

// What a name in a backing directory is.
enum class BackingNameKind {
  kShort,    // the sealed name itself
  kLong,     // the hash of a sealed name that is too long
  kSidecar,  // the symlink beside a long name whose text is the sealed name
  kForeign,  // no Keyfold wrote it
};
BackingNameKind ClassifyBackingName(std::string_view backing_name);

// IsLongSealed tells whether a sealed name of this many bytes needs a sidecar.
constexpr bool IsLongSealed(size_t sealed_size) {
  return sealed_size > kMaxShortNameSize + kSivOverhead;
}
// IsSealedNameSize tells whether some valid name seals to this many bytes.
constexpr bool IsSealedNameSize(size_t sealed_size) {
  return sealed_size > kSivOverhead && sealed_size <= kMaxNameSize + kSivOverhead;
}
// ShortBackingName and its inverse; the inverse is kCorrupt unless `backing`
// is of kind kShort. A sealed name that needs a sidecar aborts.
std::string ShortBackingName(ByteView sealed);
Result<Bytes> SealedFromShort(std::string_view backing);
// LongBackingName takes the SHA-256 of the sealed name; another size aborts.
std::string LongBackingName(ByteView sealed_hash);
// SidecarName is the sidecar of a name of kind kLong, LongOfSidecar the inverse.
std::string SidecarName(std::string_view long_name);
std::string LongOfSidecar(std::string_view sidecar_name);

// The text of a sidecar. kCorrupt when no long name seals to it.
std::string EncodeSidecar(ByteView sealed);
Result<Bytes> DecodeSidecar(std::string_view text);

// NameAad is the associated data of a sealed name. SymlinkAad, that of a
// symlink's target, is always longer, so one cannot stand in for the other.
Bytes NameAad(const FolderId& parent);
Bytes SymlinkAad(const FolderId& parent, std::string_view name);

// The text of a backing symlink. kCorrupt when no target seals to it.
std::string EncodeSymlink(ByteView sealed);
Result<Bytes> DecodeSymlink(std::string_view text);

// The backing name of a user's extended attribute. kCorrupt for a name that is
// not of this form.
std::string EncodeXattrName(ByteView sealed);
Result<Bytes> DecodeXattrName(std::string_view backing_name);
// Associated data of an attribute's sealed name and of its value: both are bound
// to the file or folder that carries it. Prefixed, so that neither can stand in
// for a file name or a symlink's target.
Bytes XattrNameAad(ByteView object_id);
Bytes XattrValueAad(ByteView object_id, std::string_view name);

}  // namespace keyfold
