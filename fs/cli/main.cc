#include <cstdio>
#include <exception>

#include "fs/cli/ExitCode.h"
#include "fs/cli/Program.h"

int main(int argc, char** argv) {
  try {
    return keyfold::RunProgram({argv, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "keyfold: %s\n", error.what());
    return keyfold::kExitFailed;
  }
}
