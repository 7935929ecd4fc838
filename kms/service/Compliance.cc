#include "kms/service/Compliance.h"

#include <algorithm>

#include "policy/model/Wildcard.h"

namespace keyfold {
namespace {

using std::chrono::days;

// So long after it was last asked for, a file is taken to be still there.
constexpr auto kLately = days(90);

bool AllowsUse(const policy::Statement& statement) {
  if (statement.effect != policy::Effect::kAllow || !statement.conditions.empty())
    return false;
  for (const char* action :
       {"kms:Decrypt", "kms:Encrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo",
        "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext",
        "kms:GenerateDataKeyPair", "kms:GenerateDataKeyPairWithoutPlaintext",
        "kms:GenerateMac", "kms:VerifyMac", "kms:CreateGrant"}) {
    const auto matches = [action](const std::string& pattern) {
      return policy::MatchWildcardIgnoreCase(pattern, action);
    };
    if (statement.actions.empty()
            ? std::none_of(statement.not_actions.begin(), statement.not_actions.end(),
                           matches)
            : std::any_of(statement.actions.begin(), statement.actions.end(), matches))
      return true;
  }
  return false;
}

// Who may use the key though nobody named them; empty: nobody.
std::string OpenTo(const KeyRecord& key, const Account& account, bool administrators) {
  for (const policy::Statement& statement : key.policy.statements) {
    if (!AllowsUse(statement)) continue;
    if (!statement.not_principals.empty()) return "everyone but a few";
    for (const std::string& principal : statement.principals) {
      if (principal == "*") return "everyone";
      if (administrators && principal == "arn:aws:iam::" + account.id + ":root")
        return "every administrator of the account";
    }
  }
  return {};
}

class Checker {
 public:
  Checker(const State& state, const Account& account,
          const policy::ComplianceLimits& limits, const Activity& activity,
          TimePoint now)
      : state_(state),
        account_(account),
        limits_(limits),
        activity_(activity),
        now_(now) {}

  std::vector<ComplianceFinding> Run() {
    for (const auto& [id, key] : state_.keys) {
      if (key->manager == KeyManager::kAws) continue;
      arn_ = KeyArn(account_, id);
      Deletion(*key);
      Rotation(*key);
      Policy(*key);
      Import(*key);
      Files(*key);
      Grants(id);
    }
    return std::move(out_);
  }

 private:
  void Add(const char* rule, bool compliant, std::string reason) {
    out_.push_back({rule, arn_, compliant, std::move(reason)});
  }

  void Deletion(const KeyRecord& key) {
    Add("key-not-scheduled-for-deletion", !key.deletion_date,
        key.deletion_date ? "it is destroyed at " + FormatUtc(*key.deletion_date)
                          : "no deletion is scheduled");
  }

  void Rotation(const KeyRecord& key) {
    if (key.origin != Origin::kAwsKms || key.spec != KeySpec::kSymmetricDefault) return;
    Add("key-rotation-enabled", key.rotation_period_days.has_value(),
        key.rotation_period_days
            ? "it rotates every " + std::to_string(*key.rotation_period_days) + " days"
            : "automatic rotation is off");
  }

  void Policy(const KeyRecord& key) {
    const std::string anyone = OpenTo(key, account_, false);
    Add("key-policy-not-open", anyone.empty(),
        anyone.empty() ? "its policy names who may use it"
                       : "its policy lets " + anyone + " use it");
    if (!key.tags.contains(limits_.restricted_tag)) return;
    const std::string many = OpenTo(key, account_, true);
    Add("restricted-key-closed", many.empty(),
        many.empty() ? "only those its policy names may use it"
                     : "it is tagged " + limits_.restricted_tag +
                           ", and its policy lets " + many + " use it");
  }

  void Import(const KeyRecord& key) {
    if (key.origin != Origin::kExternal) return;
    const auto lost = std::count_if(key.materials.begin(), key.materials.end(),
                                    [](const auto& one) { return one.lost; });
    Add("imported-material-not-lost", lost == 0,
        lost == 0 ? "no restore lost any of its material"
                  : "a restore lost " + std::to_string(lost) +
                        " of its materials: import them again");
    if (key.versions.empty()) return;
    const auto expiry = key.EarliestExpiry();
    const bool soon = expiry && *expiry <= now_ + days(limits_.import_expiry_days);
    Add("imported-material-not-expiring", !soon,
        expiry ? "its material expires at " + FormatUtc(*expiry)
               : "its material does not expire");
  }

  void Files(const KeyRecord& key) {
    const auto used = activity_.files.find(key.id);
    const bool usable = key.StateAt(now_) == KeyState::kEnabled;
    const bool lately = used != activity_.files.end() && used->second + kLately > now_;
    Add("key-of-files-enabled", usable || !lately,
        usable ? "it is enabled"
        : !lately
            ? "no file under it was asked for lately"
            : "it is " + std::string(StateName(key.StateAt(now_))) +
                  ", and a file under it was asked for at " + FormatUtc(used->second));
  }

  void Grants(const std::string& key_id) {
    for (const GrantRef& grant : state_.GrantsOf(key_id).all()) {
      TimePoint last = std::max(grant->created, activity_.since);
      const auto used = activity_.grants.find(grant->grant.id);
      if (used != activity_.grants.end()) last = std::max(last, used->second);
      const bool idle = last + days(limits_.grant_unused_days) <= now_;
      out_.push_back(
          {"grant-in-use", arn_ + " grant " + grant->grant.id, !idle,
           (idle ? "nobody used it since " : "made or used since ") + FormatUtc(last)});
    }
  }

  const State& state_;
  const Account& account_;
  const policy::ComplianceLimits& limits_;
  const Activity& activity_;
  const TimePoint now_;
  std::string arn_;
  std::vector<ComplianceFinding> out_;
};

}  // namespace

std::vector<ComplianceFinding> CheckCompliance(const State& state,
                                               const Account& account,
                                               const policy::ComplianceLimits& limits,
                                               const Activity& activity,
                                               TimePoint now) {
  return Checker(state, account, limits, activity, now).Run();
}

}  // namespace keyfold
