// Recorder: audit records in CloudTrail's shape, and the alerts they raise.
//
// Owns: the wording of records. Must not know: the chain (kms/audit), decisions, which
// records raise alerts. Thread-safe.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "kms/audit/AuditLog.h"
#include "kms/audit/JsonText.h"
#include "kms/service/Alert.h"
#include "kms/service/AlertEngine.h"
#include "kms/service/Invocation.h"
#include "kms/service/RefusedCall.h"

namespace keyfold {

// Where a change's record tells the number of its commit.
inline constexpr char kKeyStoreSequence[] = "keyStoreSequence";
// And where a later record tells that this commit failed.
inline constexpr char kKeyStoreSequenceFailed[] = "keyStoreSequenceFailed";
// Where the record of an import or a rotation tells the number of the version that it
// made or used; that imported material is current without a rotation; and that the
// import enabled the key. Records of before they were told have none.
inline constexpr char kKeyMaterialVersion[] = "keyMaterialVersion";
inline constexpr char kCurrentAtOnce[] = "current";
inline constexpr char kKeyEnabled[] = "keyEnabled";
// Where alerts, and what became of them, come from.
inline constexpr char kAlertSource[] = "alerts.keyfold";
inline constexpr char kComplianceSource[] = "compliance.keyfold";
// SequenceIn is that number in the record of a change; nothing in others.
std::optional<uint64_t> SequenceIn(const nlohmann::json& record, const char* name);

class Recorder {
 public:
  Recorder(AuditLog& log, const Account& account, const Clock& clock,
           AlertEngine& alerts)
      : log_(log), account_(account), clock_(clock), alerts_(alerts) {}
  void set_sink(std::function<void(const Alert&)> sink) {
    const std::lock_guard lock(sink_mutex_);
    sink_ = std::move(sink);
  }
  void set_refusal_sink(std::function<void(const RefusedCall&)> sink) {
    const std::lock_guard lock(sink_mutex_);
    refusal_sink_ = std::move(sink);
  }

  // Base is a record with all that does not depend on the event's kind; resources
  // are to be added. `invoked_by` names the service that calls for the caller.
  JsonText Base(const Caller& caller, const policy::Principal& principal,
                std::string_view source, std::string_view event, bool read_only,
                std::string_view invoked_by = {}) const;
  // BaseTree is the same as a tree of values, with no resources yet.
  nlohmann::json BaseTree(const Caller& caller, const policy::Principal& principal,
                          std::string_view source, std::string_view event,
                          bool read_only) const;
  void AddKey(nlohmann::json& record, const std::string& key_arn) const;
  // The texts of resources.
  std::string KeyResource(const std::string& key_arn) const;
  static std::string FileResource(const std::string& path);
  // CallText tells of a KMS call that changed nothing and ended well.
  JsonText CallText(const Invocation& call) const;
  // CallRecord tells of any, and how it ended; `answer` may be null.
  nlohmann::json CallRecord(const Invocation& call, const nlohmann::json* answer,
                            const Status& outcome) const;
  static void AddOutcome(nlohmann::json& record, const Status& outcome);

  // Append writes the record and whatever alerts it raises. kSystem, in words
  // for the caller, when the log cannot be written: nothing may then be done.
  Status Append(const nlohmann::json& record, AuditRoom room = AuditRoom::kOrdinary);
  // Judge raises the alerts of a record that is written.
  void Judge(const nlohmann::json& record);
  // AppendUse writes the record of what changes nothing, such as a key's use for a
  // file, and how it ended.
  Status AppendUse(const JsonText& record, const Status& outcome);
  // TakeUrgent tells whether a refusal or failure was recorded since it was last
  // asked: that evidence should soon be on disk.
  bool TakeUrgent() { return urgent_.exchange(false); }

 private:
  void TellRefusal(const nlohmann::json& record);
  bool MayRaise(const nlohmann::json& record) const;
  void RaiseAlerts(const nlohmann::json& record);
  void Raise(const nlohmann::json& cause, AlertEngine::Raised raised);

  AuditLog& log_;
  const Account& account_;
  const Clock& clock_;
  AlertEngine& alerts_;
  std::mutex sink_mutex_;  // guards the sinks, and is held while one is called
  std::function<void(const Alert&)> sink_;
  std::function<void(const RefusedCall&)> refusal_sink_;
  std::atomic<bool> urgent_{false};
};

}  // namespace keyfold
