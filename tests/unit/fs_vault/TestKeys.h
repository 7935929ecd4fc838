// TestKeys: a DataKeys with real wrapping under one fixed key, and rights that a
// test takes and gives back.
#pragma once

#include <errno.h>

#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "fs/format/Ids.h"
#include "kms/crypto/Crypto.h"
#include "kms/service/DataKeys.h"
#include "kms/service/StoreCheck.h"

namespace keyfold {

class TestKeys : public DataKeys {
 public:
  static constexpr char kKeyOne[] = "11111111-1111-4111-8111-111111111111";
  static constexpr char kKeyTwo[] = "22222222-2222-4222-8222-222222222222";

  std::set<uid_t> denied;
  std::string denied_key;                         // to everybody
  std::vector<std::string> authorized, recorded;  // event names
  std::string disabled_key;                       // checks find it so
  std::string refused_record;                     // checks cannot record this event
  std::mutex record_mutex;                        // of checks, which use threads
  Status recording = OkStatus();                  // how recording an event ends
  std::function<void()> while_authorizing;        // called once
  uint64_t generation = 1;
  std::map<std::string, Bytes> notes;
  uint64_t times_wiped = 0;
  int rewraps = 0;
  std::set<std::string> former_blobs;  // hexadecimal, of a former version of their CMK

  Result<std::string> ResolveKey(const std::string& key) override {
    if (key == kKeyOne || key == kKeyTwo) return key;
    return Status(Error::kNotFound, key);
  }
  std::string KeyLabel(const std::string& key_id) override { return key_id; }
  Status Authorize(const Caller& caller, const std::string& key_id,
                   const EncryptionContext& context, const FileEvent& event) override {
    authorized.push_back(event.name);
    if (while_authorizing) std::exchange(while_authorizing, nullptr)();
    return StillAllowed(caller, key_id, context, event.use);
  }
  Caller Pin(const Caller& caller) override { return caller; }
  Status StillAllowed(const Caller& caller, const std::string& key_id,
                      const EncryptionContext&, KeyUse) override {
    if (key_id != kKeyOne && key_id != kKeyTwo) return Status(Error::kNotFound, key_id);
    return denied.contains(caller.uid) || key_id == denied_key
               ? Status(Error::kAccessDenied, "no right")
               : OkStatus();
  }
  Status RecordFileEvent(const Caller&, const std::string&, const FileEvent& event,
                         const Status&) override {
    if (recording.ok()) recorded.push_back(event.name);
    return recording;
  }
  Result<WrappedDataKey> GenerateDataKey(const Caller&, const std::string& key_id,
                                         const EncryptionContext& context,
                                         const std::string&) override {
    return Wrap(RandomSecret(kKeySize), key_id, context);
  }
  Result<DataKey> UnwrapDataKey(const Caller&, ByteView blob,
                                const EncryptionContext& context,
                                const std::string&) override {
    KF_ASSIGN_OR_RETURN(SecretBytes dek, Unwrap(blob, context));
    return DataKey(std::move(dek));
  }
  Result<WrappedDataKey> RewrapDataKey(const Caller&, ByteView blob,
                                       const EncryptionContext& from,
                                       const std::string& to_key_id,
                                       const EncryptionContext& to,
                                       const std::string&) override {
    KF_ASSIGN_OR_RETURN(SecretBytes dek, Unwrap(blob, from));
    ++rewraps;
    return Wrap(std::move(dek), to_key_id, to);
  }
  bool IsCurrent(ByteView blob) override { return !former_blobs.contains(ToHex(blob)); }
  Result<Bytes> ReadNote(const std::string& name) override { return notes[name]; }
  Status KeepNote(const std::string& name, ByteView value) override {
    notes[name] = Bytes(value.begin(), value.end());
    return OkStatus();
  }
  uint64_t TimesWiped() const override { return times_wiped; }
  uint64_t Generation() const override { return generation; }
  void SetChangeListener(std::function<void()>) override {}

  class Check : public StoreCheck {
   public:
    explicit Check(TestKeys& keys) : keys_(keys) {}
    Result<DataKey> Unwrap(ByteView blob, const EncryptionContext& context) override {
      if (blob.size() >= kKeyIdSize && !keys_.disabled_key.empty() &&
          AsText(blob.first(kKeyIdSize)) == keys_.disabled_key)
        return Status(Error::kDisabled, keys_.disabled_key);
      return keys_.UnwrapDataKey({}, blob, context, "");
    }
    Status Record(const std::string& event, const std::string& path, const Details&,
                  const Status&) override {
      const std::lock_guard lock(keys_.record_mutex);
      if (event == keys_.refused_record) return Status::FromErrno(ENOSPC, "audit log");
      keys_.recorded.push_back(event + " " + path);
      return OkStatus();
    }
    Status VerifyRecords() override { return OkStatus(); }

   private:
    TestKeys& keys_;
  };

 private:
  static Bytes Aad(std::string_view key_id, const EncryptionContext& context) {
    ByteWriter writer;
    writer.Prefixed(key_id);
    for (const auto& [name, value] : context) {
      writer.Prefixed(name);
      writer.Prefixed(value);
    }
    return writer.Take();
  }
  WrappedDataKey Wrap(SecretBytes dek, const std::string& key_id,
                      const EncryptionContext& context) {
    WrappedDataKey wrapped;
    wrapped.blob.assign(key_id.begin(), key_id.end());
    const Bytes sealed = SealSecret(kek_, Aad(key_id, context), dek);
    wrapped.blob.insert(wrapped.blob.end(), sealed.begin(), sealed.end());
    wrapped.key = DataKey(std::move(dek));
    wrapped.key_id = key_id;
    return wrapped;
  }
  Result<SecretBytes> Unwrap(ByteView blob, const EncryptionContext& context) {
    if (blob.size() < kKeyIdSize) return Status(Error::kInvalidCiphertext, "too short");
    return OpenSecret(kek_, Aad(AsText(blob.first(kKeyIdSize)), context),
                      blob.subspan(kKeyIdSize));
  }

  const SecretBytes kek_ = RandomSecret(kKeySize);
};

}  // namespace keyfold
