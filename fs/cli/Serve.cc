#include "fs/cli/Serve.h"

#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "fs/cli/Confinement.h"
#include "fs/cli/Idle.h"
#include "fs/cli/KmsProcess.h"
#include "fs/cli/Log.h"
#include "fs/cli/MountTable.h"
#include "fs/cli/Outside.h"
#include "fs/cli/Process.h"
#include "fs/cli/Report.h"
#include "fs/cli/Store.h"
#include "fs/fuse/FuseMount.h"
#include "kms/api/FilesLink.h"
#include "kms/api/SocketFile.h"

namespace keyfold {
namespace {

using std::chrono::milliseconds;

// WhatToKeep is what the keeper looks after.
struct WhatToKeep {
  FuseMount& mount;
  const Outside& outside;
  const ServeOptions& options;
  RemoteDataKeys& keys;
  const FileCounts& counts;
};

// Keeper is the daemon's own thread: it takes the daemon's signals, and ends the mount
// for those that say so, or when it was idle for as long as was asked for.
class Keeper {
 public:
  // The constructor blocks those signals in this thread and all that it starts.
  explicit Keeper(const ServeOptions& options)
      // On a terminal that is closed there is nobody to unmount it.
      : hangup_ends_(options.foreground && ::isatty(STDIN_FILENO) == 1) {
    ::sigemptyset(&signals_);
    for (int signal : {SIGINT, SIGTERM, SIGHUP}) ::sigaddset(&signals_, signal);
    ::pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
    struct sigaction wake {};
    wake.sa_handler = [](int) {};
    ::sigaction(SIGUSR1, &wake, nullptr);
  }
  ~Keeper() { Join(); }
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;

  void Start(const WhatToKeep& of) {
    main_ = ::pthread_self();
    thread_ = std::thread([this, of] { Keep(of); });
  }
  // EndMount does as a signal does.
  void EndMount() { ::pthread_kill(thread_.native_handle(), SIGTERM); }
  // Join is called when the mount stopped serving.
  void Join() {
    done_ = true;
    if (!thread_.joinable()) return;
    EndMount();  // ends its wait
    thread_.join();
  }

 private:
  using SteadyClock = std::chrono::steady_clock;

  void Keep(const WhatToKeep& of) {
    Idle idle(
        of.counts, [&of] { return of.keys.CallsOfOthers(); }, SteadyClock::now());
    while (!done_) {
      const timespec second{1, 0};
      const int signal = ::sigtimedwait(&signals_, nullptr, &second);
      if (signal > 0 && (signal != SIGHUP || hangup_ends_)) return End(of);
      if (EndIfIdle(of, &idle)) return;
      (void)OrNoMemory([&] {
        if (signal == SIGHUP) (void)of.keys.Reload();  // which tells how it went
        TellRefusals();
        return OkStatus();
      });
    }
  }

  // EndIfIdle is true when it unmounted. Where somebody is in a folder of the mount, it
  // waits as long again.
  bool EndIfIdle(const WhatToKeep& of, Idle* idle) {
    const auto limit = of.options.idle_timeout;
    if (limit.count() == 0 || idle->For(SteadyClock::now()) < limit) return false;
    idle->Restart(SteadyClock::now());
    if (done_ || !of.outside.Unmount(false).ok()) return false;
    spdlog::info("{} was idle for {} seconds.", of.options.mountpoint, limit.count());
    StopServing(of.mount);
    return true;
  }

  // End unmounts while requests are still answered, so that what the kernel has
  // not written yet reaches the vault. In use, the mount leaves the tree of
  // names at once, and those who have it open get a moment. What they write in it is
  // written back too.
  void End(const WhatToKeep& of) {
    if (done_) return;
    if (!of.outside.Unmount(false).ok()) {
      const Status flushed = of.outside.UnmountInUse([&of] {
        for (int i = 0; i < 30 && of.counts.open_handles > 0; ++i)
          std::this_thread::sleep_for(milliseconds(100));
      });
      if (!flushed.ok()) spdlog::error("{}", flushed.message());
    }
    StopServing(of.mount);
  }

  void StopServing(FuseMount& mount) {
    while (!done_) {
      mount.Stop();
      ::pthread_kill(main_, SIGUSR1);  // it may be waiting to be told
      std::this_thread::sleep_for(milliseconds(50));
    }
  }

