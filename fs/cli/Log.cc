#include "fs/cli/Log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/sinks/syslog_sink.h>
#include <spdlog/spdlog.h>
#include <syslog.h>

#include "fs/cli/SystemCalls.h"

namespace keyfold {

void LogTo(bool foreground, bool debug) {
  if (foreground) {
    spdlog::set_default_logger(spdlog::stderr_logger_mt("keyfold"));
  } else {
    spdlog::set_default_logger(spdlog::syslog_logger_mt(
        "keyfold", "keyfold", LOG_PID | LOG_NDELAY, LOG_DAEMON));
  }
  spdlog::set_pattern("%v");
  if (debug) spdlog::set_level(spdlog::level::debug);
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
