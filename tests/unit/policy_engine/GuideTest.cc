// Do the examples of POLICY.md read, and do what it says?
#include <filesystem>
#include <fstream>
#include <sstream>

#include "Documents.h"

namespace keyfold::policy {
namespace {

// The fenced example of POLICY.md whose opening line ends in `kind`.
std::string Example(const std::string& kind) {
  const std::filesystem::path data(KEYFOLD_TEST_DATA);
  std::ifstream file(data.parent_path().parent_path() / "POLICY.md");
  std::stringstream all;
  all << file.rdbuf();
  const std::string text = all.str(), fence = "```" + kind + "\n";
  const size_t start = text.find(fence);
  if (start == text.npos) {
    ADD_FAILURE() << "POLICY.md has no example " << kind;
    return "";
  }
  const size_t body = start + fence.size();
  return text.substr(body, text.find("```", body) - body);
}

class GuideTest : public testing::Test {
 protected:
  Decision Ask(const std::string& user, const std::string& example,
               const std::string& action, Context context = {}) {
    return DecideOnKey(index_, index_.User(user, {}), On(action, std::move(context)),
                       KeyPolicy(Example(example)), {});
  }
  const IamIndex index_ = IndexOf(Example("yaml iam"));
};

TEST_F(GuideTest, YamlKeyPolicyAllowsWhomItNames) {
  EXPECT_TRUE(Ask("cfo", "yaml key-policy", "kms:Decrypt").allowed());
  EXPECT_TRUE(Ask("cfo", "yaml key-policy", "kms:PutKeyPolicy").allowed());
  EXPECT_FALSE(Ask("accounts", "yaml key-policy", "kms:Decrypt").allowed());
  EXPECT_TRUE(Ask("accounts", "yaml key-policy", "kms:DescribeKey").allowed());
  EXPECT_FALSE(Ask("sysadmin", "yaml key-policy", "kms:Decrypt").allowed());
  EXPECT_FALSE(Ask("nobody", "yaml key-policy", "kms:DescribeKey").allowed());
}

TEST_F(GuideTest, JsonKeyPolicyDeniesOutsideTheMount) {
  const IamIndex index = IndexOf("users: {a: {policies: [AdministratorAccess]}}");
  const Document policy = KeyPolicy(Example("json key-policy"));
  const Principal admin = index.User("a", {});
  EXPECT_TRUE(DecideOnKey(index, admin,
                          On("kms:Decrypt", {{"kms:ViaService", {"fs.keyfold"}}}),
                          policy, {})
                  .allowed());
  EXPECT_EQ(
      DecideOnKey(index, admin, On("kms:Decrypt"), policy, {}).reason,
      "explicitly denied by statement 'Only through the mount' of the key policy");
}

TEST_F(GuideTest, IamConditionDeniesByTime) {
  const Context late = {{"aws:CurrentTime", {"2027-01-01T00:00:00Z"}}};
  const Context early = {{"aws:CurrentTime", {"2026-12-31T17:59:59Z"}}};
  EXPECT_EQ(Ask("accounts", "yaml key-policy", "kms:Decrypt", late).outcome,
            Outcome::kExplicitDeny);
  EXPECT_EQ(Ask("accounts", "yaml key-policy", "kms:Decrypt", early).outcome,
            Outcome::kImplicitDeny);
}

}  // namespace
}  // namespace keyfold::policy
