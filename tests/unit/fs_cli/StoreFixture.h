// A real store in a temporary folder, its root key in a file beside it.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <functional>

#include "fs/cli/Store.h"
#include "tests/unit/TempFolder.h"

namespace keyfold {

class StoreTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto made = CreateStore({store_, Key("a"), Account().id, "local-1"}, nullptr);
    ASSERT_TRUE(made.ok()) << made.status().ToString();
    made_ = *made;
  }
  std::string Key(const std::string& name) const {
    return "file:" + folder_ / (name + ".key");
  }
  // KilledAfter has a process do `change`, which calls what it is given after each
  // step, and end after `steps` of them; false when there are fewer.
  static bool KilledAfter(
      int steps,
      const std::function<Status(std::function<void()> after_step)>& change) {
    const pid_t child = fork();
    if (child == 0) {
      const Status status = change([steps, done = 0]() mutable {
        if (++done == steps) _exit(9);
      });
      if (!status.ok()) fprintf(stderr, "%s\n", status.ToString().c_str());
      _exit(status.ok() ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_TRUE(WIFEXITED(status) &&
                (WEXITSTATUS(status) == 9 || WEXITSTATUS(status) == 0));
    return WEXITSTATUS(status) == 9;
  }

  TempFolder folder_{"/tmp"};
  const std::string store_ = folder_ / "store";
  StoreConfig made_;
};

}  // namespace keyfold
