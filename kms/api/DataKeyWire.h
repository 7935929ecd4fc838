// The messages between the process that holds keys and the one that serves files: one
// for each call of DataKeys, and its answer; and the other way, what is open.
//
// A message is one packet: fields in a fixed order, integers little-endian, text and
// bytes behind a length of 32 bits. Both programs are the same file, so there are no
// versions. Neither side trusts the other: what is not exactly a message is none.
//
// Owns: the bytes. Must not know: sockets, who decides what. Pure functions.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kms/service/DataKeys.h"
#include "kms/service/FileView.h"

namespace keyfold {

// Bytes; a caller may be in 65,536 groups.
inline constexpr size_t kMostDataKeyMessage = 384 << 10;

enum class DataKeyCall : uint8_t {
  kResolveKey = 1,
  kKeyLabel,
  kAuthorize,
  kPin,
  kStillAllowed,
  kRecordFileEvent,
  kGenerateDataKey,
  kUnwrapDataKey,
  kAuthorizeGenerate,
  kAuthorizeUnwrap,
  kRewrapDataKey,
  kIsCurrent,
  kReadNote,
  kKeepNote,
  kReload,  // of settings: no call of DataKeys, but of the mount's own
  kLast = kReload,
};

// DataKeyRequest has room for what any call takes; a call leaves the rest empty.
struct DataKeyRequest {
  DataKeyCall call = DataKeyCall::kResolveKey;
  Caller caller;    // user, group, process and groups; what else there is stays behind
  std::string key;  // or the name of a note
  FileEvent event;  // its path is that of calls that have no event, too
  EncryptionContext context, to_context;
  Bytes blob;      // or the value of a note
  Status outcome;  // of what is recorded
};

// DataKeyAnswer has room for what any call returns.
struct DataKeyAnswer {
  Status status;
  std::string text;
  Bytes blob;
  bool yes = false;
  std::optional<std::vector<gid_t>> groups;
  DataKey key;
};

// FilesQuestion asks who serves files what is open: all, or by one user. The answer
// bears its number.
struct FilesQuestion {
  uint32_t number = 0;
  std::optional<uid_t> only;
};
struct FilesAnswer {
  uint32_t number = 0;
  OpenHandles open;
};

// Encode leaves out the key of an answer, if there is one: it follows as the packet's
// last bytes, so that it is never in memory which is not wiped.
Bytes Encode(const DataKeyRequest& request);
Bytes Encode(const DataKeyAnswer& answer);
Bytes Encode(const FilesQuestion& question);
Bytes Encode(const FilesAnswer& answer);
// Decoding gives nothing for bytes that Encode does not make. That of an answer wipes
// the key in `packet`.
std::optional<DataKeyRequest> DecodeDataKeyRequest(ByteView packet);
std::optional<DataKeyAnswer> DecodeDataKeyAnswer(MutableBytes packet);
std::optional<FilesQuestion> DecodeFilesQuestion(ByteView packet);
std::optional<FilesAnswer> DecodeFilesAnswer(ByteView packet);

}  // namespace keyfold
