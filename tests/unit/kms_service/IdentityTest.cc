#include <gtest/gtest.h>
#include <pwd.h>
#include <unistd.h>

#include "kms/service/Identity.h"
#include "policy/parse/Parse.h"

namespace keyfold {
namespace {

constexpr char kAccount[] = "000000000000";

policy::IamIndex Indexed(const std::string& groups) {
  const std::string name = ::getpwuid(::getuid())->pw_name;
  auto iam = policy::ParseIam("users: {" + name + ": {groups: [" + groups +
                                  "]}}\ngroups: {staff-of-test: {}}\n",
                              "iam.yaml", kAccount);
  EXPECT_TRUE(iam.ok()) << iam.status().message();
  return policy::IamIndex(*std::move(iam), kAccount);
}

// A thread that looked at the former document may come last.
TEST(IdentityTest, WhatAFormerDocumentSaidIsNotRememberedForTheNewOne) {
  Identity identity;
  Caller caller;
  caller.uid = ::getuid();
  caller.gid = ::getgid();
  caller.pid = ::getpid();
  const policy::IamIndex former = Indexed("staff-of-test"), now = Indexed("");
  ASSERT_TRUE(identity.Resolve(caller, now)->group_arns.empty());
  ASSERT_EQ(identity.Resolve(caller, former)->group_arns.size(), 1u);
  EXPECT_TRUE(identity.Resolve(caller, now)->group_arns.empty());
}

}  // namespace
}  // namespace keyfold
