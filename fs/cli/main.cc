#include <csignal>
#include <cstdio>
#include <exception>

#include "fs/cli/ExitCode.h"
#include "fs/cli/Program.h"

int main(int argc, char** argv) {
  // A daemon that turns a connection away is an error to tell, not a signal.
  std::signal(SIGPIPE, SIG_IGN);
  try {
    return keyfold::RunProgram({argv, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "keyfold: %s\n", error.what());
    return keyfold::kExitFailed;
  }
}
