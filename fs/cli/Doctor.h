// Doctor: what could keep Keyfold from working here, and how to mend it.
//
// It looks and changes nothing; it asks for no passphrase, and takes no lock of a
// store. A root key whose secret lies in a file is unsealed, and wiped. Free functions.
#pragma once

#include <string>
#include <vector>

namespace keyfold {

enum class Health {
  kGood,
  kWorse,  // it works, but slower, less safe, or not for long
  kBad,    // it does not work
};

struct Diagnosis {
  std::string what;  // "memory locking"
  Health health = Health::kGood;
  std::string found;
  std::string mend;  // empty when nothing is to be mended
};

// ExamineMachine is of what every store needs.
std::vector<Diagnosis> ExamineMachine();
// ExamineStore is of one store; `root_key` as with keyfold mount, or empty.
std::vector<Diagnosis> ExamineStore(const std::string& store,
                                    const std::string& root_key);
// ExamineMounts is of those that this user can enter.
std::vector<Diagnosis> ExamineMounts();

}  // namespace keyfold
