// Whatever somebody changes in the store: is each error by which the mount says that
// something is not what Keyfold wrote on record?
//
// Not on record, and why: READDIRPLUS shows entries that do not authenticate without
// their attributes, and the kernel looks up each of those. Entries whose names do not
// decrypt are not shown, as they are not of the folder; a check of the store names
// them.
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/xattr.h>

#include <atomic>
#include <set>

#include "Kernel.h"
#include "fs/fuse/Reencryption.h"
#include "tests/unit/TempFolder.h"
#include "tests/unit/fs_vault/StoreCopy.h"
#include "tests/unit/fs_vault/TestKeys.h"

namespace keyfold {
namespace {

namespace fs = std::filesystem;

// Steps that meet every part of a header, and every block.
constexpr size_t kAttributeStride = 5, kHeaderStride = 61, kFileStride = 509;

class NotingKeys : public TestKeys {
 public:
  std::atomic<size_t> damages{0};

  Status RecordFileEvent(const Caller& caller, const std::string& key_id,
                         const FileEvent& event, const Status& outcome) override {
    if (IsDamage(outcome)) ++damages;
    return TestKeys::RecordFileEvent(caller, key_id, event, outcome);
  }
};

class DamageRecordTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(Vault::CreateTree(options_, metadata_, TestKeys::kKeyOne).ok());
    Mount();
    const uint64_t folder = Make("folder", FUSE_ROOT_ID);
    Fill("file", folder);
    Fill(std::string(200, 'l'), folder);
    ASSERT_TRUE(
        Ask(FUSE_SYMLINK, folder, Message().Name("link").Name("the target")).ok());
    Make("inner", folder);
    Fill("again", FUSE_ROOT_ID);
    ASSERT_TRUE(
        Ask(FUSE_LINK, FUSE_ROOT_ID,
            Message(fuse_link_in{Find(FUSE_ROOT_ID, "again").nodeid}).Name("and again"))
            .ok());
    Unmount();
    copy_.emplace(options_.tree_path);
  }

  void Mount() {
    vault_ = Vault::Open(options_, metadata_, keys_).value();
    kernel_ = std::make_unique<Kernel>(*vault_);
  }
  void Unmount() {
    kernel_.reset();
    vault_->SettleAll();
    vault_.reset();
  }
  // Ask makes a request, whose error is on record if it says that something is damaged.
  Kernel::Answer Ask(uint32_t opcode, uint64_t node, const Message& message = {}) {
    const size_t before = keys_.damages;
    Kernel::Answer answer = kernel_->Ask(opcode, node, message);
    if (answer.error == EIO || (opcode == FUSE_OPEN && answer.error == EOPNOTSUPP)) {
      ++errors_[opcode];
      EXPECT_GT(keys_.damages, before) << "operation " << opcode << " on node " << node;
    }
    EXPECT_EQ(kernel_->Broken(), "") << "operation " << opcode;
    return answer;
  }
  fuse_entry_out Find(uint64_t folder, const std::string& name) {
    return Ask(FUSE_LOOKUP, folder, Message().Name(name)).As<fuse_entry_out>();
  }
  uint64_t Make(const std::string& name, uint64_t parent) {
    const auto made =
        Ask(FUSE_MKDIR, parent, Message(fuse_mkdir_in{0755, 0}).Name(name));
    EXPECT_TRUE(made.ok());
    return made.As<fuse_entry_out>().nodeid;
  }
  // A file with a hole in it, and an attribute.
  void Fill(const std::string& name, uint64_t folder) {
    fuse_create_in create{};
    create.flags = O_RDWR;
    create.mode = S_IFREG | 0644;
    const auto made = Ask(FUSE_CREATE, folder, Message(create).Name(name));
    ASSERT_TRUE(made.ok());
    const uint64_t node = made.As<fuse_entry_out>().nodeid;
    const Bytes opened(made.body.begin() + sizeof(fuse_entry_out), made.body.end());
    const uint64_t handle = Kernel::Answer{0, opened}.As<fuse_open_out>().fh;
    for (const uint64_t at : {uint64_t{0}, 5 * kBlockSize})
      ASSERT_TRUE(Write(node, handle, at, 2 * kBlockSize + 9).ok());
    Release(node, handle);
    ASSERT_TRUE(SetXattr(node, "user.mark", name).ok());
  }
  Kernel::Answer Write(uint64_t node, uint64_t handle, uint64_t at, size_t size) {
    fuse_write_in write{};
    write.fh = handle;
    write.offset = at;
    write.size = static_cast<uint32_t>(size);
    return Ask(FUSE_WRITE, node, Message(write).Raw(Bytes(size, 'w')));
  }
  Kernel::Answer SetXattr(uint64_t node, const std::string& name,
                          const std::string& value) {
    const uint32_t sizes[2] = {static_cast<uint32_t>(value.size()), 0};
    return Ask(FUSE_SETXATTR, node, Message(sizes).Name(name).Raw(AsBytes(value)));
  }
  void Release(uint64_t node, uint64_t handle) {
    fuse_release_in release{};
    release.fh = handle;
    EXPECT_TRUE(Ask(FUSE_RELEASE, node, Message(release)).ok());
  }

