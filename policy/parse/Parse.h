// YAML and AWS JSON (which is YAML too) into policy/model values.
//
// Owns: the yaml-cpp dependency and the wording of parse errors. Must not
// know: files on disk beyond the name it quotes. Thread-safe functions.
#pragma once

#include <string>
#include <string_view>

#include "kms/base/Status.h"
#include "policy/model/AlertRules.h"
#include "policy/model/Model.h"

namespace keyfold::policy {

inline constexpr size_t kMaxPolicyBytes = 32 * 1024;
inline constexpr size_t kMaxIamBytes = 1024 * 1024;

// A key policy says who (Principal or NotPrincipal), and its Resource may be
// left out. An identity policy says on what (Resource or NotResource), and has
// no Principal: it speaks of whom it is attached to.
enum class DocumentKind { kKeyPolicy, kIdentityPolicy };

// Every failure is kMalformedPolicyDocument with "NAME:LINE:COLUMN: what was
// found, what was expected", one line. Unknown keys, operators and principals
// are errors, and so are YAML's aliases, anchors and tags. Short principals
// (user:cfo, group:finance, role:auditor, service:keyfold, account, everyone)
// become ARNs of `account`. More than kMaxPolicyBytes is refused.
Result<Document> ParsePolicy(std::string_view text, std::string_view source_name,
                             const std::string& account,
                             DocumentKind kind = DocumentKind::kKeyPolicy);
// ParseIam reads iam.yaml, at most kMaxIamBytes. Groups, policies and trusted
// principals that are named must exist in it (or be managed policies).
Result<Iam> ParseIam(std::string_view text, std::string_view source_name,
                     const std::string& account);

// ParseAlertRules reads the rules of alerts, at most 256 KiB. KMS.md describes them.
Result<AlertRules> ParseAlertRules(std::string_view text, std::string_view source_name,
                                   const std::string& account);

// ParsePrincipal reads one principal, in short form or as an ARN or account id,
// into an ARN of `account` or "*". kMalformedPolicyDocument, without a place.
Result<std::string> ParsePrincipal(std::string_view text, const std::string& account);
// PrincipalPattern reads a value that a condition compares with a principal's ARN.
// Short forms of users, groups, roles, the account and Keyfold become ARNs, of which
// NAME may have wildcards; any other text stays as it is.
std::string PrincipalPattern(std::string_view text, const std::string& account);
// ValidName tells whether a user, group, role or policy may have this name: 1 to
// 128 bytes without *, ? or /.
bool ValidName(std::string_view name);

// ToJson renders a document as AWS policy JSON; ParsePolicy reads it back.
std::string ToJson(const Document& document);
// ToYaml renders iam.yaml; ParseIam reads it back.
std::string ToYaml(const Iam& iam);

}  // namespace keyfold::policy
