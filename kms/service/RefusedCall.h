// RefusedCall: a call or a file's use that was refused or failed, as its record tells
// it.
#pragma once

#include <sys/types.h>

#include <string>

namespace keyfold {

struct RefusedCall {
  uid_t uid = 0;  // kUnknownUid where the record knows none
  std::string request_id, operation;
  std::string principal;  // ARN
  std::string user_name;
  std::string key_id;  // of the first key concerned; empty for none
  std::string error;   // ErrorName
  std::string message;
  std::string path;  // of a file, as seen on the mount
};

}  // namespace keyfold
