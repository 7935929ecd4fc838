#include <memory>

#include "fs/cli/Commands.h"
#include "fs/cli/Parameters.h"
#include "fs/cli/Report.h"
#include "fs/cli/UnknownUsers.h"

namespace keyfold {
namespace {

using nlohmann::json;

constexpr size_t kMaxDocument = 1 << 20;

struct IamWords {
  TargetOptions target;
  std::string format = "text";
  std::string file;
  bool dry_run = false;
  std::string user, action, key, context, via;
  std::vector<std::string> conditions;
  std::string access_key, status, role, session;
  int64_t seconds = 0;
};

Result<json> CallIam(const IamWords& words, const char* operation,
                     const json& request) {
  KF_ASSIGN_OR_RETURN(auto connection, Connect(words.target));
  return connection->Call("iam", operation, request);
}

Result<std::string> Apply(const IamWords& words) {
  KF_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(words.file, kMaxDocument));
  KF_ASSIGN_OR_RETURN(const json answer, CallIam(words, "ApplyIam",
                                                 {{"Document", text},
                                                  {"DocumentName", words.file},
                                                  {"DryRun", words.dry_run}}));
  TellUnknownUsers(UsersOfIam(text));
  if (words.format == "json") return Render(answer, {});
  std::string out;
  for (const json& change : answer.value("Changes", json::array()))
    out += Cell(change.value("Description", json(""))) + "\n";
  if (out.empty()) return std::string("Nothing to change.\n");
  if (words.dry_run) out += "Nothing was changed (--dry-run).\n";
  return out;
}

Result<std::string> Show(const IamWords& words) {
  KF_ASSIGN_OR_RETURN(const json answer, CallIam(words, "GetIam", json::object()));
  if (words.format == "json") return Render(answer, {});
  return answer.value("Document", "");
}

Result<std::string> WhoAmI(const IamWords& words) {
  KF_ASSIGN_OR_RETURN(const json answer, CallIam(words, "WhoAmI", json::object()));
  if (words.format == "json") return Render(answer, {});
  std::vector<std::vector<std::string>> rows;
  for (const auto& [name, value] : answer.items()) {
    std::string text = Cell(value);
    if (value.is_array()) {
      text.clear();
      for (const json& item : value) text += (text.empty() ? "" : ", ") + Cell(item);
    }
    rows.push_back({name, text});
  }
  return Columns(rows);
}

Result<std::string> Simulate(const IamWords& words) {
  json request = {{"Action", words.action}};
  if (!words.user.empty()) request["User"] = words.user;
  if (!words.key.empty()) request["KeyId"] = words.key;
  if (!words.via.empty()) request["ViaService"] = words.via;
  if (!words.conditions.empty()) request["Conditions"] = words.conditions;
  if (!words.context.empty()) {
    const Parameter context{"Context", Kind::kStringMap, false, ""};
    KF_ASSIGN_OR_RETURN(request["EncryptionContext"],
                        ParseParameter(context, {words.context}));
  }
  KF_ASSIGN_OR_RETURN(const json answer, CallIam(words, "Simulate", request));
  if (words.format == "json") return Render(answer, {});
  const json principal = answer.value("Principal", json::object());
  return Columns({{"principal", principal.value("Arn", "")},
                  {"action", answer.value("Action", "")},
                  {"resource", answer.value("Resource", "")},
                  {"decision", answer.value("Decision", "")},
                  {"reason", answer.value("Reason", "-")}});
}

// Rows shows a structure as two columns.
std::string Rows(json structure) {
  ShowTimes(structure);
  std::vector<std::vector<std::string>> rows;
  for (const auto& [name, value] : structure.items())
    rows.push_back({name, Cell(value)});
  return Columns(rows);
}

Result<std::string> CreateAccessKey(const IamWords& words) {
  KF_ASSIGN_OR_RETURN(const json answer,
                      CallIam(words, "CreateAccessKey", json::object()));
  if (words.format == "json") return Render(answer, {});
  return Rows(answer.value("AccessKey", json::object())) +
         "The secret is shown only now. Keep it as ~/.aws/credentials is kept (mode "
         "600).\n";
}

Result<std::string> ListAccessKeys(const IamWords& words) {
  json request = json::object();
  if (!words.user.empty()) request["UserName"] = words.user;
  KF_ASSIGN_OR_RETURN(json answer, CallIam(words, "ListAccessKeys", request));
  ShowTimes(answer);
  if (words.format == "json") return Render(answer, {});
  std::vector<std::vector<std::string>> rows;
  for (const json& key : answer.value("AccessKeyMetadata", json::array()))
    rows.push_back({key.value("AccessKeyId", ""), key.value("UserName", ""),
                    key.value("Status", ""), key.value("CreateDate", "")});
  return rows.empty() ? std::string("No access keys.\n") : Columns(rows);
}

Result<std::string> UpdateAccessKey(const IamWords& words) {
  KF_RETURN_IF_ERROR(
      CallIam(words, "UpdateAccessKey",
              {{"AccessKeyId", words.access_key}, {"Status", words.status}})
          .status());
  return std::string();
}

Result<std::string> DeleteAccessKey(const IamWords& words) {
  KF_RETURN_IF_ERROR(
      CallIam(words, "DeleteAccessKey", {{"AccessKeyId", words.access_key}}).status());
  return std::string();
}

Result<std::string> AssumeRole(const IamWords& words) {
  json request = {{"RoleArn", words.role}};
  if (!words.session.empty()) request["RoleSessionName"] = words.session;
  if (words.seconds != 0) request["DurationSeconds"] = words.seconds;
  KF_ASSIGN_OR_RETURN(const json answer, CallIam(words, "AssumeRole", request));
  if (words.format == "json") return Render(answer, {});
  return Rows(answer.value("Credentials", json::object()));
}

using Action = Result<std::string> (*)(const IamWords&);

// Verb makes a subcommand that runs `action` and prints what it returns.
CLI::App* Verb(CLI::App* parent, const char* name, const char* help,
               const std::shared_ptr<IamWords>& words, Run* run, Action action) {
  CLI::App* verb = parent->add_subcommand(name, help);
  AddTargetOptions(verb, &words->target);
  AddOutputOption(verb, &words->format);
  verb->callback([words, run, action] {
    *run = [words, action] {
      const auto text = action(*words);
      if (!text.ok()) return Fail(text.status());
      return PrintOrFail(*text);
    };
  });
  return verb;
}

void AddAccessKeys(CLI::App* iam, const std::shared_ptr<IamWords>& words, Run* run) {
  Verb(iam, "create-access-key",
       "Makes an access key of your own, to sign requests to the endpoint with", words,
       run, CreateAccessKey)
      ->footer(
          "AWS's clients use it with the mount's endpoint (keyfold mount --kms-listen, "
          "keyfold status).\n"
          "Example:\n  keyfold iam create-access-key --output json");
  CLI::App* list = Verb(iam, "list-access-keys", "Lists a user's access keys", words,
                        run, ListAccessKeys);
  list->add_option("--user-name", words->user, "Unix name; else you");
  list->footer("Example:\n  keyfold iam list-access-keys --user-name cfo");
  CLI::App* update =
      Verb(iam, "update-access-key", "Disables an access key, or enables it again",
           words, run, UpdateAccessKey);
  update->add_option("--access-key-id", words->access_key, "Its id")->required();
  update->add_option("--status", words->status, "Active or Inactive")->required();
  update->footer(
      "Example:\n  keyfold iam update-access-key --access-key-id AKIA... --status "
      "Inactive");
  CLI::App* remove = Verb(iam, "delete-access-key", "Deletes an access key for good",
                          words, run, DeleteAccessKey);
  remove->add_option("--access-key-id", words->access_key, "Its id")->required();
  remove->footer("Example:\n  keyfold iam delete-access-key --access-key-id AKIA...");
  CLI::App* assume =
      Verb(iam, "assume-role", "Gives temporary credentials of a role that trusts you",
           words, run, AssumeRole);
  assume->add_option("--role-arn", words->role, "ARN, or role:NAME")->required();
  assume->add_option("--role-session-name", words->session, "Shown in the audit log");
  assume->add_option("--duration-seconds", words->seconds,
                     "900 to 43200, default 3600");
  assume->footer("Example:\n  keyfold iam assume-role --role-arn role:auditor");
}

}  // namespace

