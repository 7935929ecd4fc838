// Does doctor say what is wrong with a machine, a disk or a root key, and what to do;
// and nothing where all is well?
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>

#include <fstream>

#include "fs/cli/Doctor.h"
#include "tests/unit/fs_cli/StoreFixture.h"

namespace keyfold {
namespace {

// A machine on which all is well, made of files; each test makes one thing wrong.
class DoctorMachineTest : public testing::Test {
 protected:
  void SetUp() override {
    machine_.fuse = "/dev/null";  // a device that anybody may open
    machine_.mount_program = Written("fusermount3", "");
    ASSERT_EQ(::chmod(machine_.mount_program.c_str(), 04755), 0);
    machine_.mount_configuration =
        Written("fuse.conf", "#mount_max = 9\n user_allow_other\n");
    machine_.swaps = Written("swaps", kNoSwaps);
    machine_.filters = Written("actions_avail", "kill_process trap errno allow\n");
    machine_.processor = Written("cpuinfo", "flags : fpu aes pclmulqdq\n");
    machine_.now = std::chrono::sys_days(std::chrono::year(2027) / 1 / 1);
    machine_.is_synchronised = true;
    machine_.lockable_bytes = 8 << 20;
    machine_.open_files = 65536;
  }
  std::string Written(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name) << text;
    return folder_ / name;
  }
  // ExpectOnly expects nothing wrong but `what`, whose words hold `found` and `mend`.
  void ExpectOnly(const std::string& what, Health health, const std::string& found,
                  const std::string& mend) const {
    bool told = false;
    for (const Diagnosis& one : ExamineMachine(machine_)) {
      if (one.what != what) {
        EXPECT_EQ(one.health, Health::kGood) << one.what << ": " << one.found;
        EXPECT_EQ(one.mend, "") << one.what;
        continue;
      }
      told = true;
      EXPECT_EQ(one.health, health) << one.found;
      EXPECT_NE(one.found.find(found), std::string::npos) << one.found;
      EXPECT_NE(one.mend.find(mend), std::string::npos) << one.mend;
    }
    EXPECT_TRUE(told);
  }
  static constexpr char kNoSwaps[] = "Filename\tType\tSize\tUsed\tPriority\n";

