#include "fs/fuse/FuseMount.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <algorithm>
#include <thread>

#include "fs/backend/Reserve.h"
#include "fs/fuse/Counting.h"
#include "fs/fuse/InodeTable.h"
#include "fs/fuse/KernelMount.h"
#include "fs/fuse/Request.h"

namespace keyfold {
namespace {

// With FUSE_HANDLE_KILLPRIV_V2 the kernel leaves clearing the set-id bits to the
// filesystem and does not ask for the file's capabilities before every single
// write. libfuse gets to know the flag later than 3.14; until then it is added to
// the answer to INIT on its way. The connection is set up before anything else
// happens on it, by one thread.
struct InitNegotiation {
  bool offered = false;
  bool answered = false;
};
InitNegotiation negotiation;

ssize_t ReadRequest(int fd, void* buffer, size_t size, void*) {
  const ssize_t n = ::read(fd, buffer, size);
  const auto* header = static_cast<const fuse_in_header*>(buffer);
  constexpr size_t kInitSize = sizeof(fuse_in_header) + 4 * sizeof(uint32_t);
  if (n >= static_cast<ssize_t>(kInitSize) && header->opcode == FUSE_INIT) {
    const auto* init = reinterpret_cast<const fuse_init_in*>(header + 1);
    negotiation = {(init->flags & FUSE_HANDLE_KILLPRIV_V2) != 0, false};
  }
  return n;
}

ssize_t WriteReply(int fd, iovec* iov, int count, void* data) {
  const auto* head = static_cast<const fuse_out_header*>(iov[0].iov_base);
  if (head->unique != 0 && head->error < 0)  // an answer, no notification
    CountFailure(static_cast<FuseMount::Impl*>(data)->vault.counts(), -head->error);
  if (negotiation.offered && !negotiation.answered) {
    negotiation.answered = true;
    if (count == 2 && iov[1].iov_len >= 4 * sizeof(uint32_t))
      static_cast<fuse_init_out*>(iov[1].iov_base)->flags |= FUSE_HANDLE_KILLPRIV_V2;
  }
  return ::writev(fd, iov, count);
}

void Init(void* data, fuse_conn_info* conn) {
  for (unsigned wanted :
       {FUSE_CAP_WRITEBACK_CACHE, FUSE_CAP_PARALLEL_DIROPS, FUSE_CAP_READDIRPLUS,
        FUSE_CAP_READDIRPLUS_AUTO, FUSE_CAP_ASYNC_READ, FUSE_CAP_CACHE_SYMLINKS,
        FUSE_CAP_DONT_MASK})
    if (conn->capable & wanted) conn->want |= wanted;
  if (static_cast<FuseMount::Impl*>(data)->vault.HasAcls())
    conn->want |= conn->capable & FUSE_CAP_POSIX_ACL;
  // Locks stay in the kernel: the vault keeps none. Bytes are transformed, so
  // splicing them gains nothing.
  conn->want &=
      ~(FUSE_CAP_FLOCK_LOCKS | FUSE_CAP_POSIX_LOCKS | FUSE_CAP_SPLICE_READ |
        FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE | FUSE_CAP_ATOMIC_O_TRUNC |
        FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_HANDLE_KILLPRIV);
  conn->max_write = kMaxRequest;
  conn->max_read = kMaxRequest;
  conn->max_readahead = kMaxRequest;
  conn->max_background = 64;
  conn->congestion_threshold = 48;
}

}  // namespace

void FuseMount::Impl::Detach(ino_t ino) {
  std::lock_guard lock(mutex_);
  // The place first: without it the inode would be lost to Drop.
  InodeRef& place = detached_[ino];
  if (InodeRef inode = inodes.Detach(ino)) place = std::move(inode);
  if (!place) detached_.erase(ino);
}

// Drop takes a file out of the kernel's page cache: dirty pages arrive as writes
// meanwhile. Entries are left alone, since that would wait for whoever is looking
// something up in the folder, and an open through one answers ESTALE.
void FuseMount::Impl::Drop(ino_t ino) {
  InodeRef inode;
  {
    std::lock_guard lock(mutex_);
    const auto it = detached_.find(ino);
    if (it == detached_.end()) return;
    inode = std::move(it->second);
    detached_.erase(it);
  }
  (void)fuse_lowlevel_notify_inval_inode(session, inode->node, 0, 0);
}

void FuseMount::Impl::DropAll() {
  for (const uint64_t node : inodes.Files())
    (void)fuse_lowlevel_notify_inval_inode(session, node, 0, 0);
}

void FuseMount::Impl::Changed() {
  std::lock_guard lock(mutex_);
  changed_ = true;
  wake_.notify_one();
}

void FuseMount::Impl::Postpone(std::function<void()> request) {
  std::lock_guard lock(mutex_);
  postponed_.push_back(std::move(request));
  wake_.notify_one();
}

// HasMemoryFor tells whether the action did not want for memory; it can be repeated.
template <typename Action>
bool FuseMount::Impl::HasMemoryFor(Action&& action) {
  try {
    action();
    return true;
  } catch (const std::bad_alloc&) {
    troubles.Tell(ENOMEM, "Open files cannot be looked at");
    return false;
  }
}

// WriteBack runs apart from the keeper, as it waits for the disk.
void FuseMount::Impl::WriteBack() {
  static constexpr auto kCheckpointInterval = std::chrono::seconds(60);
  (void)HasMemoryFor([this] {
    vault.FlushAll();
    if (std::chrono::steady_clock::now() < checkpoint_at_) return;
    checkpoint_at_ = std::chrono::steady_clock::now() + kCheckpointInterval;
    if (const Status status = vault.Checkpoint(); !status.ok())
      troubles.Tell(status.sys_errno(), "Files cannot be made durable");
  });
  writing_back_ = false;
}

void FuseMount::Impl::Keep() {
  constexpr auto kFlushInterval = std::chrono::seconds(5);
  // A deadline, since steady changes would put off a wait's end for ever.
  auto flush_at = std::chrono::steady_clock::now() + kFlushInterval;
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait_until(lock, flush_at,
                     [&] { return changed_ || stopping_ || !postponed_.empty(); });
    const bool revoke = changed_, stop = stopping_;
    const auto postponed = std::exchange(postponed_, {});
    changed_ = false;
    lock.unlock();
    const bool revoked = !revoke || HasMemoryFor([this] { vault.Revoke(*this); });
    for (const auto& request : postponed) request();
    if (std::chrono::steady_clock::now() >= flush_at) {
      if (!writing_back_.exchange(true) &&
          !HasMemoryFor([this] { settler.Post([this] { WriteBack(); }); }))
        writing_back_ = false;
      flush_at = std::chrono::steady_clock::now() + kFlushInterval;
    }
    if (stop) return;
    if (!revoked) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    lock.lock();
    changed_ |= !revoked;
  }
}

