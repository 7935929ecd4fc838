// The names of KMS actions, so that a slip of the pen in a denial is an error and
// not a denial of nothing.
//
// Source: AWS Service Authorization Reference, "Actions defined by AWS Key
// Management Service", including those that Keyfold has no operation for:
// policies come from AWS too.
#pragma once

#include <span>
#include <string_view>

namespace keyfold::policy {

// KmsActions are the names without "kms:".
std::span<const std::string_view> KmsActions();

}  // namespace keyfold::policy
