// Does a pattern, a condition or a statement fit a request?
//
// Pure functions; nothing here decides.
#pragma once

#include <string_view>

#include "policy/model/Model.h"

namespace keyfold::policy {

// MatchWildcard: '*' is any run of characters, '?' any one. Takes no memory; time
// grows at worst with the product of the lengths.
bool MatchWildcard(std::string_view pattern, std::string_view text);
// MatchWildcardIgnoreCase is the same for ASCII letters of either case.
bool MatchWildcardIgnoreCase(std::string_view pattern, std::string_view text);
// MatchArn matches the six parts of an ARN one by one, so that a '*' does not
// reach across a colon; the sixth part may hold colons.
bool MatchArn(std::string_view pattern, std::string_view arn);

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
