// Service: the Kms. Finds the operation, checks, records, commits, notifies.
//
// Thread-safe: calls that change something hold write_mutex_ from reading the
// state to committing; the others work on the state as it was when they began.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>

#include "kms/service/ActivityLog.h"
#include "kms/service/AlertEngine.h"
#include "kms/service/CallCounts.h"
#include "kms/service/Catalog.h"
#include "kms/service/Dispatch.h"
#include "kms/service/Identity.h"
#include "kms/service/Kms.h"
#include "kms/service/LogKeeper.h"
#include "kms/service/Recorder.h"
#include "kms/service/RootKeyring.h"

namespace keyfold {

class Service final : public Kms {
 public:
  static Result<std::unique_ptr<Service>> Open(std::unique_ptr<KeyStore> store,
                                               const RootKey& root,
                                               const std::string& audit_folder,
                                               const Clock& clock);
  ~Service() override;

  const Account& account() const override { return catalog_->account(); }
  Result<nlohmann::json> Call(const Caller& caller, std::string_view service,
                              std::string_view operation,
                              const nlohmann::json& request) override;
  Result<Credential> FindCredential(const std::string& access_key_id,
                                    const std::string& session_token) override;
  void RecordRefusal(const Caller& peer, const Status& reason) override;
  void SetAlertSink(std::function<void(const Alert&)> sink) override {
    recorder_->set_sink(std::move(sink));
    watches_compliance_ = true;
  }
  void SetRefusalSink(std::function<void(const RefusedCall&)> sink) override {
    recorder_->set_refusal_sink(std::move(sink));
  }
  void RecordReload(const Status& outcome) override;
  policy::AlertRules AlertRules() const override {
    return *catalog_->state()->alert_rules.rules;
  }
  void RecordUndelivered(const std::string& alert, const std::string& target,
                         const Status& why) override;
  void SetAuditLogLimit(uint64_t bytes) override { log_keeper_->set_limit(bytes); }
  Result<std::unique_ptr<StoreCheck>> BeginCheck(
      const Caller& caller, const StoreCheck::Details& details) override;
  void SetConfiguration(std::function<Result<std::string>()> source) override {
    catalog_->set_configuration(std::move(source));
  }
  void SetFileView(FileView* view) override { files_ = view; }
  KmsFigures Figures() const override;  // Watching.cc
  uint64_t Calls() const override { return counts_.Calls(); }
  Status Tick() override;
  // Before the object is shared.
  void set_quotas(const Quotas& quotas) { quotas_ = quotas; }

  // RootKeys.cc.
  void WithholdRootKey(const Status& why) override;
  void WipeRootKey() override;
  Status RestoreRootKey(const RootKey& root) override;
  uint64_t TimesWiped() const override { return times_wiped_; }

  // DataKeys; FileKeys.cc.
  Result<std::string> ResolveKey(const std::string& key) override;
  std::string KeyLabel(const std::string& key_id) override;
  Status Authorize(const Caller& caller, const std::string& key_id,
                   const EncryptionContext& context, const FileEvent& event) override;
  Caller Pin(const Caller& caller) override { return identity_.Pin(caller); }
  Status StillAllowed(const Caller& caller, const std::string& key_id,
                      const EncryptionContext& context, KeyUse use) override;
  Status RecordFileEvent(const Caller& caller, const std::string& key_id,
                         const FileEvent& event, const Status& outcome) override;
  Result<WrappedDataKey> GenerateDataKey(const Caller& caller,
                                         const std::string& key_id,
                                         const EncryptionContext& context,
                                         const std::string& path) override;
  Result<DataKey> UnwrapDataKey(const Caller& caller, ByteView blob,
                                const EncryptionContext& context,
                                const std::string& path) override;
  Result<WrappedDataKey> RewrapDataKey(const Caller& caller, ByteView blob,
                                       const EncryptionContext& from,
                                       const std::string& to_key_id,
                                       const EncryptionContext& to,
                                       const std::string& path) override;
  bool IsCurrent(ByteView blob) override;
  Result<Bytes> ReadNote(const std::string& name) override;
  Status KeepNote(const std::string& name, ByteView value) override;
  uint64_t Generation() const override { return generation_; }
  void SetChangeListener(std::function<void()> listener) override;

 private:
  friend class KeyedCheck;  // StoreCheck.cc

  Service(const RootKey& root, const Clock& clock) : root_keys_(root), clock_(clock) {}

