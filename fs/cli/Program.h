// The program: its command line as a whole.
#pragma once

#include <string>
#include <vector>

namespace keyfold {

// RunProgram does what `arguments` say (the program's name first) and returns
// the exit code.
int RunProgram(std::vector<std::string> arguments);

}  // namespace keyfold
