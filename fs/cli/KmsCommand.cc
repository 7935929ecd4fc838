#include <memory>

#include "fs/cli/Commands.h"
#include "fs/cli/KmsCall.h"
#include "fs/cli/Names.h"

namespace keyfold {
namespace {

const char* TypeName(Kind kind) {
  switch (kind) {
    case Kind::kString:
      return "TEXT";
    case Kind::kInteger:
      return "NUMBER";
    case Kind::kBoolean:
      return "";
    case Kind::kBlob:
      return "BASE64|fileb://FILE";
    case Kind::kTimestamp:
      return "TIME";
    case Kind::kStringMap:
      return "KEY=VALUE,...";
    case Kind::kStringList:
      return "TEXT";
    case Kind::kStructure:
      return "NAME=VALUE,...|JSON";
    case Kind::kStructureList:
      return "NAME=VALUE,...";
  }
  return "";
}

void AddParameter(CLI::App* verb, const Parameter& parameter,
                  const std::shared_ptr<KmsWords>& words) {
  const std::string name(parameter.name), option = "--" + KebabCase(name);
  std::string help(parameter.help);
  if (parameter.required) help += " (required)";
  if (parameter.kind == Kind::kBoolean) {
    verb->add_flag_callback(
        option, [words, name] { words->switches[name] = true; }, help);
    verb->add_flag_callback(
        "--no-" + KebabCase(name), [words, name] { words->switches[name] = false; },
        "");
    return;
  }
  CLI::Option* added = verb->add_option(option, words->values[name], help)
                           ->type_name(TypeName(parameter.kind));
  if (parameter.kind == Kind::kStringList || parameter.kind == Kind::kStructureList) {
    added->expected(1, -1);
  } else {
    added->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  }
}

void AddCreateKeyExtras(CLI::App* verb, const std::shared_ptr<KmsWords>& words) {
  CreateKeyExtras& extras = words->extras;
  verb->add_option("--alias", extras.alias, "Also give the key this name")
      ->type_name("alias/NAME");
  verb->add_option("--administrators", extras.administrators,
                   "Who may manage the key: user:NAME, group:NAME, role:NAME or ARN")
      ->type_name("PRINCIPAL");
  verb->add_option("--users", extras.users, "Who may use the key")
      ->type_name("PRINCIPAL");
  verb->add_flag_callback(
      "--allow-deletion", [&extras] { extras.allow_deletion = true; },
      "Administrators may schedule its deletion (default)");
  verb->add_flag_callback(
      "--no-allow-deletion", [&extras] { extras.allow_deletion = false; },
      "Administrators may not");
}

// What an example gives: to parameters that are required, and to those of an
// operation that needs one of several.
struct ExampleValue {
  std::string_view parameter, value;
};
constexpr ExampleValue kExampleValues[] = {
    {"KeyId", "alias/cfo"},
    {"AliasName", "alias/reports"},
    {"TargetKeyId", "1234abcd-12ab-34cd-56ef-1234567890ab"},
    {"DestinationKeyId", "alias/reports"},
    {"Description", "\"Reports of the CFO\""},
    {"Tags", "TagKey=owner,TagValue=cfo"},
    {"TagKeys", "owner"},
    {"Policy", "file://key-policy.yaml"},
    {"GranteePrincipal", "user:accounts"},
    {"RetiringPrincipal", "user:accounts"},
    {"Operations", "Decrypt GenerateDataKey"},
    {"GrantId", "GRANT-ID"},
    {"GrantToken", "GRANT-TOKEN"},
    {"Plaintext", "fileb://note.txt"},
    {"CiphertextBlob", "fileb://note.encrypted"},
    {"Message", "fileb://note.txt"},
    {"Mac", "fileb://note.mac"},
    {"MacAlgorithm", "HMAC_SHA_256"},
    {"KeyPairSpec", "ECC_NIST_P256"},
    {"KeySpec", "AES_256"},
    {"NumberOfBytes", "32"},
    {"WrappingAlgorithm", "RSAES_OAEP_SHA_256"},
    {"WrappingKeySpec", "RSA_4096"},
    {"ImportToken", "fileb://import-token"},
    {"EncryptedKeyMaterial", "fileb://wrapped-key"},
    {"ExpirationModel", "KEY_MATERIAL_DOES_NOT_EXPIRE"},
};

bool IsInExample(const Operation& operation, const Parameter& parameter) {
  if (operation.name == "RetireGrant") return parameter.name == "GrantToken";
  if (operation.name == "ImportKeyMaterial" && parameter.name == "ExpirationModel")
    return true;
  return parameter.required ||
         (operation.name == "GenerateRandom" && parameter.name == "NumberOfBytes") ||
         (operation.name.starts_with("GenerateDataKey") && parameter.name == "KeySpec");
}

std::string Example(const Operation& operation) {
  std::string text = "Example:\n  keyfold kms " + KebabCase(operation.name);
  if (operation.name == "CreateKey")
    return text +
           " --alias alias/cfo --administrators user:cfo --users user:cfo \\\n"
           "    --tags TagKey=owner,TagValue=cfo";
  for (const Parameter& parameter : operation.parameters) {
    if (!IsInExample(operation, parameter)) continue;
    std::string_view value = TypeName(parameter.kind);
    for (const ExampleValue& example : kExampleValues)
      if (example.parameter == parameter.name) value = example.value;
    text += " --" + KebabCase(parameter.name) + " " + std::string(value);
  }
  return text;
}

}  // namespace

void AddKms(CLI::App& app, Run* run) {
  struct Shared {
    TargetOptions target;
    OutputOptions output;
  };
  const auto shared = std::make_shared<Shared>();
  CLI::App* kms = app.add_subcommand("kms", "Keys: the verbs of `aws kms`");
  kms->require_subcommand(1);
  AddTargetOptions(kms, &shared->target);
  kms->add_option("--output", shared->output.format, "json (default), text or table")
      ->check(CLI::IsMember({"json", "text", "table"}));
  kms->add_option("--query", shared->output.query, "Part of the answer: Keys[0].KeyId")
      ->type_name("PATH");
  const std::shared_ptr<const TargetOptions> target(shared, &shared->target);
  AddBackup(kms, target, run);
  AddRootKey(kms, target, run);
  for (const Operation& operation : Operations()) {
    if (operation.service != "kms") continue;
    const auto words = std::make_shared<KmsWords>();
    CLI::App* verb =
        kms->add_subcommand(KebabCase(operation.name), std::string(operation.help));
    verb->fallthrough();
    for (const Parameter& parameter : operation.parameters)
      AddParameter(verb, parameter, words);
    verb->add_option("--cli-input-json", words->input_json, "All parameters as JSON")
        ->type_name("JSON|file://FILE");
    verb->add_flag("--no-paginate", words->no_paginate,
                   "Only the first page of a list");
    if (operation.name == "CreateKey") AddCreateKeyExtras(verb, words);
    verb->footer(
        Example(operation) +
        "\nOptions of `keyfold kms`, such as --output and --query, apply too.");
    verb->callback([&operation, words, shared, run] {
      *run = [&operation, words, shared] {
        return RunKms(operation, *words, shared->target, shared->output);
      };
    });
  }
  // Those above would have it, too, had it been there before them.
  kms->footer("Example:\n  keyfold kms describe-key --key-id alias/cfo");
}

}  // namespace keyfold
