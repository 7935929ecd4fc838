#include "fs/cli/RootKeyWatch.h"

#include <spdlog/spdlog.h>

#include <condition_variable>
#include <mutex>
#include <new>
#include <optional>
#include <thread>

namespace keyfold {
namespace {

constexpr auto kInterval = std::chrono::seconds(5);
constexpr auto kSecondLook = std::chrono::seconds(1);
// A device that does not answer for so long counts as gone.
constexpr auto kPatience = std::chrono::seconds(10);
constexpr auto kLastWait = std::chrono::seconds(2);

}  // namespace

// Impl outlives the watch when the device hangs in a call.
struct RootKeyWatch::Impl {
  Impl(std::unique_ptr<RootKeyDevice> the_device, Unseal the_unseal, Kms& the_kms,
       const Clock& the_clock, std::chrono::seconds the_grace)
      : device(std::move(the_device)),
        unseal(std::move(the_unseal)),
        kms(the_kms),
        clock(the_clock),
        grace(the_grace) {}

  void Run();
  Status Probe();
  void Tick();
  // The following are called with `mutex` held.
  bool IsOver(TimePoint since, std::chrono::seconds time) const;
  void Missing(const Status& why);
  void Gone(const Status& why);
  Status Back(Result<RootKey> root);

  const std::unique_ptr<RootKeyDevice> device;  // of the thread that probes
  const Unseal unseal;
  Kms& kms;
  const Clock& clock;
  const std::chrono::seconds grace;

  std::mutex mutex;  // guards what follows, and that `kms` is there
  std::condition_variable changed;
  bool stopping = false, ended = false;
  std::optional<TimePoint> asked;  // and not answered yet
  std::optional<TimePoint> gone;   // since when
  std::optional<Status> missed;    // why it was not there when it was last asked
  bool wiped = false;
  // A device that was refused is not tried again until it was away: tokens count
  // wrong PINs.
  std::optional<Status> refused;
  std::string told;
};

// A clock that was set back does not make it last longer.
bool RootKeyWatch::Impl::IsOver(TimePoint since, std::chrono::seconds time) const {
  const TimePoint now = clock.Now();
  return now < since || now - since >= time;
}

void RootKeyWatch::Impl::Missing(const Status& why) {
  const bool another = std::exchange(refused, std::nullopt).has_value();
  const bool twice = missed.has_value();
  // What was seen first says it best.
  if (!twice) missed = why;
  if (gone ? another : twice) Gone(*missed);
}

void RootKeyWatch::Impl::Gone(const Status& why) {
  kms.WithholdRootKey(why);
  if (!gone) gone = clock.Now();
  if (std::exchange(told, why.message()) == why.message()) return;
  spdlog::error(
      "{} Until it is back keys cannot be used: files cannot be opened or made "
      "(ENOKEY), and calls fail with {}. Files that are open {}.",
      why.message(), ErrorName(Error::kUnavailable),
      wiped ? "were closed"
            : "can be used for " + std::to_string(grace.count()) + " seconds");
}

Status RootKeyWatch::Impl::Back(Result<RootKey> root) {
  Status status = root.ok() ? kms.RestoreRootKey(*root) : root.status();
  if (status.ok()) {
    gone.reset();
    wiped = false;
    told.clear();
    spdlog::info("The root key's device is back, and keys can be used again.");
    return status;
  }
  if (status.error() == Error::kWrongCredential) refused = status;
  Gone(status);
  return status;
}

Status RootKeyWatch::Impl::Probe() {
  {
    std::lock_guard lock(mutex);
    asked = clock.Now();
  }
  const Status there = device->Check();
  bool again = false;
  {
    std::lock_guard lock(mutex);
    if (stopping) return there;
    if (!there.ok()) {
      asked.reset();
      Missing(there);
      return there;
    }
    missed.reset();
    if (refused) {
      asked.reset();
      return *refused;
    }
    again = gone.has_value();
    if (!again) asked.reset();
  }
  if (!again) return OkStatus();
  Result<RootKey> root = unseal();
  std::lock_guard lock(mutex);
  asked.reset();
  return stopping ? root.status() : Back(std::move(root));
}

void RootKeyWatch::Impl::Tick() {
  std::lock_guard lock(mutex);
  if (asked && !gone && IsOver(*asked, kPatience))
    Gone({Error::kUnavailable,
          "The root key's token or TPM does not answer. Look after it, or start what "
          "serves it."});
  if (!gone || wiped || !IsOver(*gone, grace)) return;
  wiped = true;
  kms.WipeRootKey();
  spdlog::error(
      "The root key's device was away for {} seconds: all keys were wiped from "
      "memory, and files that were open have to be opened again.",
      grace.count());
}

void RootKeyWatch::Impl::Run() {
  std::unique_lock lock(mutex);
  while (!stopping) {
    lock.unlock();
    try {
      (void)Probe();
    } catch (const std::bad_alloc&) {  // in five seconds again
    }
    lock.lock();
    changed.wait_for(lock, missed && !gone ? kSecondLook : kInterval,
                     [this] { return stopping; });
  }
  ended = true;
  changed.notify_all();
}

RootKeyWatch::RootKeyWatch(std::unique_ptr<RootKeyDevice> device, Unseal unseal,
                           Kms& kms, const Clock& clock, std::chrono::seconds grace)
    : impl_(std::make_shared<Impl>(std::move(device), std::move(unseal), kms, clock,
                                   grace)) {
  impl_->ended = true;
}

RootKeyWatch::~RootKeyWatch() {
  std::unique_lock lock(impl_->mutex);
  impl_->stopping = true;
  impl_->changed.notify_all();
  impl_->changed.wait_for(lock, kLastWait, [this] { return impl_->ended; });
}

void RootKeyWatch::Start() {
  {
    std::lock_guard lock(impl_->mutex);
    impl_->ended = false;
  }
  std::thread([impl = impl_] { impl->Run(); }).detach();
}

Status RootKeyWatch::Probe() { return impl_->Probe(); }
void RootKeyWatch::Tick() { impl_->Tick(); }

}  // namespace keyfold
