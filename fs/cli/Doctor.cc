#include "fs/cli/Doctor.h"

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>

#include "fs/backend/Backend.h"
#include "fs/cli/Connection.h"
#include "fs/cli/Figures.h"
#include "fs/cli/Parameters.h"
#include "fs/cli/StoreConfig.h"
#include "kms/base/PrivateFile.h"
#include "kms/rootkey/RootKeyProvider.h"

namespace keyfold {
namespace {

constexpr double kLittleRoom = 0.05;

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
  struct statvfs disk;
  if (::statvfs(store.c_str(), &disk) != 0)
    return {"room", Health::kBad, Status::FromErrno(errno, store).message(), ""};
  return ExamineRoom(disk);
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
      return (described.starts_with("tpm2")
                  ? "turn the TPM on in the firmware, or start what serves it"
                  : "plug the token in, or start its service") +
             std::string("; a way without it is made by: ") + change;
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
  if (!works.ok()) {
    const bool away = works.error() == Error::kUnavailable;
    return {"root key", Health::kBad, (away ? spec + ": " : "") + works.message(),
            RootKeyMend(works.error(), set_as)};
  }
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

Diagnosis ExamineRoom(const struct statvfs& disk) {
  const auto unit = static_cast<double>(disk.f_frsize);
  const double room = static_cast<double>(disk.f_bavail) * unit;
  Diagnosis out{"room", Health::kGood, Amount(room) + " left on the disk", ""};
  // Filesystems that make inodes as they need them tell of none at all.
  const bool inodes = disk.f_files == 0 || disk.f_favail != 0;
  if (room >= kLittleRoom * static_cast<double>(disk.f_blocks) * unit && inodes)
    return out;
  out.health = disk.f_bavail == 0 ? Health::kBad : Health::kWorse;
  if (!inodes) out.found += ", and no inodes";
  out.mend =
      "make room: on a full disk keys are not used, as that can't be recorded. "
      "Archives of the audit log: keyfold audit archives";
  return out;
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
