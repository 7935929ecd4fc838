#include <linux/magic.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "fs/cli/Commands.h"
#include "fs/cli/Figures.h"
#include "fs/cli/Harmless.h"
#include "fs/cli/MountNamespace.h"
#include "fs/cli/Process.h"
#include "fs/cli/Report.h"
#include "fs/cli/Serve.h"
#include "fs/cli/Store.h"
#include "fs/cli/Times.h"

namespace keyfold {
namespace {

struct MountWords {
  std::string store, mountpoint;
  std::vector<std::string> options;
  MountFlags named;  // options with names of their own, which win over -o
  bool foreground = false;
  // What mount(8) gives to its helpers: mount.TYPE SPEC DIR [-sfnv] [-o OPTIONS].
  bool fake = false, sloppy = false, no_mtab = false, verbose = false;
  std::string type, name_space;
};

Status CheckListening(const MountFlags& flags) {
  if (flags.tls_certificate.empty() != flags.tls_key.empty())
    return {Error::kUsage,
            "TLS needs a certificate and its key. Give both --kms-tls-certificate and "
            "--kms-tls-key."};
  if (!flags.tls_key.empty() && flags.kms_listen.empty())
    return {Error::kUsage, "TLS is for the endpoint. Give --kms-listen too."};
  if (!flags.metrics_user.empty() && flags.metrics_listen.empty())
    return {Error::kUsage,
            "--metrics-user says who may read metrics. Give --metrics-listen too."};
  return OkStatus();
}

// Of libfuse, the process that mounts is the one that has it unmounted.
Status CheckNamespace(const MountFlags& flags) {
  if (!flags.mount_namespace.empty() &&
      std::count(flags.fuse.begin(), flags.fuse.end(), "auto_unmount") > 0)
    return {Error::kUsage, "auto_unmount does not go with --mount-namespace."};
  return OkStatus();
}

Result<std::vector<uid_t>> ParseMetricsUser(const std::string& name) {
  if (name.empty()) return std::vector<uid_t>();
  const passwd* user = ::getpwnam(name.c_str());
  if (user == nullptr)
    return Status(Error::kUsage, "--metrics-user: there is no user \"" + name + "\".");
  return std::vector<uid_t>{user->pw_uid};
}

// ParseLogSize reads "500M": a number of bytes, or of KiB, MiB, GiB.
Result<uint64_t> ParseLogSize(const std::string& text) {
  constexpr uint64_t kLeast = 1 << 20, kMost = uint64_t{1} << 40;
  const auto size = ParseSize(text);
  if (!size || *size > kMost || *size < kLeast)
    return Status(Error::kUsage,
                  "--audit-log-size expects a size such as 64M, 1M to 1024G.");
  return *size;
}

Result<std::chrono::seconds> ParseGrace(const std::string& text) {
  constexpr unsigned kMost = 86400;
  unsigned seconds = 0;
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, seconds);
  if (parsed.ec != std::errc() || parsed.ptr != end || seconds > kMost)
    return Status(Error::kUsage,
                  "--root-key-grace expects a number of seconds, 0 to 86400.");
  return std::chrono::seconds(seconds);
}

Result<AlertDelivery::Commands> ParseAlertCommands(const std::string& text) {
  if (text == "no") return AlertDelivery::Commands::kNone;
  if (text == "applied") return AlertDelivery::Commands::kApplied;
  if (text == "stored") return AlertDelivery::Commands::kStored;
  return Status(Error::kUsage,
                "--alert-commands expects no, applied or stored: of rules that were "
                "applied since the store was mounted, or also of those found in it.");
}

Result<bool> ParseConfine(const std::string& text) {
  if (text == "on" || text == "off") return text == "on";
  return Status(Error::kUsage, "confine expects on or off.");
}

Result<std::chrono::seconds> ParseIdleTimeout(const std::string& text) {
  const auto span = ParseSpan(text);
  if (!span || span->count() == 0)
    return Status(Error::kUsage,
                  "--idle-timeout expects a time such as 90s, 10m or 2h.");
  return *span;
}

// Whole paths, as the daemon leaves the folder it was started in. Links in them are
// followed with each use, which is how certificates are renewed.
void NameInFull(std::string* path) {
  std::error_code error;
  if (!path->empty()) *path = std::filesystem::absolute(*path, error);
}

// FindMountpoint resolves what the user named, and checks it. It is done where it is to
// be mounted.
Result<std::string> FindMountpoint(const std::string& named, ServeOptions options) {
  auto mountpoint = RealPath(named);
  if (mountpoint.status().sys_errno() == ENOTCONN)
    return Status(
        Error::kLocked,
        named + " is the mount of a daemon that died. Run: keyfold unmount " + named);
  if (mountpoint.status().sys_errno() == ENOENT)
    return Status(Error::kUsage,
                  named + " does not exist. Make the folder first: mkdir " + named);
  if (!mountpoint.ok()) return mountpoint.status();
  options.mountpoint = *mountpoint;
  KF_RETURN_IF_ERROR(CheckMountpoint(options));
  return mountpoint;
}

Result<ServeOptions> OptionsOf(const MountWords& words) {
  ServeOptions options;
  std::string list;
  for (const std::string& word : words.options) list += word + ",";
  KF_ASSIGN_OR_RETURN(options.flags, ParseMountFlags(list, words.sloppy));
  for (const auto value :
       {&MountFlags::root_key, &MountFlags::kms_listen, &MountFlags::tls_certificate,
        &MountFlags::tls_key, &MountFlags::metrics_listen, &MountFlags::metrics_user,
        &MountFlags::audit_log_size, &MountFlags::root_key_grace,
        &MountFlags::alert_commands, &MountFlags::idle_timeout,
        &MountFlags::mount_namespace})
    if (!(words.named.*value).empty()) options.flags.*value = words.named.*value;
  KF_RETURN_IF_ERROR(CheckListening(options.flags));
  KF_RETURN_IF_ERROR(CheckNamespace(options.flags));
  NameInFull(&options.flags.tls_certificate);
  NameInFull(&options.flags.tls_key);
  KF_ASSIGN_OR_RETURN(options.metrics_users,
                      ParseMetricsUser(options.flags.metrics_user));
  if (!options.flags.audit_log_size.empty()) {
    KF_ASSIGN_OR_RETURN(options.audit_log_size,
                        ParseLogSize(options.flags.audit_log_size));
  }
  if (!options.flags.root_key_grace.empty()) {
    KF_ASSIGN_OR_RETURN(options.root_key_grace,
                        ParseGrace(options.flags.root_key_grace));
  }
  if (!options.flags.alert_commands.empty()) {
    KF_ASSIGN_OR_RETURN(options.alert_commands,
                        ParseAlertCommands(options.flags.alert_commands));
  }
  if (!options.flags.confine.empty()) {
    KF_ASSIGN_OR_RETURN(options.confine, ParseConfine(options.flags.confine));
  }
  if (!options.flags.idle_timeout.empty()) {
    KF_ASSIGN_OR_RETURN(options.idle_timeout,
                        ParseIdleTimeout(options.flags.idle_timeout));
  }
  options.foreground = words.foreground;
  // Said before anything about the mountpoint: it is the commoner mistake.
  KF_RETURN_IF_ERROR(ReadStoreConfig(words.store).status());
  KF_ASSIGN_OR_RETURN(options.store, RealPath(words.store));
  std::string named = words.mountpoint;
  NameInFull(&options.flags.mount_namespace);
  if (!options.flags.mount_namespace.empty()) NameInFull(&named);
  KF_ASSIGN_OR_RETURN(
      options.mountpoint,
      InMountNamespace(options.flags.mount_namespace,
                       [&options, &named] { return FindMountpoint(named, options); }));
  return options;
}

// Such a store takes what programs of its time do not know, and they would not notice.
void TellOlderFormat(const std::string& store) {
  const auto config = ReadStoreConfig(store);
  if (config.ok() && config->format < kStoreFormat)
    std::fprintf(
        stderr,
        "keyfold: %s is of format %d; the newest is %d. To have older programs "
        "refuse it: keyfold upgrade\n",
        Harmless(store).c_str(), config->format, kStoreFormat);
}

// A mount that goes by itself leaves the folder under it behind. One that systemd's
// automount watches brings the mount back; into another, files would go in plain text.
Result<std::string> TellBareFolder(const ServeOptions& options) {
  constexpr mode_t kWritable = 0222;
  struct stat st;
  struct statfs fs;
  // A user's own mounts need a folder that the user can write to.
  if (options.idle_timeout.count() == 0 || ::geteuid() != 0 ||
      ::stat(options.mountpoint.c_str(), &st) != 0 ||
      ::statfs(options.mountpoint.c_str(), &fs) != 0 ||
      fs.f_type == AUTOFS_SUPER_MAGIC || (st.st_mode & kWritable) == 0)
    return std::string();
  const std::string name = Harmless(options.mountpoint);
  std::fprintf(
      stderr,
      "keyfold: when the mount went for being idle, what is written to %s lies on the "
      "disk in plain text. Once, while nothing is mounted there: chmod a-w %s\n",
      name.c_str(), name.c_str());
  return std::string();
}

// Answers asks the mount for something that takes the daemon.
Result<std::string> Answers(const ServeOptions& options) {
  struct statvfs st;
  if (::statvfs(options.mountpoint.c_str(), &st) != 0)
    return Status::FromErrno(errno,
                             "the mount on " + options.mountpoint + " does not answer");
  return std::string();
}

int Mount(const MountWords& words) {
  CloseInherited();
  const auto options = OptionsOf(words);
  if (!options.ok()) return Fail(options.status());
  if (words.fake) return 0;
  TellOlderFormat(options->store);
  const std::string& name_space = options->flags.mount_namespace;
  (void)InMountNamespace(name_space, [&] { return TellBareFolder(*options); });
  if (words.foreground) return Serve(*options, [] {});
  const int code =
      RunInBackground([&](const auto& ready) { return Serve(*options, ready); });
  if (code != 0) return code;
  const auto answer = InMountNamespace(name_space, [&] { return Answers(*options); });
  return answer.ok() ? 0 : Fail(answer.status());
}

void AddCommon(CLI::App* app, const std::shared_ptr<MountWords>& words) {
  app->add_option("store", words->store, "The store")->required()->type_name("STORE");
  app->add_option("mountpoint", words->mountpoint, "An empty folder")
      ->required()
      ->type_name("MOUNTPOINT");
  app->add_option(
         "-o", words->options,
         "Options with commas between: ro, noatime, nosuid, nodev, noexec, "
         "nonempty, and those of mount(8) and fstab; what the options of keyfold mount "
         "take, by the same names: " +
             MountFlagsWithValues() +
             " (confine=off: no filter of system calls, to look for trouble)")
      ->type_name("OPTIONS")
      ->expected(1)
      ->take_all();
}

}  // namespace

