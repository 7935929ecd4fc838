// How many grants does a decision look at? Each record has a page of memory to itself
// that nobody may read, and those that are read are counted.
#include <signal.h>
#include <sys/mman.h>

#include <atomic>
#include <new>

#include "KmsFixture.h"
#include "kms/service/State.h"

namespace keyfold {
namespace {

constexpr size_t kGuardedPage = 4096, kKeys = 1000, kGrants = 10000;
static_assert(sizeof(GrantRecord) <= kGuardedPage);

std::atomic<size_t> pages_read{0};

void CountAndLet(int, siginfo_t* info, void*) {
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr) & ~(kGuardedPage - 1);
  ++pages_read;
  // What is no page of ours ends the program.
  if (mprotect(reinterpret_cast<void*>(address), kGuardedPage, PROT_READ) != 0) abort();
}

// GuardedGrants are records in pages of their own.
class GuardedGrants {
 public:
  GuardedGrants() {
    pages_ = mmap(nullptr, kGrants * kGuardedPage, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT_NE(pages_, MAP_FAILED);
    struct sigaction count = {};
    count.sa_sigaction = CountAndLet;
    count.sa_flags = SA_SIGINFO;
    EXPECT_EQ(sigaction(SIGSEGV, &count, &former_), 0);
  }
  GuardedGrants(const GuardedGrants&) = delete;
  GuardedGrants& operator=(const GuardedGrants&) = delete;
  ~GuardedGrants() {
    sigaction(SIGSEGV, &former_, nullptr);
    mprotect(pages_, kGrants * kGuardedPage, PROT_READ | PROT_WRITE);
    for (size_t i = 0; i < made_; ++i) At(i)->~GrantRecord();
    munmap(pages_, kGrants * kGuardedPage);
  }
  GrantRef Add(const std::string& key_id, const std::string& grantee) {
    auto* record = new (Address(made_)) GrantRecord;
    record->key_id = key_id;
    record->grant.id = std::to_string(made_);
    record->grant.grantee = grantee;
    record->grant.operations = {"Decrypt"};
    ++made_;
    return GrantRef(record, [](const GrantRecord*) {});
  }
  void Guard() {
    EXPECT_EQ(mprotect(pages_, kGrants * kGuardedPage, PROT_NONE), 0);
    pages_read = 0;
  }

 private:
  void* Address(size_t i) const {
    return static_cast<char*>(pages_) + i * kGuardedPage;
  }
  GrantRecord* At(size_t i) const {
    return std::launder(static_cast<GrantRecord*>(Address(i)));
  }

  void* pages_ = nullptr;
  size_t made_ = 0;
  struct sigaction former_ = {};
};

std::string User(size_t number) {
  return "arn:aws:iam::000000000000:user/u" + std::to_string(number);
}

// One of each, far from the ends: a search by halves looks at some 14 of 10,000.
constexpr size_t kMostRead = 60;

TEST(GrantIndexTest, ADecisionDoesNotLookThroughTheGrants) {
  ASSERT_EQ(sysconf(_SC_PAGESIZE), static_cast<long>(kGuardedPage));
  // All on one key, which is the worst; then ten on each of the keys.
  for (const size_t keys : {size_t{1}, kKeys}) {
    GuardedGrants guarded;
    std::map<std::string, std::vector<GrantRef>> lists;
    for (size_t i = 0; i < kGrants; ++i) {
      const std::string key = "key-" + std::to_string(i % keys);
      lists[key].push_back(guarded.Add(key, User(i)));
    }
    State state;
    for (auto& [key, list] : lists)
      state.grants[key] = std::make_shared<const GrantIndex>(std::move(list));
    const policy::IamIndex iam({}, "000000000000");
    policy::Principal holder, stranger;
    constexpr size_t kHeld = 5000;
    holder.arn = User(kHeld);
    stranger.arn = User(kGrants);
    const std::string key = "key-" + std::to_string(kHeld % keys);
    const policy::Document nothing;
    const auto decide = [&](const policy::Principal& who) {
      guarded.Guard();
      return policy::DecideOnKey(iam, who, {"kms:Decrypt", "arn", {}}, nothing,
                                 state.GrantsOf(key).HeldBy(who))
          .allowed();
    };
    EXPECT_TRUE(decide(holder));
    EXPECT_GE(pages_read.load(), 1u) << "the count counts";
    EXPECT_LE(pages_read.load(), kMostRead);
    EXPECT_FALSE(decide(stranger));
    EXPECT_LE(pages_read.load(), kMostRead);
  }
}

}  // namespace
}  // namespace keyfold
