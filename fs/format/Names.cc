#include "fs/format/Names.h"

#include <cerrno>
#include <cstdlib>

namespace keyfold {
namespace {

constexpr size_t Base64UrlSize(size_t bytes) { return (bytes * 4 + 2) / 3; }
constexpr size_t kLongNameSize = 1 + Base64UrlSize(kNameHashSize);
constexpr size_t kMaxLinkText = 4095;  // PATH_MAX without its NUL

static_assert(Base64UrlSize(kMaxShortNameSize + kSivOverhead) == kMaxNameSize);
static_assert(Base64UrlSize(kMaxSymlinkTarget + kSivOverhead) <= kMaxLinkText);
static_assert(kUserXattrPrefix.size() + Base64UrlSize(kMaxXattrName + kSivOverhead) ==
              255);

// Decodes a sealed string of 1 to `most` plaintext bytes.
std::optional<Bytes> Unarmor(std::string_view text, size_t most) {
  if (text.size() > Base64UrlSize(most + kSivOverhead)) return std::nullopt;
  auto sealed = FromBase64Url(text);
  if (!sealed || sealed->size() <= kSivOverhead) return std::nullopt;
  return sealed;
}

bool IsLongName(std::string_view name) {
  if (name.size() != kLongNameSize || name[0] != kLongNamePrefix) return false;
  auto hash = FromBase64Url(name.substr(1));
  return hash && hash->size() == kNameHashSize;
}

}  // namespace

Status CheckName(std::string_view name) {
  if (name.size() > kMaxNameSize) return Status::FromErrno(ENAMETOOLONG, "name");
  if (name.empty() || name == "." || name == ".." || name.find('/') != name.npos ||
      name.find('\0') != name.npos)
    return Status::FromErrno(EINVAL, "name");
  return OkStatus();
}

Status CheckSymlinkTarget(std::string_view target) {
  if (target.empty()) return Status::FromErrno(ENOENT, "symlink target");
  if (target.size() > kMaxSymlinkTarget)
    return Status::FromErrno(ENAMETOOLONG, "symlink target");
  if (target.find('\0') != target.npos)
    return Status::FromErrno(EINVAL, "symlink target");
  return OkStatus();
}

BackingNameKind ClassifyBackingName(std::string_view backing_name) {
  if (IsLongName(backing_name)) return BackingNameKind::kLong;
  if (backing_name.ends_with(kSidecarSuffix) &&
      IsLongName(backing_name.substr(0, backing_name.size() - kSidecarSuffix.size())))
    return BackingNameKind::kSidecar;
  return Unarmor(backing_name, kMaxShortNameSize) ? BackingNameKind::kShort
                                                  : BackingNameKind::kForeign;
}

std::string ShortBackingName(ByteView sealed) {
  if (IsLongSealed(sealed.size())) std::abort();
  return ToBase64Url(sealed);
}

Result<Bytes> SealedFromShort(std::string_view backing) {
  auto sealed = Unarmor(backing, kMaxShortNameSize);
  if (!sealed) return Status(Error::kCorrupt, "not an encrypted name");
  return *std::move(sealed);
}

std::string LongBackingName(ByteView sealed_hash) {
  if (sealed_hash.size() != kNameHashSize) std::abort();
  return kLongNamePrefix + ToBase64Url(sealed_hash);
}

std::string SidecarName(std::string_view long_name) {
  return std::string(long_name).append(kSidecarSuffix);
}

std::string LongOfSidecar(std::string_view sidecar_name) {
  if (!sidecar_name.ends_with(kSidecarSuffix)) std::abort();
  return std::string(
      sidecar_name.substr(0, sidecar_name.size() - kSidecarSuffix.size()));
}

std::string EncodeSidecar(ByteView sealed) { return ToBase64Url(sealed); }

Result<Bytes> DecodeSidecar(std::string_view text) {
  auto sealed = Unarmor(text, kMaxNameSize);
  if (!sealed || !IsLongSealed(sealed->size()))
    return Status(Error::kCorrupt, "not the sidecar of a long name");
  return *std::move(sealed);
}

Bytes NameAad(const FolderId& parent) {
  return Bytes(parent.bytes.begin(), parent.bytes.end());
}

Bytes SymlinkAad(const FolderId& parent, std::string_view name) {
  ByteWriter writer;
  writer.Prefixed("symlink");
  writer.Append(parent.view());
  writer.Prefixed(name);
  return writer.Take();
}

std::string EncodeSymlink(ByteView sealed) { return ToBase64Url(sealed); }

Result<Bytes> DecodeSymlink(std::string_view text) {
  auto sealed = Unarmor(text, kMaxSymlinkTarget);
  if (!sealed) return Status(Error::kCorrupt, "not an encrypted symlink");
  return *std::move(sealed);
}

std::string EncodeXattrName(ByteView sealed) {
  return std::string(kUserXattrPrefix) + ToBase64Url(sealed);
}

Result<Bytes> DecodeXattrName(std::string_view backing_name) {
  const Status corrupt(Error::kCorrupt, "not an encrypted attribute name");
  if (!backing_name.starts_with(kUserXattrPrefix)) return corrupt;
  auto sealed = Unarmor(backing_name.substr(kUserXattrPrefix.size()), kMaxXattrName);
  if (!sealed) return corrupt;
  return *std::move(sealed);
}

Bytes XattrNameAad(ByteView object_id) {
  ByteWriter aad;
  aad.Prefixed("xattr");
  aad.Append(object_id);
  return aad.Take();
}

Bytes XattrValueAad(ByteView object_id, std::string_view name) {
  ByteWriter aad;
  aad.Prefixed("xattr value");
  aad.Append(object_id);
  aad.Prefixed(name);
  return aad.Take();
}

}  // namespace keyfold
