// When any one system call of an operation on names fails, is the tree as it was before
// or as it is after, for who goes on and after a new mount, and has a check nothing to
// say but of leftovers?
#include <errno.h>
#include <gtest/gtest.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/stat.h>

#include <map>

#include "StoreCopy.h"
#include "TestKeys.h"
#include "fs/vault/Checker.h"
#include "tests/unit/FailingCalls.h"
#include "tests/unit/TempFolder.h"

namespace keyfold {
namespace {

const std::string kLong(200, 'l'), kOtherLong(200, 'm');

class NameFaults {
 public:
  // Each name of the tree, and what is under it; an error where that cannot be told.
  using Tree = std::map<std::string, std::string>;

  NameFaults() {
    EXPECT_TRUE(Vault::CreateTree(options_, metadata_, TestKeys::kKeyOne).ok());
    Mount();
    for (const std::string& name : {std::string("folder"), std::string("empty"),
                                    std::string("leftovers"), kLong + "folder"})
      EXPECT_TRUE(vault_->MakeFolder(At(name), 0755, user_).ok());
    for (const std::string& name :
         {std::string("file"), std::string("other"), std::string("one"),
          std::string("folder/inside"), kLong, kOtherLong})
      MakeFile(name);
    for (const std::string name : {"link", "other-link"})
      EXPECT_TRUE(vault_->MakeSymlink(At(name), name + " target", user_).ok());
    EXPECT_TRUE(Run(Link("one", "again")).ok());
    EXPECT_TRUE(Run(SetXattr("file", "of the file")).ok());
    // What a daemon that was killed left.
    const auto leftovers = OpenFolder(At("leftovers")).value();
    EXPECT_TRUE(OpenAt(leftovers->fd(), std::string(kTemporaryPrefix) + "1",
                       O_WRONLY | O_CREAT, 0600)
                    .ok());
    vault_.reset();
    copy_.emplace(options_.tree_path);
  }

  // Operation finds what it needs, and returns what is to be done.
  using Action = std::function<Status()>;
  using Operation = std::function<Action(NameFaults&)>;

  static Operation MakeFolder(const std::string& name) {
    return [=](NameFaults& t) -> Action {
      return [&t, to = t.At(name)] { return t.vault_->MakeFolder(to, 0755, t.user_); };
    };
  }
  static Operation Create(const std::string& name) {
    return [=](NameFaults& t) -> Action {
      return [&t, to = t.At(name)]() -> Status {
        KF_ASSIGN_OR_RETURN(const auto made, t.vault_->Create(to, 0644, t.user_, "/"));
        t.vault_->Close(made.handle);
        return OkStatus();
      };
    };
  }
  static Operation MakeNode(const std::string& name) {
    return [=](NameFaults& t) -> Action {
      return [&t, to = t.At(name)] {
        return t.vault_->MakeNode(to, S_IFIFO | 0644, 0, t.user_);
      };
    };
  }
  static Operation MakeSymlink(const std::string& name) {
    return [=](NameFaults& t) -> Action {
      return [&t, to = t.At(name)] { return t.vault_->MakeSymlink(to, "x", t.user_); };
    };
  }
  static Operation Link(const std::string& name, const std::string& new_name) {
    return [=](NameFaults& t) -> Action {
      return [&t, at = t.Hold(name), to = t.At(new_name)] {
        return t.vault_->Link(at->place, at->fd.get(), to, t.user_);
      };
    };
  }
  static Operation Unlink(const std::string& name) {
    return [=](NameFaults& t) -> Action {
      return [&t, at = t.At(name)] { return t.vault_->Unlink(at, [](ino_t) {}); };
    };
  }
  static Operation RemoveFolder(const std::string& name) {
    return [=](NameFaults& t) -> Action {
      return [&t, at = t.At(name)] { return t.vault_->RemoveFolder(at); };
    };
  }
  static Operation Rename(const std::string& name, const std::string& new_name,
                          unsigned flags = 0) {
    return [=](NameFaults& t) -> Action {
      return [&t, flags, from = t.At(name), to = t.At(new_name)] {
        return t.vault_->Rename(from, to, flags, [](Vault::Moved&) {});
      };
    };
  }
  static Operation Exchange(const std::string& name, const std::string& other) {
    return Rename(name, other, RENAME_EXCHANGE);
  }
  static Operation SetXattr(const std::string& name, const std::string& value) {
    return [=](NameFaults& t) -> Action {
      return [&t, value, at = t.Hold(name)] {
        return t.vault_->SetUserXattr(at->fd.get(), "mark", AsBytes(value), 0);
      };
    };
  }
  static Operation RemoveXattr(const std::string& name) {
    return [=](NameFaults& t) -> Action {
      return [&t, at = t.Hold(name)] {
        return t.vault_->RemoveUserXattr(at->fd.get(), "mark");
      };
    };
  }
  static Operation SetFileKey(const std::string& name) {
    return [=](NameFaults& t) -> Action {
      return [&t, at = t.Hold(name)] {
        return t.vault_->SetFileKey(at->place, at->fd.get(), TestKeys::kKeyTwo,
                                    t.user_.caller, "/");
      };
    };
  }
  static Operation SetFolderKey(const std::string& name) {
    return [=](NameFaults& t) -> Action {
      t.held_ = t.OpenFolder(t.At(name)).value();
      return [&t, at = t.At(name)] {
        return t.vault_->SetFolderKey(at, *t.held_, TestKeys::kKeyTwo, t.user_.caller,
                                      "/");
      };
    };
  }

