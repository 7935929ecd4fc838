// Documents as people write them, for tests of decisions.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "policy/engine/Engine.h"
#include "policy/parse/Parse.h"

namespace keyfold::policy {

inline const std::string kAccount = "000000000000";
inline const std::string kKey =
    "arn:aws:kms:local-1:000000000000:key/0a1b2c3d-0000-4000-8000-000000000001";

inline Document KeyPolicy(const std::string& text) {
  auto parsed = ParsePolicy(text, "key.yaml", kAccount);
  EXPECT_TRUE(parsed.ok()) << parsed.status().ToString();
  return parsed.ok() ? *parsed : Document();
}

inline Iam IamOf(const std::string& text) {
  auto parsed = ParseIam(text, "iam.yaml", kAccount);
  EXPECT_TRUE(parsed.ok()) << parsed.status().ToString();
  return parsed.ok() ? *parsed : Iam();
}

inline IamIndex IndexOf(const std::string& text) { return {IamOf(text), kAccount}; }

inline Request On(const std::string& action, Context context = {}) {
  return {action, kKey, std::move(context)};
}

}  // namespace keyfold::policy
