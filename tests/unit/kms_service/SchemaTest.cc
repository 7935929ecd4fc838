// Are requests held to AWS's limits, and are the operations that are not built known?
#include "KmsFixture.h"
#include "kms/service/Limits.h"
#include "kms/service/Schema.h"

namespace keyfold {
namespace {

std::string Says(const Limits& limits, const std::string& text) {
  return CheckText("KeyId", text, limits).message();
}

TEST(LimitsTest, LengthsAreCountedInCharacters) {
  const Limits limits{1, 3};
  EXPECT_EQ(Says(limits, "abc"), "");
  EXPECT_EQ(Says(limits, "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"), "");
  EXPECT_EQ(Says(limits, "abcd"),
            "1 validation error detected: Value at 'keyId' failed to satisfy "
            "constraint: Member must have length less than or equal to 3");
  EXPECT_EQ(Says(limits, ""),
            "1 validation error detected: Value at 'keyId' failed to satisfy "
            "constraint: Member must have length greater than or equal to 1");
}

TEST(LimitsTest, PatternsAreClassesOfCharacters) {
  const Limits alias{0, 0, "[a-zA-Z0-9:/_-]+"};
  EXPECT_EQ(Says(alias, "alias/A-z_0:9"), "");
  EXPECT_EQ(Says(alias, "a b"),
            "1 validation error detected: Value 'a b' at 'keyId' failed to satisfy "
            "constraint: Member must satisfy regular expression pattern: "
            "[a-zA-Z0-9:/_-]+");
  for (const char* wrong : {"a.b", "a\n", "\xc3\xa4", "a`", "a@", "a["})
    EXPECT_NE(Says(alias, wrong), "") << wrong;
  const Limits xks{0, 0, "[a-zA-Z0-9-_.]+"};
  EXPECT_EQ(Says(xks, "a-_.9"), "");
  EXPECT_NE(Says(xks, "a:"), "");
  const Limits latin{0, 0, "[\\u0020-\\u00FF]*"};
  EXPECT_EQ(Says(latin, " ~\xc3\xbf"), "");
  EXPECT_NE(Says(latin, "\xc4\x80"), "");
  EXPECT_NE(Says(latin, "\t"), "");
  const Limits word{0, 0, "[\\w]+"};
  EXPECT_EQ(Says(word, "aZ_9"), "");
  EXPECT_NE(Says(word, "w\\"), "");
}

TEST(LimitsTest, EnumerationsNameTheirValues) {
  static constexpr std::string_view kValues[] = {"A", "B"};
  EXPECT_EQ(Says({0, 0, {}, kValues}, "B"), "");
  EXPECT_EQ(Says({0, 0, {}, kValues}, "C"),
            "1 validation error detected: Value 'C' at 'keyId' failed to satisfy "
            "constraint: Member must satisfy enum value set: [A, B]");
}

using SchemaTest = KmsTest;

TEST_F(SchemaTest, WhatIsNotBuiltIsRefusedAndRecordedWithoutItsParameters) {
  for (const Operation& operation : RefusedOperations()) {
    const json request = {{"KeyStorePassword", "secret words"}, {"KeyId", "alias/x"}};
    EXPECT_EQ(Try(kNobody, operation.name.data(), request),
              "UnsupportedOperationException");
    const json record = LastRecord();
    EXPECT_EQ(record["eventName"], operation.name);
    EXPECT_EQ(record["errorCode"], "UnsupportedOperationException");
    EXPECT_EQ(record["userIdentity"]["uid"], kNobody);
    EXPECT_EQ(record.dump().find("secret words"), std::string::npos);
  }
}

TEST_F(SchemaTest, RequestsAreHeldToTheLimitsBeforeAnythingElse) {
  const std::string key = MakeKey();
  const auto encrypt = [&](size_t size) {
    return Try(kCfo, "Encrypt", {{"KeyId", key}, {"Plaintext", ToBase64(Bytes(size))}});
  };
  EXPECT_EQ(encrypt(0), "ValidationException");
  EXPECT_EQ(encrypt(1), "ok");
  EXPECT_EQ(encrypt(4096), "ok");
  EXPECT_EQ(encrypt(4097), "ValidationException");
  EXPECT_EQ(Try(kNobody, "DescribeKey", {{"KeyId", std::string(2049, 'k')}}),
            "ValidationException");
  const auto tokens = [&](const json& list) {
    return Try(kCfo, "DescribeKey", {{"KeyId", key}, {"GrantTokens", list}});
  };
  const std::string token = "kfg1-" + std::string(64, '0');
  EXPECT_EQ(tokens(std::vector<std::string>(10, token)), "ok");
  EXPECT_EQ(tokens(std::vector<std::string>(11, token)), "ValidationException");
  EXPECT_EQ(tokens({""}), "ValidationException");
  const auto tag = [&](const std::string& name, const std::string& value) {
    return Try(kCfo, "TagResource",
               {{"KeyId", key}, {"Tags", {{{"TagKey", name}, {"TagValue", value}}}}});
  };
  EXPECT_EQ(tag(std::string(128, 'n'), std::string(256, 'v')), "ok");
  EXPECT_EQ(tag("", "v"), "ValidationException");
  EXPECT_EQ(tag(std::string(129, 'n'), "v"), "ValidationException");
  EXPECT_EQ(tag("n", std::string(257, 'v')), "ValidationException");
}

TEST_F(SchemaTest, RandomBytesHaveLimitsAndNoOtherSource) {
  const auto random = [&](const json& request) {
    return Try(kSysadmin, "GenerateRandom", request);
  };
  EXPECT_EQ(random({{"NumberOfBytes", 1024}}), "ok");
  for (int size : {0, 1025, -1})
    EXPECT_EQ(random({{"NumberOfBytes", size}}), "ValidationException");
  EXPECT_EQ(random(json::object()), "ValidationException");
  EXPECT_EQ(random({{"NumberOfBytes", 8}, {"CustomKeyStoreId", "cks-1"}}),
            "UnsupportedOperationException");
  EXPECT_EQ(random({{"NumberOfBytes", 8}, {"Recipient", json::object()}}),
            "UnsupportedOperationException");
}

TEST_F(SchemaTest, WrappingThatIsNotBuiltIsRefused) {
  const std::string key = MakeKey("EXTERNAL");
  const auto get = [&](const char* algorithm, const char* spec) {
    return Try(
        kCfo, "GetParametersForImport",
        {{"KeyId", key}, {"WrappingAlgorithm", algorithm}, {"WrappingKeySpec", spec}});
  };
  EXPECT_EQ(get("RSAES_PKCS1_V1_5", "RSA_2048"), "UnsupportedOperationException");
  EXPECT_EQ(get("SM2PKE", "SM2"), "UnsupportedOperationException");
  EXPECT_EQ(get("RSAES_OAEP_SHA_256", "SM2"), "UnsupportedOperationException");
  EXPECT_EQ(get("RSAES_OAEP_SHA_256", "RSA_1024"), "ValidationException");
  EXPECT_EQ(get("RSA", "RSA_2048"), "ValidationException");
}

}  // namespace
}  // namespace keyfold
