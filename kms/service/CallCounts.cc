#include "kms/service/CallCounts.h"

namespace keyfold {
namespace {

constexpr size_t kMostUsers = 4096;

}  // namespace

CallCounts::OfUser& CallCounts::UserLocked(uid_t uid) {
  const bool full = users_.size() >= kMostUsers && !users_.contains(uid);
  return users_[full ? kUnknownUid : uid];
}

void CallCounts::NoteCall(uid_t uid, const Operation& operation, Error outcome,
                          std::chrono::steady_clock::duration took) {
  const std::lock_guard lock(mutex_);
  ++all_calls_;
  ++calls_[{&operation, outcome}];
  auto& durations = durations_[&operation];
  if (durations == nullptr) durations = std::make_shared<Latencies>();
  durations->Note(took);
  OfUser& user = UserLocked(uid);
  ++user.calls;
  if (outcome != Error::kOk) ++user.refusals;
}

void CallCounts::NoteFileUse(uid_t uid, KeyUse use, Error outcome) {
  const std::lock_guard lock(mutex_);
  ++file_uses_[{use, outcome}];
  OfUser& user = UserLocked(uid);
  ++user.file_uses;
  if (outcome != Error::kOk) ++user.refusals;
}

void CallCounts::NoteRefusedRequest() {
  const std::lock_guard lock(mutex_);
  ++refused_requests_;
}

uint64_t CallCounts::Calls() const {
  const std::lock_guard lock(mutex_);
  return all_calls_;
}

CallCounts::Snapshot CallCounts::All() const {
  Snapshot all;
  const std::lock_guard lock(mutex_);
  for (const auto& [call, count] : calls_)
    all.calls.push_back({call.first->service, call.first->name, call.second, count});
  for (const auto& [operation, took] : durations_)
    all.durations.push_back({operation->service, operation->name, took});
  for (const auto& [use, count] : file_uses_)
    all.file_uses.push_back({use.first, use.second, count});
  all.refused_requests = refused_requests_;
  return all;
}

std::map<uid_t, CallCounts::OfUser> CallCounts::Users(std::optional<uid_t> only) const {
  const std::lock_guard lock(mutex_);
  if (!only) return {users_.begin(), users_.end()};
  const auto it = users_.find(*only);
  if (it == users_.end()) return {};
  return {*it};
}

}  // namespace keyfold
