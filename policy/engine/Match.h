// Does a statement fit a request?
//
// Pure functions; nothing here decides.
#pragma once

#include <string_view>

#include "policy/model/Model.h"

namespace keyfold::policy {

// Asker is what conditions may ask about who asks, besides the context.
struct Asker {
  const Principal* principal;
  std::string_view account;
};

// MatchAction tells whether the statement speaks of the request's action and
// resource. Actions are compared without regard to case, resources with it.
bool MatchAction(const Statement& statement, const Request& request);

// MatchConditions tells whether all conditions hold. The keys aws:PrincipalArn,
// aws:PrincipalAccount, aws:PrincipalType, aws:PrincipalTag/NAME and
// aws:username come from the asker, whatever the context says. A condition that
// can't be evaluated fails an Allow and holds for a Deny.
bool MatchConditions(const Statement& statement, const Request& request,
                     const Asker& asker);

}  // namespace keyfold::policy
