#include "fs/cli/ProgressLine.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace keyfold {
namespace {

using std::chrono::steady_clock;

constexpr auto kDrawn = std::chrono::milliseconds(200);
constexpr auto kTold = std::chrono::seconds(2);  // where lines stay
constexpr size_t kUsualColumns = 80;
constexpr size_t kLeastBar = 10, kMostBar = 40;
constexpr char kClear[] = "\033[K";  // to the line's end (ECMA-48, EL)

bool IsTerminal() { return ::isatty(STDERR_FILENO) == 1; }

size_t TerminalColumns() {
  winsize size{};
  const bool known = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : kUsualColumns;
}

// Shortened leaves out the first parts of `text` until it fits.
std::string Shortened(std::string text, size_t room) {
  while (text.size() > room) {
    const size_t comma = text.find(", ");
    if (comma == text.npos) return "";
    text.erase(0, comma + 2);
  }
  return text;
}

}  // namespace

std::string ProgressBar(std::string text, std::optional<double> fraction,
                        size_t columns) {
  const size_t room = std::max<size_t>(columns, 1) - 1;
  if (!fraction) return Shortened(std::move(text), room);
  const double done = std::clamp(*fraction, 0.0, 1.0);
  // It is 100 when all is done, not before.
  const std::string percent =
      std::to_string(static_cast<unsigned>(std::floor(done * 100))) + " %";
  const std::string padded = std::string(5 - percent.size(), ' ') + percent;
  const std::string words = Shortened(std::move(text), room);
  const std::string around = "[] " + padded + "  ";
  if (room < around.size() + kLeastBar) return words;
  const std::string beside = Shortened(words, room - around.size() - kLeastBar);
  const size_t bar = std::min(kMostBar, room - around.size() - beside.size());
  const auto full = static_cast<size_t>(done * static_cast<double>(bar));
  return "[" + std::string(full, '#') + std::string(bar - full, ' ') + "] " + padded +
         (beside.empty() ? "" : "  " + beside);
}

void ProgressLine::Show(const std::string& text, std::optional<double> fraction) {
  const auto now = steady_clock::now();
  const bool terminal = IsTerminal();
  const steady_clock::duration pause =
      terminal ? steady_clock::duration(kDrawn) : kTold;
  if (told_ && now - *told_ < pause) return;
  told_ = now;
  drawn_ = terminal;
  const std::string line =
      terminal ? "\r" + ProgressBar(text, fraction, TerminalColumns()) + kClear
               : text + "\n";
  std::fputs(line.c_str(), stderr);
  std::fflush(stderr);
}

void ProgressLine::Clear() {
  if (!drawn_) return;
  std::fputs((std::string("\r") + kClear).c_str(), stderr);
  std::fflush(stderr);
  drawn_ = false;
}

double ProgressLine::Seconds() const {
  return std::chrono::duration<double>(steady_clock::now() - begun_).count();
}

}  // namespace keyfold
