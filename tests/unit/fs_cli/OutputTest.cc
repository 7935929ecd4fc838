// Is what is printed what scripts written for the AWS CLI expect?
#include <gtest/gtest.h>

#include "fs/cli/AuditText.h"
#include "fs/cli/Output.h"
#include "fs/cli/Query.h"

namespace keyfold {
namespace {

using nlohmann::json;

const json kKeys = {{"Keys", {{{"KeyId", "a"}}, {{"KeyId", "b"}}, {{"Other", 1}}}}};

TEST(QueryTest, PathsAreFollowed) {
  EXPECT_EQ(*Query(kKeys, "Keys[0].KeyId"), "a");
  EXPECT_EQ(*Query(kKeys, "Keys[-2].KeyId"), "b");
  EXPECT_EQ(*Query(kKeys, "Keys[].KeyId"), json({"a", "b"}));
  EXPECT_EQ(*Query(kKeys, "Keys[*].KeyId"), json({"a", "b"}));
  EXPECT_EQ(*Query(kKeys, ""), kKeys);
  EXPECT_TRUE(Query(kKeys, "Nothing.Here")->is_null());
  EXPECT_TRUE(Query(kKeys, "Keys[9].KeyId")->is_null());
}

TEST(QueryTest, WhatIsNotSupportedIsSaidSo) {
  for (const char* path : {".Keys", "Keys[?x]", "Keys[0", "Keys..KeyId", "length(Keys)",
                           "Keys | [0]", "Keys.{a:b}", "Keys[0].[0]", "Keys."})
    EXPECT_EQ(Query(kKeys, path).status().error(), Error::kUsage) << path;
}

TEST(RenderTest, JsonIsIndentedByFourAndTimesAreIso) {
  const json answer = {{"KeyMetadata", {{"CreationDate", 1769860800}, {"Limit", 5}}}};
  EXPECT_EQ(*Render(answer, {}),
            "{\n    \"KeyMetadata\": {\n"
            "        \"CreationDate\": \"2026-01-31T12:00:00+00:00\",\n"
            "        \"Limit\": 5\n    }\n}\n");
  EXPECT_EQ(*Render(json::object(), {}), "");
}

TEST(RenderTest, TextIsTabSeparated) {
  EXPECT_EQ(*Render(kKeys, {"text", "Keys[0].KeyId"}), "a\n");
  EXPECT_EQ(*Render(kKeys, {"text", "Keys[].KeyId"}), "a\tb\n");
  EXPECT_EQ(*Render(kKeys, {"text", "Nothing"}), "None\n");
  EXPECT_EQ(*Render({{"Enabled", true}}, {"text", ""}), "True\n");
  EXPECT_EQ(*Render({{"Tags", {{{"TagKey", "k"}, {"TagValue", "v"}}}}}, {"text", ""}),
            "TAGS\tk\tv\n");
  EXPECT_EQ(*Render({{"PolicyNames", {"default", "x"}}}, {"text", ""}),
            "POLICYNAMES\tdefault\nPOLICYNAMES\tx\n");
}

TEST(RenderTest, TableHasAColumnPerMember) {
  EXPECT_EQ(
      *Render({{"Tags", {{{"TagKey", "k"}, {"TagValue", "long"}}}}}, {"table", ""}),
      "Tags\nTagKey  TagValue\nk       long\n");
}

TEST(RenderTest, BytesThatAreNotUtf8DoNotStopIt) {
  EXPECT_TRUE(Render({{"Path", "\xff"}}, {}).ok());
}

TEST(ColumnsTest, AlignsAndHidesControlCharacters) {
  EXPECT_EQ(
      Columns({{"a", "b"}, {"\u00e4\u00f6", "c"}, {"x\x1b[2J", ""}}, Layout::kAligned),
      "a      b\n\u00e4\u00f6     c\nx?[2J\n");
}

TEST(ColumnsTest, ForProgramsEachCellIsBetweenTabs) {
  EXPECT_EQ(Columns({{"a", "two  words"}, {"", "x\ty\x1b[2J", ""}}, Layout::kTabs),
            "a\ttwo  words\n\tx y?[2J\t\n");
}

TEST(ColumnsTest, ATableThatWasAskedForIsAlignedEverywhere) {
  const json keys = {{"Keys", {{{"KeyId", "a"}}, {{"KeyId", "long"}, {"Other", 1}}}}};
  EXPECT_EQ(*Render(keys, {"table", ""}), "Keys\nKeyId  Other\na\nlong   1\n");
}

TEST(AuditTextTest, OneLineARecord) {
  const std::vector<json> records = {
      {{"eventTime", "2026-01-31T12:00:00Z"},
       {"userIdentity", {{"userName", "nobody"}}},
       {"eventName", "OpenFile"},
       {"errorCode", "AccessDeniedException"},
       {"resources",
        {{{"ARN", "arn:aws:kms:local-1:000000000000:key/k1"}},
         {{"path", "/payslip.pdf"}}}}},
      {{"eventTime", "2026-01-31T12:00:01Z"}, {"eventName", "ListKeys"}}};
  EXPECT_EQ(AuditLines(records, {{"k1", "alias/cfo"}}, Layout::kAligned),
            "2026-01-31T12:00:00Z  nobody  OpenFile  AccessDeniedException  alias/cfo  "
            "/payslip.pdf\n"
            "2026-01-31T12:00:01Z          ListKeys  ok                     -\n");
}

}  // namespace
}  // namespace keyfold