  const bool hangup_ends_;
  sigset_t signals_;
  pthread_t main_{};
  std::atomic<bool> done_{false};
  std::thread thread_;
};

KernelMount KernelMountOf(const ServeOptions& options) {
  return {options.mountpoint, options.store, options.flags.fuse, options.flags.debug};
}

Status ServeStore(const ServeOptions& options, const Outside& outside, KmsProcess& kms,
                  const std::string& socket_folder,
                  const std::function<void()>& ready) {
  KF_ASSIGN_OR_RETURN(const KmsProcess::Opened opened, kms.AwaitOpen());
  LogTo({options.foreground, options.flags.debug, options.store});
  KF_ASSIGN_OR_RETURN(auto vault, Vault::Open({options.store + "/tree", opened.store_id,
                                               kms.file_counts()},
                                              opened.metadata_key, kms.keys()));
  Keeper keeper(options);
  MountOptions mount_options;
  mount_options.kernel = KernelMountOf(options);
  mount_options.socket_path = SocketOf(socket_folder, opened.store_id);
  if (!options.flags.mount_namespace.empty())
    mount_options.mount = [&outside] { return outside.Mount(); };
  mount_options.unmount = [&outside] { (void)outside.Unmount(true); };
  KF_ASSIGN_OR_RETURN(const auto mount, FuseMount::Create(*vault, mount_options));
  // The first thread starts after that, so that it holds for all.
  KF_RETURN_IF_ERROR(KeepForServing());
  KF_RETURN_IF_ERROR(Filter(options.confine, SystemCalls::kFiles));
  ready();
  spdlog::info("{} is mounted on {}", options.store, options.mountpoint);
  const FileViewServer view(kms.TakeFilesSocket(), [&vault](std::optional<uid_t> only) {
    return vault->ListHandles(only);
  });
  keeper.Start({*mount, outside, options, kms.keys(), *kms.file_counts()});
  kms.keys().Watch([&keeper, &options] {
    spdlog::error(
        "The process that holds the keys is gone. {} is unmounted; what was written "
        "and not synced may be lost.",
        options.mountpoint);
    keeper.EndMount();
  });
  Status status = mount->Run();
  kms.keys().Unwatch();
  keeper.Join();
  spdlog::info("{} is unmounted", options.mountpoint);
  if (status.ok() && kms.keys().IsGone())
    status = {Error::kUnavailable, "The process that holds the keys ended before."};
  if (!status.ok()) spdlog::error("{}", status.ToString());
  return status;
}

}  // namespace

Status CheckMountpoint(const ServeOptions& options) {
  const std::string& path = options.mountpoint;
  KF_ASSIGN_OR_RETURN(const auto mounts, KeyfoldMounts());
  for (const MountEntry& mount : mounts)
    if (mount.mountpoint == path)
      return {Error::kLocked, path + " is a Keyfold mount already, of " + mount.store +
                                  ". Unmount it first: keyfold unmount " + path};
  if (IsInside(path, options.store) || IsInside(options.store, path))
    return {Error::kUsage,
            "The mountpoint and the store must not lie in each other. Name "
            "another folder."};
  struct stat st;
  if (::stat(path.c_str(), &st) != 0) return Status::FromErrno(errno, path);
  if (!S_ISDIR(st.st_mode))
    return {Error::kUsage, path + " is not a folder. Name an empty one."};
  std::error_code error;
  if (!options.flags.nonempty && !std::filesystem::is_empty(path, error))
    return {Error::kUsage, path +
                               " is not empty. Name an empty folder, or add -o "
                               "nonempty to hide what is in it."};
  return OkStatus();
}

int Serve(const ServeOptions& options, const std::function<void()>& ready) {
  Harden();
  bool told = false;
  const auto serve = [&]() -> Status {
    KF_ASSIGN_OR_RETURN(
        const auto outside,
        Outside::ForMount(KernelMountOf(options), options.flags.mount_namespace));
    KF_ASSIGN_OR_RETURN(const std::string socket_folder, MakeRuntimeFolder());
    // As many calls as threads that serve requests, one that revokes and one that
    // settles.
    KF_ASSIGN_OR_RETURN(
        const auto kms,
        KmsProcess::Start(options, socket_folder, FuseMount::MostThreads() + 2));
    KF_RETURN_IF_ERROR(KeepForMounting());
    (void)LockMemory();
    return ServeStore(options, *outside, *kms, socket_folder, [&] {
      told = true;
      ready();
    });
  };
  const Status status = serve();
  if (status.ok()) return 0;
  return told ? 1 : Fail(status);
}

}  // namespace keyfold
