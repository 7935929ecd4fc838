// keyfold export: what is in a folder of a mount, in plain, to another place.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "fs/cli/CopyObject.h"
#include "fs/cli/Report.h"
#include "fs/cli/Store.h"
#include "fs/cli/TreeCopyCommand.h"

namespace keyfold {
namespace {

struct ExportOptions : TreeCopyOptions {
  bool force = false;
};

constexpr mode_t kOwnersAlone = 0700, kOfOthers = 077;

// ResolveNew resolves a path whose last name need not exist.
Result<std::string> ResolveNew(std::string given) {
  auto whole = RealPath(given);
  if (whole.status().sys_errno() != ENOENT) return whole;
  while (given.size() > 1 && given.back() == '/') given.pop_back();
  const size_t slash = given.rfind('/');
  const std::string parent = slash == std::string::npos ? "."
                             : slash == 0               ? "/"
                                                        : given.substr(0, slash);
  KF_ASSIGN_OR_RETURN(const std::string folder, RealPath(parent));
  return (folder == "/" ? "" : folder) + "/" + given.substr(slash + 1);
}

// CheckPlace: nothing is to be made there otherwise.
Status CheckPlace(const ExportOptions& options, const TreeCopyJob& job) {
  if (IsInside(job.to, job.from))
    return {Error::kUsage, options.to + " lies in " + options.from + " itself."};
  KF_RETURN_IF_ERROR(CheckOutsideStores(job.to, options.to));
  if (IsInside(job.to, job.mount.mountpoint) && !options.force)
    return {Error::kUsage, options.to +
                               " lies on the same mount, so nothing would be exported. "
                               "Use cp, or --force"};
  return OkStatus();
}

// OpenOrMake opens the destination; in a dry run it may be invalid: there is none.
Result<UniqueFd> OpenOrMake(const ExportOptions& options, const TreeCopyJob& job) {
  auto folder = OpenDestination(job.to, options.to);
  if (folder.status().sys_errno() != ENOENT) return folder;
  if (options.dry_run) return UniqueFd();
  KF_ASSIGN_OR_RETURN(const UniqueFd in, OpenDestination(ParentOf(job.to), options.to));
  if (::mkdirat(in.get(), BaseOf(job.to).c_str(), kOwnersAlone) != 0 && errno != EEXIST)
    return Status::FromErrno(errno, options.to);
  return OpenDestination(job.to, options.to);
}

// CheckDestination: nobody else is to get what is exported by its modes.
Status CheckDestination(const ExportOptions& options, const TreeCopyJob& job) {
  if (!job.to_folder.valid() || options.force) return OkStatus();
  struct stat st;
  if (::fstat(job.to_folder.get(), &st) != 0)
    return Status::FromErrno(errno, options.to);
  if (st.st_uid != ::geteuid())
    return {Error::kUsage, options.to +
                               " belongs to another user, who would get what is "
                               "exported. Name another folder, or use --force"};
  if ((st.st_mode & kOfOthers) != 0)
    return {Error::kUsage, options.to + " is open to others. Run: chmod 700 " +
                               options.to + ", or use --force"};
  return OkStatus();
}

Result<TreeCopyJob> Find(const ExportOptions& options) {
  TreeCopyJob job;
  KF_ASSIGN_OR_RETURN(job.from, RealPath(options.from));
  KF_ASSIGN_OR_RETURN(const auto mounts, KeyfoldMounts());
  KF_ASSIGN_OR_RETURN(job.mount, MountHolding(mounts, job.from, options.from));
  struct stat st;
  if (::stat(job.from.c_str(), &st) != 0) return Status::FromErrno(errno, options.from);
  if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
    return Status(Error::kUsage,
                  options.from + " is neither a folder nor a regular file.");
  KF_ASSIGN_OR_RETURN(job.to, ResolveNew(options.to));
  KF_RETURN_IF_ERROR(CheckPlace(options, job));
  KF_ASSIGN_OR_RETURN(job.to_folder, OpenOrMake(options, job));
  KF_RETURN_IF_ERROR(CheckDestination(options, job));
  job.actions = {"kms:Decrypt"};
  job.words = {"Exported", "Would be exported"};
  return job;
}

int RunExport(const ExportOptions& options) {
  ::umask(kOfOthers);
  auto job = Find(options);
  if (!job.ok()) return Fail(job.status());
  std::fprintf(
      stderr,
      "keyfold: What is exported is plaintext. No key guards it in %s, only its "
      "modes do.\n",
      options.to.c_str());
  return RunTreeCopy(options, *std::move(job));
}

}  // namespace

void AddExport(CLI::App& app, Run* run) {
  const auto options = std::make_shared<ExportOptions>();
  options->keep_permissions = false;
  CLI::App* command = app.add_subcommand(
      "export", "Brings what is in a folder of a mount out of it, in plain");
  command->add_option("folder", options->from, "A folder on a mount, or one file")
      ->required()
      ->type_name("FOLDER");
  command
      ->add_option("destination", options->to,
                   "The folder it comes into; made for you alone if there is none")
      ->required()
      ->type_name("DESTINATION");
  command->add_flag("--keep-modes", options->keep_permissions,
                    "Also what modes and access control lists let group and others do");
  command->add_flag(
      "--force", options->force,
      "Also into a folder of another user's, one that others can enter, or "
      "one of the same mount");
  AddTreeCopyOptions(command, options.get());
  command->footer(
      "Example:\n"
      "  keyfold export /srv/finance/reports ~/reports-2026 --dry-run\n"
      "  keyfold export /srv/finance/reports ~/reports-2026\n\n"
      "What is exported is plaintext: no key guards it any more, nobody can take it "
      "back\n"
      "by disabling a key, and who reads it is on no record. On the mount a mode such "
      "as\n"
      "0644 is harmless, as the key decides; so group and others get no permissions "
      "in\n"
      "DESTINATION unless you say --keep-modes.\n\n"
      "It is done as you: each file that is opened is on record with your name "
      "(keyfold\n"
      "audit), and files whose keys refuse you are named, with the reason; the rest "
      "is\n"
      "done, and the exit code tells. Each copy is read back and compared, and gets "
      "its\n"
      "name then, as with keyfold import. Cut off, the same command does what is "
      "left.\n"
      "What lies on other filesystems, went away meanwhile or is another name of a "
      "file\n"
      "that was not copied is left out and named, and the exit code is 8.");
  command->callback(
      [options, run] { *run = [options] { return RunExport(*options); }; });
}

}  // namespace keyfold
