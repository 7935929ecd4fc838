// States of keys, and their deletion.
#include "kms/service/Operations.h"

namespace keyfold {
namespace {

using nlohmann::json;
using std::chrono::days;

constexpr int64_t kDefaultWindow = 30;

json SetEnabled(Invocation& call, bool enabled) {
  KeyRecord key = *call.key;
  key.enabled = enabled;
  if (enabled) key.held = false;
  call.Change().PutKey(std::move(key));
  return json::object();
}

}  // namespace

Answer EnableKey(Invocation& call) { return SetEnabled(call, true); }
Answer DisableKey(Invocation& call) { return SetEnabled(call, false); }

Answer ScheduleKeyDeletion(Invocation& call) {
  const int64_t window =
      call.parameters.Integer("PendingWindowInDays").value_or(kDefaultWindow);
  KeyRecord key = *call.key;
  key.deletion_date = call.now + days(window);
  key.pending_window_days = static_cast<unsigned>(window);
  json answer = {{"KeyId", KeyArn(call.account, key.id)},
                 {"DeletionDate", WireTime(*key.deletion_date)},
                 {"KeyState", StateName(KeyState::kPendingDeletion)},
                 {"PendingWindowInDays", window}};
  call.Change().PutKey(std::move(key));
  return answer;
}

Answer CancelKeyDeletion(Invocation& call) {
  KeyRecord key = *call.key;
  key.deletion_date.reset();
  key.pending_window_days = 0;
  key.enabled = false;
  call.Change().PutKey(std::move(key));
  return json{{"KeyId", KeyArn(call.account, call.key->id)}};
}

}  // namespace keyfold
