#include <memory>

#include "fs/cli/Commands.h"
#include "fs/cli/Fsck.h"

namespace keyfold {

void AddFsck(CLI::App& app, Run* run) {
  struct Words : FsckOptions {
    std::string format = "text";
  };
  const auto words = std::make_shared<Words>();
  CLI::App* fsck = app.add_subcommand(
      "fsck", "Checks a store: every file, name, folder, key and record");
  fsck->add_option("store", words->store,
                   "The store's folder, not mounted; or what is at and below a path on "
                   "a mount")
      ->required()
      ->type_name("STORE|PATH");
  fsck->add_flag("--repair", words->repair,
                 "Move what cannot be opened to STORE/quarantine, and put right what "
                 "is known for certain");
  fsck->add_flag("--quick", words->quick,
                 "Names, folders and headers only, not what files hold");
  fsck->add_flag("--resume", words->resume, "Go on where the last check was cut off");
  fsck->add_option("--jobs", words->jobs, "How many files at once; one a core")
      ->check(CLI::Range(1, 256))
      ->type_name("N");
  fsck->add_flag("--progress", words->progress,
                 "Show how far it is, though standard error is no terminal");
  fsck->add_option("--root-key", words->root_key,
                   "Where the secret is, if not as with keyfold init")
      ->type_name("SPEC");
  AddOutputOption(fsck, &words->format);
  fsck->footer(
      "Example:\n  keyfold fsck /srv/keyfold/finance --repair\n\n"
      "Each finding names the file, the bytes of it that are damaged, and where it "
      "lies\n"
      "in the store. All files are checked, whatever their keys' policies say, but\n"
      "those whose key is disabled, waits for deletion or has no material: these are\n"
      "counted. Nothing of what files hold is shown. The check and each damage found\n"
      "are in the audit log.\n\n"
      "Of a PATH on a mount, which stays in use, you check what you may open: all of "
      "it\n"
      "is read, past the kernel's cache, and the audit log is verified if you may "
      "look\n"
      "at it. What you may not open is counted. Objects that have no name on the "
      "mount\n"
      "any more only a check of the STORE finds.\n\n"
      "--repair destroys nothing. What cannot be opened is moved, whole, to a folder\n"
      "of STORE/quarantine, whose file \"manifest\" says where it was: to undo it, "
      "move\n"
      "it back while the store is not mounted. A file of which only some blocks are\n"
      "damaged stays where it is; reading those blocks fails, the rest can be read.\n"
      "A damaged header slot is written anew from the other one, if that is good.\n\n"
      "Ctrl-C ends it; --resume goes on.\n\n"
      "Exit codes, which add up, as of fsck(8):\n"
      "  0    no damage\n"
      "  1    something was repaired\n"
      "  4    damage is left\n"
      "  8    it could not be checked, or not all of it\n"
      "  16   wrong option or argument\n"
      "  32   cut off by Ctrl-C or a signal");
  fsck->callback([words, run] {
    *run = [words] {
      words->json = words->format == "json";
      return Fsck(*words);
    };
  });
}

}  // namespace keyfold