void AddIam(CLI::App& app, Run* run) {
  const auto words = std::make_shared<IamWords>();
  CLI::App* iam = app.add_subcommand("iam", "Users, groups, roles and their policies");
  iam->require_subcommand(1);
  AddTargetOptions(iam, &words->target);  // before the verb too, as with `kms`
  AddOutputOption(iam, &words->format);
  iam->footer("Example:\n  keyfold iam show");
  CLI::App* apply =
      Verb(iam, "apply", "Replaces the account's IAM document", words, run, Apply);
  apply->add_option("file", words->file, "iam.yaml")->required()->type_name("FILE");
  apply->add_flag("--dry-run", words->dry_run, "Only tell what would change");
  apply->footer("Example:\n  keyfold iam apply iam.yaml --dry-run");
  Verb(iam, "show", "Shows the account's IAM document", words, run, Show)
      ->footer("Example:\n  keyfold iam show > iam.yaml");
  Verb(iam, "whoami", "Shows who you are", words, run, WhoAmI)
      ->footer("Example:\n  keyfold iam whoami");
  CLI::App* simulate =
      Verb(iam, "simulate", "Explains who may do what, and why", words, run, Simulate);
  simulate->add_option("--user", words->user, "Unix name or ARN; else you");
  simulate->add_option("--action", words->action, "Such as kms:Decrypt")
      ->required()
      ->type_name("ACTION");
  simulate->add_option("--key", words->key, "Key id, ARN or alias");
  simulate->add_option("--context", words->context,
                       "Encryption context: KEY=VALUE,...");
  simulate->add_option("--via", words->via, "fs.keyfold for use through the mount");
  simulate
      ->add_option("--condition", words->conditions,
                   "Another condition key: KEY=VALUE, may be repeated")
      ->type_name("KEY=VALUE");
  simulate->footer(
      "Example:\n  keyfold iam simulate --user accounts --action kms:Decrypt --key "
      "alias/cfo");
  AddAccessKeys(iam, words, run);
  Verb(&app, "whoami", "Shows who you are to the KMS", words, run, WhoAmI)
      ->footer("Example:\n  keyfold whoami");
}

}  // namespace keyfold
