#include "fs/cli/KmsProcess.h"

#include <malloc.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <thread>

#include "fs/cli/Confinement.h"
#include "fs/cli/Log.h"
#include "fs/cli/Outside.h"
#include "fs/cli/Process.h"
#include "fs/cli/RefusalLog.h"
#include "fs/cli/Remembered.h"
#include "fs/cli/RootKeyWatch.h"
#include "fs/cli/Store.h"
#include "fs/cli/Terminal.h"
#include "fs/cli/Version.h"
#include "kms/api/AlertDelivery.h"
#include "kms/api/ApiServer.h"
#include "kms/api/DataKeyServer.h"
#include "kms/api/Exposition.h"
#include "kms/api/FilesLink.h"

namespace keyfold {
namespace {

using nlohmann::json;

json StatusOf(const ServeOptions& options, const OpenStore& store, pid_t daemon,
              TimePoint since) {
  return {{"Mountpoint", options.mountpoint},
          {"Store", store.path()},
          {"Pid", daemon},
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

// HasMemory tells whether there is any to spare. Letting go of JSON takes a little and
// cannot fail, so what is not urgent is better not begun without.
bool HasMemory() {
  constexpr size_t kSome = 1 << 20;
  void* pages = ::mmap(nullptr, kSome, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return pages != MAP_FAILED && ::munmap(pages, kSome) == 0;
}

// Clockwork moves the KMS on once a second.
class Clockwork {
 public:
  Clockwork(Kms& kms, RootKeyWatch* watch) : kms_(kms), watch_(watch) {}
  void Tick() {
    if (!HasMemory()) return;
    try {
      TellRefusals();
      if (watch_ != nullptr) watch_->Tick();
      const Status status = kms_.Tick();
      if (!status.ok() && status.message() != last_failure_)
        spdlog::error("{}", status.ToString());
      last_failure_ = status.message();
    } catch (const std::bad_alloc&) {  // in a second again
    }
  }

 private:
  Kms& kms_;
  RootKeyWatch* const watch_;  // or null
  std::string last_failure_;
};

// Hello is the first word to the other process: how opening the store ended.
Status Hello(const DataKeyEnd& end, DataKeyAnswer hello) {
  return DataKeySocket(end.calls.front().get()).Send(hello);
}

// OthersFiles tells whether serving opens what may be another user's: the store itself,
// or a device, library or file of the root key.
bool OthersFiles(const OpenStore& store, const RootKeyWatch* watch) {
  struct stat st;
  return watch != nullptr || ::stat(store.path().c_str(), &st) != 0 ||
         st.st_uid != ::geteuid();
}

// Reload reads anew what lies in files; what can't be used changes nothing.
Status Reload(const ServeOptions& options, ApiServer& server, Kms& kms) {
  const Status read = server.ReloadTls();
  kms.RecordReload(read);
  if (!read.ok())
    spdlog::error("The former settings stay in use: {}", read.message());
  else if (options.flags.tls_certificate.empty())
    spdlog::info("There are no settings in files to be read anew.");
  else
    spdlog::info("The TLS certificate and key were read anew.");
  return read;
}

struct Surroundings {
  std::string socket_folder;
  pid_t daemon;  // the process that serves the filesystem
};

// Begun tells in `end` how opening went, unless that is what it returns.
Status ServeKeys(const ServeOptions& options, const Surroundings& around,
                 const Outside* outside, DataKeyEnd& end, bool* begun) {
  Remembered answer;
  KF_ASSIGN_OR_RETURN(OpenStore store,
                      OpenStore::Open(options.store, options.flags.root_key,
                                      answer.Asking(AskPassphrase)));
  LogTo({options.foreground, options.flags.debug, options.store});
  store.kms().SetAuditLogLimit(options.audit_log_size);
  DataKeyAnswer hello;
  hello.text = store.config().account.store_id;
  KF_ASSIGN_OR_RETURN(MetadataKey metadata_key, store.OpenMetadataKey());
  hello.key = DataKey(metadata_key.Release());
  KF_ASSIGN_OR_RETURN(const auto watch, WatchDevice(options, store, answer));
  TellUnrun(store.kms(), options.alert_commands);
  ApiServerOptions api;
  api.socket_path = SocketOf(around.socket_folder, hello.text);
  api.listen = options.flags.kms_listen;
  api.tls_certificate = options.flags.tls_certificate;
  api.tls_key = options.flags.tls_key;
  api.status = [&options, &store, daemon = around.daemon,
                since = Clock::System().Now()] {
    return StatusOf(options, store, daemon, since);
  };
  RemoteFileView files(&end);
  store.kms().SetFileView(&files);
  api.metrics_listen = options.flags.metrics_listen;
  api.metrics_users = options.metrics_users;
  api.metrics = [&store, &files] {
    return Expose(store.kms().Figures(), files.counts(), kVersion);
  };
  // The first thread starts after that, so that it holds for all.
  KF_RETURN_IF_ERROR(
      KeepForKeys(!options.flags.kms_listen.empty() || !api.metrics_listen.empty(),
                  OthersFiles(store, watch.get())));
  KF_RETURN_IF_ERROR(Filter(options.confine, SystemCalls::kKeys));
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) ::signal(signal, SIG_IGN);
  AlertDelivery delivery(
      options.alert_commands,
      [outside](const auto&... arguments) { return outside->RunCommand(arguments...); },
      [&store](const std::string& alert, const std::string& target, const Status& why) {
        spdlog::warn("alert {} did not reach {}: {}", alert, target, why.message());
        store.kms().RecordUndelivered(alert, target, why);
      });
  const Listening listening(store.kms(), delivery);
  store.kms().SetRefusalSink(
      [refusals = std::make_shared<RefusalLog>()](const RefusedCall& refusal) {
        refusals->Tell(refusal);
      });
  KF_ASSIGN_OR_RETURN(const auto server, ApiServer::Start(store.kms(), api));
  *begun = true;
  KF_RETURN_IF_ERROR(Hello(end, std::move(hello)));
  if (!options.foreground) Detach();
  const auto counts = end.counts;
  DataKeyServer keys(store.kms(), std::move(end),
                     [&] { return Reload(options, *server, store.kms()); });
  if (watch != nullptr) watch->Start();
  Clockwork clockwork(store.kms(), watch.get());
  while (!keys.AwaitEnd(std::chrono::seconds(1))) {
    clockwork.Tick();
    counts->calls = store.kms().Calls();
  }
  return OkStatus();
}

// A page of the audit log is a tree of small pieces while it is put together, and each
// arena of the allocator, of which there are eight for a core, keeps the room of those
// that were made in it. Four do: a thread takes small pieces from a cache of its own
// first. It must come before the first thread, as arenas that there are stay. Only
// glibc has such arenas.
void BoundMemoryKept() {
#ifdef M_ARENA_MAX
  constexpr int kArenas = 4;
  (void)::mallopt(M_ARENA_MAX, kArenas);
#endif
}

[[noreturn]] void BeKms(const ServeOptions& options, const Surroundings& around,
                        DataKeyEnd end) {
  // While a person is asked, the other process may be ended.
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  ::prctl(PR_SET_NAME, "keyfold-kms");
  // No limit of a webhook's counts while its name is looked up, and unmounting waits.
  ::setenv("RES_OPTIONS", "timeout:1 attempts:1", 0);
  std::vector<int> kept = {end.changes.get(), end.files.get()};
  for (const UniqueFd& connection : end.calls) kept.push_back(connection.get());
  CloseAllBut(std::move(kept));
  bool begun = false;
  const auto serve = [&]() -> Status {
    std::unique_ptr<Outside> outside;
    if (options.alert_commands != AlertDelivery::Commands::kNone) {
      KF_ASSIGN_OR_RETURN(outside, Outside::ForCommands());
    }
    KF_RETURN_IF_ERROR(KeepForOpening());
    (void)LockMemory();
    BoundMemoryKept();
    return ServeKeys(options, around, outside.get(), end, &begun);
  };
  Status status = serve();
  if (!begun) {
    DataKeyAnswer hello;
    hello.status = std::move(status);
    (void)Hello(end, std::move(hello));
  }
  ::_exit(0);
}

}  // namespace

std::string SocketOf(const std::string& socket_folder, const std::string& store_id) {
  return socket_folder + "/" + store_id + ".sock";
}

Result<std::unique_ptr<KmsProcess>> KmsProcess::Start(const ServeOptions& options,
                                                      const std::string& socket_folder,
                                                      size_t calls) {
  KF_ASSIGN_OR_RETURN(DataKeyLink link, DataKeyLink::Make(calls));
  const pid_t self = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return Status::FromErrno(errno, "fork");
  if (child == 0) {
    link.files = {};
    BeKms(options, {socket_folder, self}, std::move(link.kms));
  }
  return std::unique_ptr<KmsProcess>(new KmsProcess(child, std::move(link.files)));
}

int KmsProcess::Wait() {
  int status = 0;
  while (pid_ != 0 && ::waitpid(pid_, &status, 0) < 0 && errno == EINTR) continue;
  pid_ = 0;
  return status;
}

KmsProcess::~KmsProcess() {
  keys_.reset();  // for which it waits
  (void)Wait();
}

Result<KmsProcess::Opened> KmsProcess::AwaitOpen() {
  auto hello = keys_->Hello();
  if (!hello) {
    const int status = Wait();
    const std::string how = WIFSIGNALED(status)
                                ? std::string("signal ") + ::strsignal(WTERMSIG(status))
                                : "exit code " + std::to_string(WEXITSTATUS(status));
    return Status(Error::kInternal,
                  "The process that holds the keys ended before the store was open: " +
                      how + ".");
  }
  KF_RETURN_IF_ERROR(hello->status);
  if (hello->key.empty()) return Status(Error::kInternal, "no key of names");
  return Opened{std::move(hello->text), MetadataKey(hello->key.Release())};
}

}  // namespace keyfold
