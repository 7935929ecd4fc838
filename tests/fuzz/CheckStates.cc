// CheckStates: an fsck.state counts only with its note, and one that has it is a state,
// or none; no bytes are more than that.
#include <fstream>

#include "fs/cli/FsckState.h"
#include "kms/crypto/Crypto.h"
#include "tests/fuzz/Input.h"
#include "tests/unit/TempFolder.h"
#include "tests/unit/fs_vault/TestKeys.h"

using namespace keyfold;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const TempFolder store(QuickParent());
  const ByteView bytes(data, size);
  std::ofstream(store / "fsck.state", std::ios::binary) << AsText(bytes);
  TestKeys keys;
  const auto unknown = LoadFsckState(store.path(), keys);
  Promise(unknown.ok() && !unknown->has_value(), "a state without a note is none");
  Promise(keys.KeepNote("fsck", Sha256(bytes)).ok(), "a note is kept");
  const auto state = LoadFsckState(store.path(), keys);
  Promise(state.ok(), "a state can be read");
  if (!state->has_value()) return 0;
  Promise(SaveFsckState(store.path(), keys, **state).ok(), "it can be written");
  const auto again = LoadFsckState(store.path(), keys);
  Promise(again.ok() && again->has_value() &&
              (*again)->contents == (*state)->contents &&
              (*again)->reached.through == (*state)->reached.through &&
              (*again)->reached.beyond == (*state)->reached.beyond &&
              (*again)->counts.files == (*state)->counts.files,
          "what is written is what was read");
  return 0;
}
