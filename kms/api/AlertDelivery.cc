#include "kms/api/AlertDelivery.h"

#include <signal.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <new>
#include <optional>
#include <thread>
#include <vector>

#include "kms/api/Webhook.h"

namespace keyfold {
namespace {

using policy::AlertAction;
using Moment = std::chrono::steady_clock::time_point;

constexpr size_t kMostQueued = 1000;
constexpr size_t kThreads = 4;
constexpr auto kFirstPause = std::chrono::seconds(1),
               kLongestPause = std::chrono::seconds(60);
constexpr auto kGrace = std::chrono::seconds(3);

struct Job {
  std::string alert, line, record;
  AlertAction action;
  unsigned attempt = 1;
};

std::string TargetOf(const AlertAction& action) {
  return action.kind == AlertAction::Kind::kCommand
             ? "command " + action.command.front()
             : "webhook " + WithoutSecrets(action.url);
}

std::chrono::seconds PauseAfter(unsigned attempt) {
  auto pause = kFirstPause;
  for (unsigned i = 1; i < attempt && pause < kLongestPause; ++i) pause *= 2;
  return std::min(pause, std::chrono::seconds(kLongestPause));
}

}  // namespace

struct AlertDelivery::Impl {
  Impl(Commands the_commands, RunCommand the_run, Undelivered the_undelivered)
      : commands(the_commands),
        run(std::move(the_run)),
        undelivered(std::move(the_undelivered)) {}

  void Work();
  // Take waits for a job that is due; nothing at the end.
  std::optional<Job> Take();
  void Do(Job job);
  bool MayRun(const AlertAction& action) const;
  Status Try(const Job& job) const;
  void TellDropped();

  const Commands commands;
  const RunCommand run;
  const Undelivered undelivered;
  std::atomic<bool> ending{false};
  std::mutex mutex;  // guards what follows
  std::condition_variable changed;
  std::multimap<Moment, Job> queue;  // by when it is due
  size_t dropped = 0;
  std::vector<std::thread> threads;
};

bool AlertDelivery::Impl::MayRun(const AlertAction& action) const {
  return commands == Commands::kStored ||
         (commands == Commands::kApplied && !action.stored);
}

Status AlertDelivery::Impl::Try(const Job& job) const {
  if (job.action.kind != AlertAction::Kind::kCommand)
    return PostWebhook(job.action, job.alert, job.line, job.record, ending);
  // A command gets what a webhook gets, on its standard input.
  if (MayRun(job.action)) return run(job.action, job.alert, job.record, ending);
  return {Error::kAccessDenied,
          "The store is mounted without alert-commands=" +
              std::string(job.action.stored ? "stored, and the rule was found in it."
                                            : "applied.")};
}

void AlertDelivery::Impl::TellDropped() {
  size_t count;
  {
    std::lock_guard lock(mutex);
    if (dropped == 0 || queue.size() > kMostQueued / 2) return;
    count = std::exchange(dropped, 0);
  }
  undelivered("", "queue",
              {Error::kLimitExceeded,
               std::to_string(count) + " deliveries were dropped, because more than " +
                   std::to_string(kMostQueued) + " waited, or memory was short."});
}

void AlertDelivery::Impl::Work() {
  // A webhook that hangs up is an error of the write, not the daemon's end.
  sigset_t pipe;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
  while (std::optional<Job> job = Take()) {
    try {
      Do(std::move(*job));
      TellDropped();
    } catch (const std::bad_alloc&) {
      // Counting takes no memory; it is told when there is some.
      std::lock_guard lock(mutex);
      ++dropped;
    }
  }
}

std::optional<Job> AlertDelivery::Impl::Take() {
  std::unique_lock lock(mutex);
  while (!ending) {
    if (queue.empty()) {
      changed.wait(lock);
      continue;
    }
    const Moment due = queue.begin()->first;
    if (due <= std::chrono::steady_clock::now())
      return std::move(queue.extract(queue.begin()).mapped());
    changed.wait_until(lock, due);
  }
  return std::nullopt;
}

void AlertDelivery::Impl::Do(Job job) {
  const Status status = Try(job);
  if (status.ok()) return;
  const bool again = !ending && job.action.kind == AlertAction::Kind::kWebhook &&
                     job.attempt < job.action.attempts;
  if (!again) return undelivered(job.alert, TargetOf(job.action), status);
  const auto pause = PauseAfter(job.attempt++);
  std::lock_guard lock(mutex);
  queue.emplace(std::chrono::steady_clock::now() + pause, std::move(job));
  changed.notify_one();
}

AlertDelivery::AlertDelivery(Commands commands, RunCommand run, Undelivered undelivered)
    : impl_(std::make_unique<Impl>(commands, std::move(run), std::move(undelivered))) {
  for (size_t i = 0; i < kThreads; ++i)
    impl_->threads.emplace_back([this] { impl_->Work(); });
}

AlertDelivery::~AlertDelivery() {
  {
    // What is due gets a moment to be begun.
    std::unique_lock lock(impl_->mutex);
    const Moment end = std::chrono::steady_clock::now() + kGrace;
    while (!impl_->queue.empty() &&
           impl_->queue.begin()->first <= std::chrono::steady_clock::now() &&
           std::chrono::steady_clock::now() < end)
      impl_->changed.wait_for(lock, std::chrono::milliseconds(50));
    impl_->ending = true;
  }
  impl_->changed.notify_all();
  for (std::thread& thread : impl_->threads) thread.join();
  for (const auto& [due, job] : impl_->queue)
    impl_->undelivered(
        job.alert, TargetOf(job.action),
        {Error::kSystem, "The store was unmounted before it was tried" +
                             std::string(job.attempt > 1 ? " again." : ".")});
  impl_->queue.clear();
  impl_->TellDropped();
}

void AlertDelivery::Deliver(const Alert& alert) {
  std::lock_guard lock(impl_->mutex);
  for (const AlertAction& action : alert.actions) {
    if (action.kind == AlertAction::Kind::kJournal) continue;
    if (impl_->queue.size() >= kMostQueued) {
      ++impl_->dropped;
      continue;
    }
    impl_->queue.emplace(std::chrono::steady_clock::now(),
                         Job{alert.name, alert.line, alert.record, action});
    impl_->changed.notify_one();
  }
}

}  // namespace keyfold
