#include "fs/cli/Completion.h"

#include <grp.h>
#include <pwd.h>

#include <algorithm>
#include <set>
#include <string_view>

#include "fs/cli/Commands.h"
#include "fs/cli/Names.h"
#include "kms/service/Schema.h"

namespace keyfold {
namespace {

using nlohmann::json;

constexpr uid_t kFirstUser = 1000;

// Position is where the last word stands.
struct Position {
  std::vector<const CLI::App*> path;     // the program and its commands
  const CLI::Option* waiting = nullptr;  // the option whose value the last word is
  size_t positional = 0;                 // values without an option before it
};

const CLI::Option* OptionNamed(const std::vector<const CLI::App*>& path,
                               const std::string& word) {
  for (const CLI::App* app : path)
    for (const CLI::Option* option : app->get_options())
      if (option->check_name(word)) return option;
  return nullptr;
}

Position Find(const CLI::App& app, const std::vector<std::string>& words) {
  Position at{{&app}, nullptr, 0};
  for (size_t i = 0; i + 1 < words.size(); ++i) {
    const std::string& word = words[i];
    if (at.waiting != nullptr) {
      at.waiting = nullptr;
    } else if (word.starts_with("-")) {
      const CLI::Option* option = OptionNamed(at.path, word);
      if (option != nullptr && option->get_items_expected_min() > 0)
        at.waiting = option;
    } else {
      const auto commands = CommandsOf(*at.path.back());
      const auto next =
          std::find_if(commands.begin(), commands.end(),
                       [&](const auto* one) { return one->check_name(word); });
      if (next != commands.end())
        at.path.push_back(*next);
      else
        ++at.positional;
    }
  }
  return at;
}

// Call asks the KMS that the command line names, or the only one.
Result<json> Call(const std::vector<std::string>& words, const char* operation) {
  TargetOptions target;
  for (size_t i = 0; i + 1 < words.size(); ++i)
    if (words[i] == "--mount") target.mount = words[i + 1];
  KF_ASSIGN_OR_RETURN(const auto connection, Connect(target));
  return connection->Call("kms", operation, json::object());
}

std::vector<Candidate> Aliases(const std::vector<std::string>& words) {
  std::vector<Candidate> out;
  const auto found = Call(words, "ListAliases");
  if (!found.ok()) return out;
  for (const json& alias : found->value("Aliases", json::array()))
    out.push_back({alias.value("AliasName", ""), alias.value("TargetKeyId", "")});
  return out;
}

std::vector<Candidate> Keys(const std::vector<std::string>& words) {
  std::vector<Candidate> out = Aliases(words);
  std::set<std::string> named;
  for (const Candidate& alias : out) named.insert(alias.help);
  const auto found = Call(words, "ListKeys");
  if (!found.ok()) return out;
  for (const json& key : found->value("Keys", json::array()))
    if (const std::string id = key.value("KeyId", ""); !named.contains(id))
      out.push_back({id, "key without an alias"});
  return out;
}

std::vector<Candidate> Users(const std::string& prefix) {
  std::vector<Candidate> out;
  ::setpwent();
  while (const passwd* user = ::getpwent())
    if (user->pw_uid == 0 || user->pw_uid >= kFirstUser)
      out.push_back({prefix + user->pw_name, user->pw_gecos});
  ::endpwent();
  return out;
}

std::vector<Candidate> Mountpoints() {
  std::vector<Candidate> out;
  const auto mounts = KeyfoldMounts();
  if (!mounts.ok()) return out;
  for (const MountEntry& mount : *mounts)
    out.push_back({mount.mountpoint, mount.store});
  return out;
}

std::vector<Candidate> RootKeys() {
  return {{"passphrase", "asked on the terminal"},
          {"passphrase-file:", "a file that holds it"},
          {"file:", "a file of 32 bytes"},
          {"pkcs11:", "a token's URI"},
          {"tpm2:", "this machine's TPM"}};
}

// Listed are the values between the braces of CLI::IsMember's type name.
std::vector<Candidate> Listed(const std::string& type) {
  std::vector<Candidate> out;
  const size_t open = type.find('{'), close = type.rfind('}');
  if (open == std::string::npos || close == std::string::npos) return out;
  std::string values = type.substr(open + 1, close - open - 1);
  for (const std::string& value : CLI::detail::split(values, ','))
    out.push_back({value, ""});
  return out;
}

// FromSchema are the values that a parameter of a KMS call may have.
std::vector<Candidate> FromSchema(const Position& at, const std::string& option) {
  std::vector<Candidate> out;
  for (const Operation& operation : Operations()) {
    if (operation.service != "kms" ||
        !at.path.back()->check_name(KebabCase(operation.name)))
      continue;
    for (const Parameter& parameter : operation.parameters)
      if (option == "--" + KebabCase(parameter.name)) {
        for (const std::string_view value : parameter.limits.values)
          out.push_back({std::string(value), ""});
        for (const std::string_view value : parameter.item.values)
          out.push_back({std::string(value), ""});
      }
  }
  return out;
}

// Actions are those of the KMS: "kms:Decrypt".
std::vector<Candidate> Actions() {
  std::vector<Candidate> out;
  for (const Operation& operation : Operations())
    if (operation.service == "kms")
      out.push_back(
          {"kms:" + std::string(operation.name), std::string(operation.help)});
  return out;
}

std::vector<Candidate> ValuesOf(const Position& at, const CLI::Option& option,
                                const std::vector<std::string>& words) {
  const std::string name = option.get_name(), type = option.get_type_name();
  if (auto listed = Listed(type); !listed.empty()) return listed;
  if (auto values = FromSchema(at, name); !values.empty()) return values;
  if (name == "--alias-name") return Aliases(words);
  if (name == "key" || name == "--key" || name.ends_with("key-id") || type == "KEY")
    // Of an access key the id is nobody else's to know.
    return name == "--access-key-id" ? std::vector<Candidate>() : Keys(words);
  if (name == "--user" || name == "--user-name") return Users("");
  if (type == "PRINCIPAL" || name.ends_with("-principal")) return Principals();
  if (type == "ACTION") return Actions();
  if (type == "MOUNTPOINT") return Mountpoints();
  if (type == "SPEC") return RootKeys();
  return {};
}

std::vector<Candidate> OptionsOf(const Position& at) {
  std::vector<Candidate> out;
  for (const CLI::App* app : at.path)
    for (const CLI::Option* option : app->get_options())
      for (const std::string& name : option->get_lnames())
        if (app == at.path.back() || app->get_name() != "keyfold")
          out.push_back({"--" + name, option->get_description()});
  return out;
}

std::vector<Candidate> All(const Position& at, const std::vector<std::string>& words) {
  if (at.waiting != nullptr) return ValuesOf(at, *at.waiting, words);
  const CLI::App& here = *at.path.back();
  if (words.back().starts_with("-")) return OptionsOf(at);
  std::vector<Candidate> out;
  for (const CLI::App* command : CommandsOf(here))
    out.push_back({command->get_name(), command->get_description()});
  if (!out.empty()) return out;
  size_t number = 0;
  for (const CLI::Option* option : here.get_options())
    if (option->get_positional() && number++ == at.positional)
      return ValuesOf(at, *option, words);
  return {};
}

}  // namespace

std::vector<Candidate> Principals() {
  std::vector<Candidate> out = Users("user:");
  ::setgrent();
  while (const group* one = ::getgrent())
    if (one->gr_gid >= kFirstUser)
      out.push_back({std::string("group:") + one->gr_name, "group"});
  ::endgrent();
  return out;
}

std::vector<Candidate> Complete(const CLI::App& app,
                                const std::vector<std::string>& words) {
  if (words.empty()) return {};
  std::vector<Candidate> out = All(Find(app, words), words);
  std::erase_if(out, [&](const Candidate& one) {
    return one.word.empty() || !one.word.starts_with(words.back());
  });
  std::sort(out.begin(), out.end(),
            [](const auto& a, const auto& b) { return a.word < b.word; });
  const auto last =
      std::unique(out.begin(), out.end(),
                  [](const auto& a, const auto& b) { return a.word == b.word; });
  out.erase(last, out.end());
  return out;
}

}  // namespace keyfold
