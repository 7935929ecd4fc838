#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <limits>
#include <memory>
#include <optional>

#include "fs/cli/Commands.h"
#include "fs/cli/HeldSignals.h"
#include "fs/cli/Report.h"
#include "fs/cli/Top.h"
#include "fs/cli/UserName.h"

namespace keyfold {
namespace {

using nlohmann::json;

struct TopWords {
  std::string mountpoint;
  bool once = false, as_json = false;
};

// Screen takes the terminal's second page, and gives it back at the end.
class Screen {
 public:
  Screen() { std::fputs("\x1b[?1049h\x1b[?25l", stdout); }
  ~Screen() {
    std::fputs("\x1b[?25h\x1b[?1049l", stdout);
    std::fflush(stdout);
  }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;
  // Show clears what is left of the page before, line by line, so that it does not
  // flicker.
  Status Show(const std::string& page) {
    std::string text = "\x1b[H";
    for (const char c : page) text += c == '\n' ? "\x1b[K\n" : std::string(1, c);
    return Print(text + "\x1b[J");
  }
};

size_t LinesOfTerminal() {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row < 4) return 24;
  return size.ws_row - 1U;
}

// Watch asks a mount again and again. What follows an answer it got has no record.
class Watch {
 public:
  explicit Watch(std::unique_ptr<Connection> connection)
      : connection_(std::move(connection)) {}
  Result<json> Ask() {
    json request = json::object();
    if (last_ != 0) request["AfterSequence"] = last_;
    auto answer = connection_->Call("store", "GetActivity", request);
    if (answer.ok()) last_ = answer->value("LastSequence", uint64_t{0});
    return answer;
  }

 private:
  const std::unique_ptr<Connection> connection_;
  uint64_t last_ = 0;  // none yet
};

Status Follow(Watch& watch, const MountEntry& mount, const TopWords& words) {
  const HeldSignals signals;
  constexpr size_t kAllLines = std::numeric_limits<size_t>::max();
  const bool terminal = ::isatty(STDOUT_FILENO) == 1 && !words.once && !words.as_json;
  std::optional<Screen> screen;
  json before;
  for (;;) {
    KF_ASSIGN_OR_RETURN(json now, watch.Ask());
    if (words.as_json) {
      KF_RETURN_IF_ERROR(
          Print(now.dump(-1, ' ', false, json::error_handler_t::replace) + "\n"));
      if (words.once) return OkStatus();
    } else if (terminal) {
      if (!screen) screen.emplace();
      KF_RETURN_IF_ERROR(screen->Show(TopPage(mount.mountpoint, now, before, UserName,
                                              LinesOfTerminal(), Layout::kAligned)));
    } else if (before.is_object()) {  // with rates, and no more
      return Print(TopPage(mount.mountpoint, now, before, UserName, kAllLines,
                           LayoutOfOutput()));
    }
    before = std::move(now);
    if (signals.Take({1, 0})) return OkStatus();
  }
}

Status ShowTop(const TopWords& words) {
  KF_ASSIGN_OR_RETURN(const MountEntry mount, ChooseMount({words.mountpoint, "", ""}));
  KF_ASSIGN_OR_RETURN(auto connection, ConnectTo(mount));
  Watch watch(std::move(connection));
  return Follow(watch, mount, words);
}

}  // namespace

void AddTop(CLI::App& app, Run* run) {
  const auto words = std::make_shared<TopWords>();
  CLI::App* top = app.add_subcommand("top", "Shows who uses a mount, each second");
  top->add_option("mountpoint", words->mountpoint,
                  "The mount; else KEYFOLD_MOUNT, else the only one")
      ->type_name("MOUNTPOINT");
  top->add_flag("--once", words->once,
                "Print one page and end, as where there is no terminal");
  top->add_flag("--json", words->as_json,
                "Print what the daemon says, a line each second");
  top->footer(
      "Who may read the audit log (cloudtrail:LookupEvents) sees all users, keys and "
      "open\nfiles; everybody else their own. Rates are those of the last second. The "
      "first look is\non record, and those that follow it are not.\n"
      "Examples:\n  keyfold top /srv/finance\n"
      "  keyfold top /srv/finance --once --json");
  top->callback([words, run] {
    *run = [words] {
      const Status shown = ShowTop(*words);
      return shown.ok() ? 0 : Fail(shown);
    };
  });
}

}  // namespace keyfold
