// FakeKms answers every call with who asked for what.
#pragma once

#include <atomic>

#include "kms/crypto/Crypto.h"
#include "kms/service/Kms.h"

namespace keyfold {

class FakeKms : public Kms {
 public:
  const Account& account() const override { return account_; }
  Result<nlohmann::json> Call(const Caller& caller, std::string_view service,
                              std::string_view operation,
                              const nlohmann::json& request) override {
    if (operation == "DisableKey") return Status(Error::kAccessDenied, "not you");
    if (operation == "EnableKey") throw std::runtime_error("unexpected");
    if (operation == "DescribeKey") return Status(Error::kInternal, "broken");
    return nlohmann::json{{"uid", caller.uid},
                          {"gid", caller.gid},
                          {"pid", caller.pid},
                          {"service", service},
                          {"operation", operation},
                          {"request", request},
                          {"isService", caller.is_service},
                          {"source", caller.source},
                          {"groups", caller.groups.value_or(std::vector<gid_t>{})}};
  }
  Result<Credential> FindCredential(const std::string& access_key_id,
                                    const std::string& session_token) override {
    if (access_key_id != "AKIDEXAMPLE" || !session_token.empty())
      return Status(Error::kUnrecognizedClient, "unknown");
    Bytes text(kSecret.begin(), kSecret.end());
    Caller caller;
    caller.uid = 4711;
    caller.access_key_id = access_key_id;
    return Credential{SecretFrom(text), caller};
  }
  void RecordRefusal(const Caller&, const Status&) override { ++refusals; }
  // Of AWS's examples.
  static constexpr std::string_view kSecret =
      "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
  std::atomic<int> refusals{0};

  Status Tick() override { return OkStatus(); }
  void WithholdRootKey(const Status&) override {}
  void WipeRootKey() override {}
  Status RestoreRootKey(const RootKey&) override { return OkStatus(); }
  uint64_t TimesWiped() const override { return 0; }
  void SetAlertSink(std::function<void(const Alert&)>) override {}
  policy::AlertRules AlertRules() const override { return {}; }
  void RecordUndelivered(const std::string&, const std::string&,
                         const Status&) override {}
  void SetAuditLogLimit(uint64_t) override {}
  void SetRefusalSink(std::function<void(const RefusedCall&)>) override {}
  void RecordReload(const Status&) override {}
  Result<std::unique_ptr<StoreCheck>> BeginCheck(const Caller&,
                                                 const StoreCheck::Details&) override {
    return Status(Error::kInternal, "not here");
  }
  void SetConfiguration(std::function<Result<std::string>()>) override {}
  void SetFileView(FileView*) override {}
  KmsFigures Figures() const override { return {}; }
  uint64_t Calls() const override { return 0; }
  Caller Pin(const Caller& caller) override { return caller; }

  Result<std::string> ResolveKey(const std::string& key) override { return key; }
  std::string KeyLabel(const std::string& key_id) override { return key_id; }
  bool IsCurrent(ByteView) override { return true; }
  Status Authorize(const Caller&, const std::string&, const EncryptionContext&,
                   const FileEvent&) override {
    return OkStatus();
  }
  Status StillAllowed(const Caller&, const std::string&, const EncryptionContext&,
                      KeyUse) override {
    return OkStatus();
  }
  Status RecordFileEvent(const Caller&, const std::string&, const FileEvent&,
                         const Status&) override {
    return OkStatus();
  }
  Result<WrappedDataKey> GenerateDataKey(const Caller&, const std::string&,
                                         const EncryptionContext&,
                                         const std::string&) override {
    return Status(Error::kInternal, "not here");
  }
  Result<DataKey> UnwrapDataKey(const Caller&, ByteView, const EncryptionContext&,
                                const std::string&) override {
    return Status(Error::kInternal, "not here");
  }
  Result<WrappedDataKey> RewrapDataKey(const Caller&, ByteView,
                                       const EncryptionContext&, const std::string&,
                                       const EncryptionContext&,
                                       const std::string&) override {
    return Status(Error::kInternal, "not here");
  }
  Result<Bytes> ReadNote(const std::string&) override { return Bytes(); }
  Status KeepNote(const std::string&, ByteView) override { return OkStatus(); }
  uint64_t Generation() const override { return 0; }
  void SetChangeListener(std::function<void()>) override {}

 private:
  Account account_;
};

}  // namespace keyfold
