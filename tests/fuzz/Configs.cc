// Configs: a keyfold.json is refused as damaged or too new, or it is what is written
// for it again, whatever it says of the root key. It is read before anything is
// authenticated.
#include "fs/cli/StoreConfig.h"
#include "kms/rootkey/RootKeyProvider.h"
#include "tests/fuzz/Input.h"
#include "tests/unit/TempFolder.h"

using namespace keyfold;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const TempFolder store(QuickParent());
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto config = ParseStoreConfig(text, store.path());
  if (!config.ok()) {
    Promise(config.status().error() == Error::kCorrupt ||
                config.status().error() == Error::kNewerFormat,
            "a refused configuration is damage, or too new");
    return 0;
  }
  Promise(config->format >= kOldestStoreFormat && config->format <= kStoreFormat,
          "a format that is known");
  Promise(config->key_store.find('/') == std::string::npos, "a key store in the store");
  (void)RootKeySpec(config->root_key);
  Promise(WriteStoreConfig(store.path(), *config).ok(), "it can be written");
  const auto again = ReadStoreConfig(store.path());
  Promise(again.ok() && again->format == config->format &&
              again->account.store_id == config->account.store_id &&
              again->account.id == config->account.id &&
              again->account.region == config->account.region &&
              again->account.root_uid == config->account.root_uid &&
              again->root_key == config->root_key &&
              again->metadata_key == config->metadata_key &&
              again->key_store == config->key_store,
          "what is written is what was read");
  return 0;
}
