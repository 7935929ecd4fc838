// Completion: what could come next on a command line, for the shells.
//
// Owns: which kind of value each option takes, and where its values are looked up. Must
// not know: shells. It asks the daemon as whoever types, and is silent when that fails.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace keyfold {

struct Candidate {
  std::string word;
  std::string help;  // may be empty
};

// Complete takes the words behind the program's name, the last of them as far as it is
// typed. Empty where a file is wanted, or anything.
std::vector<Candidate> Complete(const CLI::App& app,
                                const std::vector<std::string>& words);
// Principals are the machine's users and groups as policies name them: "user:cfo". One
// thread at a time.
std::vector<Candidate> Principals();

}  // namespace keyfold