  // Look asks for all there is after a change. What is written to is put back.
  void Look(const std::string& change, bool writes = false) {
    SCOPED_TRACE(change);
    const size_t before = keys_.damages;
    auto vault = Vault::Open(options_, metadata_, keys_);
    if (!vault.ok()) {  // nothing is mounted
      EXPECT_GT(keys_.damages, before);
      return;
    }
    vault_ = std::move(*vault);
    kernel_ = std::make_unique<Kernel>(*vault_);
    Walk(FUSE_ROOT_ID, 0, writes);
    Unmount();
  }
  void Walk(uint64_t folder, int depth, bool writes) {
    ASSERT_LT(depth, 10);
    // All names there are anywhere: those that are not shown are looked for too.
    std::set<std::string> names = {
        "folder", "file", "link", "inner", "again", "and again", std::string(200, 'l')};
    const auto opened = Ask(FUSE_OPENDIR, folder, Message(fuse_open_in{}));
    if (!opened.ok()) return;
    fuse_read_in read{};
    read.fh = opened.As<fuse_open_out>().fh;
    read.size = 8192;
    EXPECT_TRUE(Ask(FUSE_READDIRPLUS, folder, Message(read)).ok());
    fuse_release_in release{};
    release.fh = read.fh;
    EXPECT_TRUE(Ask(FUSE_RELEASEDIR, folder, Message(release)).ok());
    for (const std::string& name : names) {
      const auto entry = Find(folder, name);
      if (entry.nodeid == 0) continue;
      if (S_ISDIR(entry.attr.mode)) Walk(entry.nodeid, depth + 1, writes);
      if (S_ISLNK(entry.attr.mode)) (void)Ask(FUSE_READLINK, entry.nodeid);
      LookAt(entry.nodeid, entry.attr.mode, writes);
      if (writes) Rename(folder, name);
    }
  }
  void LookAt(uint64_t node, uint32_t mode, bool writes) {
    (void)Ask(FUSE_GETATTR, node, Message(fuse_getattr_in{}));
    for (const char* name : {"user.mark", "user.keyfold.key", "user.keyfold.key-state"})
      (void)Ask(FUSE_GETXATTR, node, Message(fuse_getxattr_in{100, 0}).Name(name));
    (void)Ask(FUSE_LISTXATTR, node, Message(fuse_getxattr_in{1000, 0}));
    if (S_ISREG(mode)) ReadFile(node);
    if (!writes) return;
    if (S_ISREG(mode)) WriteFile(node);
    (void)SetXattr(node, "user.mark", "another");
    (void)Ask(FUSE_REMOVEXATTR, node, Message().Name("user.mark"));
    (void)SetXattr(node, "user.keyfold.key", TestKeys::kKeyTwo);
    (void)SetXattr(node, "user.keyfold.key", TestKeys::kKeyOne);
    fuse_setattr_in cut{};
    cut.valid = FATTR_SIZE;
    cut.size = 10;
    if (S_ISREG(mode)) (void)Ask(FUSE_SETATTR, node, Message(cut));
  }
  std::optional<uint64_t> Open(uint64_t node, uint32_t flags) {
    fuse_open_in open{};
    open.flags = flags;
    auto answer = Ask(FUSE_OPEN, node, Message(open));
    // Where the length is not what the kernel believes it looks the file up again.
    if (answer.error == ESTALE) answer = Ask(FUSE_OPEN, node, Message(open));
    if (!answer.ok()) return std::nullopt;
    return answer.As<fuse_open_out>().fh;
  }
  void ReadFile(uint64_t node) {
    const auto handle = Open(node, O_RDONLY);
    if (!handle) return;
    for (uint64_t block = 0; block < 10; ++block) {
      fuse_read_in read{};
      read.fh = *handle;
      read.offset = block * kBlockSize;
      read.size = kBlockSize;
      (void)Ask(FUSE_READ, node, Message(read));
    }
    for (const uint32_t whence : {SEEK_DATA, SEEK_HOLE})
      (void)Ask(FUSE_LSEEK, node, Message(fuse_lseek_in{*handle, 0, whence, 0}));
    Release(node, *handle);
  }
  void WriteFile(uint64_t node) {
    const auto handle = Open(node, O_RDWR);
    if (!handle) return;
    for (uint64_t block = 0; block < 10; ++block)
      (void)Write(node, *handle, block * kBlockSize + 5, 3);
    fuse_copy_file_range_in copy{};
    copy.fh_in = copy.fh_out = *handle;
    copy.nodeid_out = node;
    copy.off_out = 20 * kBlockSize;
    copy.len = 6 * kBlockSize;
    (void)Ask(FUSE_COPY_FILE_RANGE, node, Message(copy));
    fuse_fallocate_in punch{};
    punch.fh = *handle;
    punch.offset = 100;
    punch.length = 6 * kBlockSize;
    punch.mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    (void)Ask(FUSE_FALLOCATE, node, Message(punch));
    for (const uint64_t bytes : {uint64_t{0}, uint64_t{1} << 20}) {
      fuse_ioctl_in ioctl{};
      ioctl.fh = *handle;
      ioctl.cmd = static_cast<uint32_t>(kReencryptIoctl);
      ioctl.in_size = ioctl.out_size = sizeof(Reencryption);
      Reencryption asked;
      asked.bytes = bytes;
      (void)Ask(FUSE_IOCTL, node, Message(ioctl).Add(asked));
    }
    (void)Ask(FUSE_FSYNC, node, Message(fuse_fsync_in{*handle, 0, 0}));
    Release(node, *handle);
  }
  // Rename gives it another name and, as most of what is damaged keeps its own, another
  // name beside.
  void Rename(uint64_t folder, const std::string& name) {
    const auto entry = Find(folder, name);
    if (entry.nodeid == 0) return;
    (void)Ask(FUSE_LINK, folder, Message(fuse_link_in{entry.nodeid}).Name("linked"));
    (void)Ask(FUSE_RENAME2, folder,
              Message(fuse_rename2_in{folder, 0, 0}).Name(name).Name("renamed"));
    (void)Ask(FUSE_RENAME2, folder,
              Message(fuse_rename2_in{folder, 0, 0}).Name("renamed").Name(name));
  }

