// RemoteDataKeys: the DataKeys of a Kms in another process (DataKeyServer.h there).
//
// Each call is one packet there and one back on a connection of its own, and waits
// while all are in use; the counts cost nothing. When the other process is gone, or
// what it sends is no answer, every call is kUnavailable from then on.
//
// Owns: the connections, and a short memory of what seldom changes. Must not know: who
// decides what, and how. Thread-safe.
#pragma once

#include <functional>
#include <memory>

#include "kms/api/DataKeyLink.h"

namespace keyfold {

class RemoteDataKeys : public DataKeys {
 public:
  explicit RemoteDataKeys(DataKeyEnd end);
  ~RemoteDataKeys() override;

  // Hello waits for the answer that the other process sends unasked before all others.
  // Nothing when it ended without.
  std::optional<DataKeyAnswer> Hello();

  // Watch begins to call the change listener, and calls `gone` once if the other
  // process is; both by a thread of its own. Unwatch ends that thread.
  void Watch(std::function<void()> gone);
  void Unwatch();
  bool IsGone() const;
  // Reload has the other process read its settings anew; the error says why the former
  // ones stay.
  Status Reload();
  // CallsOfOthers is how often the KMS was called by others, as of a second ago.
  uint64_t CallsOfOthers() const;

  Result<std::string> ResolveKey(const std::string& key) override;
  std::string KeyLabel(const std::string& key_id) override;
  Status Authorize(const Caller& caller, const std::string& key_id,
                   const EncryptionContext& context, const FileEvent& event) override;
  Caller Pin(const Caller& caller) override;
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
  Result<WrappedDataKey> AuthorizeGenerate(const Caller& caller,
                                           const std::string& key_id,
                                           const EncryptionContext& context,
                                           const FileEvent& event) override;
  Result<DataKey> AuthorizeUnwrap(const Caller& caller, const std::string& key_id,
                                  const EncryptionContext& context,
                                  const FileEvent& event, ByteView blob) override;
  Result<WrappedDataKey> RewrapDataKey(const Caller& caller, ByteView blob,
                                       const EncryptionContext& from,
                                       const std::string& to_key_id,
                                       const EncryptionContext& to,
                                       const std::string& path) override;
  bool IsCurrent(ByteView blob) override;
  Result<Bytes> ReadNote(const std::string& name) override;
  Status KeepNote(const std::string& name, ByteView value) override;
  uint64_t TimesWiped() const override;
  uint64_t Generation() const override;
  void SetChangeListener(std::function<void()> listener) override;

 private:
  struct Impl;
  // Call makes an answer of its own where there is none, with the reason.
  DataKeyAnswer Call(const DataKeyRequest& request);
  Result<DataKey> CallForKey(const DataKeyRequest& request);
  Result<WrappedDataKey> CallForWrapped(const DataKeyRequest& request);

  const std::unique_ptr<Impl> impl_;
};

}  // namespace keyfold
