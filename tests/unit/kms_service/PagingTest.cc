// Does every list come whole, once and in order, whatever the size of its pages?
#include "ImportFixture.h"
#include "kms/service/Schema.h"

namespace keyfold {
namespace {

struct Paged {
  std::string operation, list;
  json request;
  size_t items;
};

class PagingTest : public ImportFixture {
 protected:
  static constexpr size_t kMany = 5;

  std::vector<Paged> Lists() {
    const std::string key = MakeKey();
    for (size_t i = 0; i < kMany; ++i) {
      const std::string number = std::to_string(i);
      Must(kCfo, "CreateAlias",
           {{"AliasName", "alias/" + number}, {"TargetKeyId", key}});
      Must(kCfo, "TagResource",
           {{"KeyId", key}, {"Tags", {{{"TagKey", number}, {"TagValue", "v"}}}}});
      Must(kCfo, "CreateGrant",
           {{"KeyId", key},
            {"GranteePrincipal", "user:uid:60002"},
            {"RetiringPrincipal", "user:uid:60004"},
            {"Operations", {"Decrypt"}}});
      Must(kCfo, "RotateKeyOnDemand", {{"KeyId", key}});
      MakeKey();
    }
    const json on_key = {{"KeyId", key}};
    return {{"ListKeys", "Keys", json::object(), kMany + 2},
            {"ListAliases", "Aliases", json::object(), kMany + 1},
            {"ListAliases", "Aliases", on_key, kMany},
            {"ListResourceTags", "Tags", on_key, kMany},
            {"ListGrants", "Grants", on_key, kMany},
            {"ListRetirableGrants",
             "Grants",
             {{"RetiringPrincipal", "user:uid:60004"}},
             kMany},
            {"ListKeyRotations", "Rotations", on_key, kMany},
            {"ListKeyPolicies", "PolicyNames", on_key, 1}};
  }
  // All items, page by page.
  json Collected(const Paged& paged, size_t limit) {
    json all = json::array(), request = paged.request;
    request["Limit"] = limit;
    for (size_t pages = 0; pages <= paged.items; ++pages) {
      const json page = Must(kCfo, paged.operation.c_str(), request);
      EXPECT_LE(page[paged.list].size(), limit);
      for (const json& item : page[paged.list]) all.push_back(item);
      EXPECT_EQ(page["Truncated"], page.contains("NextMarker"));
      if (!page.contains("NextMarker")) return all;
      EXPECT_EQ(page[paged.list].size(), limit) << "only the last page is short";
      request["Marker"] = page["NextMarker"];
    }
    ADD_FAILURE() << paged.operation << " does not end";
    return all;
  }
};

TEST_F(PagingTest, EveryListComesWhole) {
  std::set<std::string> tried, paged;
  for (const Paged& one : Lists()) {
    tried.insert(one.operation);
    const json whole = Must(kCfo, one.operation.c_str(), one.request)[one.list];
    EXPECT_EQ(whole.size(), one.items) << one.operation;
    for (size_t limit = 1; limit <= one.items + 1; ++limit)
      EXPECT_EQ(Collected(one, limit), whole) << one.operation << " by " << limit;
    json bad = one.request;
    for (const char* marker : {"x", "kf1-", "kf1--1", "kf1-1x", "kf1-1000"}) {
      bad["Marker"] = marker;
      EXPECT_EQ(Try(kCfo, one.operation.c_str(), bad), "InvalidMarkerException")
          << one.operation << " " << marker;
    }
  }
  for (const Operation& operation : Operations())
    for (const Parameter& parameter : operation.parameters)
      if (operation.service == "kms" && parameter.name == "Marker")
        paged.emplace(operation.name);
  EXPECT_EQ(tried, paged) << "every operation with pages";
}

}  // namespace
}  // namespace keyfold
