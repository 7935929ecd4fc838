// Manual pages, made of the commands' own help. It is run when the program is built.
#include <algorithm>
#include <fstream>
#include <memory>
#include <sstream>

#include "fs/cli/Commands.h"
#include "fs/cli/ExitCode.h"
#include "fs/cli/Report.h"
#include "fs/cli/Version.h"

namespace keyfold {
namespace {

// Roff is text as troff shows it: man(7).
std::string Roff(const std::string& text) {
  std::string out;
  bool begins = true;
  for (const char c : text) {
    if (begins && (c == '.' || c == '\'')) out += "\\&";
    if (c == '\\')
      out += "\\e";
    else if (c == '-')
      out += "\\-";
    else
      out += c;
    begins = c == '\n';
  }
  return out;
}

std::string NameOf(const CLI::Option& option) {
  std::string out;
  for (const std::string& name : option.get_snames()) out += "-" + name + ", ";
  for (const std::string& name : option.get_lnames()) out += "--" + name + ", ";
  if (out.empty()) return option.get_name();
  return out.substr(0, out.size() - 2);
}

// "TEXT:{text,json}" becomes "{text,json}", and "N:INT in [1 - 256]" becomes "N".
std::string TypeOf(const CLI::Option& option) {
  if (option.get_items_expected_max() == 0) return "";
  const std::string type = option.get_type_name();
  if (const size_t list = type.find(":{"); list != std::string::npos)
    return type.substr(list + 1);
  return type.substr(0, type.find(":INT"));
}

// "mountpoint" is MOUNTPOINT, as help and examples call it.
std::string PlaceName(const CLI::Option& option) {
  std::string name = option.get_name();
  for (char& c : name)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return name;
}

std::string Bracketed(const CLI::Option& option, const std::string& text) {
  return option.get_required() ? text : "[" + text + "]";
}

std::string Options(const CLI::App& app) {
  std::string out;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_description().empty()) continue;
    const bool positional = option->get_positional();
    out += ".TP\n";
    out += positional ? "\\fI" + Roff(PlaceName(*option)) + "\\fR"
                      : "\\fB" + Roff(NameOf(*option)) + "\\fR";
    if (const std::string type = TypeOf(*option); !positional && !type.empty())
      out += " \\fI" + Roff(type) + "\\fR";
    out += "\n" + Roff(option->get_description()) + "\n";
  }
  return out;
}

std::string AsItStands(const std::string& text) {
  return text.empty() ? "" : ".PP\n.nf\n" + Roff(text) + "\n.fi\n";
}

std::string Synopsis(const CLI::App& app, const std::string& name) {
  std::string out = "\\fB" + Roff(name) + "\\fR [OPTIONS]";
  for (const CLI::Option* option : app.get_options())
    if (option->get_positional())
      out += " " + Bracketed(*option,
                             "\\fI" + Roff(PlaceName(*option)) + "\\fR" +
                                 (option->get_items_expected_max() > 1 ? "..." : ""));
  if (!CommandsOf(app).empty()) out += " \\fICOMMAND\\fR";
  return out + "\n";
}

// What the text below a command's help has for each part of its page.
struct Footer {
  std::string examples, notes, exit_codes;
};

Footer Take(const std::string& text) {
  Footer footer;
  std::string* part = &footer.notes;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("Example:")) {
      part = &footer.examples;
    } else if (line.starts_with("Exit codes")) {
      part = &footer.exit_codes;  // they come last
      if (line != "Exit codes:") *part += line + "\n";
    } else {
      const bool indented = line.starts_with("  ");
      if (part == &footer.examples && !indented) part = &footer.notes;
      *part += (part == &footer.examples ? line.substr(2) : line) + "\n";
    }
  }
  return footer;
}

std::string Trimmed(const std::string& text) {
  const size_t first = text.find_first_not_of('\n');
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of('\n') + 1 - first);
}

std::string Part(const char* title, const std::string& text) {
  return Trimmed(text).empty()
             ? ""
             : std::string(".SH ") + title + "\n" + AsItStands(Trimmed(text));
}

// Section describes a command below the page's own, and those below it.
std::string Section(const CLI::App& app, const std::string& name) {
  std::string out = ".SS " + Roff(name) + "\n" + Roff(app.get_description()) + ".\n" +
                    Options(app) + AsItStands(app.get_footer());
  for (const CLI::App* command : CommandsOf(app))
    out += Section(*command, name + " " + command->get_name());
  return out;
}

