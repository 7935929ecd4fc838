// Connection: the KMS a command speaks to, whether behind a mount or opened here.
//
// Owns: finding it. Must not know: what a command does. Not synchronised.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "fs/cli/MountTable.h"
#include "kms/base/Status.h"

namespace keyfold {

// TargetOptions say which KMS; all may be empty.
struct TargetOptions {
  std::string mount;     // else KEYFOLD_MOUNT, else the only mount
  std::string store;     // a store, offline if it is not mounted
  std::string root_key;  // for a store that is opened here
};

class Connection {
 public:
  virtual ~Connection() = default;
  // Call does one operation of kms/service/Schema.h as the user who runs this.
  virtual Result<nlohmann::json> Call(std::string_view service,
                                      std::string_view operation,
                                      const nlohmann::json& request) = 0;
};

Result<std::unique_ptr<Connection>> Connect(const TargetOptions& target);
// ConnectTo speaks to the daemon of one mount.
Result<std::unique_ptr<Connection>> ConnectTo(const MountEntry& mount);
// CallOn does one operation there.
Result<nlohmann::json> CallOn(const MountEntry& mount, std::string_view service,
                              std::string_view operation,
                              const nlohmann::json& request);
// ChooseMount finds the mount `target` names.
Result<MountEntry> ChooseMount(const TargetOptions& target);

}  // namespace keyfold
