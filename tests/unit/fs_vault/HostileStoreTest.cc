// What somebody makes of a store by writing to it, change by change: each name gives
// what was put there, an error, or is missing; and who may not use a key reads nothing
// that is under it.
#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>

#include <fstream>
#include <functional>
#include <random>
#include <set>

#include "StoreCopy.h"
#include "TestKeys.h"
#include "fs/format/Geometry.h"
#include "fs/format/Header.h"
#include "fs/vault/Vault.h"
#include "tests/unit/TempFolder.h"

namespace keyfold {
namespace {

namespace fs = std::filesystem;

// Every byte, but for builds in which that takes minutes.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr size_t kStride = 17;
#else
constexpr size_t kStride = 1;
#endif
constexpr uid_t kOwner = 1, kThief = 2;
constexpr size_t kSeeds = 400;

// KeysOfTwo lets the thief use key one alone.
class KeysOfTwo : public TestKeys {
 public:
  Status StillAllowed(const Caller& caller, const std::string& key_id,
                      const EncryptionContext& context, KeyUse use) override {
    if (caller.uid == kThief && key_id != kKeyOne)
      return {Error::kAccessDenied, "not the thief's key"};
    return TestKeys::StillAllowed(caller, key_id, context, use);
  }
};

class HostileStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    options_ = {base_ / "tree", "33333333-3333-4333-8333-333333333333"};
    ASSERT_TRUE(Vault::CreateTree(options_, metadata_, TestKeys::kKeyOne).ok());
    Fill();
    copy_.emplace(options_.tree_path);
  }

  std::unique_ptr<Vault> Mount() {
    auto vault = Vault::Open(options_, metadata_, keys_);
    return vault.ok() ? std::move(*vault) : nullptr;
  }

  // Two folders whose files have the same names, under keys of their own.
  void Fill() {
    const auto vault = Mount();
    ASSERT_TRUE(vault);
    const auto root = vault->root();
    for (const std::string name : {"open", "secret"}) {
      const Place place{root, name};
      ASSERT_TRUE(vault->MakeFolder(place, 0755, user_).ok());
      const auto folder = OpenFolder(*vault, place).value();
      if (name == kSecretName) {
        ASSERT_TRUE(vault
                        ->SetFolderKey(place, *folder, TestKeys::kKeyTwo, user_.caller,
                                       "/" + name)
                        .ok());
      }
      const std::string path = "/" + name + "/";
      Make(*vault, {folder, "one"}, path + "one", name + " one ", 2 * 4096 + 5);
      Make(*vault, {folder, "two"}, path + "two", name + " two ", 3 * 4096);
      Make(*vault, {folder, "empty"}, path + "empty", "", 0);
      const std::string long_name = "long" + std::string(200, 'n');
      Make(*vault, {folder, long_name}, path + long_name, name + " long ", 100);
      ASSERT_TRUE(vault->MakeSymlink({folder, "link"}, name + " target", user_).ok());
      texts_[path + "link"] = {name + " target"};
      struct stat st;
      const UniqueFd fd = vault->Find({folder, "one"}, &st).value();
      ASSERT_TRUE(vault->SetUserXattr(fd.get(), "mark", AsBytes(name), 0).ok());
      ASSERT_TRUE(
          vault->Link({folder, "one"}, fd.get(), {folder, "again"}, user_).ok());
      texts_[path + "again"] = texts_[path + "one"];
      ASSERT_TRUE(vault->MakeFolder({folder, "inner"}, 0755, user_).ok());
      const auto inner = OpenFolder(*vault, {folder, "inner"}).value();
      Make(*vault, {inner, "one"}, path + "inner/one", name + " inner ", 50);
    }
    MakeHoles(*vault);
    vault->SettleAll();
  }
  void Make(Vault& vault, const Place& place, const std::string& path,
            const std::string& word, size_t size) {
    std::string text;
    while (text.size() < size) text += word + std::to_string(text.size()) + '\n';
    text.resize(size);
    auto made = vault.Create(place, 0644, user_, path);
    ASSERT_TRUE(made.ok()) << made.status().ToString();
    ASSERT_TRUE(made->handle->file->Write(0, AsBytes(text)).ok());
    vault.Close(made->handle);
    texts_[path] = {text};
  }
  // A file with a whole group of zeros between its first and last block.
  void MakeHoles(Vault& vault) {
    std::string text = "first";
    text.resize(kHoles);
    text += "last";
    auto made = vault.Create({vault.root(), "holes"}, 0644, user_, "/holes");
    ASSERT_TRUE(made.ok());
    ASSERT_TRUE(made->handle->file->Write(0, AsBytes("first")).ok());
    ASSERT_TRUE(made->handle->file->Write(kHoles, AsBytes("last")).ok());
    vault.Close(made->handle);
    texts_["/holes"] = {text};
  }

