// When any one system call under the log fails, are the records that it accepted there,
// each once and in order, and those that it refused not?
#include <errno.h>
#include <gtest/gtest.h>

#include "kms/audit/AuditLog.h"
#include "kms/audit/AuditRecord.h"
#include "kms/crypto/Crypto.h"
#include "tests/unit/FailingCalls.h"
#include "tests/unit/TempFolder.h"

namespace keyfold {
namespace {

using nlohmann::json;
using Names = std::vector<std::string>;

class AuditFaultTest : public testing::Test {
 protected:
  void Open() {
    log_.reset();
    Bytes key(kKeySize, 7);
    auto log = AuditLog::Open(folder_->path(), SecretFrom(key), clock_);
    ASSERT_TRUE(log.ok()) << log.status().ToString();
    log_ = std::move(*log);
  }
  void Begin() {
    log_.reset();
    folder_.emplace(QuickParent());
    accepted_.clear();
    Open();
    ASSERT_TRUE(Add("first"));
  }
  bool Add(const std::string& name) {
    const bool added =
        log_->Append(json{{"eventName", name}}, AuditRoom::kOrdinary).ok();
    if (added) accepted_.push_back(name);
    return added;
  }
  void Rotate(const std::string& name) {
    bool appended = false;
    const auto make = [&](const AuditHead&) { return TextOf({{"eventName", name}}); };
    (void)log_->Rotate(make, &appended);
    if (appended) accepted_.push_back(name);
  }
  // A day of the log's.
  void Work() {
    (void)Add("one");
    (void)log_->Sync();
    (void)Add("two");
    Rotate("rotate");
    (void)Add("three");
    (void)log_->Sync();
    (void)Add("four");
  }
  Names OnRecord() const {
    Names names;
    const auto records = log_->ReadAll({});
    EXPECT_TRUE(records.ok()) << records.status().ToString();
    if (records.ok())
      for (const json& record : *records) names.push_back(record["eventName"]);
    return names;
  }
  // ExpectWhole looks again as the next start does.
  void ExpectWhole() {
    ASSERT_NO_FATAL_FAILURE(Open());
    EXPECT_EQ(OnRecord(), accepted_);
    EXPECT_TRUE(log_->Verify(std::nullopt).ok());
    EXPECT_TRUE(Add("last"));
    EXPECT_EQ(OnRecord(), accepted_);
  }

  FakeClock clock_{TimePoint(std::chrono::milliseconds(1767225600000))};
  std::optional<TempFolder> folder_;
  std::unique_ptr<AuditLog> log_;
  Names accepted_;
};

TEST_F(AuditFaultTest, NoRecordIsLostOrDoubled) {
  using Fault = FailingCalls::Fault;
  for (const Fault& kind :
       {Fault{1, EIO}, Fault{1, ENOSPC}, Fault{1, EIO, "", false, true},
        Fault{1, 0, "write", true}, Fault{1, EIO, "", true, true}}) {
    bool reached = true;
    for (uint64_t call = 1; reached; ++call) {
      SCOPED_TRACE("call " + std::to_string(call) + ", errno " +
                   std::to_string(kind.error) + (kind.half ? ", half" : "") +
                   (kind.lasts ? ", and all later ones" : ""));
      ASSERT_NO_FATAL_FAILURE(Begin());
      Fault fault = kind;
      fault.call = call;
      FailingCalls::Arm(fault);
      Work();
      reached = FailingCalls::Disarm() >= call;
      ASSERT_NO_FATAL_FAILURE(ExpectWhole());
      if (HasFailure()) return;
    }
    EXPECT_EQ(accepted_.size(), 7u) << "without a fault";
  }
}

// The kernel tells of it once, and what is on the disk is not known after.
TEST_F(AuditFaultTest, AfterAFailedSyncNothingIsAdded) {
  Begin();
  FailingCalls::Arm({1, EIO, "fdatasync"});
  EXPECT_EQ(log_->Sync().sys_errno(), EIO);
  FailingCalls::Disarm();
  EXPECT_FALSE(Add("later"));
  EXPECT_EQ(log_->Sync().error(), Error::kCorrupt);
  ExpectWhole();
}

// What is left of a record that could be neither written nor taken back is kept aside
// by the next start.
TEST_F(AuditFaultTest, AHalfRecordIsNotBuiltOn) {
  Begin();
  FailingCalls::Arm({1, ENOSPC, "write", true});
  EXPECT_FALSE(Add("short"));
  FailingCalls::Disarm();
  EXPECT_TRUE(Add("again")) << "it was taken back";
  ExpectWhole();
  EXPECT_FALSE(std::filesystem::exists(*folder_ / "audit.log.torn-1"));
}

}  // namespace
}  // namespace keyfold
