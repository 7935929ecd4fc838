// Files: whatever a file of the store holds, looking at it and opening it fails, or
// what reads is what was written there. A check and an open come to the same, and
// neither ends the process, even where a header of any contents authenticates.
//
// An input is a kind, and bytes: the whole file, or changes of a good one (Edited).
// From 64 on the changed header is authenticated again, as no writer without the key
// could.
#include <sys/mman.h>
#include <sys/stat.h>

#include "fs/vault/File.h"
#include "tests/fuzz/Input.h"
#include "tests/unit/fs_vault/TestHeader.h"
#include "tests/unit/fs_vault/TestKeys.h"

using namespace keyfold;

namespace {

struct Good {
  Bytes bytes, text;
  SecretBytes dek;
};

UniqueFd InMemory(ByteView bytes) {
  UniqueFd fd(::memfd_create("file", MFD_CLOEXEC));
  Promise(fd.valid() && WriteAt(fd.get(), 0, bytes).ok(), "there is memory");
  return fd;
}

class Maker {
 public:
  // Some blocks, blocks with a hole between them, and blocks half encrypted anew.
  std::vector<Good> All() {
    std::vector<Good> all;
    for (int kind = 0; kind < 3; ++kind) {
      Good good;
      good.dek = RandomSecret(kKeySize);
      UniqueFd fd = InMemory({});
      const UniqueFd again(::dup(fd.get()));
      auto file = File::Create(std::make_unique<PosixDataFile>(std::move(fd)), 1,
                               *checkpoints_, TestHeader(), Key(good.dek))
                      .value();
      good.text.resize(3 * kBlockSize + 77, 'a');
      if (kind == 1) good.text.resize(7 * kBlockSize);
      if (kind == 1) good.text.resize(9 * kBlockSize + 3, 'z');
      Must(file->Write(0, good.text));
      if (kind == 1) Must(file->Zero(4 * kBlockSize, 2 * kBlockSize, true));
      Must(file->Sync(false));
      if (kind == 2) {
        SecretBytes fresh = RandomSecret(kKeySize);
        Must(
            file->BeginReencrypt({Key(fresh), RandomBytes(97), file->header().key_id}));
        Must(file->Reencrypt(2 * kBlockSize).status());
        good.dek = std::move(fresh);
      }
      Must(file->Settle());
      struct stat st;
      Promise(::fstat(again.get(), &st) == 0, "there is memory");
      good.bytes.resize(static_cast<size_t>(st.st_size));
      Must(ReadAt(again.get(), 0, good.bytes).status());
      all.push_back(std::move(good));
    }
    // The run is cut off: what it did not close is torn.
    checkpoints_ = Checkpoints::Open(keys_).value();
    return all;
  }
  Checkpoints& checkpoints() { return *checkpoints_; }
  static DataKey Key(const SecretBytes& dek) { return DataKey(CopySecret(dek)); }

 private:
  static void Must(const Status& status) {
    Promise(status.ok(), status.message().c_str());
  }

  TestKeys keys_;
  std::unique_ptr<Checkpoints> checkpoints_ = Checkpoints::Open(keys_).value();
};

void Authenticate(const Good& good, Bytes& bytes) {
  if (bytes.size() < kHeaderSlots * kHeaderSlotSize) return;
  const SecretBytes key = Hkdf(good.dek, {}, AsBytes(kHeaderKeyLabel));
  for (size_t i = 0; i < kHeaderSlots; ++i) {
    uint8_t* slot = bytes.data() + i * kHeaderSlotSize;
    const Sha256Digest mac = HmacSha256(key, {slot, kHeaderMacOffset});
    std::copy(mac.begin(), mac.end(), slot + kHeaderMacOffset);
  }
}

void ExpectText(const Good& good, uint64_t offset, ByteView found) {
  const bool same = offset + found.size() <= good.text.size() &&
                    std::equal(found.begin(), found.end(),
                               good.text.begin() + static_cast<long>(offset));
  Promise(same || found.empty(), "what reads is what was written");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Maker& maker = *new Maker;
  static const std::vector<Good>& all = *new std::vector<Good>(maker.All());
  if (size == 0) return 0;
  const ByteView script(data + 1, size - 1);
  const Good& good = all[data[0] % all.size()];
  const bool whole = data[0] % 64 == 63, authentic = data[0] >= 64;
  Bytes bytes =
      whole ? Bytes(script.begin(), script.end()) : Edited(good.bytes, script);
  if (authentic) Authenticate(good, bytes);

  File looked(std::make_unique<PosixDataFile>(InMemory(bytes)), 0, maker.checkpoints());
  File file(std::make_unique<PosixDataFile>(InMemory(bytes)), 0, maker.checkpoints());
  const auto claimed = file.Inspect();
  if (!claimed.ok()) {
    Promise(claimed.status().error() == Error::kCorrupt ||
                claimed.status().error() == Error::kNewerFormat,
            "what cannot be looked at is damaged, or too new");
    return 0;
  }
  File::Condition condition;
  const Status check = looked.CheckHeader(Maker::Key(good.dek), *claimed, &condition);
  std::vector<std::pair<uint64_t, uint64_t>> bad;
  if (check.ok() || condition.cut)
    looked.CheckBlocks([](uint64_t) { return true; },
                       [&](uint64_t begin, uint64_t end, const Status& why) {
                         Promise(begin < end && why.error() == Error::kCorrupt,
                                 "a range that cannot be read is damaged");
                         bad.emplace_back(begin, end);
                       });
  const Status opened = file.Unlock(Maker::Key(good.dek), *claimed);
  Promise(opened.ok() || opened.error() == Error::kCorrupt,
          "what opens not is damaged");
  // A last block that is damaged, with something behind it, keeps the file from being
  // opened; a check names the block.
  if (!authentic)
    Promise(opened.ok() ? check.ok() : !check.ok() || !bad.empty(),
            "a check tells what keeps a file from being opened");
  if (!opened.ok()) return 0;
  Bytes block(kBlockSize);
  for (uint64_t at = 0; at < file.length(); at += kBlockSize) {
    const auto n = file.Read(at, block);
    Promise(n.ok() || n.status().error() == Error::kCorrupt, "damage is told as such");
    if (n.ok() && !authentic) ExpectText(good, at, ByteView(block).first(*n));
    const bool told = std::any_of(bad.begin(), bad.end(), [&](const auto& range) {
      return at >= range.first && at < range.second;
    });
    if (!authentic) Promise(n.ok() != told, "a check names what does not read");
  }
  return 0;
}
