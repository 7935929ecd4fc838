// keyfold kms root-key
#include <memory>

#include "fs/cli/Commands.h"
#include "fs/cli/Process.h"
#include "fs/cli/Report.h"
#include "fs/cli/RootKeyChange.h"
#include "fs/cli/StoreLock.h"
#include "fs/cli/Terminal.h"

namespace keyfold {
namespace {

int Tell(const Status& status, const std::string& text) {
  if (!status.ok()) return Fail(status);
  return PrintOrFail(text);
}

int Rotate(const RootKeyRequest& request) {
  Harden();
  const Status status = RotateRootKey(request, AskPassphrase);
  std::string text =
      "The store has a new root key. Import tokens and sessions of assumed roles have "
      "ended.\nBackups made before open only with the former root key: make a new one "
      "with keyfold kms backup.\nFrom the next mount on the audit log's digests are "
      "signed by a new key: keep what keyfold audit public-key shows, beside the "
      "former "
      "one.\n";
  for (const std::string& file : FormerKeyStores(request.store))
    text += "A former root key still opens " + file +
            ". If it may be known to others, or you need that key store no more, "
            "remove it: shred -u '" +
            file + "'\n";
  return Tell(status, text);
}

int ChangeProvider(const RootKeyRequest& request) {
  Harden();
  const Status status = ChangeRootKeyProvider(request, AskPassphrase);
  std::string text =
      "The root key is sealed by " + request.to.substr(0, request.to.find(':')) +
      " now.\nWhat sealed it before still opens copies of the store's former "
      "keyfold.json. If it may be known to others, use keyfold kms root-key "
      "rotate.\n";
  for (const std::string& file : FormerKeyStores(request.store))
    if (file.find("keyfold.json") != std::string::npos)
      text += "One such copy is " + file + ".\n";
  return Tell(status, text);
}

// Presence says of a token or TPM whether it is there.
std::string Presence(const StoreConfig& config, const std::string& root_key) {
  const auto device = WatchRootKey(config.root_key, root_key);
  if (!device.ok()) return device.status().message();
  if (*device == nullptr) return "-";
  const Status there = (*device)->Check();
  return there.ok() ? "present" : there.message();
}

int ShowStatus(const RootKeyRequest& request) {
  const auto config = ReadStoreConfig(request.store);
  if (!config.ok()) return Fail(config.status());
  const auto spec = RootKeySpec(config->root_key);
  if (!spec.ok()) return Fail(spec.status());
  return Tell(OkStatus(),
              Columns({{"RootKey", *spec},
                       {"Device", Presence(*config, request.root_key)},
                       {"InUse", StoreLock::IsHeld(request.store) ? "yes" : "no"}}));
}

}  // namespace

void AddRootKey(CLI::App* kms, std::shared_ptr<const TargetOptions> target, Run* run) {
  CLI::App* group = kms->add_subcommand(
      "root-key", "What opens the store: who seals it, changing it");
  group->require_subcommand(1);
  group->fallthrough();
  const auto request = std::make_shared<RootKeyRequest>();
  const auto add = [&](const char* name, const char* help,
                       int (*action)(const RootKeyRequest&)) {
    CLI::App* verb = group->add_subcommand(name, help);
    verb->fallthrough();
    verb->callback([request, target, run, action] {
      *run = [request, target, action] {
        request->store = target->store;
        request->root_key = target->root_key;
        if (request->store.empty())
          return Fail({Error::kUsage, "Name the store: --store STORE."});
        return action(*request);
      };
    });
    return verb;
  };
  add("status", "Shows who seals the root key, and whether its device is there",
      ShowStatus)
      ->footer("Example:\n  keyfold kms root-key status --store /srv/keyfold/finance");
  add("rotate", "Makes a new root key and seals all keys anew under it", Rotate)
      ->footer(
          "Example:\n  keyfold kms root-key rotate --store /srv/keyfold/finance\n"
          "The store must not be mounted. Files are not touched. Backups made before\n"
          "open only with the former root key. --to seals it by another provider.")
      ->add_option("--to", request->to, "Who will seal it, if not as now")
      ->type_name("SPEC");
  add("change-provider", "Seals the same root key by something else", ChangeProvider)
      ->footer(
          "Example:\n  keyfold kms root-key change-provider --store "
          "/srv/keyfold/finance "
          "\\\n    --to 'pkcs11:token=keyfold;object=root'\n"
          "The store must not be mounted. SPEC is as with keyfold init --root-key.")
      ->add_option("--to", request->to, "Who will seal it")
      ->required()
      ->type_name("SPEC");
}

}  // namespace keyfold
