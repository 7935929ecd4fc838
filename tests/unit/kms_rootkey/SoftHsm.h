// SoftHsm: a PKCS#11 module with tokens in a folder of its own, for tests.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace keyfold {

class SoftHsm {
 public:
  static constexpr char kModule[] = "/usr/lib/softhsm/libsofthsm2.so";

  SoftHsm() {
    char name[] = "/tmp/keyfold-softhsm-XXXXXX";
    if (mkdtemp(name) == nullptr) std::abort();
    folder_ = name;
    std::filesystem::create_directory(tokens());
    Configure("");
    setenv("SOFTHSM2_CONF", (folder_ + "/conf").c_str(), 1);
  }
  ~SoftHsm() { std::filesystem::remove_all(folder_); }
  const std::string& folder() const { return folder_; }
  std::string tokens() const { return folder_ + "/tokens"; }

  void Configure(const std::string& more) {
    std::ofstream(folder_ + "/conf") << "directories.tokendir = " << tokens() << "\n"
                                     << more << "\n";
  }
  void MakeToken(const std::string& label, const std::string& pin = "1234") {
    Run("softhsm2-util --init-token --free --label '" + label + "' --pin " + pin +
        " --so-pin 5678 >/dev/null");
  }
  // PinFile makes a file of mode 0600 unless another is given.
  std::string PinFile(const std::string& pin, mode_t mode = 0600) {
    const std::string path = folder_ + "/pin";
    std::filesystem::remove(path);
    std::ofstream(path) << pin << "\n";
    chmod(path.c_str(), mode);
    return path;
  }
  std::string Uri(const std::string& token, const std::string& object,
                  const std::string& rest) const {
    return "pkcs11:token=" + token + ";object=" + object + "?module-path=" + kModule +
           rest;
  }
  // Run is what the shell prints; the command must succeed.
  static std::string Run(const std::string& command) {
    FILE* pipe = popen((command + " 2>&1").c_str(), "r");
    std::string text;
    char buffer[4096];
    while (const size_t got = fread(buffer, 1, sizeof buffer, pipe))
      text.append(buffer, got);
    EXPECT_EQ(pclose(pipe), 0) << command << "\n" << text;
    return text;
  }

 private:
  std::string folder_;
};

}  // namespace keyfold
