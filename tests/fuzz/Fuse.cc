// Fuse: requests of whatever names, sizes, offsets, flags, modes, attributes and ioctls
// never end the process that serves files, each is answered once, and what they leave
// is a store without damage. Nodes and handles are genuine, and sizes are those that
// the kernel lets through: it is the other side that is hostile, a program on the
// mount.
//
// An input is lines: an operation and its words. N is a node, by its number among those
// that were looked up (0 is the root), H a handle, D a handle of a folder; any number
// leads to some. A name ends with the word.
#include <linux/falloc.h>
#include <signal.h>
#include <sys/resource.h>

#include "fs/fuse/Reencryption.h"
#include "fs/vault/Checker.h"
#include "tests/fuzz/Input.h"
#include "tests/unit/TempFolder.h"
#include "tests/unit/fs_fuse/Kernel.h"
#include "tests/unit/fs_vault/TestKeys.h"

using namespace keyfold;

namespace {

constexpr size_t kMostLines = 200;
constexpr uint64_t kLargestFile = 16 << 20;  // of the backing store
constexpr uint32_t kMostRead = 1 << 20, kMostListed = 1 << 17, kMostXattr = 1 << 16;

// Words are what is left of a line.
class Words {
 public:
  explicit Words(std::string_view line) : left_(line) {}
  std::string_view Next() {
    const size_t end = left_.find(' ');
    const std::string_view word = left_.substr(0, end);
    left_.remove_prefix(end == std::string_view::npos ? left_.size() : end + 1);
    return word.substr(0, word.find('\0'));
  }
  std::string_view Rest() { return std::exchange(left_, {}); }
  // Number reads C's numbers, of any size.
  uint64_t Number() { return std::strtoull(std::string(Next()).c_str(), nullptr, 0); }
  uint32_t Small() { return static_cast<uint32_t>(Number()); }
  // Offset is one that the kernel has checked to lie in a file.
  uint64_t Offset() { return Number() & (INT64_MAX >> 1); }

 private:
  std::string_view left_;
};

struct OpenFile {
  uint64_t node, handle;
};

class Mount {
 public:
  Mount() {
    Promise(Vault::CreateTree(options_, metadata_, TestKeys::kKeyOne).ok(), "a tree");
    vault_ = Vault::Open(options_, metadata_, keys_).value();
    kernel_ = std::make_unique<Kernel>(*vault_);
  }
  ~Mount() {
    while (!files_.empty()) Close(files_, FUSE_RELEASE, 0);
    while (!folders_.empty()) Close(folders_, FUSE_RELEASEDIR, 0);
    kernel_.reset();
    vault_->SettleAll();
    vault_.reset();
    Check();
  }
  Mount(const Mount&) = delete;
  Mount& operator=(const Mount&) = delete;

  void Do(std::string_view line);

 private:
  using Action = void (Mount::*)(Words&);
  static const std::pair<std::string_view, Action> kOperations[];

  uint64_t Node(Words& words) { return nodes_[words.Number() % nodes_.size()].first; }
  Kernel::Answer Ask(uint32_t opcode, uint64_t node, const Message& message = {}) {
    return kernel_->Ask(opcode, node, message);
  }
  // Entry is for requests that look something up.
  Kernel::Answer Entry(uint32_t opcode, uint64_t node, const Message& message) {
    auto answer = Ask(opcode, node, message);
    if (answer.ok()) Known(answer.As<fuse_entry_out>().nodeid);
    return answer;
  }
  void Known(uint64_t node) {
    if (node == 0) return;  // there is none of that name
    for (auto& [known, lookups] : nodes_)
      if (known == node) {
        ++lookups;
        return;
      }
    nodes_.emplace_back(node, 1);
  }