void AddMount(CLI::App& app, Run* run) {
  const auto words = std::make_shared<MountWords>();
  CLI::App* mount = app.add_subcommand("mount", "Shows a store as a folder");
  AddCommon(mount, words);
  mount->add_flag("-f,--foreground", words->foreground, "Stay in the foreground");
  mount
      ->add_option("--root-key", words->named.root_key,
                   "Where the secret is, if not as with keyfold init: passphrase, "
                   "passphrase-file:FILE, file:FILE, pkcs11:URI or tpm2:...")
      ->type_name("SPEC");
  mount
      ->add_option("--kms-listen", words->named.kms_listen,
                   "Also answer AWS's KMS clients at http://HOST:PORT of this machine; "
                   "they sign with access keys (keyfold iam create-access-key)")
      ->type_name("127.0.0.1:PORT");
  mount
      ->add_option("--kms-tls-certificate", words->named.tls_certificate,
                   "Speak TLS there, with this certificate and its chain (PEM)")
      ->type_name("FILE");
  mount
      ->add_option("--kms-tls-key", words->named.tls_key, "The certificate's key (PEM)")
      ->type_name("FILE");
  mount
      ->add_option("--metrics-listen", words->named.metrics_listen,
                   "Answer Prometheus at http://HOST:PORT/metrics of this machine: "
                   "counts and key ids, to root and who owns the store")
      ->type_name("127.0.0.1:PORT");
  mount
      ->add_option("--metrics-user", words->named.metrics_user,
                   "Who else may read metrics: the user Prometheus runs as")
      ->type_name("NAME");
  mount
      ->add_option("--audit-log-size", words->named.audit_log_size,
                   "At which size audit.log becomes an archive; 64M if not given")
      ->type_name("SIZE");
  mount
      ->add_option("--root-key-grace", words->named.root_key_grace,
                   "How long open files can be used when the token or TPM of the root "
                   "key is gone; 60 if not given")
      ->type_name("SECONDS");
  mount
      ->add_option("--alert-commands", words->named.alert_commands,
                   "Whether alerts run commands: no, applied (of rules applied since "
                   "the store was mounted; the default), or stored (also of those "
                   "found in the store: only if they are yours)")
      ->type_name("WHICH");
  mount
      ->add_option("--idle-timeout", words->named.idle_timeout,
                   "Unmount when no file was open, and nothing asked of the mount or "
                   "its KMS, for that long: 90s, 10m, 2h")
      ->type_name("SPAN");
  mount
      ->add_option("--mount-namespace", words->named.mount_namespace,
                   "Mount where the processes of another mount namespace see it, for a "
                   "daemon that runs in one of its own: /proc/1/ns/mnt. The store and "
                   "all else is looked for in its own. Root only")
      ->type_name("FILE");
  mount->footer(
      "Returns once the mount answers. SIGHUP has the daemon read the TLS certificate "
      "and key\nanew; those that can't be used leave the former in use, and the log "
      "and "
      "the audit log\n(ReloadSettings) say why.\n"
      "Example:\n  keyfold mount /srv/keyfold/finance /srv/finance -o noatime");
  mount->callback([words, run] { *run = [words] { return Mount(*words); }; });
}

void AddMountHelper(CLI::App& app, Run* run) {
  const auto words = std::make_shared<MountWords>();
  AddCommon(&app, words);
  app.add_flag("-f", words->fake, "Do everything but mount");
  app.add_flag("-s", words->sloppy, "Accept unknown options");
  app.add_flag("-n", words->no_mtab, "Ignored");
  app.add_flag("-v", words->verbose, "Ignored");
  app.add_option("-t", words->type, "Ignored");
  app.add_option("-N", words->name_space, "Ignored");
  app.callback([words, run] { *run = [words] { return Mount(*words); }; });
}

}  // namespace keyfold
