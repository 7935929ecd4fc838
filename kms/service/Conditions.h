// Conditions: the condition keys a decision of the KMS knows. KMS.md lists them.
//
// Owns: which keys there are, and where each comes from. Must not know: policies, what
// is decided. Free functions.
#pragma once

#include <string_view>

#include "kms/service/Kms.h"
#include "kms/service/Parameters.h"
#include "kms/service/State.h"
#include "policy/model/Model.h"

namespace keyfold {

// BaseConditions are those that every decision knows.
policy::Context BaseConditions(const Account& account, TimePoint now);
// KeyConditions are those and what is known of `key`.
policy::Context KeyConditions(const Account& account, const State& state,
                              const KeyRecord& key, TimePoint now);
// AddContext puts an encryption context into condition keys.
void AddContext(policy::Context& conditions, const EncryptionContext& context);
// AddRequest puts in what a request says that asks for `action` ("kms:CreateKey"), with
// the defaults of what it leaves out.
void AddRequest(policy::Context& conditions, std::string_view action,
                const Parameters& parameters, const Account& account);

}  // namespace keyfold