  void Mount() {
    held_.reset();
    vault_.reset();
    vault_ = Vault::Open(options_, metadata_, keys_).value();
  }
  void Restore() {
    held_.reset();
    vault_.reset();
    copy_->Restore();
    Mount();
  }
  Status Run(const Operation& operation) { return operation(*this)(); }
  // RunWith lets call `call` of the operation fail, and tells whether there was one.
  Status RunWith(const Operation& operation, uint64_t call, int error, bool* reached) {
    const Action action = operation(*this);
    FailingCalls::Arm({call, error});
    Status status = action();
    *reached = FailingCalls::Disarm() >= call;
    return status;
  }
  Tree Look() {
    Tree tree;
    Walk(vault_->root(), "", &tree);
    if (held_) tree["/folder"] = TellFolder(*held_);
    return tree;
  }
  // Check is the first damage that a check of the store finds; empty when there is
  // none.
  std::string Check() {
    held_.reset();
    vault_.reset();
    std::string damage;
    TestKeys::Check check(keys_);
    Quarantine quarantine(base_.path(), "now");
    CheckOptions options;
    options.vault = options_;
    options.found = [&](const Finding& finding) {
      if (TraitsOf(finding.kind).gravity != Gravity::kLeftover && damage.empty())
        damage = finding.path + ": " + finding.why;
    };
    Checker checker(options, metadata_, check, Checkpoints::OpenToCheck(keys_).value(),
                    quarantine);
    const Status run = checker.Run();
    return run.ok() ? damage : run.ToString();
  }

