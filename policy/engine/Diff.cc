#include <algorithm>
#include <set>

#include "policy/engine/Engine.h"

namespace keyfold::policy {
namespace {

using NameList = std::vector<std::string>;

// Actions of one kind of holder.
struct Kind {
  const char* noun;
  const char* create;
  const char* remove;
  const char* attach;
  const char* detach;
};
constexpr Kind kUser = {"user", "iam:CreateUser", "iam:DeleteUser",
                        "iam:AttachUserPolicy", "iam:DetachUserPolicy"};
constexpr Kind kGroup = {"group", "iam:CreateGroup", "iam:DeleteGroup",
                         "iam:AttachGroupPolicy", "iam:DetachGroupPolicy"};
constexpr Kind kRole = {"role", "iam:CreateRole", "iam:DeleteRole",
                        "iam:AttachRolePolicy", "iam:DetachRolePolicy"};

// EachName calls `change` for every name of either map, with its two values;
// null where it is absent.
template <typename T, typename Change>
void EachName(const std::map<std::string, T>& before,
              const std::map<std::string, T>& after, Change change) {
  for (const auto& [name, value] : before) {
    const auto found = after.find(name);
    change(name, &value, found == after.end() ? nullptr : &found->second);
  }
  for (const auto& [name, value] : after)
    if (!before.contains(name)) change(name, static_cast<const T*>(nullptr), &value);
}

template <typename T>
const T& OrNone(const T* value) {
  static const T none;
  return value == nullptr ? none : *value;
}

class Differ {
 public:
  Differ(const Iam& before, const Iam& after, const std::string& account,
         const Principal& caller)
      : before_(before), after_(after), account_(account), caller_(caller) {}

  std::vector<IamChange> Run() {
    EachName(before_.policies, after_.policies,
             [&](auto& name, auto* was, auto* is) { Policy(name, was, is); });
    EachName(before_.groups, after_.groups,
             [&](auto& name, auto* was, auto* is) { Group(name, was, is); });
    EachName(before_.users, after_.users,
             [&](auto& name, auto* was, auto* is) { User(name, was, is); });
    EachName(before_.roles, after_.roles,
             [&](auto& name, auto* was, auto* is) { Role(name, was, is); });
    return std::move(changes_);
  }

 private:
  void Add(const char* action, std::string resource, std::string description) {
    changes_.push_back({action, std::move(resource), std::move(description)});
  }

  // EachDifference calls for what is in one list only; order and repetition
  // mean nothing.
  template <typename Removed, typename Added>
  void EachDifference(const NameList& was, const NameList& is, Removed removed,
                      Added added) {
    const std::set<std::string> old_set(was.begin(), was.end());
    const std::set<std::string> new_set(is.begin(), is.end());
    for (const auto& name : old_set)
      if (!new_set.contains(name)) removed(name);
    for (const auto& name : new_set)
      if (!old_set.contains(name)) added(name);
  }

  void Existence(const Kind& kind, const std::string& name, const std::string& arn,
                 bool was, bool is) {
    if (was && !is)
      Add(kind.remove, arn, std::string("delete ") + kind.noun + " " + name);
    if (!was && is)
      Add(kind.create, arn, std::string("create ") + kind.noun + " " + name);
  }

  void Attachments(const Kind& kind, const std::string& name, const std::string& arn,
                   const NameList& was, const NameList& is) {
    const std::string holder = std::string(kind.noun) + " " + name;
    EachDifference(
        was, is,
        [&](auto& policy) {
          Add(kind.detach, arn, "detach policy " + policy + " from " + holder);
        },
        [&](auto& policy) {
          Add(kind.attach, arn, "attach policy " + policy + " to " + holder);
        });
  }

  void Policy(const std::string& name, const Document* was, const Document* is) {
    const std::string arn = PolicyArn(account_, name);
    if (is == nullptr)
      Add("iam:DeletePolicy", arn, "delete policy " + name);
    else if (was == nullptr)
      Add("iam:CreatePolicy", arn, "create policy " + name);
    else if (!(*was == *is))
      Add("iam:CreatePolicyVersion", arn, "change policy " + name);
  }

