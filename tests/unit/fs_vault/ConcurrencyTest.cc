// Do threads at work on one file see whole blocks, old or new, and nothing else?
#include <atomic>
#include <random>
#include <thread>

#include "OpenFileTest.h"
#include "fs/vault/GroupStripes.h"

namespace keyfold {
namespace {

class ConcurrencyTest : public OpenFileTest {};

// A block is filled with one byte, so that a mixture shows.
Bytes Filled(size_t blocks, uint8_t fill) { return Bytes(blocks * kBlockSize, fill); }

TEST_F(ConcurrencyTest, ReadersSeeWholeBlocksWhileTheyAreReplaced) {
  constexpr uint64_t kBlocks = 3 * kGroupBlocks;
  constexpr int kRounds = 400;
  ASSERT_TRUE(file_->Write(0, Filled(kBlocks, 1)).ok());
  std::atomic<bool> done{false};
  std::vector<std::thread> writers, others;
  for (unsigned seed = 1; seed <= 3; ++seed)
    writers.emplace_back([&, seed] {
      std::mt19937 random(seed);
      for (int i = 0; i < kRounds; ++i) {
        const size_t count = 1 + random() % 4;
        const uint64_t block = random() % (kBlocks - count);
        const Status status =
            file_->Write(block * kBlockSize,
                         Filled(count, static_cast<uint8_t>(2 + random() % 200)));
        ASSERT_TRUE(status.ok()) << "seed " << seed << ": " << status.ToString();
      }
    });
  for (unsigned seed = 11; seed <= 12; ++seed)
    others.emplace_back([&, seed] {
      std::mt19937 random(seed);
      Bytes out(2 * kGroupBlocks * kBlockSize);
      while (!done) {
        const size_t count = 1 + random() % (2 * kGroupBlocks);
        const uint64_t block = random() % (kBlocks - count);
        const auto n = file_->Read(block * kBlockSize,
                                   MutableBytes(out).first(count * kBlockSize));
        ASSERT_TRUE(n.ok()) << "seed " << seed << ": " << n.status().ToString();
        ASSERT_EQ(*n, count * kBlockSize);
        for (size_t i = 0; i < count; ++i) {
          const ByteView one = ByteView(out).subspan(i * kBlockSize, kBlockSize);
          ASSERT_TRUE(std::all_of(one.begin(), one.end(),
                                  [&](uint8_t byte) { return byte == one[0]; }))
              << "seed " << seed << ", block " << block + i;
          ASSERT_NE(one[0], 0);
        }
        const auto hole = file_->Seek(0, File::Seeking::kHole);
        ASSERT_TRUE(hole.ok()) << hole.status().ToString();
        ASSERT_EQ(*hole, kBlocks * kBlockSize);
      }
    });
  // Headers are written meanwhile, after which blocks are marked as torn anew.
  others.emplace_back([&] {
    while (!done) ASSERT_TRUE(file_->WriteHeader().ok());
  });
  for (auto& thread : writers) thread.join();
  done = true;
  for (auto& thread : others) thread.join();
  ASSERT_TRUE(Reopen().ok());
  Bytes all(kBlocks * kBlockSize);
  EXPECT_TRUE(file_->Read(0, all).ok());
}

TEST_F(ConcurrencyTest, TheLastOfManyWritersCounts) {
  constexpr uint64_t kBlocks = kGroupBlocks;
  ASSERT_TRUE(file_->Write(0, Filled(kBlocks, 1)).ok());
  std::vector<std::thread> writers;
  for (uint64_t writer = 0; writer < 4; ++writer)
    writers.emplace_back([&, writer] {
      for (uint64_t block = writer; block < kBlocks; block += 4)
        for (uint8_t fill : {7, 9, static_cast<int>(10 + block)})
          ASSERT_TRUE(file_->Write(block * kBlockSize, Filled(1, fill)).ok());
    });
  for (auto& writer : writers) writer.join();
  for (int again = 0; again < 2; ++again) {
    Bytes out(kBlockSize);
    for (uint64_t block = 0; block < kBlocks; ++block) {
      ASSERT_TRUE(file_->Read(block * kBlockSize, out).ok());
      ASSERT_EQ(out, Filled(1, static_cast<uint8_t>(10 + block)));
    }
    ASSERT_TRUE(Reopen().ok());
  }
}

TEST(GroupStripesTest, SharedHoldsAllItsGroupsAndNoOthers) {
  GroupStripes stripes;
  for (uint64_t first = 0; first < 20; ++first)
    for (uint64_t count = 1; count < 12; ++count) {
      const GroupStripes::Shared held(stripes, GroupNo(first),
                                      GroupNo(first + count - 1));
      // Whoever shares a stripe does not keep others from sharing it.
      const GroupStripes::Shared too(stripes, GroupNo(first), GroupNo(first));
      std::thread([&] {
        for (uint64_t group = 0; group < 40; ++group) {
          bool covered = false;
          for (uint64_t i = 0; i < count; ++i) covered |= (first + i) % 8 == group % 8;
          EXPECT_EQ(stripes.TryExclusive(GroupNo(group)).owns_lock(), !covered)
              << first << " " << count << " " << group;
        }
      }).join();
    }
}

}  // namespace
}  // namespace keyfold
