#include <sys/prctl.h>
#include <unistd.h>

#include <memory>
#include <mutex>
#include <optional>

#include "fs/cli/BrowserLauncher.h"
#include "fs/cli/Commands.h"
#include "fs/cli/Completion.h"
#include "fs/cli/ConsoleAccount.h"
#include "fs/cli/ConsoleFolders.h"
#include "fs/cli/ExitCode.h"
#include "fs/cli/KeyPolicy.h"
#include "fs/cli/Process.h"
#include "fs/cli/Report.h"
#include "fs/cli/Store.h"
#include "fs/cli/Times.h"
#include "fs/console/ConsoleServer.h"

namespace keyfold {
namespace {

using nlohmann::json;

struct ConsoleWords {
  TargetOptions target;
  std::string idle = "30m";
  uint16_t port = 0;
  bool open = false;
};

constexpr std::chrono::seconds kLeastIdle{1};
constexpr std::chrono::hours kMostIdle{24};

// ComposePolicy is the policy of the wizard's choices, as `kms create-key` makes it.
Result<json> ComposePolicy(const json& request) {
  KeyPolicyOptions options;
  options.administrators = request.value("Administrators", std::vector<std::string>());
  options.users = request.value("Users", std::vector<std::string>());
  options.administrators_may_delete = request.value("AllowDeletion", true);
  options.imports_material = request.value("Origin", "") == "EXTERNAL";
  options.makes_macs = request.value("KeyUsage", "") == "GENERATE_VERIFY_MAC";
  return json{{"Policy", ConsolePolicy(options).dump()}};
}

Result<json> ListPrincipals(const json&) {
  json names = json::array();
  for (const Candidate& one : Principals()) names.push_back(one.word);
  return json{{"Principals", std::move(names)}};
}

// OneAtATime is `inner` for several threads: the machine's list of users and a
// connection are one's at a time.
auto OneAtATime(auto inner) {
  return [mutex = std::make_shared<std::mutex>(), inner](const auto&... words) {
    const std::lock_guard lock(*mutex);
    return inner(words...);
  };
}

// FindMount is the mount that the console shows; none for a store that is not mounted.
Result<std::optional<MountEntry>> FindMount(const TargetOptions& target) {
  if (target.store.empty()) {
    KF_ASSIGN_OR_RETURN(MountEntry mount, ChooseMount(target));
    return std::optional(std::move(mount));
  }
  KF_ASSIGN_OR_RETURN(const std::string store, RealPath(target.store));
  KF_ASSIGN_OR_RETURN(const auto mounts, KeyfoldMounts());
  for (const MountEntry& mount : mounts)
    if (mount.store == store) return std::optional(mount);
  return std::optional<MountEntry>();
}

Result<ConsoleBackend> BackendOf(const TargetOptions& target) {
  ConsoleBackend backend;
  KF_ASSIGN_OR_RETURN(const auto mount, FindMount(target));
  if (mount) {
    KF_RETURN_IF_ERROR(CallOn(*mount, "iam", "WhoAmI", json::object()).status());
    // A connection for each call: they come from several threads, and the store may be
    // mounted anew meanwhile.
    backend.call = [mount = *mount](auto service, auto operation, const json& request) {
      return CallOn(mount, service, operation, request);
    };
    AddFolderOperations(*mount, &backend);
  } else {
    KF_ASSIGN_OR_RETURN(std::shared_ptr<Connection> connection, Connect(target));
    backend.call =
        OneAtATime([connection](auto service, auto operation, const json& request) {
          return connection->Call(service, operation, request);
        });
  }
  AddAccountOperations(&backend);
  backend.own["ComposePolicy"] = ComposePolicy;
  backend.own["ListPrincipals"] = OneAtATime(ListPrincipals);
  return backend;
}

Result<std::chrono::seconds> IdleTime(const std::string& text) {
  const TimePoint now = Clock::System().Now();
  const auto since = ParseSince(text, now);
  if (!since || now - *since < kLeastIdle || now - *since > kMostIdle)
    return Status(Error::kUsage,
                  "--idle expects a time such as 90s, 30m or 2h, at most "
                  "a day.");
  return std::chrono::duration_cast<std::chrono::seconds>(now - *since);
}

Status ServeConsole(const ConsoleWords& words) {
  Harden();
  KF_ASSIGN_OR_RETURN(const std::chrono::seconds idle, IdleTime(words.idle));
  KF_ASSIGN_OR_RETURN(ConsoleBackend backend, BackendOf(words.target));
  KF_ASSIGN_OR_RETURN(ConsoleServer server, ConsoleServer::Listen(words.port));
  std::optional<BrowserLauncher> launcher;
  backend.opened = [&] {
    if (launcher) launcher->Forget();
  };
  Console console(server.port(), std::move(backend));
  KF_RETURN_IF_ERROR(
      Print("Open this address in a browser. It counts once, for ten minutes:\n  " +
            console.Url() +
            "\nThe console ends with Ctrl-C, or when it was not used "
            "for " +
            words.idle + ".\n"));
  if (words.open) {
    KF_ASSIGN_OR_RETURN(BrowserLauncher launched,
                        BrowserLauncher::Launch(console.Url()));
    launcher.emplace(std::move(launched));
  }
  // Not before: a browser may need to gain rights for its sandbox.
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  const ConsoleServer::Until until{[&] { return console.IdleFor(); }, idle,
                                   ::isatty(STDIN_FILENO) != 0 ? STDIN_FILENO : -1};
  const std::string why = server.Run(
      [&](const HttpRequest& request) { return console.Serve(request); }, until);
  return Print(why + "\n");
}

int RunConsole(const ConsoleWords& words) {
  const Status served = ServeConsole(words);
  return served.ok() ? static_cast<int>(kExitOk) : Fail(served);
}

}  // namespace

void AddConsole(CLI::App& app, Run* run) {
  const auto words = std::make_shared<ConsoleWords>();
  CLI::App* console =
      app.add_subcommand("console", "Opens a web console of your own in a browser");
  console
      ->add_option("mountpoint", words->target.mount,
                   "Else KEYFOLD_MOUNT, else the only mount")
      ->type_name("MOUNTPOINT");
  AddStoreOptions(console, &words->target);
  console->add_option("--port", words->port,
                      "Port of 127.0.0.1 and ::1; else a free one");
  console
      ->add_option("--idle", words->idle,
                   "Ends when it was not used for so long, such as 2h; default 30m")
      ->type_name("TIME");
  console->add_flag("--open", words->open, "Open the address in the desktop's browser");
  console->footer(
      "It acts as you and shows what you may see. Only your own processes may connect, "
      "and only\nthe browser that opened the printed address first is let in.\n"
      "The address has a name of this machine that nobody else knows; browsers find it "
      "without DNS.\n"
      "From another machine: ssh -L 8400:127.0.0.1:8400 HOST keyfold console --port "
      "8400\n"
      "Example:\n  keyfold console /srv/finance");
  console->callback([words, run] { *run = [words] { return RunConsole(*words); }; });
}

}  // namespace keyfold
