// YAML and AWS JSON (which is YAML too) into policy/model values.
//
// Owns: the yaml-cpp dependency and the wording of parse errors. Must not
// know: files on disk beyond the name it quotes. Thread-safe functions.
#pragma once

#include <string>
#include <string_view>

#include "kms/base/Status.h"
#include "policy/model/Model.h"

namespace keyfold::policy {

// Every failure is kMalformedPolicyDocument with "NAME:LINE:COLUMN: what was
// found, what was expected". Unknown keys are errors. Short principals
// (user:cfo, group:finance, role:auditor, account) become ARNs of `account`.
// Input over 32 kB (policies) or 1 MiB (IAM) is refused.
Result<Document> ParsePolicy(std::string_view text, std::string_view source_name,
                             const std::string& account);
Result<Iam> ParseIam(std::string_view text, std::string_view source_name,
                     const std::string& account);

// ToJson renders a document as AWS policy JSON; ParsePolicy reads it back.
std::string ToJson(const Document& document);
std::string ToYaml(const Iam& iam);

}  // namespace keyfold::policy