  void Lookup(Words& w) {
    const uint64_t node = Node(w);
    Entry(FUSE_LOOKUP, node, Message().Name(w.Next()));
  }
  void Forget(Words& w) {
    const auto at = nodes_.begin() + static_cast<long>(w.Number() % nodes_.size());
    const uint64_t count = std::min(w.Number(), at->second);
    if (at->first == FUSE_ROOT_ID || IsOpen(at->first)) return;
    kernel_->Tell(FUSE_FORGET, at->first, Message(fuse_forget_in{count}));
    at->second -= count;
    if (at->second == 0) nodes_.erase(at);
  }
  bool IsOpen(uint64_t node) const {
    for (const auto* open : {&files_, &folders_})
      for (const OpenFile& one : *open)
        if (one.node == node) return true;
    return false;
  }
  void GetAttr(Words& w) { Ask(FUSE_GETATTR, Node(w), Message(fuse_getattr_in{})); }
  void SetAttr(Words& w) {
    const uint64_t node = Node(w);
    fuse_setattr_in set{};
    set.valid = w.Small() & ~FATTR_FH;
    set.size = w.Offset();
    set.mode = w.Small();
    set.uid = w.Small();
    set.gid = w.Small();
    set.atime = w.Number();
    set.mtime = w.Number();
    set.atimensec = set.mtimensec = w.Small() % 1000000000;
    if ((set.valid & FATTR_SIZE) != 0 && !files_.empty() && w.Number() % 2 == 1) {
      const OpenFile& file = files_[w.Number() % files_.size()];
      set.valid |= FATTR_FH;
      set.fh = file.handle;
      Ask(FUSE_SETATTR, file.node, Message(set));
      return;
    }
    Ask(FUSE_SETATTR, node, Message(set));
  }
  void ReadLink(Words& w) { Ask(FUSE_READLINK, Node(w)); }
  void Symlink(Words& w) {
    const uint64_t node = Node(w);
    const std::string_view name = w.Next();
    Entry(FUSE_SYMLINK, node, Message().Name(name).Name(w.Next()));
  }
  void MkNod(Words& w) {
    const uint64_t node = Node(w);
    const std::string_view name = w.Next();
    fuse_mknod_in made{};
    made.mode = w.Small();
    made.rdev = w.Small();
    made.umask = w.Small();
    Entry(FUSE_MKNOD, node, Message(made).Name(name));
  }
  void MkDir(Words& w) {
    const uint64_t node = Node(w);
    const std::string_view name = w.Next();
    const uint32_t mode = w.Small();
    Entry(FUSE_MKDIR, node, Message(fuse_mkdir_in{mode, w.Small()}).Name(name));
  }
  void Unlink(Words& w) {
    const uint64_t node = Node(w);
    Ask(FUSE_UNLINK, node, Message().Name(w.Next()));
  }
  void RmDir(Words& w) {
    const uint64_t node = Node(w);
    Ask(FUSE_RMDIR, node, Message().Name(w.Next()));
  }
  void Rename(Words& w) {
    const uint64_t from = Node(w);
    const std::string_view name = w.Next();
    fuse_rename2_in rename{};
    rename.newdir = Node(w);
    const std::string_view new_name = w.Next();
    rename.flags = w.Small();
    Ask(FUSE_RENAME2, from, Message(rename).Name(name).Name(new_name));
  }
  void Link(Words& w) {
    const uint64_t node = Node(w), folder = Node(w);
    Entry(FUSE_LINK, folder, Message(fuse_link_in{node}).Name(w.Next()));
  }
  void Open(Words& w) {
    const uint64_t node = Node(w);
    fuse_open_in open{};
    open.flags = w.Small();
    const auto answer = Ask(FUSE_OPEN, node, Message(open));
    if (answer.ok()) files_.push_back({node, answer.As<fuse_open_out>().fh});
  }
  void Create(Words& w) {
    const uint64_t node = Node(w);
    const std::string_view name = w.Next();
    fuse_create_in create{};
    create.mode = w.Small();
    create.flags = w.Small();
    create.umask = w.Small();
    const auto made = Entry(FUSE_CREATE, node, Message(create).Name(name));
    if (!made.ok()) return;
    struct Made {
      fuse_entry_out entry;
      fuse_open_out open;
    };
    const auto both = made.As<Made>();
    files_.push_back({both.entry.nodeid, both.open.fh});
  }
  // With runs `action` with an open file, if there is one.
  template <typename Action>
  void With(std::vector<OpenFile>& open, Words& w, Action&& action) {
    const uint64_t number = w.Number();
    if (!open.empty()) action(open[number % open.size()]);
  }
  void Read(Words& w) {
    With(files_, w, [&](const OpenFile& file) {
      fuse_read_in read{};
      read.fh = file.handle;
      read.offset = w.Offset();
      read.size = w.Small() % (kMostRead + 1);
      const auto answer = Ask(FUSE_READ, file.node, Message(read));
      Promise(answer.body.size() <= read.size, "no more is read than was asked for");
    });
  }
  void Write(Words& w) {
    With(files_, w, [&](const OpenFile& file) {
      fuse_write_in write{};
      write.fh = file.handle;
      write.offset = w.Offset();
      write.size = w.Small() % (kMostRead + 1);
      write.write_flags = w.Small();
      const Bytes data(write.size, 'w');
      Ask(FUSE_WRITE, file.node, Message(write).Raw(data));
    });
  }
  void Close(std::vector<OpenFile>& open, uint32_t opcode, uint64_t number) {
    if (open.empty()) return;
    const auto at = open.begin() + static_cast<long>(number % open.size());
    fuse_release_in release{};
    release.fh = at->handle;
    const uint64_t node = at->node;
    open.erase(at);
    Promise(Ask(opcode, node, Message(release)).ok(), "what is open can be closed");
  }
  void Release(Words& w) { Close(files_, FUSE_RELEASE, w.Number()); }
  void ReleaseDir(Words& w) { Close(folders_, FUSE_RELEASEDIR, w.Number()); }
  void Sync(Words& w) {
    With(files_, w, [&](const OpenFile& file) {
      Ask(FUSE_FSYNC, file.node, Message(fuse_fsync_in{file.handle, w.Small(), 0}));
    });
  }
  void SyncDir(Words& w) {
    With(folders_, w, [&](const OpenFile& folder) {
      Ask(FUSE_FSYNCDIR, folder.node,
          Message(fuse_fsync_in{folder.handle, w.Small(), 0}));
    });
  }
  void StatFs(Words& w) { Ask(FUSE_STATFS, Node(w)); }
  void GetXattr(Words& w) {
    const uint64_t node = Node(w);
    const std::string_view name = w.Next();
    Ask(FUSE_GETXATTR, node,
        Message(fuse_getxattr_in{w.Small() % (kMostXattr + 1), 0}).Name(name));
  }
  void SetXattr(Words& w) {
    const uint64_t node = Node(w);
    const std::string_view name = w.Next();
    const uint32_t flags = w.Small();
    const std::string_view value = w.Rest();
    const uint32_t head[2] = {static_cast<uint32_t>(value.size()), flags};
    Ask(FUSE_SETXATTR, node, Message(head).Name(name).Raw(AsBytes(value)));
  }
  void ListXattr(Words& w) {
    const uint64_t node = Node(w);
    Ask(FUSE_LISTXATTR, node,
        Message(fuse_getxattr_in{w.Small() % (kMostXattr + 1), 0}));
  }
  void RemoveXattr(Words& w) {
    const uint64_t node = Node(w);
    Ask(FUSE_REMOVEXATTR, node, Message().Name(w.Next()));
  }
  void OpenDir(Words& w) {
    const uint64_t node = Node(w);
    fuse_open_in open{};
    open.flags = w.Small();
    const auto answer = Ask(FUSE_OPENDIR, node, Message(open));
    if (answer.ok()) folders_.push_back({node, answer.As<fuse_open_out>().fh});
  }
  void List(Words& w, uint32_t opcode) {
    With(folders_, w, [&](const OpenFile& folder) {
      fuse_read_in read{};
      read.fh = folder.handle;
      read.offset = w.Number();
      read.size = w.Small() % (kMostListed + 1);
      const auto answer = Ask(opcode, folder.node, Message(read));
      Promise(answer.body.size() <= read.size, "no more is listed than was asked for");
      if (answer.ok() && opcode == FUSE_READDIRPLUS) KnowListed(answer.body);
    });
  }
  void KnowListed(const Bytes& body) {
    for (size_t at = 0; at + sizeof(fuse_direntplus) <= body.size();) {
      fuse_direntplus entry;
      std::memcpy(&entry, body.data() + at, sizeof entry);
      Known(entry.entry_out.nodeid);
      at += FUSE_DIRENT_ALIGN(sizeof entry + entry.dirent.namelen);
    }
  }
  void ReadDir(Words& w) { List(w, FUSE_READDIR); }
  void ReadDirPlus(Words& w) { List(w, FUSE_READDIRPLUS); }
  void Ioctl(Words& w) {
    With(files_, w, [&](const OpenFile& file) {
      fuse_ioctl_in ioctl{};
      ioctl.fh = file.handle;
      ioctl.cmd = w.Small();
      ioctl.flags = w.Small();
      ioctl.out_size = w.Small();
      // Four numbers for the one that there is.
      Message arguments;
      for (std::string_view word = w.Next(); !word.empty(); word = w.Next())
        arguments.Add(uint64_t{std::strtoull(std::string(word).c_str(), nullptr, 0)});
      ioctl.in_size = static_cast<uint32_t>(arguments.bytes().size());
      Ask(FUSE_IOCTL, file.node, Message(ioctl).Raw(arguments.bytes()));
    });
  }
  void Fallocate(Words& w) {
    With(files_, w, [&](const OpenFile& file) {
      fuse_fallocate_in fallocate{};
      fallocate.fh = file.handle;
      fallocate.mode = w.Small();
      fallocate.offset = w.Offset();
      fallocate.length = w.Offset() + 1;
      Ask(FUSE_FALLOCATE, file.node, Message(fallocate));
    });
  }
  void Seek(Words& w) {
    With(files_, w, [&](const OpenFile& file) {
      const uint64_t offset = w.Number();  // the kernel does not look at it
      Ask(FUSE_LSEEK, file.node,
          Message(fuse_lseek_in{file.handle, offset, w.Small(), 0}));
    });
  }
  void Copy(Words& w) {
    With(files_, w, [&](const OpenFile& in) {
      const uint64_t from = w.Offset();
      With(files_, w, [&](const OpenFile& out) {
        fuse_copy_file_range_in copy{};
        copy.fh_in = in.handle;
        copy.off_in = from;
        copy.nodeid_out = out.node;
        copy.fh_out = out.handle;
        copy.off_out = w.Offset();
        copy.len = w.Number();
        copy.flags = w.Number();
        Ask(FUSE_COPY_FILE_RANGE, in.node, Message(copy));
      });
    });
  }
  // Revoke takes everybody's right away, and gives it back.
  void Revoke(Words&) {
    keys_.denied_key = TestKeys::kKeyOne;
    ++keys_.generation;
    vault_->Revoke(kernel_->fs());
    keys_.denied_key.clear();
    ++keys_.generation;
  }
  void Flush(Words&) { vault_->FlushAll(); }
  void Check() {
    TestKeys::Check check(keys_);
    Quarantine quarantine(base_.path(), "now");
    CheckOptions options;
    options.vault = options_;
    options.found = [](const Finding& finding) {
      const bool whole = TraitsOf(finding.kind).gravity == Gravity::kLeftover;
      if (!whole)
        fprintf(stderr, "%s: %s\n", finding.path.c_str(), finding.why.c_str());
      Promise(whole, "requests leave no damage");
    };
    Checker checker(options, metadata_, check, Checkpoints::OpenToCheck(keys_).value(),
                    quarantine);
    Promise(checker.Run().ok(), "a store is checked");
  }

