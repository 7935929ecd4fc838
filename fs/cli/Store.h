// A store's folder: making one, and opening it in this process.
//
// Owns: the order in which configuration, lock, root key and key store are
// opened or made, and undoing what was made. Must not know: mounting, sockets.
// Not synchronised.
#pragma once

#include <memory>
#include <string>

#include "fs/cli/StoreConfig.h"
#include "fs/cli/StoreLock.h"
#include "kms/rootkey/RootKeyProvider.h"
#include "kms/service/Kms.h"

namespace keyfold {

struct NewStore {
  std::string path;
  std::string root_key;  // spec, see CreateRootKey
  std::string account;
  std::string region;
};
// CreateStore makes the folder with all that belongs in it, durably. On failure,
// or when SIGINT, SIGTERM or SIGHUP came meanwhile, nothing it made is left.
Result<StoreConfig> CreateStore(const NewStore& store, const PassphrasePrompt& prompt);

// StorePart is what a store cannot be opened without.
enum class StorePart { kConfiguration, kKeyStore, kAuditLog };

// OpenStore is a store in use: keep it until everything on it is closed.
class OpenStore {
 public:
  // Open takes the lock, unseals the root key and authenticates the key store.
  // `root_key` may name another place of the secret; empty: as configured. When it is
  // kCorrupt, `damaged`, if not null, tells what is.
  static Result<OpenStore> Open(const std::string& path, const std::string& root_key,
                                const PassphrasePrompt& prompt,
                                StorePart* damaged = nullptr);
  Kms& kms() { return *kms_; }
  const std::string& path() const { return path_; }
  const StoreConfig& config() const { return config_; }
  // OpenMetadataKey unwraps the key of names and bindings.
  Result<MetadataKey> OpenMetadataKey();

 private:
  OpenStore(std::string path, StoreConfig config, StoreLock lock,
            std::unique_ptr<Kms> kms)
      : path_(std::move(path)),
        config_(std::move(config)),
        lock_(std::move(lock)),
        kms_(std::move(kms)) {}

  std::string path_;  // absolute
  StoreConfig config_;
  StoreLock lock_;
  std::unique_ptr<Kms> kms_;
};

// OpenKms opens the key store and audit log of the store at `path`, whose lock is held.
Result<std::unique_ptr<Kms>> OpenKms(const std::string& path, const StoreConfig& config,
                                     const RootKey& root);
// CheckRootKeyOutside is kUsage for a spec whose secret would lie in the store.
Status CheckRootKeyOutside(const std::string& spec, const std::string& store);

// WhoeverRunsThis is the caller of what is done in this process.
Caller WhoeverRunsThis();

// MetadataContext is what the key of names and bindings is wrapped under.
EncryptionContext MetadataContext(const std::string& store_id);

// RealPath resolves what exists of `path`; kSystem for what does not.
Result<std::string> RealPath(const std::string& path);
// IsInside tells whether `path` is `folder` or below it; both resolved.
bool IsInside(const std::string& path, const std::string& folder);

}  // namespace keyfold
