// CallCounts: how many calls and uses of keys there were, how they ended, how long
// calls took and whose they were, since the KMS was opened.
//
// Must not know: who shows them, who may see them. Thread-safe: mutex_ guards
// everything.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "kms/base/Status.h"
#include "kms/service/DataKeys.h"
#include "kms/service/Latencies.h"
#include "kms/service/Schema.h"

namespace keyfold {

class CallCounts {
 public:
  struct Calls {
    std::string_view service, operation;
    Error outcome = Error::kOk;
    uint64_t count = 0;
  };
  // However they ended.
  struct Durations {
    std::string_view service, operation;
    std::shared_ptr<const Latencies> took;  // which goes on counting
  };
  struct FileUses {
    KeyUse use = KeyUse::kRead;
    Error outcome = Error::kOk;
    uint64_t count = 0;
  };
  struct OfUser {
    uint64_t calls = 0, file_uses = 0, refusals = 0;  // refusals are among both
  };
  struct Snapshot {
    std::vector<Calls> calls;
    std::vector<Durations> durations;
    std::vector<FileUses> file_uses;
    uint64_t refused_requests = 0;
  };

  void NoteCall(uid_t uid, const Operation& operation, Error outcome,
                std::chrono::steady_clock::duration took);
  void NoteFileUse(uid_t uid, KeyUse use, Error outcome);
  void NoteRefusedRequest();

  Snapshot All() const;
  uint64_t Calls() const;  // all of them
  // Users are those there were, or `only` that one.
  std::map<uid_t, OfUser> Users(std::optional<uid_t> only) const;

 private:
  // A user that is one too many is not told apart from the others like it.
  OfUser& UserLocked(uid_t uid);

  mutable std::mutex mutex_;
  std::map<std::pair<const Operation*, Error>, uint64_t> calls_;
  std::map<const Operation*, std::shared_ptr<Latencies>> durations_;
  std::map<std::pair<KeyUse, Error>, uint64_t> file_uses_;
  std::unordered_map<uid_t, OfUser> users_;
  uint64_t all_calls_ = 0;
  uint64_t refused_requests_ = 0;
};

}  // namespace keyfold