  TempFolder folder_;
  Machine machine_;
};

TEST_F(DoctorMachineTest, WhereAllIsWellNothingIsToBeMended) {
  ExpectOnly("FUSE", Health::kGood, "/dev/null can be used", "");
  machine_.is_root = true;
  ExpectOnly("FUSE", Health::kGood, "/dev/null can be used", "");
}

TEST_F(DoctorMachineTest, WithoutTheDeviceOfFuseNothingIsMounted) {
  machine_.fuse = folder_ / "none";
  ExpectOnly("FUSE", Health::kBad, "there is no " + machine_.fuse, "modprobe fuse");
}

// A socket's name answers an open as a device without a driver does.
TEST_F(DoctorMachineTest, ADeviceWithoutADriverIsNone) {
  machine_.fuse = folder_ / "device";
  const UniqueFd named(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{AF_UNIX, {}};
  machine_.fuse.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(
      ::bind(named.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address),
      0);
  ExpectOnly("FUSE", Health::kBad, "No such device", "CONFIG_FUSE_FS");
}

TEST_F(DoctorMachineTest, ADeviceThatOnlyOthersMayOpenIsOpenedToAll) {
  machine_.fuse = Written("device", "");
  ASSERT_EQ(::chmod(machine_.fuse.c_str(), 0), 0);
  ASSERT_EQ(::chmod(folder_.path().c_str(), 0755), 0);
  const uid_t before = ::geteuid();
  if (before == 0) {
    ASSERT_EQ(::seteuid(65534), 0);
  }
  ExpectOnly("FUSE", Health::kBad, "may not be used", "chmod 666 " + machine_.fuse);
  ASSERT_EQ(::seteuid(before), 0);
}

TEST_F(DoctorMachineTest, UsersNeedAMountProgramThatMayMountForThem) {
  ASSERT_EQ(::chmod(machine_.mount_program.c_str(), 0755), 0);
  ExpectOnly("fusermount3", Health::kBad, "may not mount", "chmod u+s");
  machine_.mount_program = folder_ / "none";
  ExpectOnly("fusermount3", Health::kBad, "not installed", "apt-get install fuse3");
  machine_.is_root = true;
  ExpectOnly("fusermount3", Health::kWorse, "not installed", "apt-get install fuse3");
}

TEST_F(DoctorMachineTest, OthersEnterAUsersMountOnlyIfTheMachineLetsThem) {
  machine_.mount_configuration = Written("fuse.conf", "#user_allow_other\n");
  ExpectOnly("other users", Health::kWorse, "cannot enter", "user_allow_other");
}

TEST_F(DoctorMachineTest, AClockThatNobodySets) {
  machine_.is_synchronised = false;
  ExpectOnly("clock", Health::kWorse, "not synchronised", "set-ntp");
}

TEST_F(DoctorMachineTest, AClockThatCannotBeRight) {
  machine_.now = TimePoint();
  ExpectOnly("clock", Health::kBad, "says 1970-01-01T00:00:00Z", "set it");
  machine_.now = std::chrono::sys_days(std::chrono::year(2100) / 1 / 1);
  ExpectOnly("clock", Health::kBad, "says 2100-01-01T00:00:00Z", "set it");
}

TEST_F(DoctorMachineTest, MemoryThatCannotBeLockedMattersWhereThereIsSwap) {
  machine_.lockable_bytes = (8 << 20) - 1;
  ExpectOnly("memory locking", Health::kGood, "only 8.0 MiB may be locked", "");
  machine_.swaps =
      Written("swaps", std::string(kNoSwaps) + "/dev/sda2 partition 9 0 -2\n");
  ExpectOnly("memory locking", Health::kWorse, "swapped out", "memlock");
  machine_.is_root = true;  // whom no limit holds
  ExpectOnly("memory locking", Health::kGood, "is allowed", "");
}

TEST_F(DoctorMachineTest, FewDescriptors) {
  machine_.open_files = 1024;
  ExpectOnly("open files", Health::kWorse, "at most 1024", "nofile");
}

TEST_F(DoctorMachineTest, AKernelWithoutAFilterAndAProcessorWithoutInstructions) {
  machine_.filters = folder_ / "none";
  ExpectOnly("confinement", Health::kWorse, "seccomp", "CONFIG_SECCOMP_FILTER");
  SetUp();
  machine_.processor = Written("cpuinfo", "flags : fpu aes sse2\n");
  ExpectOnly("processor", Health::kWorse, "no instructions for AES-GCM", "slower");
}

class DoctorRoomTest : public testing::Test {
 protected:
  void Expect(Health health, const std::string& found) const {
    const Diagnosis one = ExamineRoom(disk_);
    EXPECT_EQ(one.health, health) << one.found;
    EXPECT_EQ(one.found, found);
    EXPECT_EQ(one.mend.starts_with("make room"), health != Health::kGood) << one.mend;
  }

  struct statvfs disk_ = [] {
    struct statvfs disk {};
    disk.f_frsize = 4096;
    disk.f_blocks = 25'600;  // 100 MiB
    disk.f_bavail = 1'280;   // 5 MiB
    disk.f_files = disk.f_favail = 1000;
    return disk;
  }();
};

TEST_F(DoctorRoomTest, LittleIsTooLittleAndNothingIsBad) {
  Expect(Health::kGood, "5.0 MiB left on the disk");
  disk_.f_bavail = 1'279;
  Expect(Health::kWorse, "5.0 MiB left on the disk");
  disk_.f_bavail = 0;
  Expect(Health::kBad, "0 bytes left on the disk");
}

TEST_F(DoctorRoomTest, InodesCountWhereThereAreSoMany) {
  disk_.f_favail = 0;
  Expect(Health::kWorse, "5.0 MiB left on the disk, and no inodes");
  disk_.f_files = 0;  // btrfs
  Expect(Health::kGood, "5.0 MiB left on the disk");
}

class DoctorTest : public StoreTest {
 protected:
  // Written is a private file with `text`.
  std::string Written(const std::string& name, const std::string& text) const {
    const std::string path = folder_ / name;
    std::ofstream(path) << text;
    ::chmod(path.c_str(), 0600);
    return path;
  }
  void SealBy(const std::string& spec) {
    const auto root = UnsealRootKey(made_.root_key, Key("a"), nullptr);
    ASSERT_TRUE(root.ok());
    const ScryptParameters cheap{10, 1, 1};
    const auto passphrase = [](Asked) -> Result<SecretBytes> {
      Bytes bytes = {'p', 'a', 's', 's', 'w', 'o', 'r', 'd'};
      return SecretFrom(MutableBytes(bytes));
    };
    const auto sealed = SealRootKey(*root, spec, passphrase, cheap);
    ASSERT_TRUE(sealed.ok()) << sealed.status().ToString();
    made_.root_key = *sealed;
    ASSERT_TRUE(WriteStoreConfig(store_, made_).ok());
  }
  Diagnosis RootKeyBy(const std::string& spec) const {
    for (const Diagnosis& one : ExamineStore(store_, spec))
      if (one.what == "root key") return one;
    return {};
  }
  void ExpectBad(const std::string& spec, const std::string& found,
                 const std::string& mend) const {
    const Diagnosis one = RootKeyBy(spec);
    EXPECT_EQ(one.health, Health::kBad) << spec << ": " << one.found;
    EXPECT_NE(one.found.find(found), std::string::npos) << one.found;
    EXPECT_NE(one.mend.find(mend), std::string::npos) << one.mend;
  }
};

TEST_F(DoctorTest, AKeyFileIsTriedAndOnlyTheRightOneIsGood) {
  EXPECT_EQ(RootKeyBy("").health, Health::kGood);
  EXPECT_EQ(RootKeyBy(Key("a")).found, "is unsealed by " + Key("a"));
  ExpectBad("file:" + Written("other", std::string(32, 'x')),
            "is not this store's key file", Key("a"));
  ExpectBad("file:" + (folder_ / "none"), "No such file", "bring the file back");
  ExpectBad("file:", "provider is not known", Key("a"));
}

TEST_F(DoctorTest, APassphraseInAFileIsTried) {
  const std::string right = "passphrase-file:" + Written("right", "a long secret\n");
  SealBy(right);
  EXPECT_EQ(RootKeyBy("").found, "is unsealed by " + right);
  EXPECT_EQ(RootKeyBy("").health, Health::kGood);
  ExpectBad("passphrase-file:" + Written("wrong", "other\n"), "passphrase is wrong",
            right);
}

TEST_F(DoctorTest, ASecretThatOthersMayReadIsBad) {
  const std::string file = Key("a").substr(5);
  ASSERT_EQ(::chmod(file.c_str(), 0644), 0);
  ExpectBad("", "chmod 600", "change-provider");
}

TEST_F(DoctorTest, ASourceOfAnotherKindIsNoMissingToken) {
  const std::string right = "passphrase-file:" + Written("right", "a long secret\n");
  SealBy(right);
  ExpectBad(Key("a"), "sealed by passphrase", right);
  ExpectBad("pkcs11:token=x", "sealed by passphrase", right);
  ExpectBad("nonsense", "provider is not known", right);
}

TEST_F(DoctorTest, APassphraseThatSomebodyKnowsIsNotTried) {
  SealBy("passphrase");
  const Diagnosis one = RootKeyBy("");
  EXPECT_EQ(one.health, Health::kGood) << one.found;
  EXPECT_NE(one.found.find("not tried"), std::string::npos) << one.found;
}

TEST_F(DoctorTest, WhatDoesNotEndIsNotWaitedFor) {
  const std::string pipe = folder_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  ExpectBad("file:" + pipe, "not a regular file", "change-provider");
}

TEST_F(DoctorTest, AStoreInUseIsLookedAtAndNotLocked) {
  auto open = OpenStore::Open(store_, Key("a"), nullptr);
  ASSERT_TRUE(open.ok()) << open.status().ToString();
  EXPECT_EQ(RootKeyBy("").found, "is unsealed by " + Key("a"));
}

TEST_F(DoctorTest, ADamagedDescriptionIsRestored) {
  for (const char* member : {"salt", "provider"}) {
    StoreConfig damaged = made_;
    damaged.root_key[member] = "x";
    ASSERT_TRUE(WriteStoreConfig(store_, damaged).ok());
    ExpectBad("", "damaged", "keyfold kms restore");
  }
}

}  // namespace
}  // namespace keyfold
