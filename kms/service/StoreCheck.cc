#include "kms/service/StoreCheck.h"

#include <set>

#include "kms/service/Service.h"

namespace keyfold {
namespace {

constexpr char kSource[] = "store.keyfold";

}  // namespace

// KeyedCheck records what it is used for: itself, each CMK once, each finding.
class KeyedCheck final : public StoreCheck {
 public:
  KeyedCheck(Service& service, const Caller& caller)
      : service_(service), caller_(caller) {}

  Result<DataKey> Unwrap(ByteView blob, const EncryptionContext& context) override {
    const auto header = ParseBlobHeader(blob);
    if (!header)
      return Status(Error::kInvalidCiphertext, "The wrapped data key is not valid.");
    // No action is asked for: whoever checks sees none of the contents.
    const Service::FileUse use =
        service_.DecideFileUse(caller_, header->key_id, context, {});
    if (!use.outcome.ok()) return use.outcome;
    KF_RETURN_IF_ERROR(RecordFirstUse(use, header->key_id));
    KF_ASSIGN_OR_RETURN(const auto secrets, service_.root_keys_.Use());
    KF_ASSIGN_OR_RETURN(SecretBytes plain,
                        DecryptUnder(*secrets, *use.key, blob, context));
    if (plain.size() != kKeySize)
      return Status(Error::kInvalidCiphertext,
                    "The wrapped data key has another size.");
    return DataKey(std::move(plain));
  }

  Status Record(const std::string& event, const std::string& path,
                const Details& details, const Status& outcome) override {
    return Append(event, path, details, "", outcome);
  }

  Status VerifyRecords() override {
    return service_.audit_
        ->Verify(service_.catalog_->sealed().head, service_.catalog_->state()->released)
        .status();
  }

 private:
  Status RecordFirstUse(const Service::FileUse& use, const std::string& key_id) {
    std::lock_guard lock(mutex_);
    if (used_.contains(key_id)) return OkStatus();
    KF_RETURN_IF_ERROR(Append("CheckFilesOfKey", "", {},
                              KeyArn(service_.account(), use.key->id), OkStatus()));
    used_.insert(key_id);
    return OkStatus();
  }

  Status Append(const std::string& event, const std::string& path,
                const Details& details, const std::string& key_arn,
                const Status& outcome) {
    try {
      const auto state = service_.catalog_->state();
      const auto found = service_.identity_.Resolve(caller_, *state->iam);
      nlohmann::json record = service_.recorder_->BaseTree(
          caller_, found.ok() ? *found : UnresolvedPrincipal(caller_.uid), kSource,
          event, /*read_only=*/false);
      if (!details.empty()) record["requestParameters"] = details;
      if (!key_arn.empty()) service_.recorder_->AddKey(record, key_arn);
      if (!path.empty())
        record["resources"].push_back(
            nlohmann::json::parse(Recorder::FileResource(path)));
      Recorder::AddOutcome(record, outcome);
      return service_.recorder_->Append(record);
    } catch (const std::exception&) {
      return {Error::kInternal, "The record of a check could not be built."};
    }
  }

  Service& service_;
  const Caller caller_;
  std::mutex mutex_;  // guards used_
  std::set<std::string> used_;
};

Result<std::unique_ptr<StoreCheck>> Service::BeginCheck(
    const Caller& caller, const StoreCheck::Details& details) {
  auto check = std::make_unique<KeyedCheck>(*this, caller);
  KF_RETURN_IF_ERROR(check->Record("CheckStore", "", details, OkStatus()));
  return std::unique_ptr<StoreCheck>(std::move(check));
}

}  // namespace keyfold
