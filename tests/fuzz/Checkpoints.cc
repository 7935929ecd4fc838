// Checkpoints: a note of them is refused as damage, or a run begins with it, ends, and
// leaves one that the next run begins with.
#include "fs/vault/Checkpoints.h"

#include "tests/fuzz/Input.h"
#include "tests/unit/fs_vault/TestKeys.h"

using namespace keyfold;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  TestKeys keys;
  keys.notes["checkpoints"] = Bytes(data, data + size);
  for (int run = 0; run < 3; ++run) {
    const auto opened = Checkpoints::Open(keys);
    if (!opened.ok()) {
      Promise(run == 0 && opened.status().error() == Error::kCorrupt,
              "only a foreign note is damage");
      return 0;
    }
    Checkpoints& checkpoints = **opened;
    const uint64_t number = Checkpoints::Writing(checkpoints).number();
    Promise(checkpoints.StateOf(number) == Checkpoints::State::kOpen,
            "what is written is of an open checkpoint");
    checkpoints.Next();
    Promise(checkpoints.Close().ok(), "a checkpoint can be closed");
    Promise(checkpoints.StateOf(number) == Checkpoints::State::kClosed,
            "one that was closed is");
    // One run is killed.
    if (run != 1) Promise(checkpoints.CloseAll().ok(), "all can be closed");
    Promise(Checkpoints::OpenToCheck(keys).ok(), "a check can look at it");
  }
  return 0;
}
