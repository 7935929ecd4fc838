#include <memory>

#include "fs/cli/Commands.h"
#include "fs/cli/Process.h"
#include "fs/cli/Report.h"
#include "fs/cli/Store.h"
#include "fs/cli/Terminal.h"

namespace keyfold {
namespace {

int Init(const NewStore& store) {
  Harden();
  const auto made = CreateStore(store, AskPassphrase);
  if (!made.ok()) return Fail(made.status());
  std::string text = "Made the store " + store.path + " (id " + made->account.store_id +
                     ", account " + made->account.id + ").\n";
  text += store.root_key.starts_with("file:")
              ? "Keep a copy of " + store.root_key.substr(5) +
                    " elsewhere: without it "
                    "nothing can be decrypted.\n"
          : store.root_key.starts_with("pkcs11:")
              ? "Without its token nothing can be decrypted. Copy the token's key to "
                "another, or keep backups under another root key.\n"
          : store.root_key.starts_with("tpm2")
              ? "Without this machine's TPM nothing can be decrypted. Backups need it "
                "too: see keyfold kms root-key --help.\n"
              : "Without its passphrase nothing can be decrypted: keep it safe.\n";
  text += "Next, here:    keyfold mount " + store.path +
          " MOUNTPOINT\n"
          "               chmod 1777 MOUNTPOINT      (so that users can make folders)\n"
          "               keyfold iam apply iam.yaml\n"
          "then, a user:  keyfold kms create-key --alias alias/NAME\n"
          "               mkdir MOUNTPOINT/NAME && "
          "keyfold folder set-key MOUNTPOINT/NAME alias/NAME\n"
          "with files:    keyfold import FOLDER MOUNTPOINT/NAME\n";
  return PrintOrFail(text);
}

}  // namespace

void AddInit(CLI::App& app, Run* run) {
  const auto store = std::make_shared<NewStore>();
  store->root_key = "passphrase";
  store->account = Account().id;
  store->region = Account().region;
  CLI::App* init = app.add_subcommand("init", "Makes a store in a new or empty folder");
  init->add_option("store", store->path, "The folder")->required()->type_name("STORE");
  init->add_option(
          "--root-key", store->root_key,
          "What opens the store: passphrase (asked for), passphrase-file:FILE, "
          "file:FILE (a key file, made if missing), pkcs11:URI (a key in a "
          "token, made if missing) or "
          "tpm2[:pcrs=sha256:N+N][,auth=prompt|file:/PATH][,tcti=TCTI]")
      ->type_name("SPEC");
  init->add_option("--region", store->region, "Region in ARNs")->type_name("NAME");
  init->add_option("--account", store->account, "Account in ARNs")->type_name("DIGITS");
  init->footer(
      "Example:\n  keyfold init /srv/keyfold/finance --root-key passphrase\n"
      "  keyfold init /srv/keyfold/finance --root-key \\\n"
      "    'pkcs11:token=keyfold;object=root?module-path=/usr/lib/softhsm/"
      "libsofthsm2.so&pin-source=file:/etc/keyfold/pin'\n"
      "  keyfold init /srv/keyfold/finance --root-key tpm2:pcrs=sha256:7\n"
      "Without pin-source the token's PIN is asked for.");
  init->callback([store, run] { *run = [store] { return Init(*store); }; });
}

}  // namespace keyfold
