// keyfold.json: what must be known of a store before its key store opens.
//
// Owns: the file's shape and its durable writing. Must not know: keys in plain.
// The account's data here is informative: the key store's is authenticated, and
// Store refuses when they differ. Not synchronised.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "kms/base/Bytes.h"
#include "kms/base/Status.h"
#include "kms/service/Kms.h"

namespace keyfold {

// The formats of stores (FORMAT.md, "Versions"): new ones are of the newest, and older
// ones open too.
inline constexpr int kStoreFormat = 2;
inline constexpr int kOldestStoreFormat = 1;

struct StoreConfig {
  int format = kStoreFormat;
  Account account;
  nlohmann::json root_key;  // kms/rootkey's description
  Bytes metadata_key;       // wrapped under alias/aws/fs
  // The file that takes the place of keys.db, if it is there still: what the root key
  // of this configuration opens. Empty if the root key was never rotated.
  std::string key_store;
};

// ReadStoreConfig: kNotAStore, kNewerFormat, kCorrupt, kSystem.
Result<StoreConfig> ReadStoreConfig(const std::string& store);
Result<std::string> ReadStoreConfigText(const std::string& store);
// ParseStoreConfig reads the file's text; `store` is what messages name.
Result<StoreConfig> ParseStoreConfig(const std::string& text, const std::string& store);
// WriteStoreConfig replaces the file; on return it survives power loss.
Status WriteStoreConfig(const std::string& store, const StoreConfig& config);

}  // namespace keyfold