  void Group(const std::string& name, const IamGroup* was, const IamGroup* is) {
    const std::string arn = GroupArn(account_, name);
    Existence(kGroup, name, arn, was != nullptr, is != nullptr);
    if (was == nullptr)
      Add("iam:AddUserToGroup", arn,
          "let the members of the Unix group " + name + " join group " + name);
    if (is == nullptr)
      Add("iam:RemoveUserFromGroup", arn,
          "let the members of the Unix group " + name + " leave group " + name);
    Attachments(kGroup, name, arn, OrNone(was).policies, OrNone(is).policies);
  }

  void User(const std::string& name, const IamUser* was, const IamUser* is) {
    const std::string arn = UserArn(account_, name);
    Existence(kUser, name, arn, was != nullptr, is != nullptr);
    Attachments(kUser, name, arn, OrNone(was).policies, OrNone(is).policies);
    EachDifference(
        OrNone(was).groups, OrNone(is).groups,
        [&](auto& group) {
          Add("iam:RemoveUserFromGroup", GroupArn(account_, group),
              "remove user " + name + " from group " + group);
        },
        [&](auto& group) {
          Add("iam:AddUserToGroup", GroupArn(account_, group),
              "add user " + name + " to group " + group);
        });
    Tags(name, arn, OrNone(was).tags, OrNone(is).tags);
  }

  void Tags(const std::string& name, const std::string& arn,
            const std::map<std::string, std::string>& was,
            const std::map<std::string, std::string>& is) {
    for (const auto& [tag, value] : was)
      if (!is.contains(tag))
        Add("iam:UntagUser", arn, "remove tag " + tag + " from user " + name);
    for (const auto& [tag, value] : is) {
      const auto old_tag = was.find(tag);
      if (old_tag == was.end() || old_tag->second != value)
        Add("iam:TagUser", arn, "tag user " + name + " with " + tag + "=" + value);
    }
  }

  void Role(const std::string& name, const IamRole* was, const IamRole* is) {
    const std::string arn = RoleArn(account_, name);
    Existence(kRole, name, arn, was != nullptr, is != nullptr);
    Attachments(kRole, name, arn, OrNone(was).policies, OrNone(is).policies);
    EachDifference(
        OrNone(was).trust, OrNone(is).trust,
        [&](auto& trusted) {
          Add("iam:UpdateAssumeRolePolicy", arn,
              "no longer let " + ShortPrincipal(trusted) + " assume role " + name);
        },
        [&](auto& trusted) { AddTrust(name, arn, trusted); });
  }

  void AddTrust(const std::string& role, const std::string& arn,
                const std::string& trusted) {
    const std::string description =
        "let " + ShortPrincipal(trusted) + " assume role " + role;
    Add("iam:PassRole", arn, description);
    if (MayIncludeCaller(trusted))
      Add("iam:AttachUserPolicy", UserArn(account_, caller_.user_name),
          description + ", which gives user " + caller_.user_name +
              " the policies of that role");
  }

  // MayIncludeCaller leans to yes: a wrong yes asks for one more right, a wrong
  // no gives one away. Only another user, and a group that is known not to be
  // the caller's, are certainly others.
  bool MayIncludeCaller(const std::string& trusted) const {
    if (trusted.find_first_of("*?") != trusted.npos) return true;
    if (PrincipalKind(trusted) == "user")
      return trusted == caller_.arn || trusted == UserArn(account_, caller_.user_name);
    if (PrincipalKind(trusted) != "group") return true;
    // Whoever acts in a role is a user still, whose groups are not known here;
    // nor is who joins a group that is only now made.
    if (PrincipalKind(caller_.arn) != "user") return true;
    if (!before_.groups.contains(trusted.substr(GroupArn(account_, "").size())))
      return true;
    return std::find(caller_.group_arns.begin(), caller_.group_arns.end(), trusted) !=
           caller_.group_arns.end();
  }

  const Iam& before_;
  const Iam& after_;
  const std::string& account_;
  const Principal& caller_;
  std::vector<IamChange> changes_;
};

}  // namespace

std::vector<IamChange> Diff(const Iam& before, const Iam& after,
                            const std::string& account, const Principal& caller) {
  return Differ(before, after, account, caller).Run();
}

}  // namespace keyfold::policy
