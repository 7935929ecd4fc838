#include "fs/cli/Serve.h"

#include <fcntl.h>
#include <signal.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/sinks/syslog_sink.h>
#include <spdlog/spdlog.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "fs/cli/Confinement.h"
#include "fs/cli/MountTable.h"
#include "fs/cli/Outside.h"
#include "fs/cli/Process.h"
#include "fs/cli/Remembered.h"
#include "fs/cli/Report.h"
#include "fs/cli/RootKeyWatch.h"
#include "fs/cli/Store.h"
#include "fs/cli/SystemCalls.h"
#include "fs/cli/Terminal.h"
#include "fs/cli/Version.h"
#include "fs/fuse/FuseMount.h"
#include "kms/api/AlertDelivery.h"
#include "kms/api/ApiServer.h"
#include "kms/api/SocketFile.h"

namespace keyfold {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

void LogTo(bool foreground, bool debug) {
  if (foreground) {
    spdlog::set_default_logger(spdlog::stderr_logger_mt("keyfold"));
  } else {
    spdlog::set_default_logger(
        spdlog::syslog_logger_mt("keyfold", "keyfold", LOG_PID, LOG_DAEMON));
  }
  spdlog::set_pattern("%v");
  if (debug) spdlog::set_level(spdlog::level::debug);
}

// HasMemory tells whether there is any to spare. Letting go of JSON takes a little and
// cannot fail, so what is not urgent is better not begun without.
bool HasMemory() {
  constexpr size_t kSome = 1 << 20;
  void* pages = ::mmap(nullptr, kSome, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return pages != MAP_FAILED && ::munmap(pages, kSome) == 0;
}

// Keeper is the daemon's own thread: it takes the signals that end the daemon,
// and moves the KMS on once a second.
class Keeper {
 public:
  // The constructor blocks those signals in this thread and all that it starts.
  Keeper() {
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

  // `watch` may be null.
  void Start(Kms& kms, RootKeyWatch* watch, FuseMount& mount, const Outside& outside,
             const std::string& mountpoint) {
    main_ = ::pthread_self();
    thread_ = std::thread([this, &kms, watch, &mount, &outside, mountpoint] {
      while (!done_) {
        const timespec second{1, 0};
        if (::sigtimedwait(&signals_, nullptr, &second) > 0) {
          End(mount, outside, mountpoint);
          return;
        }
        Tick(kms, watch);
      }
    });
  }
  // Join is called when the mount stopped serving.
  void Join() {
    done_ = true;
    if (!thread_.joinable()) return;
    ::pthread_kill(thread_.native_handle(), SIGTERM);  // ends its wait
    thread_.join();
  }

 private:
  void Tick(Kms& kms, RootKeyWatch* watch) {
    if (!HasMemory()) return;
    try {
      ForEachRefusal([](const std::string& name) {
        spdlog::warn(
            "The confinement refused the system call {}. If something does not work "
            "for that, mount with -o confine=off and report it.",
            name);
      });
      if (watch != nullptr) watch->Tick();
      const Status status = kms.Tick();
      if (!status.ok() && status.message() != last_failure_)
        spdlog::error("{}", status.ToString());
      last_failure_ = status.message();
    } catch (const std::bad_alloc&) {  // in a second again
    }
  }

  // End unmounts while requests are still answered, so that what the kernel has
  // not written yet reaches the vault. In use, the mount leaves the tree of
  // names at once, and those who have it open get a moment.
  void End(FuseMount& mount, const Outside& outside, const std::string& mountpoint) {
    if (done_) return;
    if (!outside.Unmount(false).ok()) {
      Flush(mountpoint);
      (void)outside.Unmount(true);
      for (int i = 0; i < 30 && !done_; ++i)
        std::this_thread::sleep_for(milliseconds(100));
    }
    while (!done_) {
      mount.Stop();
      ::pthread_kill(main_, SIGUSR1);  // it may be waiting to be told
      std::this_thread::sleep_for(milliseconds(50));
    }
  }

  static void Flush(const std::string& mountpoint) {
    const UniqueFd root(::open(mountpoint.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (root.valid() && ::syncfs(root.get()) != 0)
      spdlog::error("{}", Status::FromErrno(errno, "sync " + mountpoint).message());
  }

  sigset_t signals_;
  pthread_t main_{};
  std::atomic<bool> done_{false};
  std::string last_failure_;
  std::thread thread_;
};

json StatusOf(const ServeOptions& options, const OpenStore& store, TimePoint since) {
  return {{"Mountpoint", options.mountpoint},
          {"Store", store.path()},
          {"Pid", ::getpid()},
          {"Since", FormatUtc(since)},
          {"Version", kVersion}};
}

void Tell(AlertDelivery& delivery, const Alert& alert) {
  for (const policy::AlertAction& action : alert.actions)
    if (action.kind == policy::AlertAction::Kind::kJournal)
      spdlog::warn("{}", alert.line);
  delivery.Deliver(alert);
}

// TellUnrun tells which commands of rules that the store brought will not run.
void TellUnrun(const Kms& kms, AlertDelivery::Commands commands) {
  if (commands == AlertDelivery::Commands::kStored) return;
  for (const policy::AlertRule& rule : kms.AlertRules().rules)
    for (const policy::AlertAction& action : rule.actions)
      if (action.kind == policy::AlertAction::Kind::kCommand)
        spdlog::warn(
            "alert {} will not run {} as {}, as the rule was found in the store. If it "
            "is yours, mount with -o alert-commands=stored, or apply the rules again.",
            rule.name, action.command.front(), action.user);
}

// Listening is the time in which alerts are delivered.
class Listening {
 public:
  Listening(Kms& kms, AlertDelivery& delivery) : kms_(kms) {
    kms_.SetAlertSink([&delivery](const Alert& alert) { Tell(delivery, alert); });
  }
  ~Listening() { kms_.SetAlertSink({}); }
  Listening(const Listening&) = delete;
  Listening& operator=(const Listening&) = delete;

 private:
  Kms& kms_;
};

// WatchDevice is null for a root key that hangs on no device, of which no answer is
// kept.
Result<std::unique_ptr<RootKeyWatch>> WatchDevice(const ServeOptions& options,
                                                  OpenStore& store,
                                                  Remembered& answer) {
  const json description = store.config().root_key;
  const std::string spec = options.flags.root_key;
  KF_ASSIGN_OR_RETURN(auto device, WatchRootKey(description, spec));
  if (device == nullptr) {
    answer.Forget();
    return std::unique_ptr<RootKeyWatch>();
  }
  return std::make_unique<RootKeyWatch>(
      std::move(device),
      [description, spec, again = answer.Again()] {
        return UnsealRootKey(description, spec, again);
      },
      store.kms(), Clock::System(), options.root_key_grace);
}

// Confine is for the time from the mount on. The kernel of an old machine or container
// may know no filters: the mount is as good without, only less guarded.
Status Confine(const ServeOptions& options) {
  KF_RETURN_IF_ERROR(KeepForServing(!options.flags.kms_listen.empty()));
  if (!options.confine) {
    spdlog::warn("confine=off: the daemon may make any system call.");
    return OkStatus();
  }
  const auto filtered = FilterSystemCalls();
  if (!filtered.ok())
    spdlog::warn("The daemon may make any system call, as the kernel refused: {}",
                 filtered.status().message());
  return OkStatus();
}

Status ServeStore(const ServeOptions& options, const Outside& outside,
                  const std::function<void()>& ready) {
  Remembered answer;
  KF_ASSIGN_OR_RETURN(OpenStore store,
                      OpenStore::Open(options.store, options.flags.root_key,
                                      answer.Asking(AskPassphrase)));
  LogTo(options.foreground, options.flags.debug);
  store.kms().SetAuditLogLimit(options.audit_log_size);
  KF_ASSIGN_OR_RETURN(const MetadataKey metadata_key, store.OpenMetadataKey());
  const std::string store_id = store.config().account.store_id;
  KF_ASSIGN_OR_RETURN(auto vault, Vault::Open({store.path() + "/tree", store_id},
                                              metadata_key, store.kms()));
  KF_ASSIGN_OR_RETURN(const std::string folder, MakeRuntimeFolder());
  Keeper keeper;
  KF_ASSIGN_OR_RETURN(const auto watch, WatchDevice(options, store, answer));
  TellUnrun(store.kms(), options.alert_commands);
  ApiServerOptions api;
  api.socket_path = folder + "/" + store_id + ".sock";
  api.listen = options.flags.kms_listen;
  api.tls_certificate = options.flags.tls_certificate;
  api.tls_key = options.flags.tls_key;
  api.status = [&options, &store, since = Clock::System().Now()] {
    return StatusOf(options, store, since);
  };
  MountOptions mount_options;
  mount_options.mountpoint = options.mountpoint;
  mount_options.source = store.path();
  mount_options.socket_path = api.socket_path;
  mount_options.options = options.flags.fuse;
  mount_options.unmount = [&outside] { (void)outside.Unmount(true); };
  mount_options.debug = options.flags.debug;
  KF_ASSIGN_OR_RETURN(const auto mount, FuseMount::Create(*vault, mount_options));
  // The first thread starts after that, so that it holds for all.
  KF_RETURN_IF_ERROR(Confine(options));
  AlertDelivery delivery(
      options.alert_commands,
      [&outside](const auto&... arguments) { return outside.RunCommand(arguments...); },
      [&store](const std::string& alert, const std::string& target, const Status& why) {
        spdlog::warn("alert {} did not reach {}: {}", alert, target, why.message());
        store.kms().RecordUndelivered(alert, target, why);
      });
  const Listening listening(store.kms(), delivery);
  KF_ASSIGN_OR_RETURN(const auto server, ApiServer::Start(store.kms(), api));
  ready();
  spdlog::info("{} is mounted on {}", store.path(), options.mountpoint);
  if (watch != nullptr) watch->Start();
  keeper.Start(store.kms(), watch.get(), *mount, outside, options.mountpoint);
  const Status status = mount->Run();
  keeper.Join();
  spdlog::info("{} is unmounted", options.mountpoint);
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
  KF_ASSIGN_OR_RETURN(const std::string store, RealPath(options.store));
  if (IsInside(path, store) || IsInside(store, path))
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
        Outside::Start(options.mountpoint,
                       options.alert_commands != AlertDelivery::Commands::kNone));
    KF_RETURN_IF_ERROR(KeepForMounting());
    (void)LockMemory();
    return ServeStore(options, *outside, [&] {
      told = true;
      ready();
    });
  };
  const Status status = serve();
  if (status.ok()) return 0;
  return told ? 1 : Fail(status);
}

}  // namespace keyfold
