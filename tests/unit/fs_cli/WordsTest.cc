// Do words of the command line become what the AWS CLI would make of them?
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "fs/cli/Harmless.h"
#include "fs/cli/KeyPolicy.h"
#include "fs/cli/KmsCall.h"
#include "fs/cli/Names.h"
#include "fs/cli/Parameters.h"
#include "fs/cli/Shorthand.h"
#include "fs/cli/Times.h"
#include "kms/base/Spelling.h"

namespace keyfold {
namespace {

using nlohmann::json;

TEST(NamesTest, OperationsAndParametersAreSpelledAsInAwsKms) {
  EXPECT_EQ(KebabCase("CreateKey"), "create-key");
  EXPECT_EQ(KebabCase("GetParametersForImport"), "get-parameters-for-import");
  EXPECT_EQ(KebabCase("KeyId"), "key-id");
  EXPECT_EQ(KebabCase("PendingWindowInDays"), "pending-window-in-days");
}

TEST(NamesTest, NearMissIsFoundAndNonsenseIsNot) {
  const std::vector<std::string> names = {"mount", "unmount", "status"};
  EXPECT_EQ(Nearest("mout", names), "mount");
  EXPECT_EQ(Nearest("stauts", names), "status");
  EXPECT_EQ(Nearest("xyzzy", names), "");
}

TEST(ShorthandTest, StructuresListsAndNesting) {
  EXPECT_EQ(*ParseShorthand("TagKey=a,TagValue=b"),
            json({{"TagKey", "a"}, {"TagValue", "b"}}));
  EXPECT_EQ(*ParseShorthand("a=1,2,b=3"), json({{"a", {"1", "2"}}, {"b", "3"}}));
  EXPECT_EQ(*ParseShorthand("a=[x,y]"), json({{"a", {"x", "y"}}}));
  EXPECT_EQ(*ParseShorthand("S={k=v,l='a, b'}"),
            json({{"S", {{"k", "v"}, {"l", "a, b"}}}}));
  EXPECT_EQ(*ParseShorthand("a="), json({{"a", ""}}));
  EXPECT_EQ(*ParseShorthand("url=a=b"), json({{"url", "a=b"}}));
}

TEST(ShorthandTest, WhatIsNoShorthandIsAUsageError) {
  for (const char* text : {"", "a", "=b", "a={", "a={b=c", "a=[x", "a=\"x", "a=b,a=c",
                           "a={b=c}}", "a={a={a={a={a={a={a={a={a=1}}}}}}}}"})
    EXPECT_EQ(ParseShorthand(text).status().error(), Error::kUsage) << text;
}

TEST(HarmlessTest, WhatSteersATerminalIsReplaced) {
  EXPECT_EQ(Harmless("plain \xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80"),
            "plain \xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80");
  EXPECT_EQ(Harmless("a\033[2J\nb\x7f"), "a?[2J b?");
  EXPECT_EQ(Harmless("\xc2\x9b"
                     "2J"),
            "?2J");
  EXPECT_EQ(Harmless("\x9b"
                     "2J\xff"),
            "?2J\xff");
  EXPECT_EQ(Harmless("x\xe2\x80\xaegnp.\xe2\x81\xa6"), "x?gnp.?");
  EXPECT_EQ(Harmless("\xe2\x80"), "\xe2?");
}

TEST(TimesTest, IsoAndEpochAreRead) {
  const auto epoch = [](const char* text) {
    const auto time = ParseTime(text);
    return time ? time->time_since_epoch().count() : -1;
  };
  EXPECT_EQ(epoch("2026-01-31T12:00:00Z"), 1769860800000);
  EXPECT_EQ(epoch("2026-01-31T13:00:00.250+01:00"), 1769860800250);
  EXPECT_EQ(epoch("2026-01-31T12:00"), 1769860800000);
  EXPECT_EQ(epoch("2026-01-31"), 1769817600000);
  EXPECT_EQ(epoch("1769860800"), 1769860800000);
  for (const char* text :
       {"", "tomorrow", "2026-13-01", "2026-02-30", "2026-01-31T25:00:00Z",
        "2026-01-31T12:00:00+1", "1e99", "nan", "12x"})
    EXPECT_EQ(epoch(text), -1) << text;
}

TEST(TimesTest, SinceTakesSpans) {
  const TimePoint now(std::chrono::hours(100));
  EXPECT_EQ(ParseSince("10m", now), now - std::chrono::minutes(10));
  EXPECT_EQ(ParseSince("2h", now), now - std::chrono::hours(2));
  EXPECT_EQ(ParseSince("3d", now), now - std::chrono::hours(72));
  EXPECT_EQ(ParseSince("-3d", now), std::nullopt);
  EXPECT_EQ(ParseSince("d", now), std::nullopt);
}

TEST(TimesTest, ShownAsTheAwsCliDoes) {
  EXPECT_EQ(IsoTime(1769860800), "2026-01-31T12:00:00+00:00");
  EXPECT_EQ(IsoTime(1769860800.25), "2026-01-31T12:00:00.250000+00:00");
}

class ParameterTest : public ::testing::Test {
 protected:
  ParameterTest() {
    char name[] = "/tmp/keyfold-words-XXXXXX";
    const int fd = ::mkstemp(name);
    path_ = name;
    if (fd >= 0) ::close(fd);
    std::ofstream(path_) << "aGVs\nbG8=\n";
  }
  ~ParameterTest() override { ::unlink(path_.c_str()); }
  static Result<json> Parse(Kind kind, const std::vector<std::string>& values) {
    return ParseParameter(Parameter{"KeyId", kind, false, ""}, values);
  }
  std::string path_;
};

TEST_F(ParameterTest, EveryKind) {
  EXPECT_EQ(*Parse(Kind::kString, {"x"}), "x");
  EXPECT_EQ(*Parse(Kind::kString, {""}), "");
  EXPECT_EQ(*Parse(Kind::kString, {"file://" + path_}), "aGVs\nbG8=\n");
  EXPECT_EQ(*Parse(Kind::kInteger, {"7"}), 7);
  EXPECT_EQ(*Parse(Kind::kBlob, {"aGVsbG8="}), "aGVsbG8=");
  EXPECT_EQ(*Parse(Kind::kBlob, {"file://" + path_}), "aGVsbG8=");
  EXPECT_EQ(*Parse(Kind::kBlob, {"fileb://" + path_}), "YUdWcwpiRzg9Cg==");
  EXPECT_EQ(*Parse(Kind::kStringMap, {"a=b,c=d"}), json({{"a", "b"}, {"c", "d"}}));
  EXPECT_EQ(*Parse(Kind::kStringMap, {R"({"a":"b"})"}), json({{"a", "b"}}));
  EXPECT_EQ(*Parse(Kind::kStringList, {"a", "b"}), json({"a", "b"}));
  EXPECT_EQ(*Parse(Kind::kStringList, {R"(["a","b"])"}), json({"a", "b"}));
  const json tags = {{{"TagKey", "a"}, {"TagValue", "b"}},
                     {{"TagKey", "c"}, {"TagValue", "d"}}};
  EXPECT_EQ(
      *Parse(Kind::kStructureList, {"TagKey=a,TagValue=b", "TagKey=c,TagValue=d"}),
      tags);
  EXPECT_EQ(*Parse(Kind::kStructureList, {tags.dump()}), tags);
  EXPECT_EQ(*Parse(Kind::kTimestamp, {"2026-01-31T12:00:00Z"}), 1769860800.0);
}

TEST_F(ParameterTest, WrongWordsAreUsageErrors) {
  EXPECT_EQ(Parse(Kind::kInteger, {"seven"}).status().error(), Error::kUsage);
  EXPECT_EQ(Parse(Kind::kInteger, {"7x"}).status().error(), Error::kUsage);
  EXPECT_EQ(Parse(Kind::kBlob, {"not base64!"}).status().error(), Error::kUsage);
  EXPECT_EQ(Parse(Kind::kTimestamp, {"soon"}).status().error(), Error::kUsage);
  EXPECT_EQ(Parse(Kind::kStructure, {"{broken"}).status().error(), Error::kUsage);
  EXPECT_EQ(Parse(Kind::kString, {"file:///no/such"}).status().sys_errno(), ENOENT);
  EXPECT_EQ(ReadTextFile("/dev/zero", 100).status().error(), Error::kUsage);
}

TEST(RequestTest, MissingRequiredParameterIsNamed) {
  const Operation* operation = FindOperation("kms", "CreateAlias");
  KmsWords words;
  words.values["AliasName"] = {"alias/x"};
  const auto request = RequestOf(*operation, words);
  EXPECT_EQ(request.status().error(), Error::kUsage);
  EXPECT_NE(request.status().message().find("--target-key-id"), std::string::npos);
  EXPECT_EQ(request.status().message().find("--alias-name"), std::string::npos);
}

TEST(RequestTest, WordsOverrideInputJson) {
  const Operation* operation = FindOperation("kms", "CreateAlias");
  KmsWords words;
  words.input_json = R"({"AliasName":"alias/x","TargetKeyId":"k"})";
  words.values["AliasName"] = {"alias/y"};
  EXPECT_EQ(*RequestOf(*operation, words),
            json({{"AliasName", "alias/y"}, {"TargetKeyId", "k"}}));
}

class PagedConnection : public Connection {
 public:
  Result<json> Call(std::string_view, std::string_view, const json& request) override {
    ++calls;
    const int page = std::stoi(request.value("Marker", "0"));
    json answer = {{"Keys", {page}}, {"Truncated", page < 2}};
    if (page < 2) answer["NextMarker"] = std::to_string(page + 1);
    return answer;
  }
  int calls = 0;
};

TEST(PagesTest, AreJoinedUnlessAPageWasAskedFor) {
  const Operation* list = FindOperation("kms", "ListKeys");
  PagedConnection connection;
  EXPECT_EQ(*CallAllPages(connection, *list, json::object(), true),
            json({{"Keys", {0, 1, 2}}}));
  EXPECT_EQ(connection.calls, 3);
  const json one = *CallAllPages(connection, *list, {{"Limit", 1}}, true);
  EXPECT_EQ(one["Keys"], json({0}));
  EXPECT_EQ(one["Truncated"], true);
  EXPECT_EQ((*CallAllPages(connection, *list, json::object(), false))["NextMarker"],
            "1");
}

TEST(KeyPolicyTest, ConsolePolicyHasItsFourStatements) {
  KeyPolicyOptions options;
  options.administrators = {"user:cfo"};
  options.users = {"user:cfo", "group:finance"};
  const json statements = ConsolePolicy(options)["Statement"];
  ASSERT_EQ(statements.size(), 4u);
  EXPECT_EQ(statements[0]["Principal"]["AWS"], "account");
  EXPECT_EQ(statements[1]["Principal"]["AWS"], json({"user:cfo"}));
  EXPECT_EQ(statements[2]["Principal"]["AWS"], json({"user:cfo", "group:finance"}));
  EXPECT_EQ(statements[3]["Condition"]["Bool"]["kms:GrantIsForAWSResource"], "true");
  EXPECT_NE(statements[1].dump().find("ScheduleKeyDeletion"), std::string::npos);
  EXPECT_EQ(statements[1].dump().find("ImportKeyMaterial"), std::string::npos);
  EXPECT_EQ(statements[2].dump().find("Schedule"), std::string::npos);
}

TEST(KeyPolicyTest, DeletionAndImportFollowTheOptions) {
  KeyPolicyOptions options;
  options.administrators = {"user:cfo"};
  options.administrators_may_delete = false;
  options.imports_material = true;
  const std::string text = ConsolePolicy(options).dump();
  EXPECT_EQ(text.find("KeyDeletion"), std::string::npos);
  EXPECT_NE(text.find("kms:ImportKeyMaterial"), std::string::npos);
}

}  // namespace
}  // namespace keyfold
