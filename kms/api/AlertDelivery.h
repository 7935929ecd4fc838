// AlertDelivery: alerts on their way to commands and webhooks.
//
// Owns: a bounded queue, a few threads, the connections they begin.
// Nobody who raises an alert waits for it. Must not know: why an alert was raised.
// Thread-safe.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "kms/base/Status.h"
#include "kms/service/Alert.h"

namespace keyfold {

class AlertDelivery {
 public:
  // What could not be delivered: the alert's name, where to ("command /x", "webhook
  // http://y"), and why.
  using Undelivered = std::function<void(const std::string& alert,
                                         const std::string& target, const Status& why)>;
  // Commands says which are run. A store of somebody else's may hold rules, by which
  // the daemon would run their programs.
  enum class Commands {
    kNone,
    kApplied,  // of rules that were applied since the store was opened
    kStored,   // also of those that were found in it
  };
  // RunCommand is RunAlertCommand (AlertCommand.h), or has another process call it.
  using RunCommand =
      std::function<Status(const policy::AlertAction& action, const std::string& alert,
                           const std::string& record, const std::atomic<bool>& ending)>;
  // `run` and `undelivered` are called on any thread, and must not call back.
  AlertDelivery(Commands commands, RunCommand run, Undelivered undelivered);
  // Gives what is under way a few seconds, then ends it; the rest is undelivered.
  ~AlertDelivery();

  // Deliver queues the alert's commands and webhooks. What finds the queue full (1,000)
  // is dropped, and told of as one failure with the number when there is room again.
  void Deliver(const Alert& alert);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace keyfold
