// Request: one FUSE request and what every operation needs to serve it.
//
// Owns: nothing; libfuse's request is answered exactly once by Fail, Reply or a
// fuse_reply function. Must not know: keys, formats. Used by one thread.
#pragma once

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>
#include <spdlog/spdlog.h>
#include <string.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "fs/fuse/Errands.h"
#include "fs/fuse/FuseMount.h"
#include "fs/fuse/InodeTable.h"
#include "fs/fuse/Troubles.h"
#include "fs/vault/Errno.h"
#include "fs/vault/Vault.h"

namespace keyfold {

// The store is this daemon's alone, so what the kernel caches stays true until
// a request or a notification changes it.
inline constexpr double kCacheSeconds = 60.0;

struct FuseMount::Impl final : PageCache {
  Vault& vault;
  InodeTable inodes;
  MountOptions options;
  fuse_session* session = nullptr;
  bool mounted = false;
  Troubles troubles;
  bool count_reads = true;  // as accesses; not on a mount with noatime
  const std::shared_ptr<DescriptorBudget> budget;  // of the inodes' anchors

  // Make is one whose session nothing is mounted for yet; inodes hold up to
  // `descriptors`. kUsage for an unknown option.
  static Result<std::unique_ptr<Impl>> Make(Vault& vault, const MountOptions& options,
                                            size_t descriptors);
  ~Impl();
  Impl(Vault& v, InodeRef root, std::shared_ptr<DescriptorBudget> b, MountOptions o)
      : vault(v),
        inodes(std::move(root)),
        options(std::move(o)),
        budget(std::move(b)) {}

  std::shared_ptr<const Anchor> AnchorOf(UniqueFd fd) {
    return Anchor::Of(budget, std::move(fd));
  }

  // The keeper is a thread that serves no request: it revokes, which waits for
  // write-back, and runs what had to wait for that.
  void Keep();
  // Changed makes the keeper re-examine the open files.
  void Changed();
  // Postpone lets the keeper run `request` once no revocation is under way.
  void Postpone(std::function<void()> request);
  void StopKeeper();
  std::thread keeper;
  // What waits for write-back of one file, and must not keep the keeper; and what
  // waits for the disk.
  Errands flusher, settler;

 private:
  template <typename Action>
  bool HasMemoryFor(Action&& action);
  void Detach(ino_t ino) override;
  void Drop(ino_t ino) override;
  void DropAll() override;
  void WriteBack();

  std::atomic<bool> writing_back_{false};
  std::chrono::steady_clock::time_point checkpoint_at_{};  // the settler's
  std::mutex mutex_;                                       // guards what follows
  std::condition_variable wake_;
  bool changed_ = false;
  bool stopping_ = false;
  std::vector<std::function<void()>> postponed_;
  std::map<ino_t, InodeRef> detached_;  // between Detach and Drop
};

class Request {
 public:
  explicit Request(fuse_req_t req)
      : req_(req), fs_(*static_cast<FuseMount::Impl*>(fuse_req_userdata(req))) {}

  FuseMount::Impl& fs() { return fs_; }
  Vault& vault() { return fs_.vault; }
  InodeTable& inodes() { return fs_.inodes; }
  fuse_req_t get() { return req_; }
  InodeRef Inode(fuse_ino_t node) { return inodes().Get(node); }

  Caller caller() const;
  User user() const;

  void Fail(int error) { fuse_reply_err(req_, error); }
  void Reply(const Status& status) {
    fs_.troubles.Tell(status.sys_errno(), status.message());
    fuse_reply_err(req_, ErrnoOf(status));
  }
  // Refuse answers with a failure and records it if something is not what
  // Keyfold wrote: in `inode`, or in its entry `child`.
  void Refuse(const Status& status, const char* event, const InodeRef& inode,
              const char* child = nullptr);
  void RecordDamage(const Status& status, const Caller& caller,
                    const std::string& key_id, const FileEvent& event);

  // Lookup finds `name` in `parent` and fills `entry`; the caller replies, and
  // forgets the lookup again if that fails.
  Status Lookup(const InodeRef& parent, const std::string& name,
                fuse_entry_param* entry);
  // Known enters an object into the table of inodes.
  void Known(UniqueFd fd, const struct stat& st, std::shared_ptr<Folder> folder,
             const InodeRef& parent, const std::string& name, fuse_entry_param* entry);

 private:
  Status LookupOnce(const InodeRef& parent, const std::string& name,
                    fuse_entry_param* entry);

  fuse_req_t req_;
  FuseMount::Impl& fs_;
};

inline Status NoSuchInode() { return Status::FromErrno(ESTALE, "inode"); }

// IsPostponed tells whether the vault asks for the request to be repeated after
// a revocation.
inline bool IsPostponed(const Status& status) { return status.sys_errno() == EAGAIN; }

// AtPlace runs `action` with the name that leads to `inode`, again if a rename
// changed the name meanwhile.
template <typename Action>
auto AtPlace(Request& r, const InodeRef& inode, Action&& action) {
  for (;;) {
    const Place place = r.inodes().PlaceOf(inode);
    auto result = action(place);
    const Status status = StatusOf(result);
    if (status.error() != Error::kCorrupt && status.sys_errno() != ESTALE)
      return result;
    const Place now = r.inodes().PlaceOf(inode);
    if (now.folder == place.folder && now.name == place.name) return result;
  }
}

// Guard turns a callback's body into one that never throws into libfuse's C.
template <typename Body>
void Guard(fuse_req_t req, Body&& body) noexcept {
  try {
    Request request(req);
    body(request);
  } catch (const std::bad_alloc&) {
    Request(req).fs().troubles.Tell(ENOMEM, "A request failed");
    fuse_reply_err(req, ENOMEM);
  } catch (const std::exception& error) {
    spdlog::error("unexpected failure: {}", error.what());
    fuse_reply_err(req, EIO);
  }
}

// Each FUSE thread keeps one buffer for the largest request.
MutableBytes ThreadBuffer(size_t size);

// WipedAfter wipes a file's contents when they were served, as buffers live long.
class WipedAfter {
 public:
  explicit WipedAfter(MutableBytes contents) : contents_(contents) {}
  ~WipedAfter() { explicit_bzero(contents_.data(), contents_.size()); }
  WipedAfter(const WipedAfter&) = delete;
  WipedAfter& operator=(const WipedAfter&) = delete;
  // Only says that no more than `size` bytes were filled.
  void Only(size_t size) { contents_ = contents_.first(size); }

 private:
  MutableBytes contents_;
};

// The operations, a file each.
void AddNameOperations(fuse_lowlevel_ops* ops);       // NameOps.cc
void AddFolderOperations(fuse_lowlevel_ops* ops);     // FolderOps.cc
void AddFileOperations(fuse_lowlevel_ops* ops);       // FileOps.cc
void AddSpaceOperations(fuse_lowlevel_ops* ops);      // SpaceOps.cc
void AddAttributeOperations(fuse_lowlevel_ops* ops);  // AttributeOps.cc
void AddXattrOperations(fuse_lowlevel_ops* ops);      // XattrOps.cc
void AddReencryptOperations(fuse_lowlevel_ops* ops);  // ReencryptOps.cc

}  // namespace keyfold
