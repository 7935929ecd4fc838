// keyfold kms backup, keyfold kms restore.
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <memory>

#include "fs/backend/Backend.h"
#include "fs/cli/Commands.h"
#include "fs/cli/Harmless.h"
#include "fs/cli/Process.h"
#include "fs/cli/Report.h"
#include "fs/cli/RestoreStore.h"
#include "fs/cli/Store.h"
#include "fs/cli/Terminal.h"
#include "kms/crypto/Crypto.h"
#include "kms/service/Backup.h"

namespace keyfold {
namespace {

using nlohmann::json;

// FolderAndName splits a path that need not exist.
std::pair<std::string, std::string> FolderAndName(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {".", path};
  return {path.substr(0, slash + 1), path.substr(slash + 1)};
}

// A backup that needs the store to be read is none.
Status CheckOutside(const std::string& folder) {
  KF_ASSIGN_OR_RETURN(const std::string real, RealPath(folder));
  KF_ASSIGN_OR_RETURN(const auto mounts, KeyfoldMounts());
  bool inside = MountOf(mounts, real).has_value();
  for (const MountEntry& mount : mounts) inside = inside || IsInside(real, mount.store);
  if (inside)
    return {Error::kUsage,
            "The backup would lie in a Keyfold store or on its mount, and be lost with "
            "it. Name a place elsewhere, best on another disk."};
  return OkStatus();
}

// Publish gives the file `fresh` its name. kSystem/EEXIST if that is taken, unless
// `replace` is set.
Status Publish(int folder, const std::string& fresh, const std::string& name,
               bool replace) {
  if (::renameat2(folder, fresh.c_str(), folder, name.c_str(),
                  replace ? 0 : RENAME_NOREPLACE) == 0)
    return OkStatus();
  // Filesystems that cannot rename so, network ones among them, can link.
  if (errno == EINVAL &&
      ::linkat(folder, fresh.c_str(), folder, name.c_str(), 0) == 0 &&
      ::unlinkat(folder, fresh.c_str(), 0) == 0)
    return OkStatus();
  return Status::FromErrno(errno, name);
}

// WriteNew makes the file whole or not at all, of mode 0600. kSystem/EEXIST if there
// is one, unless `replace` is set.
Status WriteNew(const std::string& path, ByteView bytes, bool replace) {
  const auto [folder_name, name] = FolderAndName(path);
  const UniqueFd folder(
      ::open(folder_name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid()) return Status::FromErrno(errno, folder_name);
  const std::string fresh = name + ".new-" + ToHex(RandomBytes(4));
  KF_ASSIGN_OR_RETURN(const UniqueFd fd,
                      OpenAt(folder.get(), fresh, O_WRONLY | O_CREAT | O_EXCL, 0600));
  Status status = WriteAt(fd.get(), 0, bytes);
  if (status.ok() && ::fsync(fd.get()) != 0) status = Status::FromErrno(errno, path);
  if (status.ok()) status = Publish(folder.get(), fresh, name, replace);
  if (!status.ok()) {
    ::unlinkat(folder.get(), fresh.c_str(), 0);
    return status;
  }
  return SyncFolder(folder.get());
}

struct BackupWords {
  std::string file;
  bool replace = false;
};

Status Taken(const std::string& file) {
  return {Error::kUsage,
          file + " exists. Name a new file, or add --replace to overwrite it."};
}

int BackUp(const BackupWords& words, const TargetOptions& target) {
  const auto [folder, name] = FolderAndName(words.file);
  Status status = name.empty() ? Status(Error::kUsage, words.file + " names no file.")
                               : CheckOutside(folder);
  if (status.ok() && !words.replace && ::access(words.file.c_str(), F_OK) == 0)
    status = Taken(words.file);
  if (!status.ok()) return Fail(status);
  auto connection = Connect(target);
  if (!connection.ok()) return Fail(connection.status());
  const auto answer = (*connection)->Call("store", "BackupKeyStore", json::object());
  if (!answer.ok()) return FailCall("BackupKeyStore", answer.status());
  const auto bytes = FromBase64(answer->value("Backup", std::string()));
  if (!bytes) return Fail({Error::kInternal, "The daemon's answer is no backup."});
  status = DescribeBackup(*bytes).status();
  if (!status.ok()) return Fail(status);
  status = WriteNew(words.file, *bytes, words.replace);
  if (status.sys_errno() == EEXIST) status = Taken(words.file);
  if (!status.ok()) return Fail(status);
  status = Print("Backed up " + answer->value("Keys", json(0)).dump() + " keys to " +
                 words.file + ".\nIt opens with the store's root key alone: keep " +
                 "passphrase, key file or token apart from it.\n");
  return status.ok() ? 0 : Fail(status);
}

std::string ListOf(const std::string& title, const std::vector<std::string>& lines) {
  std::string text = lines.empty() ? "" : title + "\n";
  for (const std::string& line : lines) text += "  " + Harmless(line) + "\n";
  return text;
}

std::string Report(const RestoreRequest& request, const RestoredStore& restored) {
  const Restored& keys = restored.keys;
  std::string text = request.check_only ? "The backup is good: " : "Restored: ";
  text += std::to_string(keys.keys) + " keys of " + keys.created + ".\n";
  if (!restored.kept.empty())
    text += "The former key store is kept as " + restored.kept + ".\n";
  text += ListOf("The audit log tells of these changes since; they were made again:",
                 keys.replayed.done);
  text += ListOf("And of these, which could not be:", keys.replayed.open);
  if (request.new_audit_log)
    text +=
        "A new audit log begins. Nothing tells what happened after the backup: "
        "look for keys that were disabled, deleted or taken from somebody since.\n";
  return text;
}

int Restore(const RestoreRequest& request) {
  Harden();
  const auto restored = RestoreStore(request, AskPassphrase);
  if (!restored.ok()) return Fail(restored.status());
  return PrintOrFail(Report(request, *restored));
}

}  // namespace

void AddBackup(CLI::App* kms, std::shared_ptr<const TargetOptions> target, Run* run) {
  const auto words = std::make_shared<BackupWords>();
  CLI::App* backup =
      kms->add_subcommand("backup", "Writes the key store, sealed, to a new file");
  backup->fallthrough();
  backup->add_option("file", words->file, "The file to make")
      ->required()
      ->type_name("FILE");
  backup->add_flag("--replace", words->replace, "Overwrite the file if it exists");
  backup->footer(
      "Example:\n  keyfold kms backup /media/usb/finance.keys\n"
      "It needs the right store:BackupKeyStore. Files are not in it.");
  backup->callback([words, target, run] {
    *run = [words, target] { return BackUp(*words, *target); };
  });

  const auto request = std::make_shared<RestoreRequest>();
  CLI::App* restore = kms->add_subcommand(
      "restore", "Puts a backup of the key store in place of what a store has");
  restore->fallthrough();
  restore->add_option("file", request->file, "What keyfold kms backup made")
      ->required()
      ->type_name("FILE");
  restore->add_option("store", request->store, "The store's folder, not mounted")
      ->required()
      ->type_name("STORE");
  restore->add_flag("--check", request->check_only,
                    "Only verify, and show what would come of it");
  restore->add_flag("--new-audit-log", request->new_audit_log,
                    "The audit log is lost: begin a new one, and keep what is there");
  restore->footer(
      "Example:\n  keyfold kms restore /media/usb/finance.keys /srv/keyfold/finance\n"
      "The former key store is kept beside. What the audit log tells of later changes\n"
      "is done again or listed. --root-key may name another place of the secret.");
  restore->callback([request, target, run] {
    *run = [request, target] {
      request->root_key = target->root_key;
      return Restore(*request);
    };
  });
}

}  // namespace keyfold
