#include <sys/stat.h>

#include <cerrno>
#include <memory>

#include "fs/cli/Commands.h"
#include "fs/cli/Figures.h"
#include "fs/cli/Harmless.h"
#include "fs/cli/KeyAttributes.h"
#include "fs/cli/KeyRefusal.h"
#include "fs/cli/KeySpeed.h"
#include "fs/cli/Rekey.h"
#include "fs/cli/RekeyCommand.h"
#include "fs/cli/Report.h"
#include "fs/cli/Store.h"

namespace keyfold {
namespace {

using nlohmann::json;

struct BindingWords {
  bool folder = false;  // of a folder, else of a file
  std::string path, key;
  bool reencrypt = false, rekey = false;
  std::string rate_limit;
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
  KF_ASSIGN_OR_RETURN(MountEntry mount, MountHolding(mounts, path, words.path));
  return Object{path, std::move(mount)};
}

// Refused is why the mount said no.
Status Refused(const Object& object, const std::string& key, const Status& why) {
  const auto current = KeyIdOf(object.path);
  return ExplainRefusal(object.mount, object.path, key,
                        current.ok() ? *current : std::string(), why);
}

int RekeyBelow(const BindingWords& words) {
  RekeyOptions options;
  options.paths = {words.path};
  options.key = words.key;
  options.reencrypt = words.reencrypt;
  options.rate_limit = words.rate_limit;
  return RunRekey(options);
}

// WhatStays says what setting a folder's key left as it was, and how to change that;
// empty when there is nothing.
Result<std::string> WhatStays(const BindingWords& words, const Object& object) {
  KF_ASSIGN_OR_RETURN(const std::string key_id, KeyIdOf(object.path));
  Rekey rekey({key_id, false, true, RateLimit(), nullptr},
              {[](const auto&...) {}, [](const RekeyCounts&) {}});
  rekey.Run(object.path);
  const RekeyCounts& counts = rekey.counts();
  if (counts.wrapped + counts.bound + counts.refused == 0) return std::string();
  const std::string path = Harmless(words.path);
  const std::string command = "  keyfold rekey " + path + " --key " + words.key;
  std::string text = "Files made in " + path + " from now on are under " + words.key +
                     ".\n" + Number(counts.wrapped, "file", "files") + " (" +
                     Amount(static_cast<double>(counts.wrapped_bytes)) + ") and " +
                     Number(counts.bound, "folder", "folders") +
                     " below it stay under their keys.\n";
  if (counts.refused > 0)
    text += Number(counts.refused, "object", "objects") +
            " below it could not be looked at.\n";
  std::string wrapping, encrypting;
  if (const auto speed = MeasureKeySpeed(object.path); speed.ok()) {
    wrapping = ", about " + Duration(speed->Wrapping(counts.wrapped));
    encrypting = ", about " +
                 Duration(speed->Reencrypting(counts.wrapped, counts.wrapped_bytes));
  }
  return text + "To wrap their data keys under it" + wrapping + ":\n" + command +
         "\nTo encrypt their contents anew as well" + encrypting +
         ", which keeps out for good who could read\nthem before:\n" + command +
         " --reencrypt\n";
}

int SetKey(const BindingWords& words) {
  const auto object = Find(words);
  if (!object.ok()) return Fail(object.status());
  if (words.reencrypt && !words.folder) return RekeyBelow(words);
  if (const Status set = SetKeyOf(object->path, words.key); !set.ok())
    return Fail(Refused(*object, words.key, set));
  if (words.rekey) return RekeyBelow(words);
  if (!words.folder) return 0;
  const auto text = WhatStays(words, *object);
  if (!text.ok()) return Fail(text.status());
  return PrintOrFail(*text);
}

Result<std::string> ShowKey(const BindingWords& words) {
  KF_ASSIGN_OR_RETURN(const Object object, Find(words));
  KF_ASSIGN_OR_RETURN(const std::string key, KeyLabelOf(object.path));
  KF_ASSIGN_OR_RETURN(const std::string id, KeyIdOf(object.path));
  json answer = {{"Path", object.path}, {"Key", key}, {"KeyId", id}};
  if (words.folder) {
    KF_ASSIGN_OR_RETURN(answer["FolderId"], FolderIdOf(object.path));
  } else {
    KF_ASSIGN_OR_RETURN(answer["DataKeyId"], DataKeyIdOf(object.path));
    KF_ASSIGN_OR_RETURN(const WrapState state, WrapStateOf(object.path));
    answer["KeyVersion"] = state.old ? "old" : "current";
    answer["Reencrypting"] = state.reencrypting;
  }
  if (words.format == "json") return Render(answer, {});
  std::vector<std::vector<std::string>> rows = {
      {"path", object.path}, {"key", key}, {"key id", id}};
  if (words.folder) {
    rows.push_back({"folder id", answer["FolderId"]});
  } else {
    rows.push_back({"key version", answer["KeyVersion"]});
    rows.push_back({"data key id", answer["DataKeyId"]});
    if (answer["Reencrypting"])
      rows.push_back({"encrypted anew", "in part: keyfold rekey goes on"});
  }
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
  if (words->folder)
    set->add_flag("--rekey", words->rekey,
                  "Then bind what is below it as well, as keyfold rekey --key does");
  CLI::Option* reencrypt =
      set->add_flag("--reencrypt", words->reencrypt,
                    "Also encrypt the contents anew, under new data keys");
  if (words->folder) reencrypt->needs("--rekey");
  AddRateLimit(set, &words->rate_limit);
  set->footer((words->folder ? "Files and folders that are in it already stay under "
                               "their keys, unless --rekey is given.\n"
                             : "Who could read it before may have kept its data key: "
                               "use --reencrypt to keep them out for\ngood.\n") +
              ("Example:\n  " + example));
  set->callback([words, run] { *run = [words] { return SetKey(*words); }; });
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
      return PrintOrFail(*text);
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
