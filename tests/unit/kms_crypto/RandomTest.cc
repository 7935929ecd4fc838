// Is each random byte given once: to one thread, one process, one caller?
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <set>
#include <thread>

#include "kms/crypto/Crypto.h"

namespace keyfold {
namespace {

TEST(RandomTest, UuidsAreVersionFour) {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const std::string uuid = RandomUuid();
    ASSERT_EQ(uuid.size(), 36u);
    for (size_t at : {8u, 13u, 18u, 23u}) ASSERT_EQ(uuid[at], '-');
    ASSERT_EQ(uuid[14], '4');
    ASSERT_NE(std::string_view("89ab").find(uuid[19]), std::string_view::npos);
    ASSERT_EQ(uuid.find_first_not_of("0123456789abcdef-"), std::string::npos);
    ASSERT_TRUE(seen.insert(uuid).second);
  }
}

TEST(RandomTest, EverySizeIsFilled) {
  for (size_t size : {1u, 12u, 16u, 255u, 256u, 257u, 5000u}) {
    const Bytes a = RandomBytes(size), b = RandomBytes(size);
    ASSERT_EQ(a.size(), size);
    if (size >= 12) {
      EXPECT_NE(a, b);
      // The ends are not left as they were.
      EXPECT_NE(Bytes(a.end() - 8, a.end()), Bytes(8));
      EXPECT_NE(Bytes(a.begin(), a.begin() + 8), Bytes(8));
    }
  }
  EXPECT_TRUE(RandomBytes(0).empty());
}

TEST(RandomTest, ThreadsShareNothing) {
  std::vector<std::vector<std::string>> drawn(4);
  std::vector<std::thread> threads;
  for (auto& mine : drawn)
    threads.emplace_back([&mine] {
      for (int i = 0; i < 2000; ++i) mine.push_back(RandomUuid());
    });
  for (auto& thread : threads) thread.join();
  std::set<std::string> all;
  for (const auto& mine : drawn) all.insert(mine.begin(), mine.end());
  EXPECT_EQ(all.size(), 8000u);
}

// What was drawn ahead before a fork must not come out on both sides of it.
TEST(RandomTest, AChildDoesNotRepeatItsParent) {
  (void)RandomUuid();
  int pipe_fds[2];
  ASSERT_EQ(::pipe(pipe_fds), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  constexpr size_t kUuid = 36;
  if (child == 0) {
    for (int i = 0; i < 50; ++i)
      if (::write(pipe_fds[1], RandomUuid().data(), kUuid) != kUuid) ::_exit(1);
    ::_exit(0);
  }
  ::close(pipe_fds[1]);
  std::set<std::string> mine;
  for (int i = 0; i < 300; ++i) mine.insert(RandomUuid());
  std::string theirs(kUuid, ' ');
  int count = 0;
  while (::read(pipe_fds[0], theirs.data(), kUuid) == kUuid) {
    EXPECT_FALSE(mine.contains(theirs));
    ++count;
  }
  ::close(pipe_fds[0]);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(count, 50);
}

}  // namespace
}  // namespace keyfold
