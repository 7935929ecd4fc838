#include "fs/cli/Program.h"

#include <algorithm>
#include <cstdio>
#include <memory>

#include "fs/cli/Commands.h"
#include "fs/cli/ExitCode.h"
#include "fs/cli/RekeyCommand.h"
#include "fs/cli/TreeCopyCommand.h"
#include "fs/cli/Version.h"
#include "kms/base/Spelling.h"

namespace keyfold {
namespace {

std::string BaseName(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

const CLI::App* FindCommand(const CLI::App* app, const std::string& name) {
  for (const CLI::App* command :
       app->get_subcommands([](const CLI::App*) { return true; }))
    if (command->check_name(name)) return command;
  return nullptr;
}

void AddHelp(CLI::App& app, Run* run) {
  const auto words = std::make_shared<std::vector<std::string>>();
  CLI::App* help = app.add_subcommand("help", "Shows the help of a command");
  help->add_option("command", *words, "A command, or exit-codes")->type_name("COMMAND");
  help->callback([&app, words, run] {
    *run = [&app, words] {
      if (!words->empty() && words->front() == "exit-codes") {
        std::fputs(std::string(ExitCodeHelp()).c_str(), stdout);
        return 0;
      }
      const CLI::App* found = &app;
      std::string name = app.get_name();
      for (const std::string& word : *words) {
        found = FindCommand(found, word);
        if (found == nullptr) {
          std::fprintf(stderr,
                       "keyfold: there is no command \"%s\". See: keyfold --help\n",
                       word.c_str());
          return static_cast<int>(kExitUsage);
        }
        name += " " + found->get_name();
      }
      // Not help(), which is that of the command being run: this one.
      std::fputs(found->get_formatter()
                     ->make_help(found, name, CLI::AppFormatMode::Normal)
                     .c_str(),
                 stdout);
      return 0;
    };
  });
}

// Mistake is the first word that `app` does not know, with the nearest it does;
// empty when every word is known.
std::string Mistake(const CLI::App* app, const std::vector<std::string>& arguments) {
  std::vector<const CLI::App*> path = {app};
  for (size_t i = 1; i < arguments.size(); ++i) {
    const std::string word = arguments[i].substr(0, arguments[i].find('='));
    const CLI::App* here = path.back();
    if (word == "--") return "";
    if (word.size() > 1 && word[0] == '-') {
      std::vector<std::string> names;
      const CLI::Option* known = nullptr;
      for (const CLI::App* one : path)
        for (const CLI::Option* option : one->get_options()) {
          for (const std::string& name : option->get_lnames())
            names.push_back("--" + name);
          if (option->check_name(word)) known = option;
        }
      if (known == nullptr && word[1] != '-') {
        // -oVALUE and -fv: the first letter decides.
        for (const CLI::Option* option : here->get_options())
          if (option->check_sname(word.substr(1, 1))) known = option;
      }
      if (known == nullptr) {
        const std::string near = Nearest(word, names);
        return "Unknown option " + word + "." +
               (near.empty() ? "" : " Did you mean " + near + "?");
      }
      if (known->get_items_expected_min() > 0 && arguments[i].size() == word.size())
        ++i;
      continue;
    }
    const auto commands = here->get_subcommands([](const CLI::App*) { return true; });
    if (commands.empty()) continue;
    const CLI::App* next = FindCommand(here, word);
    if (next == nullptr) {
      std::vector<std::string> names;
      for (const CLI::App* command : commands) names.push_back(command->get_name());
      const std::string near = Nearest(word, names);
      return "Unknown command \"" + word + "\"." +
             (near.empty() ? "" : " Did you mean \"" + near + "\"?");
    }
    path.push_back(next);
  }
  return "";
}

// Deepest is the command that was being read when parsing failed.
std::string Deepest(const CLI::App& app) {
  const CLI::App* here = &app;
  std::string name = app.get_name();
  while (!here->get_subcommands().empty()) {
    here = here->get_subcommands().front();
    name += " " + here->get_name();
  }
  return name;
}

int UsageError(const CLI::App& app, const std::vector<std::string>& arguments,
               const CLI::ParseError& error) {
  std::string reason = Mistake(&app, arguments);
  if (reason.empty()) reason = std::string(error.what()) + ".";
  std::fprintf(stderr, "keyfold: %s See: %s --help\n", reason.c_str(),
               Deepest(app).c_str());
  return Deepest(app) == "keyfold fsck" ? static_cast<int>(kFsckUsage) : kExitUsage;
}

// MarkJsonLists keeps JSON lists among the words of `keyfold kms` whole: the
// option parser would split "[a,b]" itself. Space behind JSON means nothing.
void MarkJsonLists(std::vector<std::string>* arguments) {
  if (std::find(arguments->begin(), arguments->end(), "kms") == arguments->end())
    return;
  for (std::string& word : *arguments)
    if (word.size() > 2 && word.front() == '[' && word.back() == ']' &&
        (word[1] == '{' || word[1] == '"'))
      word += ' ';
}

}  // namespace

int RunProgram(std::vector<std::string> arguments) {
  if (arguments.empty()) arguments.push_back("keyfold");
  Run run;
  CLI::App app("Folders locked by keys", "keyfold");
  app.set_version_flag("--version", std::string("keyfold ") + kVersion);
  if (BaseName(arguments[0]) == "mount.keyfold") {
    app.name("mount.keyfold");
    AddMountHelper(app, &run);
  } else {
    AddInit(app, &run);
    AddMount(app, &run);
    AddUnmount(app, &run);
    AddStatus(app, &run);
    AddTop(app, &run);
    AddKms(app, &run);
    AddIam(app, &run);
    AddKeyBinding(app, &run);
    AddRekey(app, &run);
    AddImport(app, &run);
    AddExport(app, &run);
    AddAudit(app, &run);
    AddConsole(app, &run);
    AddFsck(app, &run);
    AddDoctor(app, &run);
    AddCompletion(app, &run);
    AddManual(app, &run);
    AddUpgrade(app, &run);
    AddHelp(app, &run);
    app.require_subcommand(1);
    app.footer(
        "Example:\n  keyfold init /srv/keyfold/finance\n"
        "  keyfold mount /srv/keyfold/finance /srv/finance\n\n"
        "On a terminal tables are aligned and in colour. Elsewhere a tab stands "
        "between\n"
        "their cells, but for --output table; scripts do well to use --output "
        "json.\n\n" +
        std::string(ExitCodeHelp()));
  }
  MarkJsonLists(&arguments);
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend() - 1);
  try {
    app.parse(reversed);
  } catch (const CLI::Success& wanted) {  // --help, --version
    return app.exit(wanted);
  } catch (const CLI::ParseError& error) {
    return UsageError(app, arguments, error);
  }
  return run ? run() : static_cast<int>(kExitUsage);
}

}  // namespace keyfold
