// Does hostile text ever do more than get refused?
#include <gtest/gtest.h>

#include <chrono>
#include <random>

#include "policy/parse/Parse.h"

namespace keyfold::policy {
namespace {

const std::string kAccount = "000000000000";

std::string Times(const std::string& text, size_t bytes) {
  std::string all;
  all.reserve(bytes);
  while (all.size() + text.size() <= bytes) all += text;
  return all;
}

std::string Refusal(const std::string& text) {
  auto parsed = ParseIam(text, "t", kAccount);
  if (parsed.ok()) return "accepted";
  EXPECT_EQ(parsed.status().error(), Error::kMalformedPolicyDocument);
  return parsed.status().message();
}

TEST(HostileInputTest, AnchorsAliasesTagsAndSecondDocumentsAreRefused) {
  EXPECT_EQ(Refusal("users: &a {}\ngroups: *a"),
            "t:1:8: a YAML anchor; anchors are not supported");
  EXPECT_EQ(Refusal("users: *a"),
            "t:1:8: not valid YAML or JSON: the referenced anchor "
            "is not defined");
  EXPECT_EQ(Refusal("a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]"),
            "t:1:4: a YAML anchor; anchors are not supported");
  EXPECT_EQ(Refusal("users: !!map {}"),
            "t:1:8: the YAML tag \"tag:yaml.org,2002:map\"; tags are not supported");
  EXPECT_EQ(Refusal("{}\n---\n{}"), "t:2:1: a second document; only one is expected");
  EXPECT_EQ(Refusal("<<: {users: {}}").substr(0, 18), "t:1:1: found \"<<\",");
  EXPECT_EQ(Refusal("? [a]\n: b"),
            "t:1:3: a key that is not plain text; is a bracket not closed?");
}

TEST(HostileInputTest, SizesAreBounded) {
  EXPECT_EQ(Refusal(std::string(kMaxIamBytes + 1, ' ')),
            "t:1:1: 1048577 bytes; at most 1048576 are accepted");
  const std::string one = "Statement: {Effect: Allow, Principal: account, Action: '*'}";
  EXPECT_TRUE(
      ParsePolicy(one + std::string(kMaxPolicyBytes - one.size(), ' '), "t", kAccount)
          .ok());
  auto parsed = ParsePolicy(one + std::string(kMaxPolicyBytes - one.size() + 1, ' '),
                            "t", kAccount);
  ASSERT_FALSE(parsed.ok());
  EXPECT_EQ(parsed.status().message(),
            "t:1:1: 32769 bytes; at most 32768 are accepted");
  EXPECT_EQ(Refusal("users: {a: {groups: [" + std::string(2049, 'b') + "]}}"),
            "t:1:22: text of 2049 bytes; at most 2048 are accepted");
  EXPECT_EQ(Refusal("users: [" + Times("a,", 900'000) + "]"),
            "t:1:400003: more than 200000 values");
}

TEST(HostileInputTest, DepthIsBounded) {
  std::string deep = "users: ";
  for (int i = 0; i < 20; ++i) deep += "[";
  for (int i = 0; i < 20; ++i) deep += "]";
  EXPECT_EQ(Refusal(deep), "t:1:23: values nested more than 16 deep");
}

TEST(HostileInputTest, BytesThatAreNotTextAreRefused) {
  EXPECT_EQ(Refusal(std::string("users: {}\n\0", 11)), "t:2:1: a control character");
  EXPECT_EQ(Refusal("users: \x1b[2J"), "t:1:8: a control character");
  for (const char* bytes :
       {"\xff\xfeu\0", "\x80", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80",
        "\xf5\x80\x80\x80", "\xf0\x80\x80\x80", "\xc3"})
    EXPECT_EQ(Refusal(bytes), "t:1:1: bytes that are not UTF-8 text");
}

TEST(HostileInputTest, LargeNonsenseIsReadSoon) {
  const size_t size = kMaxIamBytes / 8;
  for (const char* unit :
       {"[",      "{",   "- ",  "? ",  "a: ",   "[a, ",       "{a: ", "[],", "!a ",
        "\\",     "'",   "\"",  "|\n", "---\n", "%TAG ! a\n", "#",    "\n",  "a\n",
        "\"a\":", "&a ", "*a ", "]",   "}",     ":",          ",",    "\t",  "-\n "}) {
    const auto start = std::chrono::steady_clock::now();
    for (const char* before : {"", "users: ", "[", "\""})
      Refusal(before + Times(unit, size));
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30))
        << unit;
  }
}

constexpr char kPolicy[] = R"({"Version": "2012-10-17", "Id": "k", "Statement": [
  {"Sid": "Enable", "Effect": "Allow", "Principal": {"AWS": "000000000000"},
   "Action": "kms:*", "Resource": "*"},
  {"Effect": "Deny", "NotPrincipal": [user:cfo, "*"], "NotAction": ["kms:De?rypt"],
   "NotResource": "arn:aws:kms:*:*:key/x",
   "Condition": {"ForAnyValue:StringLike": {"kms:EncryptionContext:a": ["b*", "c"]},
                 "DateLessThan": {"aws:CurrentTime": "2026-01-31T00:00:00Z"}}}]})";
