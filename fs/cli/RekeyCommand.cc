#include "fs/cli/RekeyCommand.h"

#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <optional>

#include "fs/cli/ExitCode.h"
#include "fs/cli/Figures.h"
#include "fs/cli/KeyRefusal.h"
#include "fs/cli/Rekey.h"
#include "fs/cli/RekeyReport.h"
#include "fs/cli/Report.h"
#include "fs/cli/Store.h"

namespace keyfold {
namespace {

struct Tree {
  std::string path;  // resolved
  MountEntry mount;
  std::string key_id;  // of the key that was named
};

Result<Tree> Find(const std::string& given, const std::string& key) {
  Tree tree;
  KF_ASSIGN_OR_RETURN(tree.path, RealPath(given));
  struct stat st;
  if (::stat(tree.path.c_str(), &st) != 0) return Status::FromErrno(errno, given);
  if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
    return Status(Error::kUsage, given + " is neither a folder nor a regular file.");
  KF_ASSIGN_OR_RETURN(const auto mounts, KeyfoldMounts());
  KF_ASSIGN_OR_RETURN(tree.mount, MountHolding(mounts, tree.path, given));
  if (key.empty()) return tree;
  KF_ASSIGN_OR_RETURN(const auto found,
                      CallOn(tree.mount, "kms", "DescribeKey", {{"KeyId", key}}));
  tree.key_id = found.value("KeyMetadata", nlohmann::json::object()).value("KeyId", "");
  return tree;
}

Result<std::vector<Tree>> FindAll(const RekeyOptions& options) {
  std::vector<Tree> trees;
  for (const std::string& path : options.paths) {
    KF_ASSIGN_OR_RETURN(Tree tree, Find(path, options.key));
    trees.push_back(std::move(tree));
  }
  return trees;
}

// JournalOf opens the journal, and says what is gone on with. Without one the work can
// be done all the same.
std::optional<RekeyJournal> JournalOf(const RekeyOptions& options,
                                      const std::vector<Tree>& trees, Status* refused) {
  std::vector<std::string> paths;
  for (const Tree& tree : trees) paths.push_back(tree.path);
  auto journal = RekeyJournal::Open(paths, options.key, options.restart);
  if (!journal.ok() && journal.status().error() == Error::kLocked) {
    *refused = journal.status();
    return std::nullopt;
  }
  if (!journal.ok()) {
    std::fprintf(stderr,
                 "keyfold: What is done cannot be noted (%s): if this is cut off, the "
                 "next run begins anew.\n",
                 journal.status().message().c_str());
    return std::nullopt;
  }
  if (journal->size() > 0)
    std::fprintf(
        stderr,
        "keyfold: Going on with a run that was not finished: %s done. To begin "
        "anew: --restart\n",
        Number(journal->size(), "file is", "files are").c_str());
  return *std::move(journal);
}

int Walk(const RekeyOptions& options, const std::vector<Tree>& trees,
         const RateLimit& limit, RekeyJournal* journal) {
  const bool progress = options.progress || ::isatty(STDERR_FILENO) == 1;
  TreeSize size;
  const std::atomic<bool> stop{false};
  for (const Tree& tree : trees) {
    if (!progress || options.dry_run) break;
    const TreeSize one = MeasureTree(tree.path, MeasuredBytes::kLength, stop);
    size.files += one.files;
    size.bytes += one.bytes;
  }
  RekeyReport report(options.format == "json", progress, options.reencrypt, size);
  RekeyCounts counts;
  int exit_code = kExitOk;
  for (const Tree& tree : trees) {
    Rekey::Listener listener;
    listener.refused = [&](const std::string& path, const std::string& wanted,
                           const std::string& current, const Status& why) {
      const Status told = ExplainRefusal(
          tree.mount, path, wanted.empty() ? current : wanted, current, why);
      report.Refused(path, told);
      const int code = ExitCodeOf(told);
      if (exit_code == kExitOk || code == kExitRefused) exit_code = code;
    };
    listener.progress = [&](const RekeyCounts& now) {
      RekeyCounts all = counts;
      all += now;
      report.Progress(all);
    };
    Rekey rekey({tree.key_id, options.reencrypt, options.dry_run, limit, journal},
                listener);
    rekey.Run(tree.path);
    counts += rekey.counts();
  }
  Status printed = OkStatus();
  if (options.dry_run) {
    const auto speed = MeasureKeySpeed(trees.front().path);
    printed = report.WhatWouldBe(
        counts, speed.ok() ? std::optional<KeySpeed>(*speed) : std::nullopt);
  } else {
    printed = report.Summarize(counts, exit_code);
    // What was refused was looked at: only a run that was cut off is gone on with, as
    // another one may be meant to give new data keys again.
    if (journal != nullptr) journal->Remove();
  }
  return printed.ok() ? exit_code : Fail(printed);
}

}  // namespace

int RunRekey(const RekeyOptions& options) {
  const auto limit = RateLimitOf(options.rate_limit);
  if (!limit.ok()) return Fail(limit.status());
  const auto trees = FindAll(options);
  if (!trees.ok()) return Fail(trees.status());
  Status refused = OkStatus();
  std::optional<RekeyJournal> journal;
  if (options.reencrypt && !options.dry_run)
    journal = JournalOf(options, *trees, &refused);
  if (!refused.ok()) return Fail(refused);
  return Walk(options, *trees, *limit, journal ? &*journal : nullptr);
}

void AddRekey(CLI::App& app, Run* run) {
  const auto options = std::make_shared<RekeyOptions>();
  CLI::App* rekey = app.add_subcommand(
      "rekey", "Wraps data keys anew, or gives files new ones, while in use");
  rekey->add_option("path", options->paths, "Folders and files on a mount")
      ->required()
      ->type_name("PATH");
  rekey
      ->add_option(
          "--key", options->key,
          "Bind the folders, and then the files, to this key: id, ARN or alias")
      ->type_name("KEY");
  rekey->add_flag("--reencrypt", options->reencrypt,
                  "New data keys: encrypt the contents anew");
  rekey->add_flag("--dry-run", options->dry_run,
                  "Only say what would be done, and how long that takes");
  AddRateLimit(rekey, &options->rate_limit);
  rekey->add_flag("--restart", options->restart,
                  "With --reencrypt: also the files that a run which was cut off has "
                  "done");
  rekey->add_flag("--progress", options->progress,
                  "Show how far it is, though standard error is no terminal");
  AddOutputOption(rekey, &options->format);
  rekey->footer(
      "Example:\n"
      "  keyfold rekey /srv/finance --dry-run\n"
      "  keyfold rekey /srv/finance/reports --key alias/cfo-2027 --rate-limit 50M\n\n"
      "Every file has a data key of its own, wrapped by a key of the KMS. Without\n"
      "--reencrypt only the wraps change, some milliseconds a file however long it "
      "is:\n"
      "of each file at or below PATH that is under another key than its folder, or "
      "under\n"
      "an older version of it (after kms rotate-key-on-demand). A file that is opened "
      "for\n"
      "writing is wrapped under the newest version by itself.\n\n"
      "Whoever could read a file may have kept its data key, and opens copies of the\n"
      "store with it: --reencrypt gives files new ones. The files stay in use "
      "meanwhile\n"
      "and keep their links, times, owners and holes.\n\n"
      "It is done as you: you need to own the files, write to them, and have the use "
      "of\n"
      "both keys. What is refused is named, and the rest is done. Cut off, even by a\n"
      "power failure, the same command does what is left.");
  rekey->callback([options, run] { *run = [options] { return RunRekey(*options); }; });
}

}  // namespace keyfold
