#include "fs/cli/Commands.h"
#include "fs/cli/Figures.h"

namespace keyfold {

std::vector<const CLI::App*> CommandsOf(const CLI::App& app) {
  const auto commands = app.get_subcommands(
      [](const CLI::App* one) { return !one->get_group().empty(); });
  return {commands.begin(), commands.end()};
}

void AddTargetOptions(CLI::App* app, TargetOptions* target) {
  app->add_option(
         "--mount", target->mount,
         "Mountpoint of the store; else KEYFOLD_MOUNT, else the only one mounted")
      ->type_name("MOUNTPOINT");
  AddStoreOptions(app, target);
}

void AddStoreOptions(CLI::App* app, TargetOptions* target) {
  app->add_option("--store", target->store, "A store; worked on here if not mounted")
      ->type_name("STORE");
  app->add_option("--root-key", target->root_key,
                  "With --store: where the secret is, as with keyfold mount")
      ->type_name("SPEC");
}

void AddOutputOption(CLI::App* app, std::string* format) {
  app->add_option("--output", *format, "text (default) or json")
      ->check(CLI::IsMember({"text", "json"}));
}

Result<RateLimit> RateLimitOf(const std::string& text) {
  constexpr uint64_t kLeast = 4096;
  if (text.empty()) return RateLimit();
  const auto size = ParseSize(text);
  if (!size || *size < kLeast)
    return Status(Error::kUsage,
                  "--rate-limit expects bytes a second such as 50M, at least 4K.");
  return RateLimit(*size);
}

void AddRateLimit(CLI::App* app, std::string* rate_limit) {
  app->add_option("--rate-limit", *rate_limit,
                  "Write at most so many bytes a second: 500K, 50M, 1G")
      ->type_name("SIZE");
}

}  // namespace keyfold
