#include "kms/service/Backup.h"

#include <nlohmann/json.hpp>
#include <optional>

#include "kms/crypto/Crypto.h"

namespace keyfold {
namespace {

using nlohmann::json;

// On disk: never change.
constexpr std::string_view kMagic = "KFBACKUP";
constexpr uint16_t kNewestFormat = 2;
constexpr size_t kMostDescription = 1 << 20;

Status Damaged() {
  return {Error::kCorrupt,
          "The backup is damaged or was cut short. Take another copy of it."};
}

// A checksum tells damage from a wrong root key.
struct Parts {
  uint16_t format = 0;
  ByteView plain;  // up to the end of the description: what is authenticated too
  ByteView description, sealed;
};

Result<Parts> Split(ByteView file) {
  ByteReader reader(file);
  const auto magic = reader.Take(kMagic.size());
  if (!magic || AsText(*magic) != kMagic)
    return Status(Error::kNotAStore,
                  "This is no backup of a key store. Name a file that keyfold kms "
                  "backup made.");
  const auto format = reader.Integer<uint16_t>();
  if (!format || *format == 0) return Damaged();
  if (*format > kNewestFormat)
    return Status(Error::kNewerFormat,
                  "The backup is of format " + std::to_string(*format) +
                      ", and this Keyfold knows backups up to format " +
                      std::to_string(kNewestFormat) + ". Use a newer Keyfold.");
  const auto size = reader.Integer<uint32_t>();
  if (!size || *size > kMostDescription) return Damaged();
  Parts parts;
  parts.format = *format;
  const auto description = reader.Take(*size);
  if (!description || reader.remaining() < kSha256Size) return Damaged();
  parts.description = *description;
  parts.plain = file.first(file.size() - reader.remaining());
  parts.sealed = *reader.Take(reader.remaining() - kSha256Size);
  const Sha256Digest digest = Sha256(file.first(file.size() - kSha256Size));
  if (!ConstantTimeEqual(digest, file.last(kSha256Size))) return Damaged();
  return parts;
}

std::optional<Table> TableOf(std::string_view name) {
  for (Table table : kAllTables)
    if (TableName(table) == name) return table;
  return std::nullopt;
}

std::optional<Change> ReadRow(ByteReader& reader) {
  const auto name = reader.Prefixed();
  const auto id = reader.Prefixed();
  const auto mac = reader.Prefixed();
  const auto size = reader.Integer<uint64_t>();
  if (!name || !id || !mac || !size) return std::nullopt;
  const auto table = TableOf(AsText(*name));
  const auto body = reader.Take(*size);
  if (!table || !body) return std::nullopt;
  return Change{*table,
                {std::string(AsText(*id)),
                 std::string(AsText(*body)),
                 {mac->begin(), mac->end()}},
                false};
}

}  // namespace

Bytes SealBackup(const SecretBytes& key, const BackupDescription& description,
                 const std::vector<Change>& rows) {
  ByteWriter inside;
  for (const Change& change : rows) {
    inside.Prefixed(TableName(change.table));
    inside.Prefixed(change.row.id);
    inside.Prefixed(ByteView(change.row.mac));
    inside.Integer(static_cast<uint64_t>(change.row.body.size()));
    inside.Append(change.row.body);
  }
  const std::string text = json{{"storeId", description.store_id},
                                {"created", description.created},
                                {"keyStoreSequence", description.sequence},
                                {"configuration", description.configuration}}
                               .dump(-1, ' ', false, json::error_handler_t::replace);
  ByteWriter out;
  out.Append(kMagic);
  out.Integer(description.format);
  out.Integer(static_cast<uint32_t>(text.size()));
  out.Append(text);
  const Bytes sealed = SealBytes(key, out.bytes(), inside.bytes());
  out.Append(ByteView(sealed));
  const Sha256Digest digest = Sha256(out.bytes());
  out.Append(ByteView(digest));
  return out.Take();
}

Result<BackupDescription> DescribeBackup(ByteView file) {
  KF_ASSIGN_OR_RETURN(const Parts parts, Split(file));
  const json object = json::parse(AsText(parts.description), nullptr, false);
  if (!object.is_object()) return Damaged();
  BackupDescription out;
  out.format = parts.format;
  const auto sequence = object.find("keyStoreSequence");
  if (sequence == object.end() || !sequence->is_number_unsigned()) return Damaged();
  out.sequence = sequence->get<uint64_t>();
  for (const auto& [name, text] :
       {std::pair{"storeId", &out.store_id}, std::pair{"created", &out.created},
        std::pair{"configuration", &out.configuration}}) {
    const auto member = object.find(name);
    if (member == object.end() || !member->is_string()) return Damaged();
    *text = member->get<std::string>();
  }
  return out;
}

Result<std::vector<Change>> OpenBackup(const SecretBytes& key, ByteView file) {
  KF_ASSIGN_OR_RETURN(const Parts parts, Split(file));
  const auto inside = OpenBytes(key, parts.plain, parts.sealed);
  if (!inside.ok())
    return Status(Error::kWrongCredential,
                  "The backup was made under another root key than this one, or was "
                  "altered. Nothing was changed.");
  std::vector<Change> rows;
  ByteReader reader(*inside);
  while (reader.remaining() > 0) {
    auto row = ReadRow(reader);
    if (!row) return Damaged();
    rows.push_back(*std::move(row));
  }
  return rows;
}

}  // namespace keyfold
