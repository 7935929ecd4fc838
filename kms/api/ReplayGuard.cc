#include "kms/api/ReplayGuard.h"

#include <algorithm>

#include "kms/base/Bytes.h"

namespace keyfold {
namespace {

// Enough to tell signatures apart, and held by a string without an allocation.
constexpr size_t kMarkSize = 15;
// A little longer than a request may take after its time was looked at.
constexpr auto kMemory = kClockSkew + std::chrono::minutes(1);

}  // namespace

// Sweep forgets, once a second, what can be told to be too old by its time.
void ReplayGuard::Sweep(TimePoint now) {
  if (now >= swept_ && now - swept_ < std::chrono::seconds(1)) return;
  swept_ = now;
  // It never goes back, as the clock may.
  forgotten_ = std::max(forgotten_, now - kMemory);
  for (auto it = seen_.begin(); it != seen_.end();) {
    Seen& seen = it->second;
    auto& marks = seen.first;
    marks.erase(marks.begin(), marks.lower_bound({forgotten_, {}}));
    const bool idle = marks.empty() && seen.floor < forgotten_;
    it = idle ? seen_.erase(it) : std::next(it);
  }
}

Status ReplayGuard::Admit(const std::string& who, const Authorization& authorization,
                          TimePoint now) {
  const auto signature = FromHex(authorization.signature).value_or(Bytes{});
  const Mark mark(
      authorization.time,
      AsText(ByteView(signature).first(std::min(signature.size(), kMarkSize))));
  std::lock_guard lock(mutex_);
  Sweep(now);
  if (authorization.time < forgotten_)
    return {Error::kInvalidSignature,
            "Signature expired: it was made before the endpoint was started, or the "
            "clock was set back, so that it may have been used already."};
  Seen& seen = seen_[who];
  const auto [it, fresh] = seen.first.try_emplace(mark, now);
  if (!fresh) {
    if (!authorization.has_own_id && now <= it->second + kSameSecond) return OkStatus();
    return {Error::kInvalidSignature,
            "The request was received before. Each request must be signed anew."};
  }
  if (authorization.time <= seen.floor) {
    seen.first.erase(it);
    return {Error::kInvalidSignature,
            "Signature expired: you sign so many requests that only the latest can be "
            "told from repeated ones."};
  }
  if (seen.first.size() > kMostRemembered) {
    seen.floor = seen.first.begin()->first.first;
    seen.first.erase(seen.first.begin());
  }
  return OkStatus();
}

}  // namespace keyfold
