// ProgressLine: how far long work is, on standard error: one line that replaces itself
// on a terminal, a line each elsewhere. Not synchronised.
#pragma once

#include <chrono>
#include <string>

namespace keyfold {

class ProgressLine {
 public:
  void Show(const std::string& text);
  // Clear makes way for other words.
  void Clear();
  // Seconds since it was made.
  double Seconds() const;

 private:
  const std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
  bool shown_ = false;
};

}  // namespace keyfold
