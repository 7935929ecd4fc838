// Is a Kms in another process the same DataKeys as in this one, whatever either does?
//
// A real Kms answers over real sockets, here by threads of this process.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "kms/api/DataKeyServer.h"
#include "kms/api/RemoteDataKeys.h"
#include "tests/unit/kms_service/KmsFixture.h"

namespace keyfold {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

bool Soon(const std::function<bool()>& holds) {
  const auto until = steady_clock::now() + std::chrono::seconds(5);
  while (!holds() && steady_clock::now() < until)
    std::this_thread::sleep_for(milliseconds(2));
  return holds();
}

bool Same(const DataKey& a, const DataKey& b) {
  return ConstantTimeEqual(a.bytes(), b.bytes());
}

class RemoteDataKeysTest : public KmsTest {
 protected:
  static constexpr size_t kCalls = 3;

  void SetUp() override {
    KmsTest::SetUp();
    auto link = DataKeyLink::Make(kCalls);
    ASSERT_TRUE(link.ok());
    for (const UniqueFd& fd : link->files.calls) raw_.push_back(::dup(fd.get()));
    server_ = std::make_unique<DataKeyServer>(*kms_, std::move(link->kms));
    remote_ = std::make_unique<RemoteDataKeys>(std::move(link->files));
    key_ = MakeKey();
  }
  void TearDown() override {
    for (const int fd : raw_) ::close(fd);
    remote_.reset();
    server_.reset();
    KmsTest::TearDown();
  }
  // Names of the records of files and keys, but for looking them up.
  std::vector<std::string> Records() {
    std::vector<std::string> names;
    const json found =
        Must(kRootUid, "audit", "LookupEvents", {{"AfterSequence", 0}})["Events"];
    for (const json& event : found)
      if (event["eventName"] != "LookupEvents") names.push_back(event["eventName"]);
    return names;
  }
  void ExpectSame(const Status& here, const Status& there) {
    EXPECT_EQ(here.error(), there.error());
    EXPECT_EQ(here.sys_errno(), there.sys_errno());
    EXPECT_EQ(here.message(), there.message());
  }