  const TempFolder base_{QuickParent()};
  const VaultOptions options_{base_ / "tree", "33333333-3333-4333-8333-333333333333"};
  const MetadataKey metadata_{RandomSecret(kKeySize)};
  TestKeys keys_;
  std::unique_ptr<Vault> vault_;
  std::unique_ptr<Kernel> kernel_;
  std::vector<std::pair<uint64_t, uint64_t>> nodes_ = {{FUSE_ROOT_ID, 1}};  // lookups
  std::vector<OpenFile> files_, folders_;
};

const std::pair<std::string_view, Mount::Action> Mount::kOperations[] = {
    {"lookup", &Mount::Lookup},
    {"forget", &Mount::Forget},
    {"getattr", &Mount::GetAttr},
    {"setattr", &Mount::SetAttr},
    {"readlink", &Mount::ReadLink},
    {"symlink", &Mount::Symlink},
    {"mknod", &Mount::MkNod},
    {"mkdir", &Mount::MkDir},
    {"unlink", &Mount::Unlink},
    {"rmdir", &Mount::RmDir},
    {"rename", &Mount::Rename},
    {"link", &Mount::Link},
    {"open", &Mount::Open},
    {"create", &Mount::Create},
    {"read", &Mount::Read},
    {"write", &Mount::Write},
    {"release", &Mount::Release},
    {"fsync", &Mount::Sync},
    {"statfs", &Mount::StatFs},
    {"getxattr", &Mount::GetXattr},
    {"setxattr", &Mount::SetXattr},
    {"listxattr", &Mount::ListXattr},
    {"removexattr", &Mount::RemoveXattr},
    {"opendir", &Mount::OpenDir},
    {"readdir", &Mount::ReadDir},
    {"readdirplus", &Mount::ReadDirPlus},
    {"releasedir", &Mount::ReleaseDir},
    {"fsyncdir", &Mount::SyncDir},
    {"ioctl", &Mount::Ioctl},
    {"fallocate", &Mount::Fallocate},
    {"lseek", &Mount::Seek},
    {"copy", &Mount::Copy},
    {"revoke", &Mount::Revoke},
    {"flush", &Mount::Flush},
};

void Mount::Do(std::string_view line) {
  Words words(line);
  const std::string_view operation = words.Next();
  for (const auto& [name, action] : kOperations)
    if (name == operation) (this->*action)(words);
  const std::string broken = kernel_->Broken();
  Promise(broken.empty(), broken.c_str());
}

// A file may not fill the disk.
bool Limit() {
  ::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{kLargestFile, kLargestFile};
  return ::setrlimit(RLIMIT_FSIZE, &limit) == 0;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const bool limited = Limit();
  Promise(limited, "files are limited");
  std::string_view text(reinterpret_cast<const char*>(data), size);
  Mount mount;
  for (size_t lines = 0; lines < kMostLines && !text.empty(); ++lines)
    mount.Do(TakeLine(text));
  return 0;
}