  Result<std::shared_ptr<Folder>> OpenFolder(Vault& vault, const Place& place) {
    struct stat st;
    KF_ASSIGN_OR_RETURN(UniqueFd fd, vault.Find(place, &st));
    return vault.OpenFolder(place, fd.get());
  }

  // Look reads all there is as both users. `change` says what was done before.
  void Look(const std::string& change) {
    SCOPED_TRACE(change);
    const size_t recorded = keys_.recorded.size();
    const auto vault = Mount();
    if (!vault) {  // the whole store is refused
      EXPECT_EQ(keys_.recorded.size(), recorded + 1) << "it is not on record";
      return;
    }
    for (uid_t user : {kOwner, kThief}) Walk(*vault, vault->root(), "", user, 0);
  }
  void Walk(Vault& vault, const std::shared_ptr<Folder>& folder,
            const std::string& path, uid_t user, int depth) {
    ASSERT_LT(depth, 10);
    DIR* dir =
        ::fdopendir(::openat(folder->fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (dir == nullptr) return;
    std::vector<std::string> names;
    (void)vault.List(*folder, dir, 0, [&](const std::string& name, const dirent&) {
      if (name != "." && name != "..") names.push_back(name);
      return true;
    });
    ::closedir(dir);
    for (const std::string& name : names)
      LookAt(vault, {folder, name}, path + "/" + name, user, depth);
  }
  void LookAt(Vault& vault, const Place& place, const std::string& path, uid_t user,
              int depth) {
    struct stat st;
    const auto fd = vault.Find(place, &st);
    if (!fd.ok()) return;
    if (S_ISDIR(st.st_mode)) {
      const auto folder = vault.OpenFolder(place, fd->get());
      if (!folder.ok()) return;
      EXPECT_TRUE(kFolders.contains(path)) << path << " is no folder";
      Walk(vault, *folder, path, user, depth + 1);
    } else if (S_ISLNK(st.st_mode)) {
      const auto target = vault.ReadSymlink(place, fd->get());
      if (target.ok()) ExpectText(path, 0, *target, true);
    } else if (S_ISREG(st.st_mode)) {
      ReadFile(vault, place, fd->get(), path, user);
      if (vault.CheckBinding(place, fd->get()).ok()) LookAtMark(vault, fd->get(), path);
    }
  }
  void LookAtMark(Vault& vault, int fd, const std::string& path) {
    const auto mark = vault.GetUserXattr(fd, "mark");
    if (!mark.ok()) return;
    EXPECT_TRUE(path.starts_with("/" + std::string(AsText(*mark)) + "/"))
        << path << " has the mark " << AsText(*mark);
  }
  void ReadFile(Vault& vault, const Place& place, int fd, const std::string& path,
                uid_t user) {
    Caller caller;
    caller.uid = user;
    const auto handle = vault.OpenFile(place, fd, caller, KeyUse::kRead, path);
    if (!handle.ok()) return;
    const uint64_t length = (*handle)->file->length();
    ASSERT_LE(length, 2 * kHoles) << path;
    Bytes block(kBlockSize);
    for (uint64_t at = 0; at == 0 || at < length; at += kBlockSize) {
      const auto n = (*handle)->file->Read(at, block);
      if (!n.ok()) continue;
      const std::string_view text = AsText(ByteView(block).first(*n));
      ExpectText(path, at, text, at + *n == length);
      EXPECT_FALSE(user == kThief && *n > 0 && path.starts_with("/secret/"))
          << "the thief read " << path;
      if (*n == 0) break;
    }
    vault.Close(*handle);
  }
  // ExpectText: `found` is what some version of the file has at `offset`, up to its
  // end if `last`.
  void ExpectText(const std::string& path, uint64_t offset, std::string_view found,
                  bool last) {
    const auto known = texts_.find(path);
    ASSERT_TRUE(known != texts_.end()) << path << " is nobody's";
    for (const std::string& text : known->second) {
      if (offset > text.size() || text.substr(offset, found.size()) != found) continue;
      if (last == (offset + found.size() == text.size())) return;
    }
    ADD_FAILURE() << path << " reads as something else at " << offset << ": "
                  << found.substr(0, 40);
  }
  // LookAtOne is Look for one file, without the tree around it.
  void LookAtOne(Vault& vault, const Place& place, const std::string& path) {
    struct stat st;
    const auto fd = vault.Find(place, &st);
    if (!fd.ok()) return;
    for (uid_t user : {kOwner, kThief}) ReadFile(vault, place, fd->get(), path, user);
  }
  // ExpectWhole: nothing of what was done to the store is left.
  void ExpectWhole() {
    const auto vault = Mount();
    ASSERT_TRUE(vault);
    for (const auto& [path, texts] : texts_) {
      if (path.ends_with("/link")) continue;
      EXPECT_EQ(ReadWhole(*vault, path), texts.back()) << path;
    }
  }
  std::string ReadWhole(Vault& vault, const std::string& path) {
    struct stat st;
    const Place place = PlaceOf(vault, path);
    const UniqueFd fd = vault.Find(place, &st).value();
    Caller caller;
    caller.uid = kOwner;
    const auto handle = vault.OpenFile(place, fd.get(), caller, KeyUse::kRead, path);
    if (!handle.ok()) return handle.status().ToString();
    Bytes out((*handle)->file->length());
    const auto n = (*handle)->file->Read(0, out);
    vault.Close(*handle);
    return n.ok() ? std::string(AsText(out)) : n.status().ToString();
  }
  Place PlaceOf(Vault& vault, const std::string& path) {
    Place place{vault.root(), ""};
    for (size_t at = 1;;) {
      const size_t end = path.find('/', at);
      place.name = path.substr(at, end - at);
      if (end == std::string::npos) return place;
      place.folder = OpenFolder(vault, place).value();
      at = end + 1;
    }
  }
  std::string BackingOf(const std::string& path) {
    const auto vault = Mount();
    const Place place = PlaceOf(*vault, path);
    const std::string folder =
        fs::read_symlink(FdPath(place.folder->fd())).string() + "/";
    return folder + place.folder->BackingName(place.name).value();
  }

  static void Poke(const std::string& path, uint64_t offset, ByteView bytes) {
    const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_NOFOLLOW | O_CLOEXEC));
    EXPECT_TRUE(WriteAt(fd.get(), offset, bytes).ok()) << path;
  }