void FuseMount::Impl::StopKeeper() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    wake_.notify_one();
  }
  keeper.join();
}

FuseMount::FuseMount() = default;

Result<std::unique_ptr<FuseMount::Impl>> FuseMount::Impl::Make(
    Vault& vault, const MountOptions& options, size_t descriptors) {
  auto root = std::make_shared<Inode>();
  root->node = FUSE_ROOT_ID;
  root->folder = vault.root();
  root->lookups = 1;
  root->type = S_IFDIR;
  KF_ASSIGN_OR_RETURN(UniqueFd tree,
                      OpenAt(vault.root()->fd(), ".", O_RDONLY | O_DIRECTORY));
  KF_ASSIGN_OR_RETURN(UniqueFd fd, OpenAt(vault.root()->fd(), ".", O_PATH));
  struct stat st;
  KF_RETURN_IF_ERROR(vault.Stat(fd.get(), &st));
  root->ino = st.st_ino;
  auto budget = std::make_shared<DescriptorBudget>(std::move(tree), descriptors);
  root->anchor = Anchor::Of(budget, std::move(fd));

  auto impl =
      std::make_unique<Impl>(vault, std::move(root), std::move(budget), options);
  for (const char* none : {"noatime", "ro"})
    if (std::count(options.kernel.options.begin(), options.kernel.options.end(), none) >
        0)
      impl->count_reads = false;
  fuse_lowlevel_ops ops{};
  ops.init = Init;
  AddNameOperations(&ops);
  AddFolderOperations(&ops);
  AddFileOperations(&ops);
  AddSpaceOperations(&ops);
  AddAttributeOperations(&ops);
  AddXattrOperations(&ops);
  AddReencryptOperations(&ops);
  CountOperations(&ops);
  KF_ASSIGN_OR_RETURN(impl->session, NewSession(options.kernel, ops, impl.get()));
  return impl;
}

