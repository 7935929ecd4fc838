// Are records of the journal what systemd's native protocol says, whatever they hold?
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fs/cli/Journal.h"
#include "tests/unit/TempFolder.h"

namespace keyfold {
namespace {

using namespace std::string_literals;

TEST(JournalTest, AFieldIsALine) {
  EXPECT_EQ(JournalDatagram({{"MESSAGE", "gone"}, {"PRIORITY", "3"}}),
            "MESSAGE=gone\nPRIORITY=3\n");
}

TEST(JournalTest, AValueWithALineBreakBearsItsSize) {
  EXPECT_EQ(JournalDatagram({{"MESSAGE", "a\nEVIL=1"}}),
            "MESSAGE\n\x08\0\0\0\0\0\0\0a\nEVIL=1\n"s);
}

TEST(JournalTest, AValueIsCutSoThatADatagramTakesIt) {
  const std::string datagram = JournalDatagram({{"A", std::string(1 << 20, 'x')}});
  EXPECT_EQ(datagram.size(), 2 + (16u << 10) + 1);
}

int Listen(const std::string& path) {
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  EXPECT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  return fd;
}

TEST(JournalTest, ALostListenerIsFoundAgainByItsName) {
  const TempFolder folder{"/tmp"};
  const std::string path = folder.path() + "/socket";
  EXPECT_EQ(Journal::Open(path), nullptr);
  int listener = Listen(path);
  const auto journal = Journal::Open(path);
  ASSERT_NE(journal, nullptr);
  ::close(listener);
  ::unlink(path.c_str());
  EXPECT_FALSE(journal->Send({{"MESSAGE", "to nobody"}}));
  listener = Listen(path);
  EXPECT_TRUE(journal->Send({{"MESSAGE", "again"}}));
  char text[64];
  const ssize_t n = ::recv(listener, text, sizeof text, MSG_DONTWAIT);
  EXPECT_EQ(std::string(text, static_cast<size_t>(std::max<ssize_t>(n, 0))),
            "MESSAGE=again\n");
  // A journal that takes nothing is not waited for.
  while (journal->Send({{"MESSAGE", std::string(8000, 'x')}})) continue;
  ::close(listener);
}

}  // namespace
}  // namespace keyfold
