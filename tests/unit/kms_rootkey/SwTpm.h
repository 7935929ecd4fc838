// SwTpm: a TPM in a process of its own, whose state outlives it, for tests.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <thread>

#include "kms/rootkey/TpmSeal.h"

namespace keyfold {

class SwTpm {
 public:
  SwTpm() {
    char name[] = "/tmp/keyfold-swtpm-XXXXXX";
    if (mkdtemp(name) == nullptr) std::abort();
    folder_ = name;
    Start();
  }
  ~SwTpm() {
    Stop();
    std::filesystem::remove_all(folder_);
  }
  std::string tcti() const { return "swtpm:path=" + folder_ + "/sock"; }
  const std::string& folder() const { return folder_; }
  void Start() {
    pid_ = fork();
    if (pid_ == 0) {
      // It tells of each connection.
      if (freopen("/dev/null", "w", stderr) == nullptr) _exit(127);
      const std::string state = "dir=" + folder_;
      const std::string server = "type=unixio,path=" + folder_ + "/sock";
      const std::string control = "type=unixio,path=" + folder_ + "/sock.ctrl";
      execlp("swtpm", "swtpm", "socket", "--tpm2", "--tpmstate", state.c_str(),
             "--server", server.c_str(), "--ctrl", control.c_str(), "--flags",
             "not-need-init,startup-clear", nullptr);
      _exit(127);
    }
    Status status = CheckTpm(tcti());
    for (int i = 0; i < 200 && !status.ok(); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(25));
      status = CheckTpm(tcti());
    }
    EXPECT_TRUE(status.ok()) << status.ToString();
  }
  void Stop() {
    kill(pid_, SIGTERM);
    waitpid(pid_, nullptr, 0);
  }
  void Extend(unsigned pcr) {
    const std::string command = "tpm2_pcrextend -T " + tcti() + " " +
                                std::to_string(pcr) + ":sha256=" + std::string(64, 'a');
    ASSERT_EQ(system(command.c_str()), 0);
  }

 private:
  std::string folder_;
  pid_t pid_ = 0;
};

}  // namespace keyfold