std::string Page(const CLI::App& app, const std::string& name, const char* section,
                 const std::string& rest, const std::string& see_also) {
  std::string title = name;
  std::replace(title.begin(), title.end(), ' ', '-');
  std::string out = ".TH \"" + Roff(title) + "\" " + section + " \"\" \"Keyfold " +
                    kVersion + "\" \"Keyfold\"\n.SH NAME\n" + Roff(title) + " \\- " +
                    Roff(app.get_description()) + "\n.SH SYNOPSIS\n" +
                    Synopsis(app, name) + ".SH OPTIONS\n" + Options(app);
  Footer footer = Take(app.get_footer());
  if (footer.exit_codes.empty())
    footer = Take(app.get_footer() + "\n" + std::string(ExitCodeHelp()));
  return out + Part("NOTES", footer.notes) + rest +
         Part("EXIT STATUS", footer.exit_codes) + Part("EXAMPLES", footer.examples) +
         ".SH SEE ALSO\n" + see_also + "\n";
}

std::string PageOf(const CLI::App& command) {
  std::string rest;
  const std::string name = "keyfold " + command.get_name();
  for (const CLI::App* verb : CommandsOf(command))
    rest += Section(*verb, name + " " + verb->get_name());
  if (!rest.empty()) rest = ".SH COMMANDS\n" + rest;
  return Page(command, name, "1", rest,
              "\\fBkeyfold\\fR(1), \\fBkeyfold\\-policy\\fR(5)");
}

std::string Overview(const CLI::App& app) {
  std::string rest = ".SH COMMANDS\n", more;
  for (const CLI::App* command : CommandsOf(app)) {
    const std::string page = "keyfold-" + command->get_name();
    rest += ".TP\n\\fB" + Roff(command->get_name()) + "\\fR\n" +
            Roff(command->get_description()) + ".\n";
    more += "\\fB" + Roff(page) + "\\fR(1), ";
  }
  return Page(app, "keyfold", "1", rest,
              more +
                  "\\fBmount.keyfold\\fR(8), \\fBkeyfold\\-policy\\fR(5), "
                  "\\fBkeyfold\\-store\\fR(5)");
}

Status Write(const std::string& path, const std::string& text) {
  std::ofstream out(path);
  out << text;
  out.close();
  return out ? OkStatus() : Status(Error::kSystem, path + " cannot be written.");
}

Status WriteManual(const CLI::App& app, const std::string& folder) {
  for (const CLI::App* command : CommandsOf(app))
    KF_RETURN_IF_ERROR(
        Write(folder + "/keyfold-" + command->get_name() + ".1", PageOf(*command)));
  KF_RETURN_IF_ERROR(Write(folder + "/keyfold.1", Overview(app)));
  CLI::App helper("Mounts a Keyfold store, for mount(8) and fstab(5)", "mount.keyfold");
  Run unused;
  AddMountHelper(helper, &unused);
  helper.footer(
      "Example:\n"
      "  /srv/keyfold/finance /srv/finance keyfold "
      "root-key=file:/etc/keyfold/finance.key,nofail 0 0\n"
      "  # mounted when somebody first looks at it:\n"
      "  /srv/keyfold/finance /srv/finance keyfold "
      "root-key=file:/etc/keyfold/finance.key,nofail,noauto,x-systemd.automount 0 0");
  return Write(folder + "/mount.keyfold.8",
               Page(helper, "mount.keyfold", "8", "",
                    "\\fBkeyfold\\-mount\\fR(1), \\fBmount\\fR(8), "
                    "\\fBsystemd.automount\\fR(5)"));
}

}  // namespace

void AddManual(CLI::App& app, Run* run) {
  const auto folder = std::make_shared<std::string>();
  CLI::App* manual = app.add_subcommand("manual", "Writes manual pages");
  manual->group("");  // not in the help
  manual->add_option("folder", *folder, "Where to")->required();
  manual->callback([&app, folder, run] {
    *run = [&app, folder] {
      const Status written = WriteManual(app, *folder);
      return written.ok() ? static_cast<int>(kExitOk) : Fail(written);
    };
  });
}

}  // namespace keyfold