FuseMount::Impl::~Impl() {
  if (session != nullptr) fuse_session_destroy(session);
}

Result<std::unique_ptr<FuseMount>> FuseMount::Create(Vault& vault,
                                                     const MountOptions& options) {
  const size_t descriptors = RaiseDescriptorLimit();
  GiveUpResourceLimits();
  DropSupplementaryGroups();
  std::unique_ptr<FuseMount> mount(new FuseMount);
  // The rest is for folders and open files.
  KF_ASSIGN_OR_RETURN(mount->impl_, Impl::Make(vault, options, descriptors * 2 / 5));
  fuse_session* const session = mount->impl_->session;
  if (options.mount) {
    KF_ASSIGN_OR_RETURN(UniqueFd device, options.mount());
    mount->impl_->mounted = true;
    KF_RETURN_IF_ERROR(ServeFrom(std::move(device), session));
  } else {
    KF_RETURN_IF_ERROR(MountSession(session, options.kernel));
    mount->impl_->mounted = true;
  }
  const fuse_custom_io io{WriteReply, ReadRequest, nullptr, nullptr};
  if (fuse_session_custom_io(session, &io, fuse_session_fd(session)) != 0)
    return Status::FromErrno(ENOMEM, "mount on " + options.kernel.mountpoint);
  return mount;
}

// More threads than that only wake each other on small requests.
unsigned FuseMount::MostThreads() {
  return std::clamp(2 * std::thread::hardware_concurrency(), 4u, 16u);
}

Status FuseMount::Run() {
  Impl& impl = *impl_;
  KF_RETURN_IF_ERROR(OwnUmask());
  ::umask(0);
  const OutsideReserve outside;
  if (fuse_set_signal_handlers(impl.session) != 0)
    return Status(Error::kInternal, "cannot set signal handlers");
  impl.vault.keys().SetChangeListener([&impl] { impl.Changed(); });
  impl.keeper = std::thread([&impl] { impl.Keep(); });
  impl.flusher.Start();
  impl.settler.Start();
  impl.vault.SetSettler([&impl](const std::shared_ptr<File>& file) {
    impl.settler.Post([&impl, file] { impl.vault.Settle(file); });
  });
  fuse_loop_config* config = fuse_loop_cfg_create();
  fuse_loop_cfg_set_clone_fd(config, 1);
  fuse_loop_cfg_set_max_threads(config, MostThreads());
  fuse_loop_cfg_set_idle_threads(config, MostThreads());
  const int result = fuse_session_loop_mt(impl.session, config);
  fuse_loop_cfg_destroy(config);
  impl.vault.keys().SetChangeListener({});
  impl.flusher.Stop();
  impl.StopKeeper();
  impl.vault.SetSettler({});
  impl.settler.Stop();
  impl.vault.SettleAll();
  impl.vault.WipeAll();
  fuse_remove_signal_handlers(impl.session);
  return result < 0 ? Status::FromErrno(-result, "serve requests") : OkStatus();
}

namespace {

// IsConnected tells whether the mount of this descriptor is still there.
bool IsConnected(int fd) {
  pollfd poll{fd, 0, 0};
  return ::poll(&poll, 1, 0) == 0 || (poll.revents & POLLERR) == 0;
}

}  // namespace

void FuseMount::Stop() { fuse_session_exit(impl_->session); }

FuseMount::~FuseMount() {
  if (!impl_ || !impl_->mounted) return;
  if (impl_->options.unmount && IsConnected(fuse_session_fd(impl_->session)))
    impl_->options.unmount();
  // Asks the kernel itself only if the mount is still there.
  fuse_session_unmount(impl_->session);
}

}  // namespace keyfold
