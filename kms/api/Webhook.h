// Webhook: an alert as an HTTP request.
//
// Must not know: queues, when to try again. Free functions, thread-safe.
#pragma once

#include <atomic>
#include <string>

#include "kms/base/Status.h"
#include "policy/model/AlertRules.h"

namespace keyfold {

// PostWebhook posts {"alert": NAME, "message": LINE, "record": {...}} to action.url.
// kSystem unless it answers 2xx within action.timeout, however it spreads its answer,
// or within three seconds of `ending`; redirects are not followed. TLS certificates are
// verified against the machine's.
Status PostWebhook(const policy::AlertAction& action, const std::string& alert,
                   const std::string& line, const std::string& record,
                   const std::atomic<bool>& ending);
// WithoutSecrets is the URL up to its host: what follows may be a token.
std::string WithoutSecrets(const std::string& url);

}  // namespace keyfold
