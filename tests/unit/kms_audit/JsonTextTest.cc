// Is what JsonText writes JSON that says what was added?
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "kms/audit/JsonText.h"

namespace keyfold {
namespace {

using nlohmann::json;

TEST(JsonTextTest, MembersComeBack) {
  JsonText inner, text;
  inner.Add("n", uint64_t{18446744073709551615u});
  text.Add("name", "value").Add("yes", true).Add("no", false);
  text.AddJson("inner", inner.Object()).AddMembers("\"a\":[1,null]").AddMembers("");
  EXPECT_EQ(json::parse(text.Object()), json({{"name", "value"},
                                              {"yes", true},
                                              {"no", false},
                                              {"inner", {{"n", 18446744073709551615u}}},
                                              {"a", {1, nullptr}}}));
  EXPECT_EQ(JsonText().Object(), "{}");
}

TEST(JsonTextTest, HostileTextStaysInItsPlace) {
  for (const std::string& value : {std::string("\"}"), std::string("\\"),
                                   std::string("a\nb\r\t"), std::string("nul\0byte", 8),
                                   std::string("\x7f"), std::string("\u00e9\u20ac")}) {
    JsonText text;
    text.Add(value, value).Add("last", "x");
    const json parsed = json::parse(text.Object());
    EXPECT_EQ(parsed.size(), 2u) << value;
    EXPECT_EQ(parsed.at(value), value);
  }
  JsonText text;
  text.Add("path",
           "a\xff"
           "b\xc3");
  EXPECT_EQ(json::parse(text.Object()).at("path"),
            "a\ufffd"
            "b\ufffd");
}

TEST(JsonTextTest, TheLastOfANameCounts) {
  JsonText text;
  text.Add("mac", "forged").Add("mac", "true");
  EXPECT_EQ(json::parse(text.Object()), json({{"mac", "true"}}));
}

}  // namespace
}  // namespace keyfold
