// keyfold import: a plain tree into a folder of a mount.
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>

#include "fs/cli/KeyAttributes.h"
#include "fs/cli/Report.h"
#include "fs/cli/Store.h"
#include "fs/cli/TreeCopyCommand.h"
#include "kms/service/Kms.h"

namespace keyfold {
namespace {

Status CheckSource(const TreeCopyOptions& options, const TreeCopyJob& job) {
  struct stat from, to;
  if (::stat(job.from.c_str(), &from) != 0)
    return Status::FromErrno(errno, options.from);
  if (::fstat(job.to_folder.get(), &to) != 0)
    return Status::FromErrno(errno, options.to);
  if (!S_ISDIR(from.st_mode) && !S_ISREG(from.st_mode))
    return {Error::kUsage, options.from + " is neither a folder nor a regular file."};
  const bool comes_by = from.st_dev == to.st_dev || options.cross;
  if (IsInside(job.to, job.from) && comes_by)
    return {Error::kUsage, options.to + " lies in " + options.from + " itself."};
  return CheckOutsideStores(job.from, options.from);
}

// CheckOnMount: the folder is still the mount's that was found by its name. Else what
// is to be encrypted might be written in plain.
Status CheckOnMount(const TreeCopyOptions& options, const TreeCopyJob& job) {
  struct stat st;
  if (::fstat(job.to_folder.get(), &st) != 0)
    return Status::FromErrno(errno, options.to);
  if (st.st_dev == job.mount.device) return OkStatus();
  return {Error::kUsage, options.to + " is not on a Keyfold mount any more."};
}

Result<TreeCopyJob> Find(const TreeCopyOptions& options) {
  TreeCopyJob job;
  KF_ASSIGN_OR_RETURN(job.from, RealPath(options.from));
  auto to = RealPath(options.to);
  if (to.status().sys_errno() == ENOENT)
    return Status(Error::kUsage,
                  options.to +
                      " does not exist. Make it, and say which key locks "
                      "it: mkdir; keyfold folder set-key");
  KF_ASSIGN_OR_RETURN(job.to, std::move(to));
  KF_ASSIGN_OR_RETURN(job.to_folder, OpenDestination(job.to, options.to));
  KF_ASSIGN_OR_RETURN(const auto mounts, KeyfoldMounts());
  KF_ASSIGN_OR_RETURN(job.mount, MountHolding(mounts, job.to, options.to));
  KF_RETURN_IF_ERROR(CheckOnMount(options, job));
  KF_RETURN_IF_ERROR(CheckSource(options, job));
  // What is written is read back.
  job.actions = {"kms:GenerateDataKey"};
  if (!options.no_read_back) job.actions.push_back("kms:Decrypt");
  job.words = {"Imported", "Would be imported"};
  return job;
}

int RunImport(const TreeCopyOptions& options) {
  auto job = Find(options);
  if (!job.ok()) return Fail(job.status());
  if (const auto key = KeyLabelOf(FdPath(job->to_folder.get())); key.ok())
    std::fprintf(
        stderr, "keyfold: %s is locked by %s%s.\n", options.to.c_str(), key->c_str(),
        *key == kServiceKeyAlias ? ", so its modes alone decide who reads it" : "");
  return RunTreeCopy(options, *std::move(job));
}

}  // namespace

void AddImport(CLI::App& app, Run* run) {
  const auto options = std::make_shared<TreeCopyOptions>();
  CLI::App* import =
      app.add_subcommand("import", "Brings a plain tree into a folder of a mount");
  import
      ->add_option("source", options->from,
                   "What is in this folder comes into FOLDER; or one file")
      ->required()
      ->type_name("SOURCE");
  import->add_option("folder", options->to, "A folder on a mount")
      ->required()
      ->type_name("FOLDER");
  AddTreeCopyOptions(import, options.get());
  import->footer(
      "Example:\n"
      "  mkdir /srv/finance/reports\n"
      "  keyfold folder set-key /srv/finance/reports alias/cfo\n"
      "  keyfold import ~/reports /srv/finance/reports --dry-run\n"
      "  keyfold import ~/reports /srv/finance/reports --rate-limit 50M\n\n"
      "SOURCE may be any folder: of a disk, or of a mounted gocryptfs, EncFS or "
      "CryFS.\n"
      "It is only read. What is in it is encrypted under the keys of FOLDER and of "
      "the\n"
      "folders that are in FOLDER already. It is done as you, so you need the use of\n"
      "those keys. Modes, times, holes, symbolic and hard links, user attributes and\n"
      "access control lists are kept; owners too, if you are root. What could not be\n"
      "kept is told at the end.\n\n"
      "A file gets its name when it is whole: synced, then read back past the "
      "kernel's\n"
      "cache, decrypted, and found to be what was read from SOURCE. That shows that "
      "the\n"
      "mount took what it was given, and gives it back to you. It does not show that "
      "it\n"
      "is on the disk by now: it was synced, but what is read back may come from the\n"
      "machine's memory. After the machine was started anew, --compare or keyfold "
      "fsck\n"
      "read the disk. It shows nothing of\n"
      "whether SOURCE was right, and nothing of a disk that fails later. A file that\n"
      "changes while it is read is named, and not copied; changes behind it in the\n"
      "walk are not noticed, so let nobody write to SOURCE, or run it again.\n\n"
      "Cut off or killed, the same command does what is left. Files that are there "
      "with\n"
      "the same size and time are left alone (--compare reads them), and what differs\n"
      "is named and not replaced (--overwrite). Another owner or mode is told; "
      "--compare\n"
      "mends it. What lies on other filesystems, went away meanwhile or is another "
      "name\n"
      "of a file that was not copied is left out and named, and the exit code is 8.\n"
      "Several imports into one folder at once do not disturb each other. Interrupted\n"
      "twice, it ends as if it were killed, and waits for no filesystem itself.\n\n"
      "SOURCE stays, in plain: delete it yourself. What was deleted can often be "
      "found\n"
      "on the disk again; only a disk that was encrypted itself forgets it for sure.");
  import->callback(
      [options, run] { *run = [options] { return RunImport(*options);
};
}  // namespace keyfold
);
}

}  // namespace keyfold
