// The log of a mount's processes: where it goes, and what the confinement adds to it.
#pragma once

namespace keyfold {

// LogTo says where: standard error, or the system's log, to which the connection is
// made at once, as one of the processes may make none later.
void LogTo(bool foreground, bool debug);

// TellRefusals logs which system calls were refused since it was last called.
void TellRefusals();

}  // namespace keyfold
