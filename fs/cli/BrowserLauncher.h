// BrowserLauncher: opens the console's address in the user's browser, which other users
// must not read from the list of processes.
//
// Owns: a file that only this user can read and that leads to the address, until
// Forget or its end. Not synchronised.
#pragma once

#include <string>

#include "kms/base/Status.h"

namespace keyfold {

class BrowserLauncher {
 public:
  // Launch starts xdg-open. kUsage without XDG_RUNTIME_DIR, where such files belong.
  static Result<BrowserLauncher> Launch(const std::string& url);
  BrowserLauncher(BrowserLauncher&& other) noexcept : file_(std::move(other.file_)) {
    other.file_.clear();
  }
  BrowserLauncher& operator=(BrowserLauncher&&) = delete;
  ~BrowserLauncher() { Forget(); }
  // Forget removes the file.
  void Forget();

 private:
  explicit BrowserLauncher(std::string file) : file_(std::move(file)) {}
  std::string file_;
};

}  // namespace keyfold
