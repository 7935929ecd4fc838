// DataKeys: all that fs/vault may know of the KMS. The embedded Kms implements it, and
// RemoteDataKeys (kms/api) for the Kms of another process.
//
// Implementations are safe for concurrent use.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kms/base/Bytes.h"
#include "kms/base/Status.h"

namespace keyfold {

inline constexpr uid_t kUnknownUid = static_cast<uid_t>(-1);

// Caller is a process as the kernel describes it: the request's credentials
// (FUSE) or the socket's peer (SO_PEERCRED). Unless `groups` is set
// (SO_PEERGROUPS), supplementary groups are read from /proc/PID/status when a
// decision needs them.
struct Caller {
  uid_t uid = 0;
  gid_t gid = 0;
  pid_t pid = 0;
  std::optional<std::vector<gid_t>> groups;  // supplementary
  std::string role;                          // assumed role, or empty
  std::string access_key_id;                 // the request was signed with it
  std::string session_name;                  // of the assumed role
  // The user whose process sent a signed request; kUnknownUid if that is not known.
  std::optional<uid_t> client_uid;
  std::string source = "local";  // or the client's address
  std::string request_id;        // of its record; empty: any
  std::string executable;        // its program; empty: that of `pid` when recorded
  bool is_service = false;       // Keyfold itself; never set from outside
};

using EncryptionContext = std::map<std::string, std::string>;

// What a caller wants of a key.
enum class KeyUse { kRead, kCreate, kWrite };  // Decrypt; GenerateDataKey; both
// KeyUseName is how records and metrics name it: "read", "create", "write".
constexpr const char* KeyUseName(KeyUse use) {
  switch (use) {
    case KeyUse::kRead:
      return "read";
    case KeyUse::kCreate:
      return "create";
    case KeyUse::kWrite:
      return "write";
  }
  return "write";
}

struct WrappedDataKey {
  DataKey key;
  Bytes blob;          // opaque ciphertext, at most 512 bytes
  std::string key_id;  // UUID of the CMK
};

// FileEvent describes a file operation for the audit log.
struct FileEvent {
  std::string name;  // "OpenFile", "CreateFile", "TruncateFile", "ReadFile", ...
  std::string path;  // as seen on the mount
  KeyUse use = KeyUse::kRead;
};

class DataKeys {
 public:
  virtual ~DataKeys() = default;

  // ResolveKey turns an id, ARN or alias into the CMK's id. kNotFound.
  virtual Result<std::string> ResolveKey(const std::string& key) = 0;
  // KeyLabel returns the first alias of the key, else its id.
  virtual std::string KeyLabel(const std::string& key_id) = 0;

  // Authorize decides whether `caller` may use `key_id` and records the
  // decision as an fs.keyfold event. kAccessDenied: no right. kDisabled,
  // kInvalidState, kNotFound, kUnavailable: no key (ENOKEY). kSystem: the record could
  // not be written, so the use is refused.
  virtual Status Authorize(const Caller& caller, const std::string& key_id,
                           const EncryptionContext& context,
                           const FileEvent& event) = 0;
  // Pin returns `caller` with the groups it has now, so that later decisions
  // about what it opened do not need the process to be alive.
  virtual Caller Pin(const Caller& caller) = 0;
  // StillAllowed is the same decision without a record, for handles that are
  // already open.
  virtual Status StillAllowed(const Caller& caller, const std::string& key_id,
                              const EncryptionContext& context, KeyUse use) = 0;
  // RecordFileEvent records what happened to a file (an integrity failure).
  virtual Status RecordFileEvent(const Caller& caller, const std::string& key_id,
                                 const FileEvent& event, const Status& outcome) = 0;

  // GenerateDataKey and UnwrapDataKey act for `caller`, who must pass
  // Authorize's checks too. With a `path` they follow an Authorize whose record
  // tells of them; without one, and when they fail, they are recorded as KMS calls.
  virtual Result<WrappedDataKey> GenerateDataKey(const Caller& caller,
                                                 const std::string& key_id,
                                                 const EncryptionContext& context,
                                                 const std::string& path) = 0;
  virtual Result<DataKey> UnwrapDataKey(const Caller& caller, ByteView blob,
                                        const EncryptionContext& context,
                                        const std::string& path) = 0;
  // AuthorizeGenerate and AuthorizeUnwrap are Authorize and what follows it, for the
  // event's path: where the KMS is not in this process, at the price of one call. The
  // error is that of the first which fails.
  virtual Result<WrappedDataKey> AuthorizeGenerate(const Caller& caller,
                                                   const std::string& key_id,
                                                   const EncryptionContext& context,
                                                   const FileEvent& event) {
    KF_RETURN_IF_ERROR(Authorize(caller, key_id, context, event));
    return GenerateDataKey(caller, key_id, context, event.path);
  }
  virtual Result<DataKey> AuthorizeUnwrap(const Caller& caller,
                                          const std::string& key_id,
                                          const EncryptionContext& context,
                                          const FileEvent& event, ByteView blob) {
    KF_RETURN_IF_ERROR(Authorize(caller, key_id, context, event));
    return UnwrapDataKey(caller, blob, context, event.path);
  }
  // RewrapDataKey wraps the DEK of `blob` under another CMK and context. The DEK itself
  // stays where it was unwrapped: `key` is empty.
  virtual Result<WrappedDataKey> RewrapDataKey(const Caller& caller, ByteView blob,
                                               const EncryptionContext& from,
                                               const std::string& to_key_id,
                                               const EncryptionContext& to,
                                               const std::string& path) = 0;

  // IsCurrent tells whether `blob` is wrapped under the newest version of its CMK's
  // material. It decides nothing: true for a blob or a key that is not known.
  virtual bool IsCurrent(ByteView blob) = 0;

  // Notes are small values that the vault keeps with the keys: as durable as they are,
  // and guarded as they are against being changed or put back. ReadNote is empty for
  // one that was never kept.
  virtual Result<Bytes> ReadNote(const std::string& name) = 0;
  virtual Status KeepNote(const std::string& name, ByteView value) = 0;

  // TimesWiped is how often the KMS forgot every key, because what unseals its root key
  // was gone: each time nothing that was decrypted may be kept. It grows before the
  // generation does.
  virtual uint64_t TimesWiped() const = 0;

  // Generation grows with every change of a policy, grant, key state or IAM.
  virtual uint64_t Generation() const = 0;
  // SetChangeListener calls `listener` (on any thread, no lock held) after
  // Generation grew. Replaces the former one; an empty function clears it.
  virtual void SetChangeListener(std::function<void()> listener) = 0;
};

}  // namespace keyfold
