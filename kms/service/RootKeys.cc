// The root key that comes and goes with its device.
#include "kms/service/Service.h"

namespace keyfold {
namespace {

constexpr char kStoreSource[] = "store.keyfold";

}  // namespace

// What is withheld or wiped does not wait for its record: refusing needs none.
void Service::WithholdRootKey(const Status& why) {
  if (!root_keys_.Withhold(why.message(), clock_.Now())) return;
  auto record = OwnRecord(kStoreSource, "RootKeyUnavailable");
  Recorder::AddOutcome(record, {Error::kUnavailable, why.message()});
  (void)recorder_->Append(record, AuditRoom::kReserved);
}

void Service::WipeRootKey() {
  if (!root_keys_.Wipe()) return;
  ++times_wiped_;
  // Who was let in meanwhile finds another generation, and asks again.
  ++generation_;
  Notify();
  (void)recorder_->Append(OwnRecord(kStoreSource, "WipeRootKey"), AuditRoom::kReserved);
}

Status Service::RestoreRootKey(const RootKey& root) {
  auto secrets = std::make_shared<const RootSecrets>(root);
  if (!catalog_->IsUnder(*secrets))
    return {Error::kWrongCredential,
            "What the device unseals is not the root key of this store. Put the right "
            "one back, or unmount and mount again."};
  KF_RETURN_IF_ERROR(recorder_->Append(OwnRecord(kStoreSource, "RootKeyAvailable"),
                                       AuditRoom::kReserved));
  KF_RETURN_IF_ERROR(audit_->Sync());
  root_keys_.Restore(std::move(secrets));
  return OkStatus();
}

}  // namespace keyfold
