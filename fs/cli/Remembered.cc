#include "fs/cli/Remembered.h"

#include "kms/crypto/Crypto.h"

namespace keyfold {

PassphrasePrompt Remembered::Asking(PassphrasePrompt ask) {
  return [kept = answer_, ask = std::move(ask)](Asked asked) -> Result<SecretBytes> {
    KF_ASSIGN_OR_RETURN(SecretBytes answer, ask(asked));
    *kept = CopySecret(answer);
    return answer;
  };
}

PassphrasePrompt Remembered::Again() const {
  return [kept = answer_](Asked) -> Result<SecretBytes> {
    if (kept->empty())
      return Status(Error::kUsage,
                    "Nobody can be asked for the root key's secret while the store is "
                    "mounted. Unmount it and mount it again.");
    return CopySecret(*kept);
  };
}

}  // namespace keyfold
