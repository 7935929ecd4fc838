#include "policy/parse/DocumentReader.h"

#include <algorithm>
#include <unordered_set>

#include "kms/base/Spelling.h"
#include "policy/model/ConditionOperator.h"
#include "policy/model/KmsActions.h"
#include "policy/model/Wildcard.h"

namespace keyfold::policy {
namespace {

const std::vector<std::string_view> kDocumentKeys = {"Version", "Id", "Statement"};
const std::vector<std::string_view> kStatementKeys = {
    "Sid",       "Effect",   "Principal",   "NotPrincipal", "Action",
    "NotAction", "Resource", "NotResource", "Condition"};

using Texts = std::vector<std::string>;

// "${aws:username}" would have to be filled in; taken literally it would mean
// something else than it says.
Status RefuseVariable(const Source& source, const Item& item) {
  if (item.text.find("${") == std::string::npos) return OkStatus();
  return ErrorAt(source, *item.node,
                 "found " + Quote(item.text) + "; policy variables are not supported");
}

bool IsAction(std::string_view text) {
  if (text == "*") return true;
  const size_t colon = text.find(':');
  if (colon == text.npos || colon == 0 || colon + 1 == text.size()) return false;
  const auto letters = [](std::string_view part, std::string_view others) {
    for (char c : part) {
      const bool letter =
          (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
      if (!letter && others.find(c) == others.npos) return false;
    }
    return true;
  };
  return letters(text.substr(0, colon), "-") && letters(text.substr(colon + 1), "*?");
}

// CheckKmsAction refuses a "kms:" pattern that no action fits: a slip in it would
// allow, or worse, deny nothing.
Status CheckKmsAction(const Source& source, const Item& item) {
  constexpr std::string_view kKms = "kms:";
  const std::string_view text = item.text;
  if (!EqualsIgnoreCase(text.substr(0, kKms.size()), kKms)) return OkStatus();
  const std::string_view pattern = text.substr(kKms.size());
  std::vector<std::string_view> known;
  for (std::string_view action : KmsActions()) {
    if (MatchWildcardIgnoreCase(pattern, action)) return OkStatus();
    known.push_back(action);
  }
  const std::string near = Nearest(pattern, known);
  return ErrorAt(
      source, *item.node,
      "found " + Quote(text) + ", which is no KMS action" +
          (near.empty() ? std::string("; expected one such as kms:Decrypt")
                        : "; did you mean \"kms:" + std::string(near) + "\"?"));
}

// IsPrincipalKey tells whether requests have a principal's ARN under the key.
bool IsPrincipalKey(std::string_view key) {
  constexpr std::string_view kKeys[] = {"aws:PrincipalArn", "kms:GranteePrincipal",
                                        "kms:RetiringPrincipal"};
  return std::any_of(std::begin(kKeys), std::end(kKeys), [&](std::string_view known) {
    return EqualsIgnoreCase(key, known);
  });
}

class StatementReader {
 public:
  StatementReader(const Source& source, DocumentKind kind)
      : source_(source), kind_(kind) {}

  Result<Statement> Read(const Node& node) {
    KF_RETURN_IF_ERROR(ExpectMap(source_, node, "a statement: a map"));
    for (const Node::Entry& entry : node.entries)
      KF_RETURN_IF_ERROR(ReadKey(entry.key, entry.value));
    KF_RETURN_IF_ERROR(CheckWhole(node));
    return std::move(statement_);
  }

 private:
  Status ReadKey(const Node& key, const Node& value) {
    const std::string& name = key.text;
    if (name == "Sid") return ReadSid(value);
    if (name == "Effect") return ReadEffect(value);
    if (name == "Principal" || name == "NotPrincipal") {
      if (kind_ == DocumentKind::kIdentityPolicy)
        return ErrorAt(source_, key,
                       "found " + Quote(name) +
                           "; a policy of users, groups and roles names no principal: "
                           "it speaks of whom it is attached to");
      return ReadPrincipals(value, name == "Principal" ? &statement_.principals
                                                       : &statement_.not_principals);
    }
    if (name == "Action") return ReadActions(value, &statement_.actions);
    if (name == "NotAction") return ReadActions(value, &statement_.not_actions);
    if (name == "Resource") return ReadResources(value, &statement_.resources);
    if (name == "NotResource") return ReadResources(value, &statement_.not_resources);
    if (name == "Condition") return ReadConditions(value);
    return UnknownKey(source_, key, "a statement", kStatementKeys);
  }

  Status ReadSid(const Node& value) {
    KF_ASSIGN_OR_RETURN(statement_.sid, ReadText(source_, value, "a statement's name"));
    return OkStatus();
  }

  Status ReadEffect(const Node& value) {
    has_effect_ = true;
    if (value.kind == Node::Kind::kScalar && value.text == "Allow") {
      statement_.effect = Effect::kAllow;
    } else if (value.kind == Node::Kind::kScalar && value.text == "Deny") {
      statement_.effect = Effect::kDeny;
    } else {
      return ErrorExpected(source_, value, "Allow or Deny");
    }
    return OkStatus();
  }

  Status ReadPrincipals(const Node& value, Texts* out) {
    constexpr std::string_view kExpected =
        "a principal such as user:cfo, or a list of principals";
    const Node* list = &value;
    if (value.kind == Node::Kind::kMap) {
      for (const Node::Entry& entry : value.entries)
        if (entry.key.text != "AWS")
          return ErrorAt(source_, entry.key,
                         "found principals of kind " + Quote(entry.key.text) +
                             "; expected AWS, the only kind there is here");
      if (value.entries.empty()) return ErrorExpected(source_, value, kExpected);
      list = &value.entries.front().value;
    }
    KF_ASSIGN_OR_RETURN(std::vector<Item> items, ReadItems(source_, *list, kExpected));
    for (const Item& item : items) {
      auto arn = ParsePrincipal(item.text, source_.account);
      if (!arn.ok()) return ErrorAt(source_, *item.node, arn.status().message());
      out->push_back(std::move(*arn));
    }
    return OkStatus();
  }

  Status ReadActions(const Node& value, Texts* out) {
    constexpr std::string_view kExpected = "an action such as kms:Decrypt, or a list";
    KF_ASSIGN_OR_RETURN(std::vector<Item> items, ReadItems(source_, value, kExpected));
    for (Item& item : items) {
      if (!IsAction(item.text)) return ErrorExpected(source_, *item.node, kExpected);
      KF_RETURN_IF_ERROR(CheckKmsAction(source_, item));
      out->push_back(std::move(item.text));
    }
    return OkStatus();
  }

  Status ReadResources(const Node& value, Texts* out) {
    constexpr std::string_view kExpected = "\"*\" or an ARN, or a list of them";
    KF_ASSIGN_OR_RETURN(std::vector<Item> items, ReadItems(source_, value, kExpected));
    for (Item& item : items) {
      KF_RETURN_IF_ERROR(RefuseVariable(source_, item));
      if (item.text != "*" && !item.text.starts_with("arn:"))
        return ErrorExpected(source_, *item.node, kExpected);
      out->push_back(std::move(item.text));
    }
    return OkStatus();
  }

  Status ReadConditions(const Node& value) {
    KF_RETURN_IF_ERROR(
        ExpectMap(source_, value, "a map of operators, such as StringEquals"));
    for (const Node::Entry& entry : value.entries) {
      const auto op = ParseConditionOperator(entry.key.text);
      if (!op)
        return ErrorAt(source_, entry.key,
                       "found " + Quote(entry.key.text) +
                           ", which is no condition operator; expected one such as "
                           "StringEquals, StringLike, Bool, NumericLessThan, "
                           "DateGreaterThan, ArnLike or Null");
      KF_RETURN_IF_ERROR(ExpectMap(source_, entry.value,
                                   "a map of condition keys, such as kms:ViaService"));
      for (const Node::Entry& key : entry.value.entries)
        KF_RETURN_IF_ERROR(ReadCondition(entry.key.text, *op, key));
    }
    return OkStatus();
  }

  Status ReadCondition(const std::string& op_name, const ConditionOperator& op,
                       const Node::Entry& entry) {
    Condition condition{op_name, "", {}};
    KF_ASSIGN_OR_RETURN(condition.key, ReadText(source_, entry.key, "a condition key"));
    if (condition.key.find(':') == std::string::npos)
      return ErrorExpected(source_, entry.key,
                           "a condition key such as kms:ViaService");
    std::string expected(ConditionValueKind(op.comparison));
    if (expected.empty()) expected = "text";
    expected += ", or a list of such values";
    KF_ASSIGN_OR_RETURN(std::vector<Item> items,
                        ReadItems(source_, entry.value, expected));
    for (Item& item : items) {
      KF_RETURN_IF_ERROR(RefuseVariable(source_, item));
      if (!ValidConditionValue(op.comparison, item.text))
        return ErrorExpected(source_, *item.node, expected);
      // Compared as it is written, "user:cfo" would be nobody's ARN.
      condition.values.push_back(IsPrincipalKey(condition.key)
                                     ? PrincipalPattern(item.text, source_.account)
                                     : std::move(item.text));
    }
    statement_.conditions.push_back(std::move(condition));
    return OkStatus();
  }

  // CheckWhole says what is missing from a statement, or twice in it.
  Status CheckWhole(const Node& node) {
    if (!has_effect_)
      return ErrorAt(source_, node,
                     "a statement without Effect; expected Allow or Deny");
    KF_RETURN_IF_ERROR(OneOf(node, "Action", statement_.actions, "NotAction",
                             statement_.not_actions, true));
    const bool key_policy = kind_ == DocumentKind::kKeyPolicy;
    KF_RETURN_IF_ERROR(OneOf(node, "Principal", statement_.principals, "NotPrincipal",
                             statement_.not_principals, key_policy));
    KF_RETURN_IF_ERROR(OneOf(node, "Resource", statement_.resources, "NotResource",
                             statement_.not_resources, !key_policy));
    if (statement_.resources.empty() && statement_.not_resources.empty())
      statement_.resources = {"*"};
    // It would allow whoever is added to the account tomorrow.
    if (statement_.effect == Effect::kAllow && !statement_.not_principals.empty())
      return ErrorAt(source_, node,
                     "NotPrincipal in a statement that allows; expected Principal, or "
                     "Effect: Deny");
    return OkStatus();
  }

  Status OneOf(const Node& node, std::string_view yes, const Texts& with,
               std::string_view no, const Texts& without, bool needed) {
    const std::string both(yes), other(no);
    if (!with.empty() && !without.empty())
      return ErrorAt(
          source_, node,
          "a statement with both " + both + " and " + other + "; expected one of them");
    if (needed && with.empty() && without.empty())
      return ErrorAt(
          source_, node,
          "a statement without " + both + "; expected " + both + " or " + other);
    return OkStatus();
  }

  const Source& source_;
  const DocumentKind kind_;
  Statement statement_;
  bool has_effect_ = false;
};

Status ReadVersion(const Source& source, const Node& value) {
  if (value.kind == Node::Kind::kScalar &&
      (value.text == "2012-10-17" || value.text == "2008-10-17"))
    return OkStatus();
  return ErrorExpected(source, value, "the policy language's version, \"2012-10-17\"");
}

Status ReadStatements(const Source& source, const Node& value, DocumentKind kind,
                      std::vector<Statement>* out) {
  std::vector<const Node*> nodes;
  if (value.kind == Node::Kind::kList)
    for (const Node& item : value.items) nodes.push_back(&item);
  else
    nodes.push_back(&value);
  if (nodes.empty())
    return ErrorExpected(source, value, "a statement or a list of statements");
  std::unordered_set<std::string> sids;
  for (const Node* node : nodes) {
    KF_ASSIGN_OR_RETURN(Statement statement, StatementReader(source, kind).Read(*node));
    if (!statement.sid.empty() && !sids.insert(statement.sid).second)
      return ErrorAt(source, *node,
                     "a second statement with the Sid " + Quote(statement.sid));
    out->push_back(std::move(statement));
  }
  return OkStatus();
}

}  // namespace

Result<Document> ReadDocument(const Source& source, const Node& node,
                              DocumentKind kind) {
  KF_RETURN_IF_ERROR(
      ExpectMap(source, node, "a policy document: a map with Version and Statement"));
  Document document;
  for (const auto& [key, value] : node.entries) {
    if (key.text == "Version") {
      KF_RETURN_IF_ERROR(ReadVersion(source, value));
    } else if (key.text == "Id") {
      KF_ASSIGN_OR_RETURN(document.id, ReadText(source, value, "the document's name"));
    } else if (key.text == "Statement") {
      KF_RETURN_IF_ERROR(ReadStatements(source, value, kind, &document.statements));
    } else {
      return UnknownKey(source, key, "a policy document", kDocumentKeys);
    }
  }
  if (document.statements.empty())
    return ErrorAt(source, node, "a policy document without Statement");
  return document;
}

Result<Document> ParsePolicy(std::string_view text, std::string_view source_name,
                             const std::string& account, DocumentKind kind) {
  constexpr size_t kMaxNodes = 8192;
  KF_ASSIGN_OR_RETURN(Node tree,
                      ParseTree(text, source_name, {kMaxPolicyBytes, kMaxNodes}));
  return ReadDocument({source_name, account}, tree, kind);
}

}  // namespace keyfold::policy
