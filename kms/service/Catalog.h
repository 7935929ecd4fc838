// Catalog: the key store's rows, authenticated, as a State.
//
// Every row carries a MAC over its table, id and body; one row more, the
// manifest, carries a MAC over all of them and the number of commits, so that a
// row changed, added, removed or put back alone is noticed. Rows are read once;
// what is edited in the store afterwards has no effect until the next Load,
// which then refuses.
//
// Owns: the key store and the published State. Must not know: who may. Thread-
// safe: mutex_ guards state_ and sealed_; Commit is called by one thread at a
// time.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "kms/audit/AuditLog.h"
#include "kms/service/Kms.h"
#include "kms/service/Material.h"
#include "kms/service/State.h"

namespace keyfold {

// AuditSeal is the audit log's end, and the last digest in it.
struct AuditSeal {
  AuditHead head;
  DigestHead digest;
};

// Settings in which nothing is sealed.
inline constexpr std::string_view kPlainSettings[] = {
    "account",      "audit-head",   "iam",       kReleasedRow,
    kAlertRulesRow, kComplianceRow, kActivityRow};

class Catalog {
 public:
  // Fill writes the first commit of a new store.
  static Status Fill(KeyStore& store, const RootSecrets& secrets,
                     const Account& account, Transaction transaction);
  // Load is kCorrupt unless every row authenticates.
  static Result<std::unique_ptr<Catalog>> Load(std::unique_ptr<KeyStore> store,
                                               const RootSecrets& secrets);

  const Account& account() const { return account_; }
  // The audit log's end as it was sealed with the last commit.
  AuditSeal sealed() const {
    std::lock_guard lock(mutex_);
    return sealed_;
  }
  std::shared_ptr<const State> state() const {
    std::lock_guard lock(mutex_);
    return state_;
  }
  // The format of the key store, which never gets lower.
  int format() const { return store_->format(); }
  // Rows are all rows as the store holds them, manifest included. kCorrupt when they
  // are not what was written. Not while a Commit runs.
  Result<std::vector<Change>> Rows() const;
  // The text of keyfold.json, which a backup takes along.
  Result<std::string> Configuration() const {
    if (!configuration_) return std::string();
    return configuration_();
  }
  // Before the object is shared.
  void set_configuration(std::function<Result<std::string>()> source) {
    configuration_ = std::move(source);
  }
  // AuditKey authenticates the audit log: derived from the root key that the store was
  // made with, and kept sealed when that gave way to another.
  SecretBytes AuditKey() const { return CopySecret(audit_key_); }
  // IsUnder tells whether `secrets` are those that the key store is authenticated by.
  bool IsUnder(const RootSecrets& secrets) const {
    return ConstantTimeEqual(rows_key_, secrets.rows);
  }
  // CopyTo commits all rows to the empty `store` as `secrets` authenticate them, with
  // the same number of commits. `body_of` says what a row will be, null for one that is
  // left out; the audit key is added.
  Status CopyTo(
      KeyStore& store, const RootSecrets& secrets,
      const std::function<Result<nlohmann::json>(Table, const Row&)>& body_of) const;
  // Commit stores the transaction, with `seal` as the audit log's sealed end,
  // and publishes the new State. On failure nothing changed; where that cannot be made
  // sure of, commits fail until the store is found to be what is published, and the
  // next Load tells.
  Status Commit(Transaction transaction, const AuditSeal& seal);

 private:
  using RowMacs = std::map<std::pair<Table, std::string>, Bytes>;

  Catalog(std::unique_ptr<KeyStore> store, const RootSecrets& secrets)
      : store_(std::move(store)), rows_key_(CopySecret(secrets.rows)) {}
  Status LoadRows(const RootSecrets& secrets);
  Status ReadSettings(const RootSecrets& secrets, const std::vector<Row>& rows,
                      State& state);
  static std::vector<Change> Authenticated(const SecretBytes& rows_key,
                                           const std::vector<Change>& changes,
                                           uint64_t sequence, RowMacs& macs);
  Status CommitRows(const std::vector<Change>& rows);
  Result<std::string> StoredManifest() const;
  Status BeSure();

  const std::unique_ptr<KeyStore> store_;
  const SecretBytes rows_key_;
  Account account_;
  SecretBytes audit_key_;
  RowMacs macs_;
  std::function<Result<std::string>()> configuration_;
  mutable std::mutex mutex_;
  AuditSeal sealed_;
  std::shared_ptr<const State> state_;
  bool unsure_ = false;  // whether the store holds a commit that failed; Commit's
};

}  // namespace keyfold