  static constexpr char kSecretName[] = "secret";
  static constexpr uint64_t kHoles = 132 * kBlockSize;
  const std::set<std::string> kFolders = {"/open", "/secret", "/open/inner",
                                          "/secret/inner"};

  TempFolder base_;
  VaultOptions options_;
  MetadataKey metadata_{RandomSecret(kKeySize)};
  KeysOfTwo keys_;
  User user_;
  // The versions of each file, the newest last; and where links lead.
  std::map<std::string, std::vector<std::string>> texts_;
  std::optional<StoreCopy> copy_;
};

// Every change of one byte, and every length.
TEST_F(HostileStoreTest, EveryByteAndLengthOfAFile) {
  for (const std::string path : {"/secret/one", "/secret/empty", "/holes"}) {
    const StoreCopy::Object file = copy_->At(BackingOf(path));
    const auto vault = Mount();
    const Place place = PlaceOf(*vault, path);
    const UniqueFd fd(::open(file.path.c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_TRUE(fd.valid());
    // In the middle of the long file nothing is stored.
    std::vector<uint64_t> offsets;
    for (uint64_t at = 0; at < file.bytes.size(); at += kStride)
      if (at < 3 * kPageSize || at + 2 * kPageSize > file.bytes.size() || at % 997 == 0)
        offsets.push_back(at);
    for (const uint64_t at : offsets) {
      SCOPED_TRACE(path + ", byte " + std::to_string(at));
      const uint8_t changed = file.bytes[at] ^ static_cast<uint8_t>(1 << (at % 8));
      ASSERT_TRUE(WriteAt(fd.get(), at, ByteView(&changed, 1)).ok());
      LookAtOne(*vault, place, path);
      StoreCopy::RestoreBytes(file);
      if (HasFailure()) return;
    }
    for (const uint64_t size : offsets) {
      SCOPED_TRACE(path + ", length " + std::to_string(size));
      ASSERT_EQ(::ftruncate(fd.get(), static_cast<off_t>(size)), 0);
      LookAtOne(*vault, place, path);
      StoreCopy::RestoreBytes(file);
      if (HasFailure()) return;
    }
  }
  ExpectWhole();
}

TEST_F(HostileStoreTest, EveryByteAndLengthOfEveryAttribute) {
  for (const StoreCopy::Object& object : copy_->objects()) {
    for (const auto& [name, value] : object.attributes) {
      const auto set = [&](ByteView bytes, const std::string& what) {
        ASSERT_EQ(::setxattr(object.path.c_str(), name.c_str(), bytes.data(),
                             bytes.size(), 0),
                  0);
        Look(object.path + " " + name + what);
      };
      for (size_t at = 0; at < value.size(); at += kStride) {
        Bytes changed = value;
        changed[at] ^= static_cast<uint8_t>(1 << (at % 8));
        set(changed, ", byte " + std::to_string(at));
        set(ByteView(value).first(at), ", length " + std::to_string(at));
        if (HasFailure()) return;
      }
      ::removexattr(object.path.c_str(), name.c_str());
      Look(object.path + " without " + name);
      set(value, " again");
    }
  }
  ExpectWhole();
}

TEST_F(HostileStoreTest, EveryPairOfObjectsSwappedOrCopied) {
  const auto& objects = copy_->objects();
  for (const auto& a : objects) {
    for (const auto& b : objects) {
      if (a.path == options_.tree_path || b.path == options_.tree_path) continue;
      const std::string pair = a.path + " and " + b.path;
      if (a.path < b.path && ::renameat2(AT_FDCWD, a.path.c_str(), AT_FDCWD,
                                         b.path.c_str(), RENAME_EXCHANGE) == 0) {
        Look("swapped " + pair);
        copy_->Restore();
      }
      // One in the other's place; folders with all that is in them.
      if (a.path == b.path || b.path.starts_with(a.path + "/")) continue;
      if (!a.path.starts_with(b.path + "/")) {
        fs::remove_all(b.path);
        fs::rename(a.path, b.path);
        Look("moved " + pair);
        copy_->Restore();
      }
      if (a.type == fs::file_type::regular && b.type == fs::file_type::regular) {
        fs::remove(b.path);
        fs::create_hard_link(a.path, b.path);
        Look("linked " + pair);
        copy_->Restore();
        // They may be two names of one file.
        std::error_code same;
        fs::copy_file(a.path, b.path, fs::copy_options::overwrite_existing, same);
        Look("contents copied " + pair);
        copy_->Restore();
      }
      for (const auto& [name, value] : a.attributes)
        ::setxattr(b.path.c_str(), name.c_str(), value.data(), value.size(), 0);
      Look("attributes copied " + pair);
      copy_->Restore();
      if (HasFailure()) return;
    }
  }
  ExpectWhole();
}

// Blocks lie at pages; entries of 64 bytes from byte 2048 on.
TEST_F(HostileStoreTest, EveryPairOfBlocksSwapped) {
  struct Piece {
    std::string path;
    uint64_t entry, data;
  };
  std::vector<Piece> pieces;
  for (const std::string path :
       {"/open/one", "/open/two", "/secret/one", "/secret/two"})
    for (uint64_t block = 0; block < 3; ++block)
      pieces.push_back({BackingOf(path), 2048 + 64 * block, 4096 * (block + 1)});
  const auto at = [&](const Piece& piece, uint64_t offset, size_t size) {
    const Bytes& bytes = copy_->At(piece.path).bytes;
    Bytes out(size);
    for (size_t i = 0; i < size && offset + i < bytes.size(); ++i)
      out[i] = bytes[offset + i];
    return out;
  };
  for (const Piece& a : pieces) {
    for (const Piece& b : pieces) {
      if (&a == &b) continue;
      for (const bool with_entries : {false, true}) {
        for (const bool with_header : {false, true}) {
          Poke(a.path, a.data, at(b, b.data, 4096));
          Poke(b.path, b.data, at(a, a.data, 4096));
          if (with_entries) {
            Poke(a.path, a.entry, at(b, b.entry, 64));
            Poke(b.path, b.entry, at(a, a.entry, 64));
          }
          if (with_header) {
            Poke(a.path, 0, at(b, 0, 2048));
            Poke(b.path, 0, at(a, 0, 2048));
          }
          Look(a.path + " " + std::to_string(a.data) + " and " + b.path + " " +
               std::to_string(b.data));
          StoreCopy::RestoreBytes(copy_->At(a.path));
          StoreCopy::RestoreBytes(copy_->At(b.path));
          if (HasFailure()) return;
        }
      }
    }
  }
  ExpectWhole();
}

TEST_F(HostileStoreTest, SidecarsAndLinksRemovedOrReplaced) {
  const auto links = copy_->Paths(fs::file_type::symlink);
  ASSERT_EQ(links.size(), 4u) << "two links, two names of long files";
  for (const std::string& path : links) {
    const std::string good = copy_->At(path).target;
    const auto replace = [&](const std::string& target) {
      fs::remove(path);
      if (!target.empty()) fs::create_symlink(target, path);
      Look(path + " leads to " + target);
    };
    replace("");
    for (const std::string& other : links) replace(copy_->At(other).target);
    for (const std::string target : {"/etc/passwd", "..", ".", "x", "/"})
      replace(target);
    for (size_t i = 0; i < good.size(); ++i) {
      std::string changed = good;
      changed[i] = changed[i] == 'A' ? 'B' : 'A';
      replace(changed);
      if (i > 0) replace(good.substr(0, i));
    }
    replace(good);
  }
  ExpectWhole();
}

TEST_F(HostileStoreTest, PlantedObjectsLeadNowhere) {
  std::ofstream(base_ / "outside") << "outside";
  const auto plant = [&](const std::string& path, int kind) {
    switch (kind) {
      case 0:
        return ::symlink("/etc/passwd", path.c_str()) == 0;
      case 1:
        return ::symlink((base_ / "outside").c_str(), path.c_str()) == 0;
      case 2:
        return ::symlink(".", path.c_str()) == 0;
      case 3:
        return ::symlink("..", path.c_str()) == 0;
      case 4:
        return ::mkfifo(path.c_str(), 0666) == 0;
      case 5:
        return ::mknod(path.c_str(), S_IFSOCK | 0666, 0) == 0;
      case 6:  // /dev/zero, where the test may make it
        return ::mknod(path.c_str(), S_IFCHR | 0666, (1 << 8) | 5) == 0;
      case 7:
        return ::mkdir(path.c_str(), 0777) == 0;
      default:
        return ::link((base_ / "outside").c_str(), path.c_str()) == 0;
    }
  };
  for (const StoreCopy::Object& object : copy_->objects()) {
    if (object.path == options_.tree_path) continue;
    for (int kind = 0; kind < 9; ++kind) {
      fs::remove_all(object.path);
      if (plant(object.path, kind))
        Look("kind " + std::to_string(kind) + " in place of " + object.path);
      copy_->Restore();
      if (HasFailure()) return;
    }
  }
  ExpectWhole();
}

// An older version is not told from the newest; a mixture must not pass for anything
// that never was, block by block.
TEST_F(HostileStoreTest, OldVersionsPutBack) {
  const StoreCopy before = *copy_;
  {
    const auto vault = Mount();
    for (const std::string path : {"/open/one", "/secret/one"}) {
      const Place place = PlaceOf(*vault, path);
      struct stat st;
      const UniqueFd fd = vault->Find(place, &st).value();
      const auto handle =
          vault->OpenFile(place, fd.get(), user_.caller, KeyUse::kWrite, path);
      ASSERT_TRUE(handle.ok());
      const std::string text(4096 + 17, path[1]);
      ASSERT_TRUE((*handle)->file->Write(0, AsBytes(text)).ok());
      ASSERT_TRUE((*handle)->file->Truncate(text.size()).ok());
      vault->Close(*handle);
      for (const std::string& name : {path, path.substr(0, path.rfind('/')) + "/again"})
        texts_[name].push_back(text);
    }
    vault->SettleAll();
  }
  copy_.emplace(options_.tree_path);
  for (const std::string path : {"/open/one", "/secret/one"}) {
    const std::string backing = BackingOf(path);
    const StoreCopy::Object& old = before.At(backing);
    StoreCopy::RestoreBytes(old);
    Look("all of " + path);
    for (unsigned parts = 0; parts < 32; ++parts) {
      StoreCopy::RestoreBytes(copy_->At(backing));
      const std::pair<size_t, size_t> ranges[] = {
          {0, 1024}, {1024, 1024}, {2048, 64}, {4096, 4096}, {8192, 4096}};
      for (size_t i = 0; i < 5; ++i)
        if (parts >> i & 1)
          Poke(backing, ranges[i].first,
               ByteView(old.bytes).subspan(ranges[i].first, ranges[i].second));
      const auto vault = Mount();
      const Place place = PlaceOf(*vault, path);
      struct stat st;
      const UniqueFd fd = vault->Find(place, &st).value();
      const auto handle =
          vault->OpenFile(place, fd.get(), user_.caller, KeyUse::kRead, path);
      if (!handle.ok()) continue;
      for (uint64_t at = 0; at < (*handle)->file->length(); at += kBlockSize) {
        Bytes out(kBlockSize);
        const auto n = (*handle)->file->Read(at, out);
        if (!n.ok()) continue;
        bool known = false;
        for (const std::string& text : texts_[path])
          known |= at < text.size() &&
                   text.substr(at, *n) == AsText(ByteView(out).first(*n));
        EXPECT_TRUE(known) << path << " parts " << parts << " at " << at;
      }
      vault->Close(*handle);
    }
    StoreCopy::RestoreBytes(copy_->At(backing));
  }
  ExpectWhole();
}

TEST_F(HostileStoreTest, ManyChangesAtOnce) {
  for (size_t seed = 0; seed < kSeeds; ++seed) {
    std::mt19937 random(static_cast<uint32_t>(seed));
    const auto pick = [&](size_t n) { return random() % n; };
    const auto any = [&]() -> const StoreCopy::Object& {
      return copy_->objects()[pick(copy_->objects().size())];
    };
    for (size_t changes = 1 + pick(4); changes > 0; --changes) {
      const StoreCopy::Object &a = any(), &b = any();
      std::error_code ignored;
      switch (pick(5)) {
        case 0:
          ::renameat2(AT_FDCWD, a.path.c_str(), AT_FDCWD, b.path.c_str(),
                      RENAME_EXCHANGE);
          break;
        case 1:
          fs::rename(a.path, b.path, ignored);
          break;
        case 2:
          fs::copy_file(a.path, b.path, fs::copy_options::overwrite_existing, ignored);
          break;
        case 3:
          for (const auto& [name, value] : a.attributes)
            ::setxattr(b.path.c_str(), name.c_str(), value.data(), value.size(), 0);
          break;
        default:
          fs::create_hard_link(a.path, b.path + "x", ignored);
          fs::rename(b.path + "x", b.path, ignored);
      }
    }
    Look("seed " + std::to_string(seed));
    if (HasFailure()) return;
    for (const auto& [name, value] : copy_->objects()[0].attributes)
      ::setxattr(options_.tree_path.c_str(), name.c_str(), value.data(), value.size(),
                 0);
    copy_->Restore();
  }
  ExpectWhole();
}

}  // namespace
}  // namespace keyfold