  const EncryptionContext context_{{"keyfold:file", "f"}, {"keyfold:store", "s"}};
  const FileEvent open_{"OpenFile", "/a", KeyUse::kRead};
  const FileEvent create_{"CreateFile", "/a", KeyUse::kCreate};
  std::string key_;
  std::vector<int> raw_;  // the connections, for who does not keep the rules
  std::unique_ptr<DataKeyServer> server_;
  std::unique_ptr<RemoteDataKeys> remote_;
};

TEST_F(RemoteDataKeysTest, AKeyThatIsMadeThereOpensEverywhere) {
  const auto made = remote_->GenerateDataKey(By(kCfo), key_, context_, "/a");
  ASSERT_TRUE(made.ok()) << made.status().ToString();
  EXPECT_EQ(made->key_id, key_);
  const auto there = remote_->UnwrapDataKey(By(kCfo), made->blob, context_, "/a");
  const auto here = kms_->UnwrapDataKey(By(kCfo), made->blob, context_, "/a");
  ASSERT_TRUE(there.ok() && here.ok());
  EXPECT_TRUE(Same(*there, *here) && Same(*there, made->key));

  const EncryptionContext other{{"keyfold:file", "g"}};
  const auto again =
      remote_->RewrapDataKey(By(kCfo), made->blob, context_, key_, other, "/a");
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE(again->key.empty());
  const auto moved = kms_->UnwrapDataKey(By(kCfo), again->blob, other, "/a");
  ASSERT_TRUE(moved.ok());
  EXPECT_TRUE(Same(*moved, made->key));
}

TEST_F(RemoteDataKeysTest, AuthorizingAndUnwrappingIsOneRecordOfTheFile) {
  const auto made = remote_->AuthorizeGenerate(By(kCfo), key_, context_, create_);
  ASSERT_TRUE(made.ok());
  EXPECT_EQ(LastRecord()["eventName"], "CreateFile");
  const auto before = Records().size();
  const auto opened =
      remote_->AuthorizeUnwrap(By(kCfo), key_, context_, open_, made->blob);
  ASSERT_TRUE(opened.ok());
  EXPECT_TRUE(Same(*opened, made->key));
  const auto records = Records();
  ASSERT_EQ(records.size(), before + 1);
  EXPECT_EQ(records.back(), "OpenFile");

  const auto refused =
      remote_->AuthorizeUnwrap(By(kNobody), key_, context_, open_, made->blob);
  ExpectSame(kms_->Authorize(By(kNobody), key_, context_, open_), refused.status());
  EXPECT_EQ(refused.status().error(), Error::kAccessDenied);
  EXPECT_EQ(LastRecord()["errorCode"], kDenied);
}

// Else whoever took over the other process could leave Authorize out.
TEST_F(RemoteDataKeysTest, NoFilesKeyIsUnwrappedWithoutARecord) {
  const auto made = remote_->AuthorizeGenerate(By(kCfo), key_, context_, create_);
  ASSERT_TRUE(made.ok());
  ASSERT_TRUE(remote_->UnwrapDataKey(By(kCfo), made->blob, context_, "/a").ok());
  const json record = LastRecord();
  EXPECT_EQ(record["eventName"], "Decrypt");
  EXPECT_EQ(record["requestParameters"]["encryptionContext"]["keyfold:file"], "f");
  ASSERT_TRUE(remote_->GenerateDataKey(By(kCfo), key_, context_, "/a").ok());
  EXPECT_EQ(LastRecord()["eventName"], "GenerateDataKey");
}

TEST_F(RemoteDataKeysTest, KeysThatAreNoFilesAreOutOfReach) {
  const json made =
      Must(kCfo, "GenerateDataKey", {{"KeyId", key_}, {"KeySpec", "AES_256"}});
  const Bytes blob = FromBase64(made["CiphertextBlob"].get<std::string>()).value();
  ASSERT_TRUE(kms_->UnwrapDataKey(By(kCfo), blob, {}, "/a").ok());
  for (const EncryptionContext& context : {EncryptionContext{},
                                           {{"department", "x"}},
                                           {{"keyfold:file", "f"}, {"x", "y"}}}) {
    EXPECT_EQ(remote_->UnwrapDataKey(By(kCfo), blob, context, "/a").status().error(),
              Error::kValidation);
    EXPECT_EQ(
        remote_->AuthorizeUnwrap(By(kCfo), key_, context, open_, blob).status().error(),
        Error::kValidation);
    EXPECT_EQ(remote_->RewrapDataKey(By(kCfo), blob, context_, key_, context, "/a")
                  .status()
                  .error(),
              Error::kValidation);
  }
}

TEST_F(RemoteDataKeysTest, WhoCallsIsNoMoreThanAUserAndItsGroups) {
  Caller caller = By(kNobody);
  caller.is_service = true;
  caller.role = "administrators";
  EXPECT_EQ(remote_->Authorize(caller, key_, context_, open_).error(),
            Error::kAccessDenied);
  ASSERT_TRUE(kms_->Authorize(By(kCfo), key_, context_, open_).ok());
}

TEST_F(RemoteDataKeysTest, ErrorsKeepTheirKindNumberAndWords) {
  ExpectSame(kms_->ResolveKey("alias/none").status(),
             remote_->ResolveKey("alias/none").status());
  EXPECT_EQ(remote_->ResolveKey("alias/none").status().error(), Error::kNotFound);
  ExpectSame(kms_->UnwrapDataKey(By(kCfo), Bytes{1, 2}, context_, "").status(),
             remote_->UnwrapDataKey(By(kCfo), Bytes{1, 2}, context_, "").status());
  Must(kCfo, "DisableKey", {{"KeyId", key_}});
  ExpectSame(kms_->StillAllowed(By(kCfo), key_, context_, KeyUse::kWrite),
             remote_->StillAllowed(By(kCfo), key_, context_, KeyUse::kWrite));
  EXPECT_EQ(remote_->GenerateDataKey(By(kCfo), key_, context_, "").status().error(),
            Error::kDisabled);
}

TEST_F(RemoteDataKeysTest, NamesNotesAndRecordsAreTheKmss) {
  Must(kCfo, "CreateAlias", {{"AliasName", "alias/cfo"}, {"TargetKeyId", key_}});
  const auto resolved = remote_->ResolveKey("alias/cfo");
  ASSERT_TRUE(resolved.ok());
  EXPECT_EQ(*resolved, key_);
  EXPECT_EQ(remote_->KeyLabel(key_), "alias/cfo");
  EXPECT_TRUE(remote_->ReadNote("some")->empty());
  ASSERT_TRUE(remote_->KeepNote("some", Bytes{1, 0, 2}).ok());
  EXPECT_EQ(*kms_->ReadNote("some"), (Bytes{1, 0, 2}));
  EXPECT_EQ(*remote_->ReadNote("some"), (Bytes{1, 0, 2}));
  ASSERT_TRUE(remote_
                  ->RecordFileEvent(By(kCfo), key_, {"ReadFile", "/b", KeyUse::kRead},
                                    {Error::kCorrupt, "block 7"})
                  .ok());
  EXPECT_EQ(LastRecord()["requestParameters"]["message"], "ReadFile: block 7");
}

TEST_F(RemoteDataKeysTest, GroupsAreThoseOfTheProcessThatCalls) {
  Caller caller = By(::geteuid());
  caller.groups.reset();
  const Caller pinned = remote_->Pin(caller);
  ASSERT_TRUE(pinned.groups.has_value());
  EXPECT_EQ(pinned.groups, kms_->Pin(caller).groups);
  caller.pid = 0;
  EXPECT_FALSE(remote_->Pin(caller).groups.has_value());
  EXPECT_EQ(remote_->Pin(pinned).groups, pinned.groups);
}

TEST_F(RemoteDataKeysTest, ARotationIsSeenThoughAnswersAreRemembered) {
  const auto made = remote_->AuthorizeGenerate(By(kCfo), key_, context_, create_);
  ASSERT_TRUE(made.ok());
  EXPECT_TRUE(remote_->IsCurrent(made->blob));
  EXPECT_TRUE(remote_->IsCurrent(made->blob));
  Must(kCfo, "RotateKeyOnDemand", {{"KeyId", key_}});
  EXPECT_FALSE(remote_->IsCurrent(made->blob));
  EXPECT_TRUE(remote_->IsCurrent(Bytes{1, 2, 3}));
}

TEST_F(RemoteDataKeysTest, AChangeIsCountedBeforeItsCallReturnsAndIsToldSoon) {
  std::atomic<int> told{0};
  remote_->SetChangeListener([&told] { ++told; });
  remote_->Watch([] {});
  EXPECT_EQ(remote_->Generation(), kms_->Generation());
  Must(kCfo, "DisableKey", {{"KeyId", key_}});
  EXPECT_EQ(remote_->Generation(), kms_->Generation());
  EXPECT_TRUE(Soon([&told] { return told > 0; }));
  remote_->Unwatch();
}

TEST_F(RemoteDataKeysTest, KeysThatWereForgottenAreCountedBeforeTheGeneration) {
  kms_->WithholdRootKey({Error::kUnavailable, "gone"});
  std::atomic<bool> stop{false}, wrong{false};
  const uint64_t before = remote_->Generation();
  std::thread reader([&] {
    while (!stop) {
      const uint64_t generation = remote_->Generation();
      if (generation > before && remote_->TimesWiped() == 0) wrong = true;
    }
  });
  kms_->WipeRootKey();
  EXPECT_TRUE(Soon([&] { return remote_->Generation() > before; }));
  stop = true;
  reader.join();
  EXPECT_FALSE(wrong);
  EXPECT_EQ(remote_->TimesWiped(), 1u);
}

TEST_F(RemoteDataKeysTest, TheCountsCannotBeWrittenFromTheOtherSide) {
  auto link = DataKeyLink::Make(1);
  ASSERT_TRUE(link.ok());
  auto* const page = link->files.counts.get();
  EXPECT_NE(::mprotect(page, sizeof *page, PROT_READ | PROT_WRITE), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    link->files.counts->generation = 7;
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_FALSE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_EQ(link->kms.counts->generation, 0u);
}

TEST_F(RemoteDataKeysTest, ManyThreadsShareFewConnections) {
  const auto made = remote_->AuthorizeGenerate(By(kCfo), key_, context_, create_);
  ASSERT_TRUE(made.ok());
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      for (int n = 0; n < 50; ++n) {
        const auto opened =
            remote_->AuthorizeUnwrap(By(kCfo), key_, context_, open_, made->blob);
        good += opened.ok() && Same(*opened, made->key);
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 400);
}

TEST_F(RemoteDataKeysTest, APathThatFitsNoPacketFailsAloneAndNothingElse) {
  FileEvent event = open_;
  event.path = std::string(kMostDataKeyMessage, 'p');
  EXPECT_EQ(remote_->Authorize(By(kCfo), key_, context_, event).sys_errno(), EMSGSIZE);
  event.path.resize(4000);
  Caller caller = By(kCfo);
  caller.groups = std::vector<gid_t>(60'000, 70'000);
  const Status status = remote_->Authorize(caller, key_, context_, event);
  EXPECT_TRUE(status.ok()) << status.ToString();
  EXPECT_FALSE(remote_->IsGone());
}

TEST_F(RemoteDataKeysTest, HostileBytesEndAConnectionAndNothingElse) {
  const std::string noise[] = {"x", std::string(1, '\0'), std::string(70'000, '\xff')};
  for (size_t i = 0; i < kCalls - 1; ++i) {
    ASSERT_GT(::send(raw_[i], noise[i].data(), noise[i].size(), MSG_NOSIGNAL), 0);
    char byte;
    EXPECT_EQ(::recv(raw_[i], &byte, 1, 0), 0);
  }
  // The last one, which is used first, goes on.
  EXPECT_TRUE(remote_->Authorize(By(kCfo), key_, context_, open_).ok());
  EXPECT_FALSE(server_->AwaitEnd(milliseconds(0)));
}

TEST_F(RemoteDataKeysTest, TheServerSeesTheOtherProcessEnd) {
  EXPECT_FALSE(server_->AwaitEnd(milliseconds(20)));
  remote_.reset();
  EXPECT_TRUE(server_->AwaitEnd(milliseconds(5000)));
}

// KmsEnd is the other side as a test plays it.
class HostileKmsTest : public testing::Test {
 protected:
  void SetUp() override {
    auto link = DataKeyLink::Make(2);
    ASSERT_TRUE(link.ok());
    kms_ = std::move(link->kms);
    remote_ = std::make_unique<RemoteDataKeys>(std::move(link->files));
    remote_->Watch([this] { ++gone_; });
  }
  // Answers one call on any connection with `bytes`; ends all when there are none.
  void AnswerWith(const std::string& bytes) {
    DataKeySocket socket(kms_.calls.back().get());
    ASSERT_TRUE(socket.ReceiveRequest().has_value());
    if (bytes.empty()) {
      kms_.calls.clear();
      return;
    }
    ASSERT_EQ(::send(kms_.calls.back().get(), bytes.data(), bytes.size(), 0),
              static_cast<ssize_t>(bytes.size()));
  }
  void ExpectGone() {
    EXPECT_TRUE(remote_->IsGone());
    EXPECT_EQ(remote_->ReadNote("x").status().error(), Error::kUnavailable);
    EXPECT_EQ(remote_->KeyLabel("x"), "x");
    EXPECT_TRUE(Soon([this] { return gone_ == 1; }));
  }

  DataKeyEnd kms_;
  std::atomic<int> gone_{0};
  std::unique_ptr<RemoteDataKeys> remote_;
};

TEST_F(HostileKmsTest, AnEndInTheMiddleOfACallIsACleanError) {
  std::thread other([this] { AnswerWith(""); });
  EXPECT_EQ(remote_->ReadNote("x").status().error(), Error::kUnavailable);
  other.join();
  ExpectGone();
}

TEST_F(HostileKmsTest, BytesThatAreNoAnswerAreAnEnd) {
  std::thread other([this] { AnswerWith(std::string(300, '\x01')); });
  EXPECT_EQ(remote_->ReadNote("x").status().error(), Error::kUnavailable);
  other.join();
  ExpectGone();
}

TEST_F(HostileKmsTest, AnAnswerWithoutItsKeyIsNoKey) {
  const Bytes empty = Encode(DataKeyAnswer());
  std::thread other([&] { AnswerWith(std::string(AsText(empty))); });
  EXPECT_EQ(remote_->UnwrapDataKey({}, Bytes{1}, {}, "").status().error(),
            Error::kInternal);
  other.join();
}

TEST_F(HostileKmsTest, AnEndBetweenCallsIsToldOnce) {
  kms_.changes.Close();
  EXPECT_TRUE(Soon([this] { return gone_ == 1; }));
  ExpectGone();
}

TEST_F(HostileKmsTest, WithoutAHelloThereIsNone) {
  kms_.calls.clear();
  EXPECT_FALSE(remote_->Hello().has_value());
}

}  // namespace
}  // namespace keyfold
