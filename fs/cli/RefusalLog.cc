#include "fs/cli/RefusalLog.h"

#include "fs/cli/Harmless.h"
#include "fs/cli/Log.h"
#include "kms/base/Status.h"

namespace keyfold {
namespace {

constexpr auto kSpan = std::chrono::seconds(10);
constexpr unsigned kMostTold = 20;  // of one user and kind, in that
constexpr size_t kMostKept = 4096;

}  // namespace

void RefusalLog::Tell(const RefusedCall& refusal) {
  const auto now = std::chrono::steady_clock::now();
  const bool damage = refusal.error == ErrorName(Error::kCorrupt);
  if (told_.size() >= kMostKept) told_.clear();
  Told& told = told_[{refusal.uid, damage}];
  if (now - told.since >= kSpan) {
    told.since = now;
    told.lines = 0;
  }
  if (told.lines >= kMostTold) {
    ++told.left_out;
    return;
  }
  ++told.lines;
  const uint64_t left_out = std::exchange(told.left_out, 0);
  // Names of files are in the log where something is wrong with them, not where
  // somebody may not use them.
  const std::string path = damage ? refusal.path : "";
  std::string message = refusal.operation + (path.empty() ? "" : " " + path) + " by " +
                        refusal.user_name + ": " + refusal.error + ": " +
                        refusal.message;
  if (left_out > 0)
    message += " (" + std::to_string(left_out) + " more of theirs before are not here)";
  LogRecord(damage ? spdlog::level::err : spdlog::level::warn, Harmless(message),
            {{"KEYFOLD_REQUEST_ID", refusal.request_id},
             {"KEYFOLD_OPERATION", refusal.operation},
             {"KEYFOLD_PRINCIPAL", refusal.principal},
             {"KEYFOLD_KEY_ID", refusal.key_id},
             {"KEYFOLD_ERROR", refusal.error},
             {"KEYFOLD_PATH", path}});
}

}  // namespace keyfold
