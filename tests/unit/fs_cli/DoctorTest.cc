// Does doctor say that a root key opens where a mount opens it, and what to do where a
// mount refuses?
#include <sys/stat.h>

#include <fstream>

#include "fs/cli/Doctor.h"
#include "tests/unit/fs_cli/StoreFixture.h"

namespace keyfold {
namespace {

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
      Bytes bytes = {'p', 'a', 's', 's'};
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
  const std::string right = "passphrase-file:" + Written("right", "secret\n");
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
  const std::string right = "passphrase-file:" + Written("right", "secret\n");
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
