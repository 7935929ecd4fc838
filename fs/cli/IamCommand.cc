#include <memory>

#include "fs/cli/Commands.h"
#include "fs/cli/Parameters.h"
#include "fs/cli/Report.h"

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
      const Status printed = Print(*text);
      return printed.ok() ? 0 : Fail(printed);
    };
  });
  return verb;
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
  simulate->add_option("--action", words->action, "Such as kms:Decrypt")->required();
  simulate->add_option("--key", words->key, "Key id, ARN or alias");
  simulate->add_option("--context", words->context,
                       "Encryption context: KEY=VALUE,...");
  simulate->add_option("--via", words->via, "fs.keyfold for use through the mount");
  simulate->footer(
      "Example:\n  keyfold iam simulate --user accounts --action kms:Decrypt --key "
      "alias/cfo");
  Verb(&app, "whoami", "Shows who you are to the KMS", words, run, WhoAmI)
      ->footer("Example:\n  keyfold whoami");
}

}  // namespace keyfold
