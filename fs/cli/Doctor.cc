#include "fs/cli/Doctor.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <unistd.h>

#include <CLI/StringTools.hpp>
#include <cerrno>
#include <sstream>

#include "fs/backend/Backend.h"
#include "fs/cli/Connection.h"
#include "fs/cli/Figures.h"
#include "fs/cli/Parameters.h"
#include "fs/cli/StoreConfig.h"
#include "kms/base/Clock.h"
#include "kms/base/IsoTime.h"
#include "kms/base/PrivateFile.h"
#include "kms/rootkey/RootKeyProvider.h"

namespace keyfold {
namespace {

constexpr rlim_t kFewFiles = 65536;
constexpr rlim_t kLittleLocked = 8 << 20;
constexpr double kLittleRoom = 0.05;
constexpr char kFirstDay[] = "2026-01-01T00:00:00Z";  // no clock is right before

bool IsRoot() { return ::geteuid() == 0; }

std::string TextOf(const char* path) {
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

Diagnosis Fuse() {
  Diagnosis out{"FUSE", Health::kGood, "/dev/fuse can be used", ""};
  if (::access("/dev/fuse", R_OK | W_OK) == 0) return out;
  const bool there = errno != ENOENT;
  out.health = Health::kBad;
  out.found = there ? "/dev/fuse may not be used" : "there is no /dev/fuse";
  out.mend = there ? "chmod 666 /dev/fuse, as distributions have it"
                   : "modprobe fuse; a container must be given the device";
  return out;
}

Diagnosis MountProgram() {
  struct stat st;
  const bool there = ::stat("/usr/bin/fusermount3", &st) == 0;
  Diagnosis out{"fusermount3", Health::kGood, "is there", ""};
  if (there && (IsRoot() || (st.st_mode & S_ISUID) != 0)) return out;
  out.health = IsRoot() ? Health::kWorse : Health::kBad;
  out.found = there ? "may not mount for users" : "is not installed";
  out.mend = there ? "chmod u+s /usr/bin/fusermount3" : "apt-get install fuse3";
  return out;
}

Diagnosis OtherUsers() {
  Diagnosis out{"other users", Health::kGood, "can enter a mount", ""};
  if (IsRoot() || HasLine(TextOf("/etc/fuse.conf"), "user_allow_other")) return out;
  out.health = Health::kWorse;
  out.found = "cannot enter a mount of yours";
  out.mend = "mount as root, or put user_allow_other into /etc/fuse.conf";
  return out;
}

Diagnosis WallClock() {
  const std::string now = FormatUtc(Clock::System().Now());
  timex state{};
  Diagnosis out{"clock", Health::kGood, "is synchronised", ""};
  if (now < kFirstDay) {
    out.health = Health::kBad;
    out.found = "says " + now;
    out.mend = "set it: keys would expire, and signatures be refused, at wrong times";
  } else if (::adjtimex(&state) == TIME_ERROR) {
    out.health = Health::kWorse;
    out.found = "is not synchronised";
    out.mend =
        "timedatectl set-ntp true, or install chrony: audit records and "
        "deletion dates go by it";
  }
  return out;
}

Diagnosis MemoryLocking() {
  rlimit limit{};
  ::getrlimit(RLIMIT_MEMLOCK, &limit);
  const std::string swaps = TextOf("/proc/swaps");
  const bool swaps_out = swaps.find('\n') + 1 < swaps.size();
  Diagnosis out{"memory locking", Health::kGood, "is allowed", ""};
  if (IsRoot() || limit.rlim_max >= kLittleLocked) return out;
  out.found = "only " + Amount(static_cast<double>(limit.rlim_max)) + " may be locked";
  out.health = swaps_out ? Health::kWorse : Health::kGood;
  if (swaps_out)
    out.mend = "raise memlock in /etc/security/limits.conf, or encrypt the swap";
  return out;
}

Diagnosis OpenFilesLimit() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  Diagnosis out{"open files", Health::kGood,
                "at most " + std::to_string(limit.rlim_max), ""};
  if (limit.rlim_max >= kFewFiles) return out;
  out.health = Health::kWorse;
  out.mend =
      "raise nofile in /etc/security/limits.conf, or LimitNOFILE of the unit: "
      "each open file and each folder in use takes one";
  return out;
}

Diagnosis Confinement() {
  Diagnosis out{"confinement", Health::kGood, "the kernel filters system calls", ""};
  if (HasWord(TextOf("/proc/sys/kernel/seccomp/actions_avail"), "errno")) return out;
  out.health = Health::kWorse;
  out.found = "the kernel has no filter of system calls (seccomp)";
  out.mend = "use a kernel with CONFIG_SECCOMP_FILTER";
  return out;
}

Diagnosis Processor() {
  Diagnosis out{"processor", Health::kGood, "encrypts in hardware", ""};
  const std::string cpu = TextOf("/proc/cpuinfo");
  if (HasWord(cpu, "aes") && (HasWord(cpu, "pclmulqdq") || HasWord(cpu, "pmull")))
    return out;
  out.health = Health::kWorse;
  out.found = "has no instructions for AES-GCM";
  out.mend = "contents are encrypted some ten times slower here";
  return out;
}

Diagnosis Configuration(const std::string& store, const Result<StoreConfig>& config) {
  if (config.ok())
    return {"store", Health::kGood, "is " + config->account.store_id, ""};
  return {"store", Health::kBad, config.status().message(),
          config.status().error() == Error::kCorrupt
              ? "keyfold fsck " + store +
                    "; keyfold kms restore brings it back from a "
                    "backup"
              : "name the folder that keyfold init made"};
}

Diagnosis Privacy(const std::string& store) {
  struct stat st;
  Diagnosis out{"privacy", Health::kGood, "only its owner may look into the store", ""};
  if (::stat(store.c_str(), &st) != 0) {
    out = {"privacy", Health::kBad, Status::FromErrno(errno, store).message(), ""};
  } else if ((st.st_mode & 077) != 0) {
    out.health = Health::kWorse;
    out.found =
        "others may look into the store: names, contents and keys are sealed, "
        "sizes and times are not";
    out.mend = "chmod 700 " + store;
  }
  return out;
}

// Attributes are tried on a file without a name.
Diagnosis Attributes(const std::string& store) {
  const UniqueFd file(::open(store.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!file.valid() && errno != EOPNOTSUPP)
    return {
        "disk", Health::kBad, Status::FromErrno(errno, store).message(),
        "the store must be writable: a disk with errors turns read-only, see dmesg"};
  const Status set = file.valid()
                         ? SetXattr(file.get(), "user.keyfold.doctor", AsBytes("?"))
                         : Status::FromErrno(EOPNOTSUPP, "files without a name");
  if (set.ok()) return {"disk", Health::kGood, "keeps extended attributes", ""};
  return {"disk", Health::kBad, "keeps no extended attributes: " + set.message(),
          "move the store to ext4, xfs or btrfs: cp -a"};
}

Diagnosis Room(const std::string& store) {
  struct statvfs st;
  if (::statvfs(store.c_str(), &st) != 0)
    return {"room", Health::kBad, Status::FromErrno(errno, store).message(), ""};
  const double unit = static_cast<double>(st.f_frsize);
  const double room = static_cast<double>(st.f_bavail) * unit;
  Diagnosis out{"room", Health::kGood, Amount(room) + " left on the disk", ""};
  if (room >= kLittleRoom * static_cast<double>(st.f_blocks) * unit && st.f_favail != 0)
    return out;
  out.health = st.f_bavail == 0 ? Health::kBad : Health::kWorse;
  if (st.f_favail == 0) out.found += ", and no inodes";
  out.mend =
      "make room: on a full disk keys are not used, as that can't be recorded. "
      "Archives of the audit log: keyfold audit archives";
  return out;
}

// CheckSecretFile looks at a file with a secret as who reads it does.
Status CheckSecretFile(const std::string& file) {
  const UniqueFd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!fd.valid()) return Status::FromErrno(errno, file);
  return CheckPrivateFile(fd.get(), file);
}

// TryRootKey does as a mount does, but asks nobody, and does not try what lies in a
// token or a TPM, where a wrong PIN counts: then `*tried` becomes false.
Status TryRootKey(const StoreConfig& config, const std::string& given,
                  const std::string& file, bool* tried) {
  KF_ASSIGN_OR_RETURN(const auto device, WatchRootKey(config.root_key, given));
  if (!file.empty()) KF_RETURN_IF_ERROR(CheckSecretFile(file));
  if (device != nullptr) {
    *tried = false;
    return device->Check();
  }
  const auto root =
      UnsealRootKey(config.root_key, given, [tried](Asked) -> Result<SecretBytes> {
        *tried = false;
        return Status(Error::kUsage, "Nobody is asked.");
      });
  return *tried ? root.status() : OkStatus();
}

// RootKeyMend is what to do about a root key that was made from `described`.
std::string RootKeyMend(Error why, const std::string& described) {
  const std::string change = "keyfold kms root-key change-provider";
  switch (why) {
    case Error::kCorrupt:
      return "keyfold kms restore brings the store back from a backup";
    case Error::kUnavailable:
      return "plug the token in, or start its service; a way without it is made by: " +
             change;
    case Error::kSystem:
      return "bring the file back, or name another place: --root-key";
    default:
      return "its secret was set as " + described +
             "; another one is set by: " + change;
  }
}

Diagnosis RootKeyOf(const StoreConfig& config, const std::string& given) {
  const auto described = RootKeySpec(config.root_key);
  const std::string set_as = described.ok() ? *described : "";
  const std::string spec = given.empty() ? set_as : given;
  bool tried = true;
  const Status works = described.ok()
                           ? TryRootKey(config, given, RootKeyFile(spec), &tried)
                           : described.status();
  if (!works.ok())
    return {"root key", Health::kBad, works.message(),
            RootKeyMend(works.error(), set_as)};
  return {"root key", Health::kGood,
          tried ? "is unsealed by " + spec
                : "is sealed by " + spec +
                      "; not tried, as a person or a device has its secret",
          ""};
}

Diagnosis Mount(const MountEntry& mount) {
  const Status answered =
      CallOn(mount, "store", "GetStatus", nlohmann::json::object()).status();
  if (answered.ok())
    return {mount.mountpoint, Health::kGood, "answers; its store is " + mount.store,
            ""};
  if (answered.sys_errno() == ETIMEDOUT)
    return {mount.mountpoint, Health::kBad, answered.message(),
            "look into the system's log; whatever uses the mount waits, too"};
  struct statvfs st;
  const bool dead = ::statvfs(mount.mountpoint.c_str(), &st) != 0 && errno == ENOTCONN;
  return {mount.mountpoint, Health::kBad, answered.message(),
          dead ? "its daemon died: keyfold unmount " + mount.mountpoint +
                     ", mount it again, and look into the log"
               : "look into the daemon's log: journalctl -t keyfold"};
}

}  // namespace

std::vector<Diagnosis> ExamineMachine() {
  return {Fuse(),          MountProgram(),   OtherUsers(),  WallClock(),
          MemoryLocking(), OpenFilesLimit(), Confinement(), Processor()};
}

std::vector<Diagnosis> ExamineStore(const std::string& store,
                                    const std::string& root_key) {
  const auto config = ReadStoreConfig(store);
  std::vector<Diagnosis> out = {Configuration(store, config)};
  if (!config.ok()) return out;
  out.push_back(Privacy(store));
  out.push_back(Attributes(store));
  out.push_back(Room(store));
  out.push_back(RootKeyOf(*config, root_key));
  return out;
}

std::vector<Diagnosis> ExamineMounts() {
  std::vector<Diagnosis> out;
  const auto mounts = KeyfoldMounts();
  if (!mounts.ok()) return out;
  for (const MountEntry& mount : *mounts) out.push_back(Mount(mount));
  return out;
}

}  // namespace keyfold
