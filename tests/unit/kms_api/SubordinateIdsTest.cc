// Does who has thousands of ids count as one user?
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "kms/api/SubordinateIds.h"

namespace keyfold {
namespace {

TEST(SubordinateIdsTest, AreTheirOwners) {
  char path[] = "/tmp/keyfold-subuid-XXXXXX";
  const int fd = ::mkstemp(path);
  ASSERT_GE(fd, 0);
  ::close(fd);
  std::ofstream(path) << "nobody:100000:65536\n"
                         "root:500000:65536\n"
                         "# a remark\n"
                         "no-such-user-here:300000:65536\n"
                         "60001:400000:10\n"
                         "60002:x:10\n"
                         "60003:4294967290:65536\n";
  const SubordinateIds ids = SubordinateIds::Read(path);
  ::unlink(path);
  EXPECT_EQ(ids.OwnerOf(100000), 65534u);
  EXPECT_EQ(ids.OwnerOf(165535), 65534u);
  EXPECT_EQ(ids.OwnerOf(500000), 500000u);
  EXPECT_EQ(ids.OwnerOf(165536), 165536u);
  EXPECT_EQ(ids.OwnerOf(99999), 99999u);
  EXPECT_EQ(ids.OwnerOf(300000), 300000u);
  EXPECT_EQ(ids.OwnerOf(400009), 60001u);
  EXPECT_EQ(ids.OwnerOf(400010), 400010u);
  EXPECT_EQ(ids.OwnerOf(4294967294u), 60003u);
  EXPECT_EQ(ids.OwnerOf(5), 5u);
}

TEST(SubordinateIdsTest, NoFileKnowsNone) {
  EXPECT_EQ(SubordinateIds::Read("/nonexistent").OwnerOf(100000), 100000u);
}

}  // namespace
}  // namespace keyfold
