#include "fs/format/Folder.h"

#include <algorithm>

namespace keyfold {
namespace {

bool SameBinding(const Binding& a, const Binding& b) {
  uint8_t difference = 0;
  for (size_t i = 0; i < kIdSize; ++i) difference |= a.bytes[i] ^ b.bytes[i];
  return difference == 0;
}

bool ValidBindings(std::vector<Binding> bindings, size_t most) {
  if (bindings.empty() || bindings.size() > most) return false;
  std::sort(bindings.begin(), bindings.end());
  return std::adjacent_find(bindings.begin(), bindings.end()) == bindings.end();
}

bool Valid(const FolderDescriptor& folder) {
  return !folder.id.IsZero() && IsKeyId(folder.key_id) &&
         ValidBindings(folder.bindings, kMaxFolderBindings);
}

bool Valid(const FileNames& names) {
  return !names.id.IsZero() && ValidBindings(names.bindings, kMaxNameBindings);
}

bool TakeBindings(ByteReader& reader, size_t count, std::vector<Binding>& out) {
  for (size_t i = 0; i < count; ++i) {
    auto raw = reader.Take(kIdSize);
    if (!raw) return false;
    out.push_back(*Binding::FromBytes(*raw));
  }
  return true;
}

Status CheckVersion(std::optional<uint8_t> version, uint8_t known,
                    const Status& corrupt) {
  if (version && *version > known)
    return Status(Error::kNewerFormat, "written by a newer Keyfold");
  return version == known ? OkStatus() : corrupt;
}

}  // namespace

bool HasBinding(const std::vector<Binding>& bindings, const Binding& binding) {
  bool found = false;
  for (const Binding& candidate : bindings) found |= SameBinding(candidate, binding);
  return found;
}

void AddBinding(std::vector<Binding>& bindings, const Binding& binding) {
  if (!HasBinding(bindings, binding)) bindings.push_back(binding);
}

void RemoveBinding(std::vector<Binding>& bindings, const Binding& binding) {
  std::erase(bindings, binding);
}

Result<Bytes> EncodeFolder(const FolderDescriptor& folder) {
  if (!Valid(folder))
    return Status(Error::kValidation, "folder descriptor is not valid");
  ByteWriter writer;
  writer.Integer(kFolderVersion);
  writer.Append(folder.id.view());
  writer.Append(folder.key_id);
  writer.Integer(static_cast<uint8_t>(folder.bindings.size()));
  for (const Binding& binding : folder.bindings) writer.Append(binding.view());
  return writer.Take();
}

Result<FolderDescriptor> ParseFolder(ByteView raw) {
  const Status corrupt(Error::kCorrupt, "folder descriptor is not valid");
  ByteReader reader(raw);
  KF_RETURN_IF_ERROR(CheckVersion(reader.Integer<uint8_t>(), kFolderVersion, corrupt));
  const auto id = reader.Take(kIdSize);
  const auto key_id = reader.Take(kKeyIdSize);
  const auto count = reader.Integer<uint8_t>();
  if (!id || !key_id || !count) return corrupt;
  FolderDescriptor folder{*FolderId::FromBytes(*id), std::string(AsText(*key_id)), {}};
  if (!TakeBindings(reader, *count, folder.bindings)) return corrupt;
  if (reader.remaining() != kMacSize || !Valid(folder)) return corrupt;
  return folder;
}

Result<Bytes> EncodeFileNames(const FileNames& names) {
  if (!Valid(names)) return Status(Error::kValidation, "file names are not valid");
  ByteWriter writer;
  writer.Integer(kNamesVersion);
  writer.Append(names.id.view());
  writer.Integer(static_cast<uint16_t>(names.bindings.size()));
  for (const Binding& binding : names.bindings) writer.Append(binding.view());
  return writer.Take();
}

Result<FileNames> ParseFileNames(ByteView raw) {
  const Status corrupt(Error::kCorrupt, "file names attribute is not valid");
  ByteReader reader(raw);
  KF_RETURN_IF_ERROR(CheckVersion(reader.Integer<uint8_t>(), kNamesVersion, corrupt));
  const auto id = reader.Take(kIdSize);
  const auto count = reader.Integer<uint16_t>();
  if (!id || !count) return corrupt;
  FileNames names{*FileId::FromBytes(*id), {}};
  if (!TakeBindings(reader, *count, names.bindings)) return corrupt;
  if (reader.remaining() != 0 || !Valid(names)) return corrupt;
  return names;
}

}  // namespace keyfold
