// Rekey: a key store's rows sealed and authenticated anew, under another root key.
//
// Owns: what of a row hangs on the root key. Must not know: which files a store is made
// of, who seals a root key. Free functions; nobody else may use the stores meanwhile.
#pragma once

#include <memory>

#include "kms/service/Kms.h"

namespace keyfold {

// RekeyKeyStore fills the empty `fresh` with what `former` holds, as `root` would have
// written it, reads it back, and closes both. It is the same commit: the audit log goes
// on behind either. Import tokens end, since only the former root key can tell them,
// and the key that signs the audit log's digests: another is made when the store opens.
// `metadata_key` is a wrapped data key that the fresh store must open. kCorrupt when it
// does not, or a row is not what was written; on failure `former` is as it was.
Status RekeyKeyStore(std::unique_ptr<KeyStore> former, const RootKey& former_root,
                     std::unique_ptr<KeyStore> fresh, const RootKey& root,
                     ByteView metadata_key, const EncryptionContext& metadata_context);

}  // namespace keyfold