constexpr char kIam[] = R"(
users:
  cfo: {groups: [finance], policies: [P], tags: {a: "b"}}
groups:
  finance: {policies: [FilesFullAccess]}
roles:
  auditor: {policies: [P], trust: [user:cfo, group:finance]}
policies:
  P: {Statement: [{Effect: Allow, Action: "kms:Decrypt", Resource: "*"}]}
)";

// Mutate changes, removes, doubles or inserts a few bytes.
std::string Mutate(std::string text, std::mt19937& random) {
  constexpr std::string_view kBytes = "[]{}:,-?&*!|>'\"%@`#\n\t \\~<=$a0\xc3\xbc";
  const auto below = [&](size_t n) { return random() % n; };
  for (size_t edits = 1 + below(4); edits > 0 && !text.empty(); --edits) {
    const size_t at = below(text.size());
    const size_t length = std::min<size_t>(1 + below(12), text.size() - at);
    switch (below(4)) {
      case 0:
        text[at] = kBytes[below(kBytes.size())];
        break;
      case 1:
        text.erase(at, length);
        break;
      case 2:
        text.insert(below(text.size()), text.substr(at, length));
        break;
      default:
        text.insert(at, 1, static_cast<char>(below(256)));
    }
  }
  return text;
}

TEST(HostileInputTest, MutatedDocumentsAreReadOrRefused) {
  std::mt19937 random(20261124);
  int accepted = 0;
  for (int i = 0; i < 6000; ++i) {
    const std::string text = Mutate(kPolicy, random);
    auto policy = ParsePolicy(text, "t", kAccount);
    if (policy.ok()) {
      ++accepted;
      auto back = ParsePolicy(ToJson(*policy), "t", kAccount);
      ASSERT_TRUE(back.ok()) << back.status().ToString() << "\n" << text;
      EXPECT_EQ(*back, *policy) << text;
    } else {
      EXPECT_EQ(policy.status().error(), Error::kMalformedPolicyDocument);
    }
    const std::string iam_text = Mutate(kIam, random);
    auto iam = ParseIam(iam_text, "t", kAccount);
    if (iam.ok()) {
      ++accepted;
      auto back = ParseIam(ToYaml(*iam), "t", kAccount);
      ASSERT_TRUE(back.ok()) << back.status().ToString() << "\n" << ToYaml(*iam);
      EXPECT_EQ(*back, *iam) << iam_text;
    } else {
      EXPECT_EQ(iam.status().error(), Error::kMalformedPolicyDocument);
    }
  }
  EXPECT_GT(accepted, 100);
}

}  // namespace
}  // namespace keyfold::policy