  // FileUse is the use of a key through the filesystem, half decided.
  struct FileUse {
    policy::Principal principal;
    KeyRef key;
    Status outcome;
  };
  FileUse DecideFileUse(const Caller& caller, const std::string& key_id,
                        const EncryptionContext& context,
                        std::initializer_list<const char*> actions);
  Status RecordKeyUse(const Caller& caller, const FileUse& use, const char* event,
                      const std::string& key_id, const EncryptionContext& context,
                      const std::string& path, const Status& outcome);
  // WrapDataKey wraps `key` under the CMK `key_id` for `caller`; `event` names the
  // call in its record.
  Result<WrappedDataKey> WrapDataKey(const Caller& caller, DataKey key,
                                     const char* event, const std::string& key_id,
                                     const EncryptionContext& context,
                                     const std::string& path);
  Status FinishFileUse(const Caller& caller, const FileUse& use,
                       const std::string& key_id, const FileEvent& event,
                       const Status& outcome);

  void RecordRequest(const DispatchEntry& entry, Parameters parameters,
                     Invocation& call);
  Result<nlohmann::json> Run(const DispatchEntry& entry, Invocation& call);
  Result<nlohmann::json> RunRead(const DispatchEntry& entry, Invocation& call);
  Result<nlohmann::json> RunWrite(const DispatchEntry& entry, Invocation& call);
  bool IsFollowing(const Invocation& call, const nlohmann::json& answer);
  // The following are called with write_mutex_ held. CommitRecorded writes the
  // record, then commits.
  Status CommitRecorded(nlohmann::json record, Transaction transaction);
  // CommitSigned does so with a record that also carries a digest.
  Status CommitSigned(nlohmann::json record, Transaction transaction);
  Status CommitAppended(nlohmann::json record, Transaction transaction);
  // Advance makes the new state count for decisions.
  void Advance();
  // BeginDigests signs what an earlier run left unsigned.
  Status BeginDigests(const RootSecrets& secrets);
  Status RotateIfDue();
  // CheckComplianceIfDue records what became compliant, and what no longer is.
  Status CheckComplianceIfDue();
  // NoteGrants remembers that `principal` used what it holds grants for.
  void NoteGrants(const policy::Principal& principal, std::string_view operation,
                  const std::string& key_id, const State& state);
  // SealIfDue seals the audit log's end in the key store, and signs it each hour.
  Status SealIfDue();
  // SyncIfDue is called without the lock.
  Status SyncIfDue();
  Status TickKey(const KeyRecord& key, TimePoint now);
  // CheckAgainstLog is kCorrupt when the audit log tells of later commits.
  Status CheckAgainstLog();
  nlohmann::json OwnRecord(std::string_view source, std::string_view event);
  void Notify();
  bool DependsOnTime();

  RootKeyring root_keys_;
  const Clock& clock_;
  Quotas quotas_;
  Identity identity_;
  std::unique_ptr<Catalog> catalog_;
  std::unique_ptr<AuditLog> audit_;
  std::unique_ptr<AlertEngine> alerts_;
  std::unique_ptr<ActivityLog> activity_;
  std::unique_ptr<Recorder> recorder_;
  std::unique_ptr<LogKeeper> log_keeper_;  // write_mutex_ guards what it points to
  DigestHead last_digest_;                 // as the log was found
  bool accepted_ = false;                  // key store and log belong together
  CallCounts counts_;
  FileView* files_ = nullptr;  // or null: nothing is mounted

  std::mutex write_mutex_;  // taken before all others; guards the next five
  bool unsealed_ = false;   // a commit since the last seal
  std::chrono::steady_clock::time_point sealed_at_, synced_at_, compliance_at_;
  bool watches_compliance_ = false;
  std::shared_ptr<const policy::AlertRules> used_rules_;
  uint64_t time_checked_ = 0;  // the state for which depends_on_time_ holds
  bool depends_on_time_ = false;
  std::atomic<uint64_t> generation_{1}, times_wiped_{0};
  std::mutex followers_mutex_;  // guards followers_
  // By ARN and operation: the last record seen.
  std::map<std::string, uint64_t> followers_;
  struct Refusals {
    std::chrono::steady_clock::time_point recorded{};
    uint64_t count = 0;  // since then, with it
  };
  std::mutex refusals_mutex_;           // guards refusals_
  std::map<uid_t, Refusals> refusals_;  // of signatures, by the process's user
  std::mutex listener_mutex_;           // guards listener_
  std::function<void()> listener_;
};

}  // namespace keyfold
