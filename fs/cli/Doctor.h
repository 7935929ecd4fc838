// Doctor: what could keep Keyfold from working here, and how to mend it.
//
// It looks and changes nothing; it asks for no passphrase, and takes no lock of a
// store. A root key whose secret lies in a file is unsealed, and wiped. Free functions.
#pragma once

#include <sys/statvfs.h>

#include <string>
#include <vector>

#include "kms/base/Clock.h"

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

// Machine is what ExamineMachine goes by: where it looks, and what it cannot look up in
// a file.
struct Machine {
  // ThisOne is as whoever runs the program finds it.
  static Machine ThisOne();

  std::string fuse = "/dev/fuse";
  std::string mount_program = "/usr/bin/fusermount3";
  std::string mount_configuration = "/etc/fuse.conf";
  std::string swaps = "/proc/swaps";
  std::string filters = "/proc/sys/kernel/seccomp/actions_avail";
  std::string processor = "/proc/cpuinfo";
  bool is_root = false;
  TimePoint now;
  bool is_synchronised = false;                 // the clock
  uint64_t lockable_bytes = 0, open_files = 0;  // limits
};

// ExamineMachine is of what every store needs.
std::vector<Diagnosis> ExamineMachine(const Machine& machine);
// ExamineStore is of one store; `root_key` as with keyfold mount, or empty.
std::vector<Diagnosis> ExamineStore(const std::string& store,
                                    const std::string& root_key);
// ExamineRoom is of the disk that a store lies on.
Diagnosis ExamineRoom(const struct statvfs& disk);
// ExamineMounts is of those that this user can enter.
std::vector<Diagnosis> ExamineMounts();

}  // namespace keyfold
