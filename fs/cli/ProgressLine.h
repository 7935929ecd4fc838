// ProgressLine: how far long work is, on standard error: one line with a bar that is
// drawn anew on a terminal, a line now and then elsewhere. Not synchronised.
#pragma once

#include <chrono>
#include <optional>
#include <string>

namespace keyfold {

class ProgressLine {
 public:
  ~ProgressLine() { Clear(); }

  // Show tells `text`, unless that was told just now. Its parts are joined by ", ", the
  // most telling last. `fraction`, from 0 to 1, is how much is done, if that is known.
  void Show(const std::string& text, std::optional<double> fraction = {});
  // Clear makes way for other words.
  void Clear();
  // Seconds since it was made.
  double Seconds() const;

 private:
  const std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
  std::optional<std::chrono::steady_clock::time_point> told_;
  bool drawn_ = false;
};

// ProgressBar is a line for a terminal of `columns`, of which it leaves the last free,
// as a terminal may wrap a full line: a bar, the percentage and `text`. Where there is
// little room the first parts of the text are left out, then the bar.
std::string ProgressBar(std::string text, std::optional<double> fraction,
                        size_t columns);

}  // namespace keyfold