  const TempFolder base_{QuickParent()};
  const VaultOptions options_{base_ / "tree", "33333333-3333-4333-8333-333333333333"};
  const MetadataKey metadata_{RandomSecret(kKeySize)};
  NotingKeys keys_;
  std::unique_ptr<Vault> vault_;
  std::unique_ptr<Kernel> kernel_;
  std::optional<StoreCopy> copy_;
  std::map<uint32_t, size_t> errors_;  // by operation
};

TEST_F(DamageRecordTest, NothingIsDamagedAtFirst) {
  Look("nothing", true);
  EXPECT_TRUE(errors_.empty());
  EXPECT_EQ(keys_.damages, 0u);
}

TEST_F(DamageRecordTest, Attributes) {
  for (const StoreCopy::Object& object : copy_->objects()) {
    for (const auto& [name, value] : object.attributes) {
      const auto set = [&](ByteView bytes) {
        ASSERT_EQ(::setxattr(object.path.c_str(), name.c_str(), bytes.data(),
                             bytes.size(), 0),
                  0);
      };
      for (size_t at = 0; at < value.size(); at += kAttributeStride) {
        Bytes changed = value;
        changed[at] ^= 1;
        set(changed);
        Look(object.path + " " + name + ", byte " + std::to_string(at));
      }
      set(ByteView(value).first(value.size() / 2));
      Look(object.path + " half of " + name, true);
      copy_->Restore();
      ::removexattr(object.path.c_str(), name.c_str());
      Look(object.path + " without " + name, true);
      copy_->Restore();
      if (HasFailure()) return;
    }
  }
  for (const uint32_t opcode :
       {FUSE_LOOKUP, FUSE_OPEN, FUSE_GETXATTR, FUSE_LISTXATTR, FUSE_SETXATTR,
        FUSE_REMOVEXATTR, FUSE_LINK, FUSE_RENAME2, FUSE_SETATTR})
    EXPECT_GT(errors_[opcode], 0u) << opcode;
}

