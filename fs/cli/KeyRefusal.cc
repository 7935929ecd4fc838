#include "fs/cli/KeyRefusal.h"

#include <cerrno>
#include <memory>
#include <vector>

#include "fs/cli/Connection.h"

namespace keyfold {
namespace {

using nlohmann::json;

// Judge is the refusal of the first action on `key` that the caller may not do,
// or the failure to find that out.
Status Judge(Connection& connection, const std::string& key) {
  for (const char* action : {"kms:Decrypt", "kms:GenerateDataKey"}) {
    const auto answer = connection.Call(
        "iam", "Simulate",
        {{"Action", action}, {"KeyId", key}, {"ViaService", "fs.keyfold"}});
    if (!answer.ok()) return answer.status();
    if (answer->value("Decision", "") == "allowed") continue;
    const std::string who =
        answer->value("Principal", json::object()).value("UserName", "you");
    const std::string reason = answer->value("Reason", "");
    return {Error::kAccessDenied,
            who + " may not " + action + " with " + key +
                (reason.empty() ? "" : " (" + reason + ")") +
                ". See: keyfold iam simulate --via fs.keyfold --action " + action +
                " --key " + key};
  }
  return OkStatus();
}

}  // namespace

Status ExplainRefusal(const MountEntry& mount, const std::string& path,
                      const std::string& key, const std::string& current,
                      const Status& failure) {
  const int error = failure.sys_errno();
  if (error == EPERM)
    return {Error::kAccessDenied,
            path + " belongs to another user. Only its owner may set its key."};
  if (error != EACCES && error != ENOKEY) return failure;
  auto connection = ConnectTo(mount);
  if (!connection.ok()) return failure;
  std::vector<std::string> keys = {key};
  if (!current.empty() && current != key) keys.push_back(current);
  if (error == ENOKEY) {
    for (const std::string& one : keys) {
      const auto found = (*connection)->Call("kms", "DescribeKey", {{"KeyId", one}});
      if (!found.ok()) return found.status();
      const std::string state =
          found->value("KeyMetadata", json::object()).value("KeyState", "");
      if (state != "Enabled") return {Error::kInvalidState, one + " is " + state + "."};
    }
    return failure;
  }
  for (const std::string& one : keys) KF_RETURN_IF_ERROR(Judge(**connection, one));
  return {Error::kAccessDenied,
          "You may not write to " + path + ". See its mode bits: ls -ld"};
}

}  // namespace keyfold
