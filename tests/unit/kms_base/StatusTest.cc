// Does a failure say what it is, and is nothing read from one?
#include <errno.h>
#include <gtest/gtest.h>

#include <memory>
#include <set>

#include "kms/base/Status.h"

namespace keyfold {
namespace {

TEST(StatusTest, EveryErrorHasANameOfItsOwn) {
  std::set<std::string_view> names;
  for (int i = 0; i <= static_cast<int>(Error::kDryRunOperation); ++i) {
    const Error error = static_cast<Error>(i);
    EXPECT_TRUE(names.insert(ErrorName(error)).second) << ErrorName(error);
    EXPECT_EQ(ErrorFromName(ErrorName(error)), error);
  }
  EXPECT_EQ(ErrorName(Error::kAccessDenied), "AccessDeniedException");
  EXPECT_EQ(ErrorName(Error::kInvalidState), "KMSInvalidStateException");
  EXPECT_EQ(ErrorFromName("accessdeniedexception"), Error::kInternal);
  EXPECT_EQ(ErrorFromName(""), Error::kInternal);
}

TEST(StatusTest, TheErrnoIsKeptOnlyForSystemErrors) {
  const Status full = Status::FromErrno(ENOSPC, "write");
  EXPECT_EQ(full.error(), Error::kSystem);
  EXPECT_EQ(full.sys_errno(), ENOSPC);
  EXPECT_EQ(full.ToString(), "SystemError: write: No space left on device");
  EXPECT_EQ(Status(Error::kCorrupt, "bad").sys_errno(), 0);
  EXPECT_EQ(Status(Error::kCorrupt, "bad").ToString(), "IntegrityFailure: bad");
  EXPECT_TRUE(OkStatus().ok());
  EXPECT_EQ(OkStatus().ToString(), "Ok");
}

Result<std::unique_ptr<int>> Half(int number) {
  if (number % 2 != 0) return Status(Error::kValidation, "odd");
  return std::make_unique<int>(number / 2);
}
Result<int> Quarter(int number) {
  KF_ASSIGN_OR_RETURN(const auto half, Half(number));
  KF_ASSIGN_OR_RETURN(const auto quarter, Half(*half));
  return *quarter;
}
Status MustBeFour(int number) {
  KF_RETURN_IF_ERROR(Quarter(number).status());
  return OkStatus();
}

TEST(ResultTest, FailuresAreHandedOn) {
  EXPECT_EQ(Quarter(12).value(), 3);
  EXPECT_EQ(Quarter(6).status().error(), Error::kValidation);
  EXPECT_EQ(MustBeFour(6).message(), "odd");
  EXPECT_TRUE(MustBeFour(8).ok());
}

TEST(ResultTest, ValuesAreMovedOut) {
  auto half = Half(10);
  const std::unique_ptr<int> taken = std::move(half).value();
  EXPECT_EQ(*taken, 5);
}

TEST(ResultDeathTest, NoValueIsReadFromAFailure) {
  auto failed = Half(1);
  EXPECT_DEATH((void)failed.value(), "");
  EXPECT_DEATH((void)*failed, "");
  EXPECT_DEATH((void)failed.operator->(), "");
  // Success without a value is no result.
  EXPECT_DEATH((void)Result<int>(OkStatus()), "");
}

}  // namespace
}  // namespace keyfold
