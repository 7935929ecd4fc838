#include "fs/format/Header.h"

#include <algorithm>

namespace keyfold {
namespace {

constexpr size_t kHoleSize = 16;
constexpr uint8_t kTornFlag = 1;
constexpr uint16_t kFormatWithoutCheckpoints = 1;

Status Corrupt(const char* what) {
  return Status(Error::kCorrupt, std::string("file header: ") + what);
}

bool AllZero(ByteView bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t b) { return b == 0; });
}

// The ranges both directions enforce. Holes are canonical by construction.
const char* Complaint(const HeaderSlot& slot) {
  if (slot.type != HeaderType::kRegularFile) return "unknown type";
  if (slot.file_id.IsZero()) return "no file id";
  if (!IsKeyId(slot.key_id)) return "key id is not a UUID";
  if (slot.blob.empty() || slot.blob.size() > kMaxBlobSize) return "wrapped key size";
  if (slot.length > kMaxFileSize) return "length is too large";
  if (slot.key_epoch > kMaxKeyEpoch) return "key epoch is too large";
  if (slot.seals_in_epoch > kMaxSealsPerEpoch) return "seal count is too large";
  if (!slot.holes.FitsLength(slot.length)) return "hole behind the end";
  if (slot.synced_length > slot.length) return "synced behind the end";
  if (slot.former &&
      (slot.former->end_epoch == 0 || slot.former->end_epoch > slot.key_epoch))
    return "epoch of the former key";
  return nullptr;
}

// Fields takes fixed fields from a slot whose size was checked, so running out
// of bytes is a bug here, not bad input.
class Fields {
 public:
  explicit Fields(ByteView raw) : reader_(raw) {}
  ByteView Take(size_t size) {
    auto bytes = reader_.Take(size);
    if (!bytes) std::abort();
    return *bytes;
  }
  template <typename T>
  T Integer() {
    auto value = reader_.Integer<T>();
    if (!value) std::abort();
    return *value;
  }
  ByteView Rest() { return Take(reader_.remaining()); }

 private:
  ByteReader reader_;
};

Result<HoleList> ParseHoles(Fields& fields, uint64_t length) {
  const auto count = fields.Integer<uint16_t>();
  if (count > kMaxHoles) return Corrupt("too many holes");
  std::vector<HoleRange> ranges;
  for (size_t i = 0; i < count; ++i) {
    const GroupNo first(fields.Integer<uint64_t>());
    ranges.push_back({first, fields.Integer<uint64_t>()});
  }
  return HoleList::FromRanges(std::move(ranges), length);
}

}  // namespace

Result<Bytes> EncodeHeaderSlot(const HeaderSlot& slot) {
  if (const char* complaint = Complaint(slot))
    return Status(Error::kValidation, std::string("file header: ") + complaint);
  ByteWriter writer;
  writer.Append(kHeaderMagic);
  writer.Integer(slot.former ? kHeaderFormatRekeying : kHeaderFormat);
  writer.Integer(static_cast<uint16_t>(slot.type));
  writer.Integer(slot.generation);
  writer.Append(slot.file_id.view());
  writer.Append(slot.home_folder.view());
  writer.Append(slot.key_id);
  writer.Integer(static_cast<uint16_t>(slot.blob.size()));
  const size_t blob_end = writer.size() + kMaxBlobSize;
  writer.Append(ByteView(slot.blob));
  writer.PadTo(blob_end);
  writer.Append(ByteView(slot.commitment));
  writer.Integer(slot.length);
  writer.Integer(slot.key_epoch);
  writer.Integer(slot.seals_in_epoch);
  const auto& ranges = slot.holes.ranges();
  writer.Integer(static_cast<uint16_t>(ranges.size()));
  for (const HoleRange& range : ranges) {
    writer.Integer(range.first.value);
    writer.Integer(range.count);
  }
  static_assert(464 + kMaxHoles * kHoleSize < kHeaderMacOffset);
  writer.PadTo(464 + kMaxHoles * kHoleSize);
  writer.Integer(static_cast<uint8_t>(slot.torn ? kTornFlag : 0));
  writer.Integer(slot.synced_length);
  writer.Integer(slot.checkpoint);
  if (slot.former) {
    writer.Integer(slot.former->end_epoch);
    writer.Append(ByteView(slot.former->sealed));
  }
  writer.PadTo(kHeaderMacOffset);
  return writer.Take();
}

Result<HeaderSlot> ParseHeaderSlot(ByteView raw) {
  if (raw.size() != kHeaderSlotSize) return Corrupt("slot size");
  Fields fields(HeaderMacedBytes(raw));
  if (AsText(fields.Take(kHeaderMagic.size())) != kHeaderMagic)
    return Corrupt("no magic");
  const auto format = fields.Integer<uint16_t>();
  if (format > kHeaderFormatRekeying)
    return Status(Error::kNewerFormat, "the file was written by a newer Keyfold");
  if (format == 0) return Corrupt("format number");

  HeaderSlot slot;
  slot.type = static_cast<HeaderType>(fields.Integer<uint16_t>());
  slot.generation = fields.Integer<uint64_t>();
  slot.file_id = *FileId::FromBytes(fields.Take(kIdSize));
  slot.home_folder = *FolderId::FromBytes(fields.Take(kIdSize));
  slot.key_id = AsText(fields.Take(kKeyIdSize));
  const auto blob_size = fields.Integer<uint16_t>();
  const ByteView blob = fields.Take(kMaxBlobSize);
  if (blob_size > kMaxBlobSize || !AllZero(blob.subspan(blob_size)))
    return Corrupt("wrapped key size");
  slot.blob.assign(blob.begin(), blob.begin() + blob_size);
  const ByteView commitment = fields.Take(kCommitmentSize);
  std::copy(commitment.begin(), commitment.end(), slot.commitment.begin());
  slot.length = fields.Integer<uint64_t>();
  slot.key_epoch = fields.Integer<uint32_t>();
  slot.seals_in_epoch = fields.Integer<uint64_t>();
  if (slot.length > kMaxFileSize) return Corrupt("length is too large");
  KF_ASSIGN_OR_RETURN(slot.holes, ParseHoles(fields, slot.length));
  if (!AllZero(fields.Take((kMaxHoles - slot.holes.ranges().size()) * kHoleSize)))
    return Corrupt("unused holes are not zero");
  const auto flags = fields.Integer<uint8_t>();
  if (flags > kTornFlag) return Corrupt("unknown flags");
  slot.torn = flags == kTornFlag;
  slot.synced_length = slot.length;
  if (format > kFormatWithoutCheckpoints) {
    slot.synced_length = fields.Integer<uint64_t>();
    slot.checkpoint = fields.Integer<uint64_t>();
  }
  if (format == kHeaderFormatRekeying) {
    FormerKey& former = slot.former.emplace();
    former.end_epoch = fields.Integer<uint32_t>();
    const ByteView sealed = fields.Take(kSealedFormerKeySize);
    std::copy(sealed.begin(), sealed.end(), former.sealed.begin());
  }
  if (!AllZero(fields.Rest())) return Corrupt("padding is not zero");
  if (const char* complaint = Complaint(slot)) return Corrupt(complaint);
  return slot;
}

}  // namespace keyfold
