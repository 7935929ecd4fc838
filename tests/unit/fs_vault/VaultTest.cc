// Does the vault refuse what someone who writes the backing store puts together
// from genuine parts, and survive what a killed daemon leaves behind?
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "TestKeys.h"
#include "fs/vault/Vault.h"

namespace keyfold {
namespace {

class VaultTest : public testing::Test, public PageCache {
 protected:
  void SetUp() override {
    char name[] = "/var/tmp/keyfold-vault-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    base_ = name;
    options_ = {base_ + "/tree", "33333333-3333-4333-8333-333333333333"};
    ASSERT_TRUE(Vault::CreateTree(options_, metadata_, TestKeys::kKeyOne).ok());
    Mount();
  }
  void TearDown() override {
    root_.reset();
    vault_.reset();
    std::filesystem::remove_all(base_);
  }
  void Mount() {
    auto vault = Vault::Open(options_, metadata_, keys_);
    ASSERT_TRUE(vault.ok()) << vault.status().ToString();
    vault_ = std::move(*vault);
    root_ = vault_->root();
  }

  std::shared_ptr<Folder> MakeFolder(const Place& place) {
    EXPECT_TRUE(vault_->MakeFolder(place, 0755, user_).ok());
    return OpenFolder(place).value();
  }
  Result<std::shared_ptr<Folder>> OpenFolder(const Place& place) {
    struct stat st;
    KF_ASSIGN_OR_RETURN(UniqueFd fd, vault_->Find(place, &st));
    return vault_->OpenFolder(place, fd.get());
  }
  void MakeFile(const Place& place, std::string_view text) {
    auto made = vault_->Create(place, 0644, user_, "/" + place.name);
    ASSERT_TRUE(made.ok()) << made.status().ToString();
    ASSERT_TRUE(made->handle->file->Write(0, AsBytes(text)).ok());
    vault_->Close(made->handle);
  }
  Result<std::shared_ptr<Handle>> Open(const Place& place, KeyUse use = KeyUse::kRead,
                                       uid_t uid = 0) {
    struct stat st;
    KF_ASSIGN_OR_RETURN(UniqueFd fd, vault_->Find(place, &st));
    Caller caller;
    caller.uid = uid;
    return vault_->OpenFile(place, fd.get(), caller, use, "/" + place.name);
  }
  Result<std::string> Read(const Place& place) {
    KF_ASSIGN_OR_RETURN(auto handle, Open(place));
    Bytes out(1000);
    auto n = handle->file->Read(0, out);
    vault_->Close(handle);
    if (!n.ok()) return n.status();
    return std::string(AsText(ByteView(out).first(*n)));
  }
  std::string Backing(const Place& place) {
    const std::string folder =
        std::filesystem::read_symlink(FdPath(place.folder->fd())).string();
    return folder + "/" + place.folder->BackingName(place.name).value();
  }
  void Swap(const std::string& a, const std::string& b) {
    ASSERT_EQ(::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE),
              0);
  }
  void MoveTo(const std::string& from, const std::string& to) {
    ASSERT_EQ(::rename(from.c_str(), to.c_str()), 0);
  }
  Status Rename(const Place& from, const Place& to) {
    return vault_->Rename(from, to, 0, [](Vault::Moved&) {});
  }
  // A thread that gives the object at `a` the other name and back, and then sets
  // `done`.
  std::thread RenameToAndFro(const Place& a, const Place& b, int rounds,
                             std::atomic<bool>* done) {
    return std::thread([this, a, b, rounds, done] {
      for (int round = 0; round < rounds; ++round) {
        EXPECT_TRUE(Rename(a, b).ok());
        EXPECT_TRUE(Rename(b, a).ok());
      }
      *done = true;
    });
  }
  std::vector<std::string> List(const Folder& folder) {
    std::vector<std::string> names;
    DIR* dir =
        ::fdopendir(::openat(folder.fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    EXPECT_TRUE(vault_
                    ->List(folder, dir, 0,
                           [&](const std::string& name, const dirent&) {
                             if (name[0] != '.') names.push_back(name);
                             return true;
                           })
                    .ok());
    ::closedir(dir);
    return names;
  }

  void Detach(ino_t) override { ++detached_; }
  void Drop(ino_t) override {
    if (on_drop_) on_drop_();
  }
  void DropAll() override { ++dropped_all_; }

  std::string base_;
  VaultOptions options_;
  MetadataKey metadata_{RandomSecret(kKeySize)};
  TestKeys keys_;
  User user_;
  std::unique_ptr<Vault> vault_;
  std::shared_ptr<Folder> root_;
  int detached_ = 0, dropped_all_ = 0;
  std::function<void()> on_drop_;
};

TEST_F(VaultTest, SwappedFilesAreRefused) {
  const Place a{root_, "a"}, b{root_, "b"};
  MakeFile(a, "first");
  MakeFile(b, "second");
  Swap(Backing(a), Backing(b));
  EXPECT_EQ(Read(a).status().error(), Error::kCorrupt);
  EXPECT_EQ(Read(b).status().error(), Error::kCorrupt);
  EXPECT_TRUE(keys_.authorized ==
              std::vector<std::string>({"CreateFile", "CreateFile"}));
  // Neither a rename nor a link gives a good name to what lies at a false one.
  EXPECT_EQ(Rename(a, {root_, "c"}).error(), Error::kCorrupt);
  struct stat st;
  const UniqueFd fd = vault_->Find(a, &st).value();
  EXPECT_EQ(vault_->Link(a, fd.get(), {root_, "c"}, user_).error(), Error::kCorrupt);
  Swap(Backing(a), Backing(b));
  EXPECT_EQ(Read(a).value(), "first");
}

TEST_F(VaultTest, AFileMovedOrLinkedToAnotherFolderIsRefused) {
  const Place secret{MakeFolder({root_, "secret"}), "f"};
  const Place open{MakeFolder({root_, "open"}), "f"};
  MakeFile(secret, "pay");
  ASSERT_EQ(::link(Backing(secret).c_str(), Backing(open).c_str()), 0);
  EXPECT_EQ(Read(open).status().error(), Error::kCorrupt);
  EXPECT_EQ(Read(secret).value(), "pay");
  MoveTo(Backing(secret), Backing(open));
  ::unlink(Backing(secret).c_str());
  EXPECT_EQ(Read(open).status().error(), Error::kCorrupt);
  EXPECT_EQ(Read(secret).status().sys_errno(), ENOENT);
}

TEST_F(VaultTest, AFilesHeaderUnderAnothersAttributeIsRefused) {
  const Place a{root_, "a"}, b{root_, "b"};
  MakeFile(a, "first");
  MakeFile(b, "other");
  std::filesystem::copy_file(Backing(b), Backing(a),
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_EQ(Read(a).status().error(), Error::kCorrupt);
}

TEST_F(VaultTest, AFileWithoutItsAttributeIsRefused) {
  const Place a{root_, "a"};
  MakeFile(a, "x");
  ASSERT_EQ(::removexattr(Backing(a).c_str(), std::string(kNamesXattr).c_str()), 0);
  EXPECT_EQ(Read(a).status().error(), Error::kCorrupt);
  EXPECT_TRUE(vault_->Unlink(a, [](ino_t) {}).ok());
}

TEST_F(VaultTest, AnotherKeysIdInTheHeaderIsRefused) {
  const Place a{root_, "a"};
  MakeFile(a, "x");
  const UniqueFd fd(::open(Backing(a).c_str(), O_WRONLY));
  for (off_t slot : {0, 1024})
    ASSERT_TRUE(WriteAt(fd.get(), slot + 52, AsBytes(TestKeys::kKeyTwo)).ok());
  EXPECT_EQ(Read(a).status().error(), Error::kCorrupt);
}

TEST_F(VaultTest, AFileUnlinkedInTheStoreStandsInForNoOther) {
  const Place a{root_, "a"}, b{root_, "b"};
  MakeFile(a, "a's");
  MakeFile(b, "b's");
  struct stat st;
  const UniqueFd known = vault_->Find(a, &st).value();
  std::filesystem::copy_file(Backing(b), Backing(a),
                             std::filesystem::copy_options::overwrite_existing);
  ASSERT_EQ(::unlink(Backing(a).c_str()), 0);
  EXPECT_EQ(vault_->OpenFile(a, known.get(), user_.caller, KeyUse::kRead, "/a")
                .status()
                .error(),
            Error::kCorrupt);
}

TEST_F(VaultTest, OpeningForWritingCanRefreshTheWrap) {
  const Place a{root_, "a"};
  MakeFile(a, "x");
  struct stat st;
  const UniqueFd fd = vault_->Find(a, &st).value();
  auto handle = Open(a, KeyUse::kWrite).value();
  const Bytes old = handle->file->header().blob;
  vault_->RefreshKey(*handle);
  EXPECT_EQ(keys_.rewraps, 0) << "it is current";
  keys_.former_blobs = {ToHex(old)};
  EXPECT_FALSE(vault_->KeyOf(fd.get())->current);
  vault_->RefreshKey(*handle);
  vault_->RefreshKey(*handle);
  EXPECT_EQ(keys_.rewraps, 1);
  EXPECT_TRUE(vault_->KeyOf(fd.get())->current);
  vault_->Close(handle);
  Mount();
  handle = Open({root_, "a"}).value();
  EXPECT_NE(handle->file->header().blob, old);
  vault_->Close(handle);
  EXPECT_EQ(Read({root_, "a"}).value(), "x");
}

TEST_F(VaultTest, AnotherDataKeyTakesTheRightToWriteAndIsOnRecord) {
  const Place a{root_, "a"};
  MakeFile(a, "contents");
  struct stat st;
  const UniqueFd fd = vault_->Find(a, &st).value();
  const std::string id = vault_->KeyOf(fd.get())->data_key_id;
  auto reader = Open(a).value();
  EXPECT_EQ(vault_->BeginReencrypt(*reader).sys_errno(), EBADF);
  auto writer = Open(a, KeyUse::kWrite, 7).value();
  keys_.denied = {7};
  EXPECT_EQ(vault_->BeginReencrypt(*writer).error(), Error::kAccessDenied);
  EXPECT_EQ(keys_.authorized.back(), "ReencryptFile");
  EXPECT_EQ(vault_->KeyOf(fd.get())->data_key_id, id);
  keys_.denied.clear();
  ASSERT_TRUE(vault_->BeginReencrypt(*writer).ok());
  const std::string fresh = vault_->KeyOf(fd.get())->data_key_id;
  EXPECT_NE(fresh, id);
  EXPECT_TRUE(vault_->KeyOf(fd.get())->reencrypts);
  ASSERT_TRUE(vault_->BeginReencrypt(*writer).ok());
  EXPECT_EQ(vault_->KeyOf(fd.get())->data_key_id, fresh) << "it goes on with that";
  EXPECT_TRUE(writer->file->Reencrypt(1 << 20)->finished);
  EXPECT_FALSE(vault_->KeyOf(fd.get())->reencrypts);
  vault_->Close(reader);
  vault_->Close(writer);
  Mount();
  EXPECT_EQ(Read({root_, "a"}).value(), "contents");
}

// A header write that gives another data key may be torn between its slots.
TEST_F(VaultTest, OneGoodSlotOfEitherDataKeyIsEnough) {
  const Place a{root_, "a"};
  MakeFile(a, "contents");
  const std::string backing = Backing(a);
  const auto slots = [&] {
    Bytes both(kHeaderSlots * kHeaderSlotSize);
    const UniqueFd fd(::open(backing.c_str(), O_RDONLY));
    EXPECT_TRUE(ReadAt(fd.get(), 0, both).ok());
    return both;
  };
  Mount();
  const Bytes before = slots();
  auto writer = Open({root_, "a"}, KeyUse::kWrite).value();
  ASSERT_TRUE(vault_->BeginReencrypt(*writer).ok());
  const Bytes after = slots();
  writer.reset();
  const size_t size = kHeaderSlotSize;
  for (size_t torn :
       {size_t{100}, size_t{300}, size, size + 100, size + 300, 2 * size}) {
    SCOPED_TRACE(torn);
    Bytes mixed = before;
    std::copy_n(after.begin(), torn, mixed.begin());
    {
      const UniqueFd fd(::open(backing.c_str(), O_WRONLY));
      ASSERT_TRUE(WriteAt(fd.get(), 0, mixed).ok());
    }
    Mount();
    EXPECT_EQ(Read({root_, "a"}).value(), "contents");
  }
}

TEST_F(VaultTest, AnOlderSlotOfAnotherKeyOpensNothing) {
  const Place a{root_, "a"};
  MakeFile(a, "x");
  const UniqueFd fd(::open(Backing(a).c_str(), O_RDWR));
  Bytes old(kHeaderSlotSize);
  ASSERT_TRUE(ReadAt(fd.get(), 0, old).ok());
  struct stat st;
  ASSERT_TRUE(vault_
                  ->SetFileKey(a, vault_->Find(a, &st).value().get(), TestKeys::kKeyTwo,
                               user_.caller, "/a")
                  .ok());
  ASSERT_TRUE(WriteAt(fd.get(), 0, old).ok());
  EXPECT_EQ(Read(a).value(), "x");
  keys_.denied_key = TestKeys::kKeyTwo;
  EXPECT_EQ(Read(a).status().error(), Error::kAccessDenied);
}

TEST_F(VaultTest, SwappedFoldersAreRefusedAndNotBlessed) {
  const Place a{root_, "a"}, b{root_, "b"};
  MakeFolder(a);
  MakeFolder(b);
  Swap(Backing(a), Backing(b));
  EXPECT_EQ(OpenFolder(a).status().error(), Error::kCorrupt);
  EXPECT_EQ(Rename(a, {root_, "c"}).error(), Error::kCorrupt);
  EXPECT_EQ(OpenFolder(a).status().error(), Error::kCorrupt);
}

TEST_F(VaultTest, AnotherFoldersDescriptorIsRefused) {
  const Place a{root_, "a"}, b{root_, "b"};
  MakeFolder(a);
  MakeFolder(b);
  const UniqueFd from(::open(Backing(b).c_str(), O_RDONLY)),
      to(::open(Backing(a).c_str(), O_RDONLY));
  Bytes raw = *GetXattr(from.get(), std::string(kFolderXattr)).value();
  ASSERT_TRUE(SetXattr(to.get(), std::string(kFolderXattr), raw).ok());
  EXPECT_EQ(OpenFolder(a).status().error(), Error::kCorrupt);
  raw[20] ^= 1;  // the CMK
  ASSERT_TRUE(SetXattr(from.get(), std::string(kFolderXattr), raw).ok());
  EXPECT_EQ(OpenFolder(b).status().error(), Error::kCorrupt);
}

TEST_F(VaultTest, SwappedOrForeignSymlinksAreRefused) {
  const Place a{root_, "a"}, b{root_, "b"};
  ASSERT_TRUE(vault_->MakeSymlink(a, "to/a", user_).ok());
  ASSERT_TRUE(vault_->MakeSymlink(b, "to/b", user_).ok());
  auto read = [&](const Place& place) -> Result<std::string> {
    struct stat st;
    KF_ASSIGN_OR_RETURN(UniqueFd fd, vault_->Find(place, &st));
    return vault_->ReadSymlink(place, fd.get());
  };
  EXPECT_EQ(read(a).value(), "to/a");
  Swap(Backing(a), Backing(b));
  EXPECT_EQ(read(a).status().error(), Error::kCorrupt);
  ::unlink(Backing(a).c_str());
  ASSERT_EQ(::symlink("/etc/passwd", Backing(a).c_str()), 0);
  EXPECT_EQ(read(a).status().error(), Error::kCorrupt);
  EXPECT_EQ(Rename(a, {root_, "c"}).error(), Error::kCorrupt);
}

TEST_F(VaultTest, NodesInAFilesPlaceNeitherHangNorOpen) {
  const Place a{root_, "a"};
  MakeFile(a, "x");
  ::unlink(Backing(a).c_str());
  ASSERT_EQ(::mkfifo(Backing(a).c_str(), 0644), 0);
  EXPECT_EQ(Open(a).status().sys_errno(), EINVAL);
  ::unlink(Backing(a).c_str());
  ASSERT_EQ(::symlink("/etc/passwd", Backing(a).c_str()), 0);
  EXPECT_EQ(Open(a).status().sys_errno(), EINVAL);
}

TEST_F(VaultTest, AForeignSidecarHidesTheNameButNotTheFile) {
  const Place a{root_, std::string(200, 'a')}, b{root_, std::string(200, 'b')};
  MakeFile(a, "x");
  MakeFile(b, "y");
  Swap(Backing(a) + ".name", Backing(b) + ".name");
  EXPECT_TRUE(List(*root_).empty());
  EXPECT_EQ(Read(a).value(), "x");
}

TEST_F(VaultTest, AttributesStayWithTheirFile) {
  const Place a{root_, "a"}, b{root_, "b"};
  MakeFile(a, "x");
  MakeFile(b, "y");
  struct stat st;
  const UniqueFd fa = vault_->Find(a, &st).value(), fb = vault_->Find(b, &st).value();
  ASSERT_TRUE(vault_->SetUserXattr(fa.get(), "note", AsBytes("one"), 0).ok());
  ASSERT_TRUE(vault_->SetUserXattr(fb.get(), "note", AsBytes("two"), 0).ok());
  auto backing_name = [&](const Place& place) {
    char list[1000];
    const ssize_t n = ::listxattr(Backing(place).c_str(), list, sizeof list);
    for (const char* at = list; at < list + n; at += std::string(at).size() + 1)
      if (std::string_view(at).starts_with(kUserXattrPrefix)) return std::string(at);
    return std::string();
  };
  const Bytes theirs = *GetXattr(fb.get(), backing_name(b)).value();
  ASSERT_TRUE(SetXattr(fa.get(), backing_name(a), theirs).ok());
  EXPECT_EQ(vault_->GetUserXattr(fa.get(), "note").status().error(), Error::kCorrupt);
  ASSERT_TRUE(SetXattr(fa.get(), backing_name(b), theirs).ok());
  EXPECT_EQ(vault_->ListXattrs(fa.get()).value(),
            std::vector<std::string>{"user.note"});
}

TEST_F(VaultTest, AFileThatIsPutRightOpensAgain) {
  const Place a{root_, "a"};
  MakeFile(a, "x");
  const UniqueFd fd(::open(Backing(a).c_str(), O_RDWR));
  Bytes good(2048);
  ASSERT_TRUE(ReadAt(fd.get(), 0, good).ok());
  ASSERT_TRUE(WriteAt(fd.get(), 0, Bytes(2048)).ok());
  EXPECT_EQ(Read(a).status().error(), Error::kCorrupt);
  ASSERT_TRUE(WriteAt(fd.get(), 0, good).ok());
  EXPECT_EQ(Read(a).value(), "x");
}

TEST_F(VaultTest, WhatIsAddedBehindTheEndIsNotRead) {
  const Place a{root_, "a"};
  MakeFile(a, "short");
  std::filesystem::resize_file(Backing(a), 100000);
  EXPECT_EQ(Read(a).value(), "short");
  struct stat st;
  ASSERT_TRUE(vault_->Find(a, &st).ok());
  EXPECT_EQ(st.st_size, 5);
}

TEST_F(VaultTest, EachOpenIsAuthorizedOnce) {
  const Place a{root_, "a"};
  MakeFile(a, "x");
  keys_.authorized.clear();
  auto first = Open(a);
  auto second = Open(a, KeyUse::kWrite);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(first.value()->file, second.value()->file);
  keys_.denied = {7};
  EXPECT_EQ(Open(a, KeyUse::kRead, 7).status().error(), Error::kAccessDenied);
  EXPECT_EQ(keys_.authorized, std::vector<std::string>(3, "OpenFile"));
  vault_->Close(*first);
  vault_->Close(*second);
}

TEST_F(VaultTest, ARevocationDropsTheFileForAll) {
  const Place a{root_, "a"};
  MakeFile(a, "x");
  auto lost = Open(a, KeyUse::kWrite, 7), kept = Open(a, KeyUse::kWrite, 8);
  ASSERT_TRUE(lost.ok() && kept.ok());
  vault_->Revoke(*this);
  EXPECT_EQ(detached_, 0);
  EXPECT_EQ(lost.value()->lost_errno, 0);
  keys_.denied = {7};
  on_drop_ = [&] {
    EXPECT_EQ(detached_, 1);
    EXPECT_EQ(lost.value()->lost_errno, EACCES);
    EXPECT_EQ(kept.value()->lost_errno, ESTALE);
    // Whoever comes now waits; what was written before still arrives.
    EXPECT_EQ(Open(a).status().sys_errno(), EAGAIN);
    EXPECT_TRUE(lost.value()->file->Write(1, AsBytes("yz")).ok());
  };
  vault_->Revoke(*this);
  Bytes out(3);
  EXPECT_EQ(kept.value()->file->Read(0, out).status().sys_errno(), EACCES);
  EXPECT_EQ(kept.value()->file->Write(0, out).sys_errno(), EACCES);
  EXPECT_EQ(Read(a).value(), "xyz");
  vault_->Close(*lost);
  vault_->Close(*kept);
  EXPECT_EQ(Open(a, KeyUse::kRead, 7).status().error(), Error::kAccessDenied);
}

// Else whoever tries to open others' files, while any right of anybody's changes, would
// take the files from those who have them open.
TEST_F(VaultTest, ARefusedOpenTakesTheFileFromNobody) {
  const Place a{root_, "a"};
  MakeFile(a, "x");
  auto kept = Open(a, KeyUse::kWrite, 8);
  ASSERT_TRUE(kept.ok());
  keys_.denied = {7};
  keys_.while_authorizing = [&] { vault_->Revoke(*this); };
  EXPECT_EQ(Open(a, KeyUse::kRead, 7).status().error(), Error::kAccessDenied);
  EXPECT_EQ(detached_, 0);
  EXPECT_EQ(kept.value()->lost_errno, 0);
  vault_->Close(*kept);
}

// Its right ends after it was decided on, and comes back.
TEST_F(VaultTest, ARightLostWhileOpeningIsNotKept) {
  const Place a{root_, "a"};
  MakeFile(a, "x");
  auto kept = Open(a, KeyUse::kWrite, 8);
  ASSERT_TRUE(kept.ok());
  keys_.while_authorizing = [&] {
    keys_.denied = {7};
    vault_->Revoke(*this);
    keys_.denied = {};
  };
  EXPECT_EQ(Open(a, KeyUse::kRead, 7).status().sys_errno(), ESTALE);
  EXPECT_EQ(kept.value()->lost_errno, 0);
  vault_->Close(*kept);
}

TEST_F(VaultTest, AnUnfinishedFileIsNoEntry) {
  { const auto made = NewFile::Create(root_->fd(), 0644).value(); }
  EXPECT_TRUE(std::filesystem::is_empty(options_.tree_path));
}

TEST_F(VaultTest, LeftoversDoNotKeepAFolder) {
  const Place a{root_, "a"};
  const auto folder = MakeFolder(a);
  const std::string backing = Backing(a);
  std::filesystem::create_directory(backing + "/" + TemporaryName());
  ASSERT_EQ(::symlink("x", (backing + "/" + TemporaryName()).c_str()), 0);
  const std::string long_name(200, 'n');
  ASSERT_TRUE(
      folder->KeepLongName(folder->BackingName(long_name).value(), long_name).ok());
  EXPECT_TRUE(List(*folder).empty());
  MakeFile({folder, "f"}, "x");
  EXPECT_EQ(vault_->RemoveFolder(a).sys_errno(), ENOTEMPTY);
  ASSERT_TRUE(vault_->Unlink({folder, "f"}, [](ino_t) {}).ok());
  EXPECT_TRUE(vault_->RemoveFolder(a).ok());
}

TEST_F(VaultTest, AReplacedNameNoLongerBindsTheOldFile) {
  const Place a{root_, "a"}, b{root_, "b"}, c{root_, "c"};
  MakeFile(a, "old");
  struct stat st;
  const UniqueFd fd = vault_->Find(a, &st).value();
  ASSERT_TRUE(vault_->Link(a, fd.get(), b, user_).ok());
  MakeFile(c, "new");
  ASSERT_TRUE(Rename(c, a).ok());
  EXPECT_EQ(Read(a).value(), "new");
  EXPECT_EQ(Read(b).value(), "old");
  // The attacker puts the old file back under the name it once had.
  ::unlink(Backing(a).c_str());
  ASSERT_EQ(::link(Backing(b).c_str(), Backing(a).c_str()), 0);
  EXPECT_EQ(Read(a).status().error(), Error::kCorrupt);
}

TEST_F(VaultTest, AFolderOfAnotherKeyIsAnotherDevice) {
  const Place there{MakeFolder({root_, "other"}), "f"};
  ASSERT_TRUE(vault_
                  ->SetFolderKey({root_, "other"}, *there.folder, TestKeys::kKeyTwo, {},
                                 "/other")
                  .ok());
  const Place a{root_, "a"};
  MakeFile(a, "x");
  EXPECT_EQ(Rename(a, there).sys_errno(), EXDEV);
  MakeFile(there, "y");
  EXPECT_EQ(Open(there).value()->file->header().key_id, TestKeys::kKeyTwo);
}

TEST_F(VaultTest, SettingAFoldersKeyNeedsItsPresentName) {
  const Place a{root_, "a"}, b{root_, "b"};
  const auto folder = MakeFolder(a);
  ASSERT_TRUE(Rename(a, b).ok());
  EXPECT_EQ(vault_->SetFolderKey(a, *folder, TestKeys::kKeyTwo, {}, "/a").sys_errno(),
            ESTALE);
  EXPECT_EQ(folder->key_id(), TestKeys::kKeyOne);
  EXPECT_TRUE(OpenFolder(b).ok());
}

// Else a rename beside a look-up would be told as somebody's doing.
TEST_F(VaultTest, ANameThatARenameTookAwayIsNoDamage) {
  const Place a{root_, "a"}, b{root_, "b"}, folder{root_, "folder"},
      new_name{root_, "x"};
  MakeFile(a, "text");
  MakeFolder(folder);
  struct stat st;
  const UniqueFd file = vault_->Find(a, &st).value();
  const UniqueFd directory = vault_->Find(folder, &st).value();
  const auto open_as = [&](const Place& place) {
    return vault_->OpenFile(place, file.get(), {}, KeyUse::kRead, "/a").status();
  };
  for (const bool another_is_there : {false, true}) {
    ASSERT_TRUE(Rename(a, b).ok());
    ASSERT_TRUE(Rename(folder, new_name).ok());
    if (another_is_there) {
      MakeFile(a, "another");
      MakeFolder(folder);
    }
    EXPECT_EQ(open_as(a).sys_errno(), ESTALE);
    EXPECT_EQ(vault_->CheckBinding(a, file.get()).sys_errno(), ESTALE);
    EXPECT_EQ(vault_->Link(a, file.get(), {root_, "link"}, user_).sys_errno(), ESTALE);
    EXPECT_EQ(vault_->OpenFolder(folder, directory.get()).status().sys_errno(), ESTALE);
    EXPECT_TRUE(open_as(b).ok());
    if (another_is_there) break;
    ASSERT_TRUE(Rename(b, a).ok());
    ASSERT_TRUE(Rename(new_name, folder).ok());
  }
  // The same done in the store is.
  Swap(Backing(a), Backing(b));
  Swap(Backing(folder), Backing(new_name));
  EXPECT_EQ(open_as(a).error(), Error::kCorrupt);
  EXPECT_EQ(vault_->CheckBinding(a, file.get()).error(), Error::kCorrupt);
  EXPECT_EQ(vault_->Link(a, file.get(), {root_, "link"}, user_).error(),
            Error::kCorrupt);
  EXPECT_EQ(vault_->OpenFolder(folder, directory.get()).status().error(),
            Error::kCorrupt);
}

TEST_F(VaultTest, NoRenameBesideAnOpenIsDamage) {
  const Place a{root_, "a"}, b{root_, "b"};
  MakeFile(a, "text");
  struct stat st;
  const UniqueFd file = vault_->Find(a, &st).value();
  std::atomic<bool> done{false};
  std::thread renames = RenameToAndFro(a, b, 2000, &done);
  int opened = 0, overtaken = 0;
  while (!done) {
    const auto handle = vault_->OpenFile(a, file.get(), {}, KeyUse::kRead, "/a");
    if (handle.ok()) {
      vault_->Close(*handle);
      ++opened;
    } else {
      ASSERT_EQ(handle.status().sys_errno(), ESTALE) << handle.status().ToString();
      ++overtaken;
    }
  }
  renames.join();
  EXPECT_GT(opened, 0);
  EXPECT_GT(overtaken, 0);
}

TEST_F(VaultTest, AFolderKeepsItsNameWhenItsKeyIsSetWhileItIsRenamed) {
  const Place a{root_, "a"}, b{root_, "b"};
  const auto folder = MakeFolder(a);
  std::atomic<bool> done{false};
  std::thread renames = RenameToAndFro(a, b, 1000, &done);
  int set = 0;
  while (!done) {
    const Status status = vault_->SetFolderKey(
        a, *folder, set % 2 == 0 ? TestKeys::kKeyTwo : TestKeys::kKeyOne, {}, "/a");
    if (status.ok())
      ++set;
    else
      EXPECT_EQ(status.sys_errno(), ESTALE);  // it was "b" just then
  }
  renames.join();
  EXPECT_GT(set, 0);
  EXPECT_EQ(OpenFolder(a).value()->key_id(), folder->key_id());
}

// A run that ended badly may have lost the end of what it wrote last, and no other.
TEST_F(VaultTest, OnlyTheLastCheckpointOfABadEndMayLackSomething) {
  const Place early{root_, "early"}, late{root_, "late"};
  const std::string text(20000, 'x');
  MakeFile(early, text);
  ASSERT_TRUE(vault_->Checkpoint().ok());
  MakeFile(late, text);
  const auto cut = [&](const Place& place) {
    ASSERT_EQ(::truncate(Backing(place).c_str(),
                         static_cast<off_t>(BackingSize(2 * kBlockSize))),
              0);
  };
  cut(early);
  cut(late);
  EXPECT_EQ(Open(late).status().error(), Error::kCorrupt) << "nothing has ended";
  Mount();
  EXPECT_EQ(Open({root_, "early"}).status().error(), Error::kCorrupt);
  EXPECT_TRUE(keys_.recorded.empty());
  const Place there{root_, "late"};
  // Nothing is made of it on disk without a record.
  const auto length_on_disk = [&] {
    Bytes raw(kHeaderSlotSize);
    const UniqueFd fd(::open(Backing(there).c_str(), O_RDONLY | O_CLOEXEC));
    EXPECT_TRUE(ReadAt(fd.get(), 0, raw).ok());
    return ParseHeaderSlot(raw)->length;
  };
  keys_.recording = Status::FromErrno(ENOSPC, "record");
  EXPECT_EQ(Open(there).status().sys_errno(), ENOSPC);
  EXPECT_GT(length_on_disk(), 2 * kBlockSize);
  keys_.recording = OkStatus();
  const auto handle = Open(there);
  ASSERT_TRUE(handle.ok()) << handle.status().ToString();
  EXPECT_EQ((*handle)->file->length(), 2 * kBlockSize);
  EXPECT_EQ(keys_.recorded, std::vector<std::string>{"RecoverFile"});
  vault_->Close(*handle);
}

TEST_F(VaultTest, ARunThatEndedWellLostNothing) {
  const Place a{root_, "a"};
  MakeFile(a, std::string(20000, 'x'));
  vault_->SettleAll();
  Mount();
  const Place there{root_, "a"};
  ASSERT_EQ(::truncate(Backing(there).c_str(), static_cast<off_t>(BackingSize(4096))),
            0);
  EXPECT_EQ(Open(there).status().error(), Error::kCorrupt);
}

TEST_F(VaultTest, WhatIsClosedIsSettledByTheSettler) {
  const Place a{root_, "a"};
  MakeFile(a, std::string(20000, 'x'));
  ASSERT_TRUE(vault_->Checkpoint().ok());
  std::vector<std::shared_ptr<File>> later;
  vault_->SetSettler([&](std::shared_ptr<File> file) { later.push_back(file); });
  auto handle = Open(a, KeyUse::kWrite);
  ASSERT_TRUE(handle.ok());
  ASSERT_TRUE((*handle)->file->Write(0, AsBytes("new")).ok());
  vault_->Close(*handle);
  ASSERT_EQ(later.size(), 1u);
  EXPECT_FALSE(later[0]->SeemsSettled());
  EXPECT_EQ(Read(a).value().substr(0, 4), "newx") << "opened again meanwhile";
  vault_->Settle(later[0]);
  EXPECT_TRUE(later[0]->SeemsSettled());
  EXPECT_FALSE(later[0]->identity()) << "it should be dropped";
  Mount();
  EXPECT_EQ(Read({root_, "a"}).value().substr(0, 4), "newx");
}

TEST_F(VaultTest, ANoteOfCheckpointsThatIsDamagedIsRefused) {
  vault_->SettleAll();
  keys_.notes["checkpoints"].push_back(0);
  EXPECT_EQ(Vault::Open(options_, metadata_, keys_).status().error(), Error::kCorrupt);
}

}  // namespace
}  // namespace keyfold
