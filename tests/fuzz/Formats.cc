// Formats: file headers, block entries, folders and names that a hostile store holds
// are refused, or are what a writer writes.
#include "fs/format/BlockEntry.h"
#include "fs/format/Folder.h"
#include "fs/format/Header.h"
#include "fs/format/Names.h"
#include "tests/fuzz/Input.h"

using namespace keyfold;

namespace {

void Header(ByteView raw) {
  const auto slot = ParseHeaderSlot(raw);
  if (!slot.ok()) return;
  auto written = EncodeHeaderSlot(*slot);
  Promise(written.ok(), "a header that parses can be written");
  constexpr size_t kFormatOffset = 8;
  Promise(
      (raw[kFormatOffset] != kHeaderFormat &&
       raw[kFormatOffset] != kHeaderFormatRekeying) ||
          std::equal(written->begin(), written->end(), HeaderMacedBytes(raw).begin()),
      "a header that parses is the one that is written");
  written->resize(kHeaderSlotSize);
  const auto again = ParseHeaderSlot(*written);
  Promise(again.ok() && *again == *slot, "an older header keeps its meaning");
}

void FolderAndNames(ByteView raw) {
  if (const auto folder = ParseFolder(raw); folder.ok()) {
    const auto written = EncodeFolder(*folder);
    Promise(written.ok() && std::equal(written->begin(), written->end(), raw.begin()),
            "a folder that parses is the one that is written");
  }
  if (const auto names = ParseFileNames(raw); names.ok()) {
    const auto written = EncodeFileNames(*names);
    Promise(written.ok() && *written == Bytes(raw.begin(), raw.end()),
            "names that parse are those that are written");
  }
}

void BackingNames(std::string_view text) {
  (void)ClassifyBackingName(text);
  (void)CheckName(text);
  (void)CheckSymlinkTarget(text);
  if (const auto sealed = SealedFromShort(text); sealed.ok())
    Promise(ShortBackingName(*sealed) == text, "a backing name has one spelling");
  if (const auto sealed = DecodeSidecar(text); sealed.ok())
    Promise(EncodeSidecar(*sealed) == text, "a sidecar has one spelling");
  if (const auto sealed = DecodeSymlink(text); sealed.ok())
    Promise(EncodeSymlink(*sealed) == text, "a symlink has one spelling");
  if (const auto sealed = DecodeXattrName(text); sealed.ok())
    Promise(EncodeXattrName(*sealed) == text, "an attribute has one spelling");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ByteView raw(data, size);
  Header(raw);
  // Mutations rarely keep a slot's size.
  Bytes padded(raw.begin(), raw.end());
  padded.resize(kHeaderSlotSize);
  Header(padded);
  FolderAndNames(raw);
  BackingNames(AsText(raw));
  return 0;
}
