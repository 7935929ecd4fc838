#include "fs/cli/Log.h"

#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/sinks/syslog_sink.h>
#include <spdlog/spdlog.h>
#include <syslog.h>

#include <algorithm>
#include <mutex>

#include "fs/cli/SystemCalls.h"

namespace keyfold {
namespace {

// JournalSink sends lines as records of the journal.
class JournalSink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  JournalSink(std::unique_ptr<Journal> journal, std::string store)
      : journal_(std::move(journal)), store_(std::move(store)) {}

  void Tell(spdlog::level::level_enum level, std::string message,
            const JournalFields& fields) const {
    JournalFields all = {{"MESSAGE", std::move(message)},
                         {"PRIORITY", std::to_string(PriorityOf(level))},
                         {"SYSLOG_IDENTIFIER", "keyfold"},
                         {"SYSLOG_FACILITY", std::to_string(LOG_DAEMON >> 3)},
                         {"KEYFOLD_STORE", store_}};
    all.insert(all.end(), fields.begin(), fields.end());
    (void)journal_->Send(all);
  }

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    Tell(message.level, std::string(message.payload.data(), message.payload.size()),
         {});
  }
  void flush_() override {}

 private:
  static int PriorityOf(spdlog::level::level_enum level) {
    switch (level) {
      case spdlog::level::critical:
        return LOG_CRIT;
      case spdlog::level::err:
        return LOG_ERR;
      case spdlog::level::warn:
        return LOG_WARNING;
      case spdlog::level::info:
        return LOG_INFO;
      default:
        return LOG_DEBUG;
    }
  }
  const std::unique_ptr<Journal> journal_;
  const std::string store_;
};

std::shared_ptr<JournalSink> journal_sink;  // null: the log is elsewhere

std::shared_ptr<spdlog::logger> LoggerOf(const LogPlace& place) {
  if (!place.foreground || Journal::HasStandardError())
    if (auto journal = Journal::Open()) {
      journal_sink = std::make_shared<JournalSink>(std::move(journal), place.store);
      return std::make_shared<spdlog::logger>("keyfold", journal_sink);
    }
  if (place.foreground) return spdlog::stderr_logger_mt("keyfold");
  return spdlog::syslog_logger_mt("keyfold", "keyfold", LOG_PID | LOG_NDELAY,
                                  LOG_DAEMON);
}

}  // namespace

void LogTo(const LogPlace& place) {
  spdlog::set_default_logger(LoggerOf(place));
  spdlog::set_pattern("%v");
  if (place.debug) spdlog::set_level(spdlog::level::debug);
}

void LogRecord(spdlog::level::level_enum level, const std::string& message,
               JournalFields fields) {
  std::erase_if(fields, [](const auto& field) { return field.second.empty(); });
  if (journal_sink) return journal_sink->Tell(level, message, fields);
  const auto id = std::find_if(fields.begin(), fields.end(), [](const auto& field) {
    return field.first == "KEYFOLD_REQUEST_ID";
  });
  spdlog::log(level, "{}{}", message,
              id == fields.end() ? std::string() : " [request " + id->second + "]");
}

void TellRefusals() {
  ForEachRefusal([](const std::string& name) {
    spdlog::warn(
        "The confinement refused the system call {}. If something does not work for "
        "that, mount with -o confine=off and report it.",
        name);
  });
}

}  // namespace keyfold
