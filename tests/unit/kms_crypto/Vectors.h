// Hex strings of published vectors as bytes and secrets.
#pragma once

#include <gtest/gtest.h>

#include "kms/crypto/Crypto.h"

namespace keyfold {

inline Bytes Hex(std::string_view text) {
  const auto bytes = FromHex(text);
  EXPECT_TRUE(bytes) << text;
  return bytes.value_or(Bytes());
}
inline SecretBytes Secret(Bytes bytes) { return SecretFrom(bytes); }
inline SecretBytes SecretText(std::string_view text) {
  return Secret(Bytes(text.begin(), text.end()));
}

}  // namespace keyfold
