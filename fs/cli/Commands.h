// The command groups. Each Add function adds subcommands to the program; the
// one that was given on the command line puts what is to be run into `*run`.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>

#include "fs/cli/Connection.h"
#include "fs/cli/Output.h"
#include "fs/cli/RateLimit.h"

namespace keyfold {

using Run = std::function<int()>;  // returns the exit code

void AddInit(CLI::App& app, Run* run);
void AddMount(CLI::App& app, Run* run);
// AddMountHelper makes `app` itself take what mount(8) gives to mount.keyfold.
void AddMountHelper(CLI::App& app, Run* run);
void AddUnmount(CLI::App& app, Run* run);
void AddStatus(CLI::App& app, Run* run);
void AddTop(CLI::App& app, Run* run);
void AddKms(CLI::App& app, Run* run);
// AddBackup adds backup and restore to `kms`, whose options are `target`.
void AddBackup(CLI::App* kms, std::shared_ptr<const TargetOptions> target, Run* run);
// AddRootKey adds root-key to it.
void AddRootKey(CLI::App* kms, std::shared_ptr<const TargetOptions> target, Run* run);
void AddIam(CLI::App& app, Run* run);
void AddKeyBinding(CLI::App& app, Run* run);  // folder, file
void AddAudit(CLI::App& app, Run* run);
void AddConsole(CLI::App& app, Run* run);
void AddFsck(CLI::App& app, Run* run);
void AddUpgrade(CLI::App& app, Run* run);
void AddDoctor(CLI::App& app, Run* run);
void AddCompletion(CLI::App& app, Run* run);
// AddManual adds a hidden command that writes manual pages of all others.
void AddManual(CLI::App& app, Run* run);

// CommandsOf are the commands of `app` that its help lists.
std::vector<const CLI::App*> CommandsOf(const CLI::App& app);

// Options that several groups share.
void AddTargetOptions(CLI::App* app, TargetOptions* target);
// AddStoreOptions adds all of them but --mount, to a command that takes a mountpoint.
void AddStoreOptions(CLI::App* app, TargetOptions* target);
// AddRateLimit adds --rate-limit, and RateLimitOf reads it.
void AddRateLimit(CLI::App* app, std::string* rate_limit);
Result<RateLimit> RateLimitOf(const std::string& text);
// AddOutputOption adds --output with json and text (of people's lines).
void AddOutputOption(CLI::App* app, std::string* format);

}  // namespace keyfold
