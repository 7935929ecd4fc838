// Is a tree as large as the work that passes it will say?
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "fs/backend/Backend.h"
#include "fs/format/Geometry.h"
#include "fs/vault/TreeSize.h"
#include "tests/unit/TempFolder.h"

namespace keyfold {
namespace {

constexpr uint64_t kWritten = 100 << 10, kHole = 8 << 20;

TEST(TreeSizeTest, HolesCountForWhoPassesThemAndAFileOfTwoNamesOnce) {
  const TempFolder folder;
  const std::string path = folder / "file";
  const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_TRUE(WriteAt(fd.get(), 0, Bytes(kWritten, 1)).ok());
  ASSERT_EQ(::ftruncate(fd.get(), kWritten + kHole), 0);
  ASSERT_EQ(::fsync(fd.get()), 0);
  ASSERT_EQ(::link(path.c_str(), (folder / "other name").c_str()), 0);
  const std::atomic<bool> stop{false};
  const auto measured = [&](MeasuredBytes bytes) {
    const TreeSize size = MeasureTree(folder.path(), bytes, stop);
    EXPECT_EQ(size.files, 1u);
    return size.bytes;
  };
  EXPECT_EQ(measured(MeasuredBytes::kLength), kWritten + kHole);
  EXPECT_EQ(measured(MeasuredBytes::kData), kWritten);
  EXPECT_EQ(measured(MeasuredBytes::kStored), PlainSize(kWritten));
}

}  // namespace
}  // namespace keyfold