TEST_F(DamageRecordTest, Bytes) {
  for (const std::string& path : copy_->Paths(fs::file_type::regular)) {
    const StoreCopy::Object& file = copy_->At(path);
    const auto change = [&](size_t at, bool writes) {
      for (const size_t offset : {at, at + kHeaderSlotSize}) {
        if (offset != at && at >= kHeaderSlotSize) continue;  // both slots
        const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
        const uint8_t changed = file.bytes[offset] ^ 1;
        ASSERT_TRUE(WriteAt(fd.get(), static_cast<off_t>(offset), {&changed, 1}).ok());
      }
      Look(path + ", byte " + std::to_string(at), writes);
      copy_->Restore();
    };
    for (size_t at = 0; at < kHeaderSlotSize && !HasFailure(); at += kHeaderStride)
      change(at, false);
    for (size_t at = kHeaderSlotSize * 2; at < file.bytes.size() && !HasFailure();
         at += kFileStride)
      change(at, true);
    for (const size_t size : {size_t{0}, size_t{1000}, file.bytes.size() - 5000}) {
      ASSERT_EQ(::truncate(path.c_str(), static_cast<off_t>(size)), 0);
      Look(path + ", length " + std::to_string(size), true);
      copy_->Restore();
    }
    if (HasFailure()) return;
  }
  for (const uint32_t opcode :
       {FUSE_OPEN, FUSE_READ, FUSE_WRITE, FUSE_FALLOCATE, FUSE_IOCTL,
        FUSE_COPY_FILE_RANGE, FUSE_SETATTR, FUSE_GETXATTR})
    EXPECT_GT(errors_[opcode], 0u) << opcode;
}

TEST_F(DamageRecordTest, LinksAndPlantedObjects) {
  for (const StoreCopy::Object& object : copy_->objects()) {
    if (object.path == options_.tree_path) continue;
    for (int kind = 0; kind < 3; ++kind) {
      fs::remove_all(object.path);
      if (kind == 0) fs::create_symlink("/etc/passwd", object.path);
      if (kind == 1) fs::create_directory(object.path);
      if (kind == 2) std::fclose(std::fopen(object.path.c_str(), "w"));
      Look("kind " + std::to_string(kind) + " in place of " + object.path, true);
      copy_->Restore();
    }
    if (HasFailure()) return;
  }
  EXPECT_GT(errors_[FUSE_READLINK], 0u);
  EXPECT_GT(errors_[FUSE_LOOKUP], 0u);
  EXPECT_GT(errors_[FUSE_OPEN], 0u);
}

TEST_F(DamageRecordTest, PairsSwapped) {
  const auto& objects = copy_->objects();
  for (const auto& a : objects) {
    for (const auto& b : objects) {
      if (!(a.path < b.path) || ::renameat2(AT_FDCWD, a.path.c_str(), AT_FDCWD,
                                            b.path.c_str(), RENAME_EXCHANGE) != 0)
        continue;
      Look("swapped " + a.path + " and " + b.path, true);
      copy_->Restore();
      if (HasFailure()) return;
    }
  }
  for (const uint32_t opcode : {FUSE_LOOKUP, FUSE_OPEN, FUSE_READLINK})
    EXPECT_GT(errors_[opcode], 0u) << opcode;
}

}  // namespace
}  // namespace keyfold
