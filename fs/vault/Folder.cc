#include "fs/vault/Folder.h"

#include <errno.h>

#include <set>

namespace keyfold {

Result<FolderDescriptor> ReadFolderDescriptor(const VaultKeys& keys, int fd) {
  KF_ASSIGN_OR_RETURN(auto raw, GetXattr(fd, std::string(kFolderXattr)));
  if (!raw) return Status(Error::kCorrupt, "the folder has no descriptor");
  KF_ASSIGN_OR_RETURN(FolderDescriptor folder, ParseFolder(*raw));
  const Sha256Digest mac = keys.Mac(FolderMacedBytes(*raw));
  if (!ConstantTimeEqual(mac, FolderMac(*raw)))
    return Status(Error::kCorrupt, "the folder's descriptor does not authenticate");
  return folder;
}

Status WriteFolderDescriptor(const VaultKeys& keys, int fd,
                             const FolderDescriptor& folder) {
  KF_ASSIGN_OR_RETURN(Bytes raw, EncodeFolder(folder));
  const Sha256Digest mac = keys.Mac(raw);
  raw.insert(raw.end(), mac.begin(), mac.end());
  return SetXattr(fd, std::string(kFolderXattr), raw);
}

Result<FileNames> ReadFileNames(int fd) {
  KF_ASSIGN_OR_RETURN(auto raw, GetXattr(fd, std::string(kNamesXattr)));
  if (!raw) return Status(Error::kCorrupt, "the file is bound to no name");
  return ParseFileNames(*raw);
}

Status WriteFileNames(int fd, const FileNames& names) {
  KF_ASSIGN_OR_RETURN(const Bytes raw, EncodeFileNames(names));
  return SetXattr(fd, std::string(kNamesXattr), raw);
}

Result<std::string> Folder::BackingName(std::string_view name) const {
  KF_RETURN_IF_ERROR(CheckName(name));
  const Bytes sealed = keys_.SealName(NameAad(id_), name);
  return IsLongSealed(sealed.size()) ? LongBackingName(Sha256(sealed))
                                     : ShortBackingName(sealed);
}

Status Folder::KeepLongName(const std::string& backing, std::string_view name) const {
  if (ClassifyBackingName(backing) != BackingNameKind::kLong) return OkStatus();
  const std::string sidecar = SidecarName(backing);
  const std::string text = EncodeSidecar(keys_.SealName(NameAad(id_), name));
  if (::symlinkat(text.c_str(), fd_.get(), sidecar.c_str()) == 0) return OkStatus();
  if (errno == EEXIST) {
    auto found = ReadLinkAt(fd_.get(), sidecar);
    if (found.ok() && *found == text) return OkStatus();
    // Not what belongs there: whoever put it there is not to keep a name hidden.
    if (::unlinkat(fd_.get(), sidecar.c_str(), 0) == 0 &&
        ::symlinkat(text.c_str(), fd_.get(), sidecar.c_str()) == 0)
      return OkStatus();
  }
  return Status::FromErrno(errno, "keep a long name");
}

void Folder::DropLongName(const std::string& backing) const {
  if (ClassifyBackingName(backing) == BackingNameKind::kLong)
    (void)::unlinkat(fd_.get(), SidecarName(backing).c_str(), 0);
}

void Folder::SweepLeftovers(int folder) {
  auto real = OpenAt(folder, ".", O_RDONLY | O_DIRECTORY);
  if (!real.ok()) return;
  std::vector<std::string> names;
  if (!ForEachEntry(std::move(*real), [&](const char* name) {
         names.emplace_back(name);
       }).ok())
    return;
  const std::set<std::string> present(names.begin(), names.end());
  for (const std::string& name : names) {
    const bool temporary = name.starts_with(kTemporaryPrefix);
    const bool orphan = ClassifyBackingName(name) == BackingNameKind::kSidecar &&
                        !present.contains(LongOfSidecar(name));
    if (!temporary && !orphan) continue;
    if (::unlinkat(folder, name.c_str(), 0) != 0 && temporary)
      (void)::unlinkat(folder, name.c_str(), AT_REMOVEDIR);
  }
}

std::optional<std::string> Folder::PlainName(const std::string& backing) const {
  Bytes sealed;
  switch (ClassifyBackingName(backing)) {
    case BackingNameKind::kShort: {
      auto decoded = SealedFromShort(backing);
      if (!decoded.ok()) return std::nullopt;
      sealed = std::move(*decoded);
      break;
    }
    case BackingNameKind::kLong: {
      auto text = ReadLinkAt(fd_.get(), SidecarName(backing));
      if (!text.ok()) return std::nullopt;
      auto stored = DecodeSidecar(*text);
      if (!stored.ok() || LongBackingName(Sha256(*stored)) != backing)
        return std::nullopt;
      sealed = std::move(*stored);
      break;
    }
    case BackingNameKind::kSidecar:
    case BackingNameKind::kForeign:
      return std::nullopt;
  }
  auto name = keys_.OpenName(NameAad(id_), sealed);
  if (!name.ok() || !CheckName(AsText(*name)).ok()) return std::nullopt;
  return std::string(AsText(*name));
}

Result<std::string> Folder::SymlinkTarget(std::string_view name,
                                          const std::string& text) const {
  const auto sealed = DecodeSymlink(text);
  if (!sealed.ok()) return Status(Error::kCorrupt, "the symbolic link was altered");
  auto target = keys_.OpenName(SymlinkAad(id_, name), *sealed);
  if (!target.ok())
    return Status(Error::kCorrupt, "the symbolic link was altered or moved");
  return std::string(AsText(*target));
}

}  // namespace keyfold
