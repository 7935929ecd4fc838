#include "fs/cli/KeyRefusal.h"

#include <cerrno>
#include <memory>
#include <vector>

#include "fs/cli/Connection.h"

namespace keyfold {
namespace {

using nlohmann::json;

Status Judge(Connection& connection, const std::string& key,
             const std::vector<const char*>& actions) {
  for (const char* action : actions) {
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

Status CheckState(Connection& connection, const std::string& key) {
  const auto found = connection.Call("kms", "DescribeKey", {{"KeyId", key}});
  if (!found.ok()) return found.status();
  const std::string state =
      found->value("KeyMetadata", json::object()).value("KeyState", "");
  if (state == "Enabled") return OkStatus();
  return {Error::kInvalidState, key + " is " + state + "."};
}

}  // namespace

Status WhyKeyRefuses(const MountEntry& mount, const std::string& key,
                     const std::vector<const char*>& actions, int error) {
  const auto connection = ConnectTo(mount);
  if (!connection.ok()) return connection.status();
  return error == ENOKEY ? CheckState(**connection, key)
                         : Judge(**connection, key, actions);
}

Status ExplainRefusal(const MountEntry& mount, const std::string& path,
                      const std::string& key, const std::string& current,
                      const Status& failure) {
  const int error = failure.sys_errno();
  if (error == EPERM)
    return {Error::kAccessDenied,
            path + " belongs to another user. Only its owner may set its key."};
  if (error != EACCES && error != ENOKEY) return failure;
  std::vector<std::string> keys = {key};
  if (!current.empty() && current != key) keys.push_back(current);
  for (const std::string& one : keys)
    KF_RETURN_IF_ERROR(
        WhyKeyRefuses(mount, one, {"kms:Decrypt", "kms:GenerateDataKey"}, error));
  if (error == ENOKEY) return failure;
  return {Error::kAccessDenied,
          "You may not write to " + path + ". See its mode bits: ls -ld"};
}

}  // namespace keyfold
