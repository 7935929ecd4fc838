// keyfold upgrade
#include <algorithm>
#include <memory>

#include "fs/cli/Commands.h"
#include "fs/cli/Process.h"
#include "fs/cli/Report.h"
#include "fs/cli/StoreConfig.h"
#include "fs/cli/Terminal.h"
#include "fs/cli/UpgradeStore.h"
#include "kms/store/KeyStore.h"

namespace keyfold {
namespace {

std::string PartLine(const char* part, int from, int to) {
  return std::string("  ") + part + ": format " + std::to_string(from) +
         (from < to ? " to " + std::to_string(to) : ", as it is") + "\n";
}

std::string Report(const UpgradeRequest& request, const StoreUpgrade& found) {
  std::string text = request.store;
  if (!found.Needed())
    return text + " is of format " + std::to_string(kStoreFormat) +
           ", the newest this Keyfold knows" +
           (found.key_store_format > kKeyStoreFormat
                ? ", and keys.db became one of format " +
                      std::to_string(found.key_store_format) + " by itself"
                : "") +
           ". Nothing was changed.\n";
  text += request.dry_run ? " would be upgraded:\n" : " was upgraded:\n";
  text += PartLine("keyfold.json", found.format, kStoreFormat);
  text += PartLine("keys.db", found.key_store_format, kKeyStoreFormat);
  text +=
      "  files: none is touched; a header of an older format is renewed when its file "
      "is next written\n";
  if (request.dry_run)
    return text + "Afterwards programs that know format " +
           std::to_string(std::min(found.format, found.key_store_format)) +
           " only refuse the store.\n";
  for (const std::string& name : found.kept)
    text += "Kept: " + request.store + "/" + name + "\n";
  return text;
}

int RunUpgrade(const UpgradeRequest& request) {
  Harden();
  const auto found = UpgradeStore(request, AskPassphrase);
  if (!found.ok()) return Fail(found.status());
  return PrintOrFail(Report(request, *found));
}

}  // namespace

void AddUpgrade(CLI::App& app, Run* run) {
  const auto request = std::make_shared<UpgradeRequest>();
  CLI::App* upgrade = app.add_subcommand(
      "upgrade", "Makes a store of an older format one of the newest");
  upgrade->add_option("store", request->store, "The store's folder, not mounted")
      ->required()
      ->type_name("STORE");
  upgrade->add_flag("--dry-run", request->dry_run,
                    "Only show the store's format, and what would be changed");
  upgrade
      ->add_option("--root-key", request->root_key,
                   "Where the secret is, if not as with keyfold init")
      ->type_name("SPEC");
  upgrade->footer(
      "Example:\n  keyfold upgrade /srv/keyfold/finance --dry-run\n"
      "It needs the right store:UpgradeStore. Older stores can be mounted without; an\n"
      "upgrade has programs that would not understand all of a store refuse it. What "
      "it\n"
      "replaces is kept beside. Cut off anywhere, run it again.");
  upgrade->callback(
      [request, run] { *run = [request] { return RunUpgrade(*request); }; });
}

}  // namespace keyfold