 private:
  struct Held {
    Place place;
    UniqueFd fd;
  };
  std::shared_ptr<Held> Hold(const std::string& name) {
    struct stat st;
    const Place place = At(name);
    return std::make_shared<Held>(Held{place, vault_->Find(place, &st).value()});
  }
  Place At(const std::string& path) {
    const size_t slash = path.find('/');
    if (slash == std::string::npos) return {vault_->root(), path};
    return {OpenFolder({vault_->root(), path.substr(0, slash)}).value(),
            path.substr(slash + 1)};
  }
  Result<std::shared_ptr<Folder>> OpenFolder(const Place& place) {
    struct stat st;
    KF_ASSIGN_OR_RETURN(const UniqueFd fd, vault_->Find(place, &st));
    return vault_->OpenFolder(place, fd.get());
  }
  void MakeFile(const std::string& path) {
    auto made = vault_->Create(At(path), 0644, user_, "/" + path);
    ASSERT_TRUE(made.ok()) << made.status().ToString();
    ASSERT_TRUE(made->handle->file->Write(0, AsBytes("text of " + path)).ok());
    vault_->Close(made->handle);
  }
  std::string TellFolder(const Folder& folder) {
    return "folder under " + folder.key_id() + MarkOf(folder.fd());
  }
  std::string MarkOf(int fd) {
    const auto mark = vault_->GetUserXattr(fd, "mark");
    return mark.ok() ? ", mark " + std::string(AsText(*mark)) : "";
  }
  void Walk(const std::shared_ptr<Folder>& folder, const std::string& path,
            Tree* tree) {
    DIR* dir =
        ::fdopendir(::openat(folder->fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ASSERT_NE(dir, nullptr);
    std::vector<std::string> names;
    EXPECT_TRUE(vault_
                    ->List(*folder, dir, 0,
                           [&](const std::string& name, const dirent&) {
                             if (name != "." && name != "..") names.push_back(name);
                             return true;
                           })
                    .ok());
    ::closedir(dir);
    for (const std::string& name : names) {
      auto told = Tell({folder, name}, path + "/" + name, tree);
      (*tree)[path + "/" + name] = told.ok() ? *told : told.status().ToString();
    }
  }
  Result<std::string> Tell(const Place& place, const std::string& path, Tree* tree) {
    struct stat st;
    KF_ASSIGN_OR_RETURN(const UniqueFd fd, vault_->Find(place, &st));
    if (S_ISLNK(st.st_mode)) {
      KF_ASSIGN_OR_RETURN(const std::string target,
                          vault_->ReadSymlink(place, fd.get()));
      return "leads to " + target;
    }
    if (S_ISDIR(st.st_mode)) {
      KF_ASSIGN_OR_RETURN(const auto folder, vault_->OpenFolder(place, fd.get()));
      Walk(folder, path, tree);
      return TellFolder(*folder);
    }
    if (!S_ISREG(st.st_mode)) return std::string("node");
    KF_ASSIGN_OR_RETURN(const auto handle,
                        vault_->OpenFile(place, fd.get(), {}, KeyUse::kRead, path));
    const Closing closing(*vault_, handle);
    Bytes text(100);
    KF_ASSIGN_OR_RETURN(const size_t n, handle->file->Read(0, text));
    return std::string(AsText(ByteView(text).first(n))) + " under " +
           handle->file->header().key_id + MarkOf(fd.get());
  }

  const TempFolder base_{QuickParent()};
  const VaultOptions options_{base_ / "tree", "33333333-3333-4333-8333-333333333333"};
  const MetadataKey metadata_{RandomSecret(kKeySize)};
  TestKeys keys_;
  User user_;
  std::unique_ptr<Vault> vault_;
  std::shared_ptr<Folder> held_;  // /folder, as a mount holds it
  std::optional<StoreCopy> copy_;
};

struct Case {
  const char* name;
  NameFaults::Operation operation;
};

using T = NameFaults;
const Case kCases[] = {
    {"MakeFolder", T::MakeFolder("new")},
    {"MakeFolderLong", T::MakeFolder(kLong + "new")},
    {"Create", T::Create("new")},
    {"CreateInFolder", T::Create("folder/new")},
    {"CreateLong", T::Create(kLong + "new")},
    {"MakeNode", T::MakeNode("new")},
    {"MakeNodeLong", T::MakeNode(kLong + "new")},
    {"MakeSymlink", T::MakeSymlink("new")},
    {"MakeSymlinkLong", T::MakeSymlink(kLong + "new")},
    {"Link", T::Link("file", "new")},
    {"LinkIntoFolder", T::Link("file", "folder/new")},
    {"LinkLong", T::Link("file", kLong + "new")},
    {"LinkOfSymlink", T::Link("link", "new")},
    {"Unlink", T::Unlink("file")},
    {"UnlinkLong", T::Unlink(kLong)},
    {"UnlinkOneOfTwo", T::Unlink("one")},
    {"UnlinkSymlink", T::Unlink("link")},
    {"RemoveFolder", T::RemoveFolder("empty")},
    {"RemoveFolderLong", T::RemoveFolder(kLong + "folder")},
    {"RemoveFolderWithLeftovers", T::RemoveFolder("leftovers")},
    {"Rename", T::Rename("file", "new")},
    {"RenameOver", T::Rename("file", "other")},
    {"RenameIntoFolder", T::Rename("file", "folder/new")},
    {"RenameOutOfFolder", T::Rename("folder/inside", "other")},
    {"RenameToLong", T::Rename("file", kLong + "new")},
    {"RenameOverLong", T::Rename("file", kLong)},
    {"RenameOfLong", T::Rename(kLong, "new")},
    {"RenameLongOverLong", T::Rename(kLong, kOtherLong)},
    {"RenameOneOfTwo", T::Rename("one", "new")},
    {"RenameOverOneOfTwo", T::Rename("file", "one")},
    {"RenameFolder", T::Rename("folder", "new")},
    {"RenameFolderOver", T::Rename("folder", "empty")},
    {"RenameFolderOverLeftovers", T::Rename("folder", "leftovers")},
    {"RenameSymlink", T::Rename("link", "new")},
    {"RenameSymlinkIntoFolder", T::Rename("link", "folder/new")},
    {"RenameSymlinkToLong", T::Rename("link", kLong + "new")},
    {"RenameSymlinkOverSymlink", T::Rename("link", "other-link")},
    {"RenameSymlinkOverFile", T::Rename("link", "file")},
    {"RenameSymlinkOverOneOfTwo", T::Rename("link", "one")},
    {"RenameOverSymlink", T::Rename("file", "link")},
    {"Exchange", T::Exchange("file", "other")},
    {"ExchangeWithFolder", T::Exchange("file", "folder")},
    {"ExchangeAcrossFolders", T::Exchange("file", "folder/inside")},
    {"ExchangeLong", T::Exchange("file", kLong)},
    {"ExchangeSymlinks", T::Exchange("link", "other-link")},
    {"ExchangeWithSymlink", T::Exchange("file", "link")},
    {"ExchangeSymlinkWith", T::Exchange("link", "folder/inside")},
    {"SetXattr", T::SetXattr("other", "fresh")},
    {"SetXattrAnew", T::SetXattr("file", "another")},
    {"SetXattrOfFolder", T::SetXattr("folder", "fresh")},
    {"RemoveXattr", T::RemoveXattr("file")},
    {"SetFileKey", T::SetFileKey("file")},
    {"SetFolderKey", T::SetFolderKey("folder")},
};

class NameFaultTest : public testing::TestWithParam<Case> {
 protected:
  static void SetUpTestSuite() { tree_ = std::make_unique<NameFaults>(); }
  static void TearDownTestSuite() { tree_.reset(); }
  static inline std::unique_ptr<NameFaults> tree_;
};

TEST_P(NameFaultTest, LeavesTheFormerOrTheNewTree) {
  const auto& operation = GetParam().operation;
  tree_->Restore();
  const T::Tree before = tree_->Look();
  ASSERT_TRUE(tree_->Run(operation).ok());
  tree_->Mount();
  const T::Tree after = tree_->Look();
  ASSERT_NE(before, after);
  bool failed = false;
  for (const int error : {EIO, ENOSPC}) {
    bool reached = true;
    for (uint64_t call = 1; reached; ++call) {
      SCOPED_TRACE("call " + std::to_string(call) + ", errno " + std::to_string(error));
      tree_->Restore();
      const Status status = tree_->RunWith(operation, call, error, &reached);
      failed |= !status.ok();
      const T::Tree now = tree_->Look();
      tree_->Mount();
      const T::Tree then = tree_->Look();
      EXPECT_EQ(now, then) << "who goes on sees something else than who comes";
      EXPECT_TRUE(then == after || (then == before && !status.ok()))
          << status.ToString() << ": " << testing::PrintToString(then);
      EXPECT_EQ(tree_->Check(), "");
      if (HasFailure()) return;
    }
  }
  EXPECT_TRUE(failed);
}

INSTANTIATE_TEST_SUITE_P(Operations, NameFaultTest, testing::ValuesIn(kCases),
                         [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace keyfold
