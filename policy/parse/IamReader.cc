#include <map>
#include <set>

#include "kms/base/Spelling.h"
#include "policy/model/ManagedPolicies.h"
#include "policy/parse/DocumentReader.h"

namespace keyfold::policy {
namespace {

const std::vector<std::string_view> kIamKeys = {"users", "groups", "roles", "policies"};
const std::vector<std::string_view> kUserKeys = {"groups", "policies", "tags"};
const std::vector<std::string_view> kGroupKeys = {"policies"};
const std::vector<std::string_view> kRoleKeys = {"policies", "trust"};

class IamReader {
 public:
  explicit IamReader(const Source& source) : source_(source) {}

  Result<Iam> Read(const Node& root) {
    KF_RETURN_IF_ERROR(
        ExpectMap(source_, root, "a map with users, groups, roles and policies"));
    for (const auto& [key, value] : root.entries) {
      if (key.text == "users")
        KF_RETURN_IF_ERROR(Section(
            value, "user", [&](auto& name, auto& node) { return User(name, node); }));
      else if (key.text == "groups")
        KF_RETURN_IF_ERROR(Section(
            value, "group", [&](auto& name, auto& node) { return Group(name, node); }));
      else if (key.text == "roles")
        KF_RETURN_IF_ERROR(Section(
            value, "role", [&](auto& name, auto& node) { return Role(name, node); }));
      else if (key.text == "policies")
        KF_RETURN_IF_ERROR(Section(value, "policy", [&](auto& name, auto& node) {
          return Policy(name, node);
        }));
      else
        return UnknownKey(source_, key, "an IAM document", kIamKeys);
    }
    KF_RETURN_IF_ERROR(CheckReferences());
    return std::move(iam_);
  }

 private:
  // Section reads a map of names; an empty one may be left out.
  template <typename One>
  Status Section(const Node& node, const std::string& noun, One one) {
    if (node.kind == Node::Kind::kNull) return OkStatus();
    KF_RETURN_IF_ERROR(ExpectMap(source_, node, "a map of names"));
    for (const auto& [key, value] : node.entries) {
      if (!ValidName(key.text))
        return ErrorExpected(source_, key,
                             "the name of a " + noun + ", without *, ? and /");
      KF_RETURN_IF_ERROR(one(key, value));
    }
    return OkStatus();
  }

  // Fields reads the map of one user, group or role; null is an empty map.
  template <typename Field>
  Status Fields(const Node& node, std::string_view what,
                const std::vector<std::string_view>& keys, Field field) {
    if (node.kind == Node::Kind::kNull) return OkStatus();
    std::string expected = "a map with ";
    for (std::string_view key : keys) expected += std::string(key) + ", ";
    expected.resize(expected.size() - 2);
    KF_RETURN_IF_ERROR(ExpectMap(source_, node, expected));
    for (const auto& [key, value] : node.entries) {
      bool known = false;
      KF_RETURN_IF_ERROR(field(key.text, value, &known));
      if (!known) return UnknownKey(source_, key, what, keys);
    }
    return OkStatus();
  }

  Status User(const Node& name, const Node& node) {
    IamUser& user = iam_.users[name.text];
    return Fields(node, "a user", kUserKeys,
                  [&](const std::string& key, const Node& value, bool* known) {
                    *known = true;
                    if (key == "groups") return Groups(value, &user.groups);
                    if (key == "policies") return Policies(value, &user.policies);
                    if (key == "tags") return Tags(value, &user.tags);
                    *known = false;
                    return OkStatus();
                  });
  }

  Status Group(const Node& name, const Node& node) {
    IamGroup& group = iam_.groups[name.text];
    return Fields(node, "a group", kGroupKeys,
                  [&](const std::string& key, const Node& value, bool* known) {
                    *known = key == "policies";
                    return *known ? Policies(value, &group.policies) : OkStatus();
                  });
  }

  Status Role(const Node& name, const Node& node) {
    IamRole& role = iam_.roles[name.text];
    return Fields(node, "a role", kRoleKeys,
                  [&](const std::string& key, const Node& value, bool* known) {
                    *known = true;
                    if (key == "policies") return Policies(value, &role.policies);
                    if (key == "trust") return Trust(value, &role.trust);
                    *known = false;
                    return OkStatus();
                  });
  }

  Status Policy(const Node& name, const Node& node) {
    if (ManagedPolicies().contains(name.text))
      return ErrorAt(
          source_, name,
          "found a policy " + Quote(name.text) +
              ", which is the name of a managed policy; expected another name");
    KF_ASSIGN_OR_RETURN(Document document,
                        ReadDocument(source_, node, DocumentKind::kIdentityPolicy));
    document.name = name.text;
    iam_.policies[name.text] = std::move(document);
    return OkStatus();
  }

  // Names reads a list in which nothing comes twice.
  Status Names(const Node& node, const std::string& expected,
               std::vector<Item>* items) {
    if (node.kind == Node::Kind::kNull) return OkStatus();
    KF_ASSIGN_OR_RETURN(*items, ReadItems(source_, node, expected, true));
    std::set<std::string_view> seen;
    for (const Item& item : *items)
      if (!seen.insert(item.text).second)
        return ErrorAt(source_, *item.node, "found " + Quote(item.text) + " twice");
    return OkStatus();
  }

