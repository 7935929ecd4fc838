// Remembered: what a person was asked for when the store was opened, for when its root
// key has to be unsealed again and nobody can be asked.
//
// Owns: the answer, in memory of SecretBytes. Must not know: what it opens. Asked by
// one thread; safe for concurrent use from then on.
#pragma once

#include <memory>

#include "kms/rootkey/RootKeyProvider.h"

namespace keyfold {

class Remembered {
 public:
  // Asking is `ask` with the answer kept.
  PassphrasePrompt Asking(PassphrasePrompt ask);
  // Again answers the same once more; kUsage when nothing was asked.
  PassphrasePrompt Again() const;
  void Forget() { answer_->Reset(); }

 private:
  const std::shared_ptr<SecretBytes> answer_ = std::make_shared<SecretBytes>();
};

}  // namespace keyfold
