// Backups: a file that was changed or cut opens under no key.
//
// An input is a mode, then bytes that are a backup themselves (even mode) or changes to
// a good one.
#include "kms/crypto/Crypto.h"
#include "kms/service/Backup.h"
#include "tests/fuzz/Input.h"

using namespace keyfold;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const SecretBytes& key = *new SecretBytes(RandomSecret(kKeySize));
  static const Bytes good = SealBackup(
      key, {"11111111-2222-4333-8444-555555555555", "2026-01-31T12:00:00Z", 7, "{}", 2},
      {{Table::kKeys, {"id", "{}", Bytes(32, 1)}, false}});
  if (size < 1) return 0;
  const ByteView rest(data + 1, size - 1);
  const Bytes file =
      data[0] % 2 == 0 ? Bytes(rest.begin(), rest.end()) : Edited(good, rest);
  (void)DescribeBackup(file);
  Promise(OpenBackup(key, file).ok() == (file == good),
          "only the unchanged file opens");
  return 0;
}
