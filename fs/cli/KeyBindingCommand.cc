#include <sys/stat.h>
#include <sys/xattr.h>

#include <cerrno>
#include <memory>

#include "fs/cli/Commands.h"
#include "fs/cli/Reencrypt.h"
#include "fs/cli/Report.h"
#include "fs/cli/Store.h"

namespace keyfold {
namespace {

using nlohmann::json;

constexpr char kKeyXattr[] = "user.keyfold.key";
constexpr char kKeyIdXattr[] = "user.keyfold.key-id";
constexpr char kFolderIdXattr[] = "user.keyfold.folder-id";

struct BindingWords {
  bool folder = false;  // of a folder, else of a file
  std::string path, key;
  bool reencrypt = false;
  std::string format = "text";
};

struct Object {
  std::string path;  // resolved
  MountEntry mount;
};

Result<Object> Find(const BindingWords& words) {
  KF_ASSIGN_OR_RETURN(const std::string path, RealPath(words.path));
  struct stat st;
  if (::stat(path.c_str(), &st) != 0) return Status::FromErrno(errno, words.path);
  if (words.folder && !S_ISDIR(st.st_mode))
    return Status(Error::kUsage, words.path + " is not a folder. Use: keyfold file");
  if (!words.folder && !S_ISREG(st.st_mode))
    return Status(Error::kUsage,
                  words.path + " is not a regular file." +
                      (S_ISDIR(st.st_mode) ? " Use: keyfold folder" : ""));
  KF_ASSIGN_OR_RETURN(const auto mounts, KeyfoldMounts());
  const auto mount = MountOf(mounts, path);
  if (!mount)
    return Status(Error::kUsage,
                  words.path + " is not on a Keyfold mount. See: keyfold status");
  return Object{path, *mount};
}

Result<std::string> Attribute(const std::string& path, const char* name) {
  char value[512];
  const ssize_t size = ::getxattr(path.c_str(), name, value, sizeof value);
  if (size < 0) return Status::FromErrno(errno, path);
  return std::string(value, static_cast<size_t>(size));
}

// Judge is the refusal of the first action on `key` that the caller may not do,
// or the failure to find that out.
Status Judge(Connection& connection, const std::string& key) {
  for (const char* action : {"kms:Decrypt", "kms:GenerateDataKey"}) {
    const auto answer = connection.Call(
        "iam", "Simulate",
        {{"Action", action}, {"KeyId", key}, {"ViaService", "fs.keyfold"}});
    if (!answer.ok()) return answer.status();
    if (answer->value("Decision", "") == "allowed") continue;
    const std::string who =
        answer->value("Principal", json::object()).value("UserName", "you");
    const std::string reason = answer->value("Reason", "");
    return {Error::kAccessDenied,
            who + " may not " + action + " with " + key +
                (reason.empty() ? "" : " (" + reason + ")") +
                ". See: keyfold iam simulate --via fs.keyfold --action " + action +
                " --key " + key};
  }
  return OkStatus();
}

// Explain finds out why the mount said EACCES or ENOKEY.
Status Explain(const Object& object, const std::string& key, int error) {
  if (error == EPERM)
    return {Error::kAccessDenied,
            object.path + " belongs to another user. Only its owner may set its key."};
  auto connection = ConnectTo(object.mount);
  if (!connection.ok() || (error != EACCES && error != ENOKEY))
    return Status::FromErrno(error, object.path);
  std::vector<std::string> keys = {key};
  const auto current = Attribute(object.path, kKeyIdXattr);
  if (current.ok()) keys.push_back(*current);
  if (error == ENOKEY) {
    for (const std::string& one : keys) {
      const auto found = (*connection)->Call("kms", "DescribeKey", {{"KeyId", one}});
      if (!found.ok()) return found.status();
      const std::string state =
          found->value("KeyMetadata", json::object()).value("KeyState", "");
      if (state != "Enabled") return {Error::kInvalidState, one + " is " + state + "."};
    }
    return Status::FromErrno(error, object.path);
  }
  for (const std::string& one : keys) KF_RETURN_IF_ERROR(Judge(**connection, one));
  return {Error::kAccessDenied,
          "You may not write to " + object.path + ". See its mode bits: ls -ld"};
}

Status SetKey(const BindingWords& words) {
  KF_ASSIGN_OR_RETURN(const Object object, Find(words));
  if (words.reencrypt) {
    const Status status = Reencrypt(object.path, words.key);
    const int error = status.sys_errno();
    return error == EACCES || error == EPERM || error == ENOKEY
               ? Explain(object, words.key, error)
               : status;
  }
  if (::setxattr(object.path.c_str(), kKeyXattr, words.key.data(), words.key.size(),
                 0) != 0)
    return Explain(object, words.key, errno);
  return OkStatus();
}

Result<std::string> ShowKey(const BindingWords& words) {
  KF_ASSIGN_OR_RETURN(const Object object, Find(words));
  KF_ASSIGN_OR_RETURN(const std::string key, Attribute(object.path, kKeyXattr));
  KF_ASSIGN_OR_RETURN(const std::string id, Attribute(object.path, kKeyIdXattr));
  json answer = {{"Path", object.path}, {"Key", key}, {"KeyId", id}};
  if (words.folder) {
    KF_ASSIGN_OR_RETURN(answer["FolderId"], Attribute(object.path, kFolderIdXattr));
  }
  if (words.format == "json") return Render(answer, {});
  std::vector<std::vector<std::string>> rows = {
      {"path", object.path}, {"key", key}, {"key id", id}};
  if (words.folder) rows.push_back({"folder id", answer["FolderId"]});
  return Columns(rows);
}

void AddVerbs(CLI::App* group, const std::shared_ptr<BindingWords>& words, Run* run,
              const std::string& example) {
  group->require_subcommand(1);
  const char* type = words->folder ? "FOLDER" : "FILE";
  CLI::App* set = group->add_subcommand(
      "set-key", words->folder
                     ? "Puts the files made in a folder from now on under a key"
                     : "Wraps a file's data key under another key");
  set->add_option("path", words->path, "On a mount")->required()->type_name(type);
  set->add_option("key", words->key, "Key id, ARN or alias")
      ->required()
      ->type_name("KEY");
  if (!words->folder)
    set->add_flag("--reencrypt", words->reencrypt,
                  "Also encrypt the contents anew, under a new data key");
  set->footer((words->folder ? "Files that are in the folder already stay under their "
                               "key: keyfold file set-key changes\nthat of one.\n"
                             : "Who could read it before may have kept its data key: "
                               "use --reencrypt to keep them out for\ngood.\n") +
              ("Example:\n  " + example));
  set->callback([words, run] {
    *run = [words] {
      const Status status = SetKey(*words);
      return status.ok() ? 0 : Fail(status);
    };
  });
  group->footer("Example:\n  " + example);
  CLI::App* show = group->add_subcommand("show", "Shows which key it is under");
  show->footer("Example:\n  keyfold " + group->get_name() + " show " +
               (words->folder ? "/srv/finance/reports" : "/srv/finance/payslip.pdf"));
  show->add_option("path", words->path, "On a mount")->required()->type_name(type);
  AddOutputOption(show, &words->format);
  show->callback([words, run] {
    *run = [words] {
      const auto text = ShowKey(*words);
      if (!text.ok()) return Fail(text.status());
      const Status printed = Print(*text);
      return printed.ok() ? 0 : Fail(printed);
    };
  });
}

}  // namespace

void AddKeyBinding(CLI::App& app, Run* run) {
  const auto folder = std::make_shared<BindingWords>();
  folder->folder = true;
  AddVerbs(app.add_subcommand("folder", "The key of a folder"), folder, run,
           "keyfold folder set-key /srv/finance/reports alias/cfo");
  AddVerbs(app.add_subcommand("file", "The key of a file"),
           std::make_shared<BindingWords>(), run,
           "keyfold file set-key /srv/finance/payslip.pdf alias/aws/fs");
}

}  // namespace keyfold
