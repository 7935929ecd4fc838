// The log of a mount's processes: where it goes, and what the confinement adds to it.
#pragma once

#include <spdlog/common.h>

#include <string>

#include "fs/cli/Journal.h"

namespace keyfold {

struct LogPlace {
  bool foreground = false;
  bool debug = false;
  std::string store;  // in each record of the journal
};

// LogTo says where: standard error, or the system's journal or log, to which the
// connection is made at once, as one of the processes may make none later.
void LogTo(const LogPlace& place);

// LogRecord logs `message`. In the journal `fields` are fields; elsewhere a request's
// id alone is told, in brackets.
void LogRecord(spdlog::level::level_enum level, const std::string& message,
               JournalFields fields);

// TellRefusals logs which system calls were refused since it was last called.
void TellRefusals();

}  // namespace keyfold