  Status Groups(const Node& node, std::vector<std::string>* out) {
    std::vector<Item> items;
    KF_RETURN_IF_ERROR(Names(node, "a list of groups", &items));
    for (Item& item : items) {
      out->push_back(item.text);
      group_references_.push_back(std::move(item));
    }
    return OkStatus();
  }

  Status Policies(const Node& node, std::vector<std::string>* out) {
    std::vector<Item> items;
    KF_RETURN_IF_ERROR(Names(node, "a list of policies", &items));
    for (Item& item : items) {
      out->push_back(item.text);
      policy_references_.push_back(std::move(item));
    }
    return OkStatus();
  }

  Status Trust(const Node& node, std::vector<std::string>* out) {
    std::vector<Item> items;
    KF_RETURN_IF_ERROR(Names(node, "a list of principals", &items));
    std::set<std::string> seen;
    for (const Item& item : items) {
      auto arn = ParsePrincipal(item.text, source_.account);
      if (!arn.ok()) return ErrorAt(source_, *item.node, arn.status().message());
      const std::string_view kind = PrincipalKind(*arn);
      if (kind == "role" || kind == "service")
        return ErrorAt(source_, *item.node,
                       "found " + Quote(item.text) +
                           ", but only users assume roles; expected a user, a group, "
                           "account or everyone");
      if (!seen.insert(*arn).second)
        return ErrorAt(source_, *item.node, "found " + Quote(item.text) + " twice");
      trust_references_.push_back({*arn, item.node});
      out->push_back(std::move(*arn));
    }
    return OkStatus();
  }

  Status Tags(const Node& node, std::map<std::string, std::string>* out) {
    if (node.kind == Node::Kind::kNull) return OkStatus();
    KF_RETURN_IF_ERROR(ExpectMap(source_, node, "a map of tags"));
    for (const auto& [key, value] : node.entries) {
      KF_ASSIGN_OR_RETURN(std::string name, ReadText(source_, key, "a tag's name"));
      // Conditions find tags without regard to case.
      for (const auto& [other, text] : *out)
        if (EqualsIgnoreCase(other, name))
          return ErrorAt(source_, key,
                         "found the tag " + Quote(name) + " besides " + Quote(other) +
                             "; expected names that differ in more than case");
      if (value.kind == Node::Kind::kScalar && value.text.empty()) {
        (*out)[name] = "";
        continue;
      }
      KF_ASSIGN_OR_RETURN((*out)[name], ReadText(source_, value, "a tag's value"));
      if (out->size() > kMaxTags)
        return ErrorAt(source_, key, "more than " + std::to_string(kMaxTags) + " tags");
    }
    return OkStatus();
  }

  // CheckReferences comes last: what is named may stand further down.
  Status CheckReferences() {
    for (const Item& item : group_references_)
      if (!iam_.groups.contains(item.text))
        return Missing(item, "group", Keys(iam_.groups));
    for (const Item& item : policy_references_) {
      if (item.text == kAccountRootPolicy)
        return ErrorAt(source_, *item.node,
                       "found policy " + Quote(item.text) +
                           ", which can't be attached: only whoever ran init has it");
      if (iam_.policies.contains(item.text) || ManagedPolicies().contains(item.text))
        continue;
      auto known = Keys(iam_.policies);
      for (std::string_view name : Keys(ManagedPolicies()))
        if (name != kAccountRootPolicy) known.push_back(name);
      return Missing(item, "policy", known);
    }
    for (const Item& item : trust_references_) {
      const std::string_view kind = PrincipalKind(item.text);
      const std::string name = item.text.substr(item.text.find('/') + 1);
      if (kind == "user" && !iam_.users.contains(name))
        return Missing({name, item.node}, "user", Keys(iam_.users));
      if (kind == "group" && !iam_.groups.contains(name))
        return Missing({name, item.node}, "group", Keys(iam_.groups));
    }
    return OkStatus();
  }

  template <typename T>
  static std::vector<std::string_view> Keys(const std::map<std::string, T>& map) {
    std::vector<std::string_view> keys;
    for (const auto& [name, value] : map) keys.push_back(name);
    return keys;
  }

  Status Missing(const Item& item, const std::string& noun,
                 const std::vector<std::string_view>& known) {
    const std::string message =
        "found " + noun + " " + Quote(item.text) + ", which is not declared";
    const std::string near = Nearest(item.text, known);
    if (!near.empty())
      return ErrorAt(source_, *item.node,
                     message + "; did you mean " + Quote(near) + "?");
    return ErrorAt(source_, *item.node,
                   message + "; expected a " + noun + " of this document" +
                       (noun == "policy" ? " or a managed policy" : ""));
  }

  static constexpr size_t kMaxTags = 50;

  const Source& source_;
  Iam iam_;
  std::vector<Item> group_references_, policy_references_, trust_references_;
};

}  // namespace

Result<Iam> ParseIam(std::string_view text, std::string_view source_name,
                     const std::string& account) {
  constexpr size_t kMaxNodes = 200'000;
  KF_ASSIGN_OR_RETURN(Node tree,
                      ParseTree(text, source_name, {kMaxIamBytes, kMaxNodes}));
  const Source source{source_name, account};
  return IamReader(source).Read(tree);
}

}  // namespace keyfold::policy
