// What keyfold doctor says of a machine.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <unistd.h>

#include <CLI/StringTools.hpp>
#include <cerrno>
#include <sstream>

#include "fs/cli/Doctor.h"
#include "fs/cli/Figures.h"
#include "fs/cli/Parameters.h"
#include "kms/base/UniqueFd.h"

namespace keyfold {
namespace {

constexpr uint64_t kFewFiles = 65536;
constexpr uint64_t kLittleLocked = 8 << 20;
// No clock is right before the first or after the last.
constexpr char kFirstDay[] = "2026-01-01T00:00:00Z",
               kLastDay[] = "2100-01-01T00:00:00Z";

std::string TextAt(const std::string& path) {
  constexpr size_t kMost = 16 << 20;
  const auto text = ReadTextFile(path, kMost);
  return text.ok() ? *text : "";
}

// HasLine finds a line that is `wanted` but for blanks around it.
bool HasLine(const std::string& text, const std::string& wanted) {
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);)
    if (CLI::detail::trim(line) == wanted) return true;
  return false;
}

// HasWord finds `word` with blanks or ends of lines around it.
bool HasWord(const std::string& text, const std::string& word) {
  std::istringstream in(text);
  for (std::string one; in >> one;)
    if (one == word) return true;
  return false;
}

// A container may show the device and refuse to open it.
Diagnosis Fuse(const Machine& machine) {
  Diagnosis out{"FUSE", Health::kGood, machine.fuse + " can be used", ""};
  const UniqueFd device(::open(machine.fuse.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (device.valid()) return out;
  out.health = Health::kBad;
  switch (errno) {
    case EACCES:
      out.found = machine.fuse + " may not be used";
      out.mend = "chmod 666 " + machine.fuse + ", as distributions have it";
      break;
    case EPERM:
      out.found = machine.fuse + " may not be used";
      out.mend = "the container must be given the device";
      break;
    case ENOENT:
      out.found = "there is no " + machine.fuse;
      out.mend = "modprobe fuse; a container must be given the device";
      break;
    default:
      out.found = Status::FromErrno(errno, machine.fuse).message();
      out.mend = "modprobe fuse, or use a kernel with CONFIG_FUSE_FS";
  }
  return out;
}

Diagnosis MountProgram(const Machine& machine) {
  struct stat st;
  const bool there = ::stat(machine.mount_program.c_str(), &st) == 0;
  Diagnosis out{"fusermount3", Health::kGood, "is there", ""};
  if (there && (machine.is_root || (st.st_mode & S_ISUID) != 0)) return out;
  out.health = machine.is_root ? Health::kWorse : Health::kBad;
  out.found = there ? "may not mount for users" : "is not installed";
  out.mend = there ? "chmod u+s " + machine.mount_program : "apt-get install fuse3";
  return out;
}

Diagnosis OtherUsers(const Machine& machine) {
  Diagnosis out{"other users", Health::kGood, "can enter a mount", ""};
  if (machine.is_root ||
      HasLine(TextAt(machine.mount_configuration), "user_allow_other"))
    return out;
  out.health = Health::kWorse;
  out.found = "cannot enter a mount of yours";
  out.mend =
      "mount as root, or put user_allow_other into " + machine.mount_configuration;
  return out;
}

Diagnosis WallClock(const Machine& machine) {
  const std::string now = FormatUtc(machine.now);
  Diagnosis out{"clock", Health::kGood, "is synchronised", ""};
  if (now < kFirstDay || now >= kLastDay) {
    out.health = Health::kBad;
    out.found = "says " + now;
    out.mend =
        "set it: keys would expire and be destroyed, and signatures be refused, at "
        "wrong times";
  } else if (!machine.is_synchronised) {
    out.health = Health::kWorse;
    out.found = "is not synchronised";
    out.mend =
        "timedatectl set-ntp true, or install chrony: audit records and "
        "deletion dates go by it";
  }
  return out;
}

Diagnosis MemoryLocking(const Machine& machine) {
  Diagnosis out{"memory locking", Health::kGood, "is allowed", ""};
  if (machine.is_root || machine.lockable_bytes >= kLittleLocked) return out;
  out.found =
      "only " + Amount(static_cast<double>(machine.lockable_bytes)) + " may be locked";
  const std::string swaps = TextAt(machine.swaps);  // its first line is a heading
  if (swaps.find('\n') + 1 >= swaps.size()) return out;
  out.health = Health::kWorse;
  out.found += ", and memory is swapped out";
  out.mend = "raise memlock in /etc/security/limits.conf, or encrypt the swap";
  return out;
}

Diagnosis OpenFilesLimit(const Machine& machine) {
  Diagnosis out{"open files", Health::kGood,
                "at most " + std::to_string(machine.open_files), ""};
  if (machine.open_files >= kFewFiles) return out;
  out.health = Health::kWorse;
  out.mend =
      "raise nofile in /etc/security/limits.conf, or LimitNOFILE of the unit: "
      "each open file and each folder in use takes one";
  return out;
}

Diagnosis Confinement(const Machine& machine) {
  Diagnosis out{"confinement", Health::kGood, "the kernel filters system calls", ""};
  if (HasWord(TextAt(machine.filters), "errno")) return out;
  out.health = Health::kWorse;
  out.found = "the kernel has no filter of system calls (seccomp)";
  out.mend = "use a kernel with CONFIG_SECCOMP_FILTER";
  return out;
}

Diagnosis Processor(const Machine& machine) {
  Diagnosis out{"processor", Health::kGood, "encrypts in hardware", ""};
  const std::string cpu = TextAt(machine.processor);
  if (HasWord(cpu, "aes") && (HasWord(cpu, "pclmulqdq") || HasWord(cpu, "pmull")))
    return out;
  out.health = Health::kWorse;
  out.found = "has no instructions for AES-GCM";
  out.mend = "contents are encrypted some ten times slower here";
  return out;
}

uint64_t LimitOf(__rlimit_resource resource) {
  rlimit limit{};
  ::getrlimit(resource, &limit);
  return limit.rlim_max;
}

}  // namespace

Machine Machine::ThisOne() {
  timex state{};
  Machine out;
  out.is_root = ::geteuid() == 0;
  out.now = Clock::System().Now();
  out.is_synchronised = ::adjtimex(&state) != TIME_ERROR;
  out.lockable_bytes = LimitOf(RLIMIT_MEMLOCK);
  out.open_files = LimitOf(RLIMIT_NOFILE);
  return out;
}

std::vector<Diagnosis> ExamineMachine(const Machine& machine) {
  return {Fuse(machine),        MountProgram(machine),  OtherUsers(machine),
          WallClock(machine),   MemoryLocking(machine), OpenFilesLimit(machine),
          Confinement(machine), Processor(machine)};
}

}  // namespace keyfold
