// Kms: the embedded key management service. Every call is authorized, checked
// against the key's state, recorded, and then done.
//
// Owns: keys, aliases, grants, IAM, the audit log, and who may do what. Must
// not know: sockets, FUSE, files' contents. Thread-safe.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "kms/base/Clock.h"
#include "kms/service/Alert.h"
#include "kms/service/DataKeys.h"
#include "kms/service/Figures.h"
#include "kms/service/FileView.h"
#include "kms/service/RefusedCall.h"
#include "kms/service/StoreCheck.h"
#include "kms/store/KeyStore.h"

namespace keyfold {

// Account is what a store was made for; it never changes.
struct Account {
  std::string id = "000000000000";  // 12 digits
  std::string region = "local-1";
  std::string store_id;  // UUID
  uid_t root_uid = 0;    // who ran `init`: the account's root user
};

inline constexpr std::string_view kServiceKeyAlias = "alias/aws/fs";

// Credential is what an access key signs with, and whom it signs for.
struct Credential {
  SecretBytes secret;  // the text of the secret access key
  Caller caller;
};

class Kms : public DataKeys {
 public:
  // Create fills the empty `store`: the account, an IAM document without users,
  // and the service-managed key alias/aws/fs.
  static Status Create(KeyStore& store, const RootKey& root, const Account& account,
                       const Clock& clock);
  // Open authenticates every row of `store` and opens the audit log in
  // `audit_folder`. kCorrupt for a row that was changed, added, removed or put
  // back, and for an audit log that lacks its end.
  static Result<std::unique_ptr<Kms>> Open(std::unique_ptr<KeyStore> store,
                                           RootKey root,
                                           const std::string& audit_folder,
                                           const Clock& clock);
  virtual const Account& account() const = 0;

  // Call does one operation of kms/service/Schema.h. `service` is "kms", "iam",
  // "audit" or "store"; `request` and the answer have the shapes of the AWS KMS
  // API (JSON 1.1: blobs in base64, times in seconds since 1970). The error's
  // name is ErrorName(status.error()).
  virtual Result<nlohmann::json> Call(const Caller& caller, std::string_view service,
                                      std::string_view operation,
                                      const nlohmann::json& request) = 0;

  // FindCredential returns what requests under `access_key_id` must be signed with;
  // `session_token` goes with temporary credentials, and is empty otherwise.
  // kUnrecognizedClient for a key that is unknown, disabled or of a user who is not
  // there any more; kExpiredToken.
  virtual Result<Credential> FindCredential(const std::string& access_key_id,
                                            const std::string& session_token) = 0;
  // RecordRefusal tells the audit log of a request whose signature was not accepted, at
  // most one a second and user. `peer` has the user whose process sent it, not who it
  // claims.
  virtual void RecordRefusal(const Caller& peer, const Status& reason) = 0;

  // SetAlertSink hands each alert to `sink`, which must not wait; they stand in the
  // audit log in any case. From then on compliance is watched too. Call before the Kms
  // is shared.
  virtual void SetAlertSink(std::function<void(const Alert&)> sink) = 0;
  // SetRefusalSink hands each refusal and failure to `sink`, which must not wait; it is
  // on record in any case. Call before the Kms is shared.
  virtual void SetRefusalSink(std::function<void(const RefusedCall&)> sink) = 0;
  // AlertRules are the account's own that are in force, with the users that their
  // commands run as.
  virtual policy::AlertRules AlertRules() const = 0;
  // RecordUndelivered tells the audit log of an alert that did not reach `target`.
  virtual void RecordUndelivered(const std::string& alert, const std::string& target,
                                 const Status& why) = 0;

  // RecordReload tells the audit log that settings were read anew, and how that ended.
  virtual void RecordReload(const Status& outcome) = 0;

  // SetAuditLogLimit says at which size in bytes audit.log becomes an archive;
  // until then it does not by itself. Call before the Kms is shared.
  virtual void SetAuditLogLimit(uint64_t bytes) = 0;

  // SetConfiguration tells where to read the text of keyfold.json, which backups take
  // along. Call before the Kms is shared.
  virtual void SetConfiguration(std::function<Result<std::string>()> source) = 0;

  // SetFileView tells what is open, once there is a mount; `view` must outlive the
  // calls. Call before the Kms is shared.
  virtual void SetFileView(FileView* view) = 0;
  // Figures asks no policy: they are for who may see all.
  virtual KmsFigures Figures() const = 0;
  // Calls is how often Call was called.
  virtual uint64_t Calls() const = 0;

  // BeginCheck is for who has the store's root key: it asks no policy. The check and
  // `details` of it are recorded as CheckStore by `caller`; kSystem when they cannot
  // be. The Kms must outlive it.
  virtual Result<std::unique_ptr<StoreCheck>> BeginCheck(
      const Caller& caller, const StoreCheck::Details& details) = 0;

  // WithholdRootKey is for when the device that unseals the root key is gone: until it
  // is back nothing more is unsealed or sealed, and calls that need that are
  // kUnavailable with `why`. What is open goes on. On record, as the next two are.
  virtual void WithholdRootKey(const Status& why) = 0;
  // WipeRootKey also forgets what was derived from the root key, but for what
  // authenticates the audit log and the key store's rows, and ends the rights to what
  // is open. Nothing happens unless the root key is withheld.
  virtual void WipeRootKey() = 0;
  // RestoreRootKey undoes both. kWrongCredential for another root key than the store
  // was opened with; when it can't be recorded, nothing changes.
  virtual Status RestoreRootKey(const RootKey& root) = 0;

  // Tick does what time brings: keys whose waiting period is over are destroyed,
  // expired material is deleted, due rotations happen, the audit log is synced.
  // Called every second, and by Open.
  virtual Status Tick() = 0;
};

}  // namespace keyfold
