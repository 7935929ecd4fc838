// Invocation: one call under way, and what an operation needs to carry it out.
//
// An operation reads `state`, answers with JSON, and may leave a transaction in
// `change`; recording and committing are the service's. Not synchronised: one
// call, one thread.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "kms/audit/AuditLog.h"
#include "kms/crypto/Crypto.h"
#include "kms/service/ActivityLog.h"
#include "kms/service/AlertEngine.h"
#include "kms/service/CallCounts.h"
#include "kms/service/Catalog.h"
#include "kms/service/Conditions.h"
#include "kms/service/FileView.h"
#include "kms/service/Identity.h"
#include "kms/service/Kms.h"
#include "kms/service/LogKeeper.h"
#include "kms/service/Material.h"
#include "kms/service/Parameters.h"
#include "kms/service/RootKeyring.h"
#include "kms/service/State.h"

namespace keyfold {

using KeyRef = std::shared_ptr<const KeyRecord>;

// Quotas are how many of a thing one key may have: AWS's for grants.
struct Quotas {
  size_t grants = 50'000;
  size_t import_tokens = 100;
};

struct Invocation {
  const Operation& operation;
  const Account& account;
  const RootKeyring& root_keys;
  AuditLog& audit;
  LogKeeper& log_keeper;
  const ActivityLog& activity;
  const Catalog& catalog;  // knows the sealed end of the audit log
  Identity& identity;
  const CallCounts& counts;
  FileView* files;  // or null: nothing is mounted
  const Caller& caller;

  TimePoint now;
  policy::Principal principal;
  Parameters parameters;
  std::shared_ptr<const State> state;
  KeyRef key = {};                               // of operations on one key
  std::optional<RsaPrivateKey> import_key = {};  // made before the state is locked
  std::optional<policy::Iam> iam = {};           // read before the state is locked
  std::optional<Transaction> change = {};   // to be committed when the call succeeds
  std::vector<std::string> resources = {};  // ARNs of the keys concerned
  // What the record of a call that ended well tells besides: its additionalEventData.
  nlohmann::json event_data = {};
  // What was done with other keys than `key`, as grants name it, and their ids.
  std::vector<std::pair<std::string_view, std::string>> used = {};
  // The parameter whose encryption context decisions see now: ReEncrypt has two.
  const char* context_parameter = "EncryptionContext";
  // Condition keys that the operation itself found out.
  policy::Context conditions = {};
  Quotas quotas = {};
  // What goes on record of a refusal whose answer must not tell as much.
  std::optional<Status> on_record = {};

  // Change starts a transaction on `state`, or goes on with the one begun.
  Transaction& Change() {
    if (!change) change.emplace(*state);
    return *change;
  }
  std::string Action() const;  // "kms:Encrypt"

  // FindKey resolves an id, ARN or alias and authorizes `action` on the key.
  // Whoever may not know whether it exists gets kAccessDenied either way;
  // others kNotFound.
  Result<KeyRef> FindKey(const std::string& given, const std::string& action);
  Status Authorize(const std::string& action, const KeyRecord& target);
  Status AuthorizeOnAccount(const std::string& action,
                            const std::string& resource) const;
  // IsDenied tells whether a policy denies it, whatever else allows it.
  bool IsDenied(const std::string& action, const std::string& resource) const;
  // IsAllowed is the same decision on a key for somebody else, or later.
  bool IsAllowed(const policy::Principal& who, const std::string& action,
                 const KeyRecord& target) const;
  // RequireUse: kInvalidKeyUsage for a key of another usage; kDisabled or kInvalidState
  // unless the key is Enabled.
  Status RequireUse(const KeyRecord& target, KeyUsage usage) const;
  // The condition keys of this call when it asks for `action` on `target`; on nothing
  // in particular if that is null. It refers to both.
  policy::LazyContext ConditionsOn(const KeyRecord* target, std::string action) const;
  // DryRunDone is kDryRunOperation when the call asked for a dry run.
  Status DryRunDone() const;
};

// Names of resources.
std::string KeyArn(const Account& account, std::string_view key_id);
std::string AliasArn(const Account& account, std::string_view alias);
// ResolveKey turns an id, key ARN, alias or alias ARN into a key; null if there
// is none.
KeyRef ResolveKey(const State& state, const Account& account, const std::string& given,
                  TimePoint now);

// RequireEnabled is kDisabled or kInvalidState unless the key is Enabled. RequireUse
// also asks for its usage: the check of every use of a key.
Status RequireEnabled(const Account& account, const KeyRecord& key, TimePoint now);
Status RequireUse(const Account& account, const KeyRecord& key, KeyUsage usage,
                  TimePoint now);
Status AccessDenied(const policy::Principal& principal, std::string_view action,
                    std::string_view resource);

// EncryptUnder and DecryptUnder use the material of one key; the caller has
// authorized and checked the state.
Result<Bytes> EncryptUnder(const RootSecrets& secrets, const KeyRecord& key,
                           const EncryptionContext& context, const SecretBytes& plain);
Result<SecretBytes> DecryptUnder(const RootSecrets& secrets, const KeyRecord& key,
                                 ByteView blob, const EncryptionContext& context);

// Page is the answer of a list operation: the items from `from` on, at most
// `limit`, under `name`, with Truncated and NextMarker.
nlohmann::json Page(const std::string& name, std::vector<nlohmann::json> items,
                    size_t from, size_t limit);
struct PageRequest {
  size_t from = 0, limit = 0;
};
// kInvalidMarker for a marker no page gave, kValidation for a bad Limit.
Result<PageRequest> RequestedPage(const Parameters& parameters, size_t size,
                                  size_t default_limit);

}  // namespace keyfold
