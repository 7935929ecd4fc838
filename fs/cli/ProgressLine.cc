#include "fs/cli/ProgressLine.h"

#include <unistd.h>

#include <cstdio>

namespace keyfold {
namespace {

bool IsTerminal() { return ::isatty(STDERR_FILENO) == 1; }

}  // namespace

void ProgressLine::Show(const std::string& text) {
  Clear();
  std::fputs((IsTerminal() ? text : text + "\n").c_str(), stderr);
  std::fflush(stderr);
  shown_ = true;
}

void ProgressLine::Clear() {
  if (shown_ && IsTerminal()) std::fputs("\r\033[K", stderr);
  shown_ = false;
}

double ProgressLine::Seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun_)
      .count();
}

}  // namespace keyfold
