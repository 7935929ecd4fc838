#include "fs/cli/Connection.h"

#include <unistd.h>

#include <cstdlib>

#include "fs/cli/Process.h"
#include "fs/cli/Store.h"
#include "fs/cli/Terminal.h"
#include "kms/api/ApiClient.h"

namespace keyfold {
namespace {

using nlohmann::json;

class MountedConnection : public Connection {
 public:
  explicit MountedConnection(const std::string& socket) : client_(socket) {}
  Result<json> Call(std::string_view service, std::string_view operation,
                    const json& request) override {
    return client_.Call(service, operation, request);
  }

 private:
  ApiClient client_;
};

class OfflineConnection : public Connection {
 public:
  explicit OfflineConnection(OpenStore store) : store_(std::move(store)) {}
  Result<json> Call(std::string_view service, std::string_view operation,
                    const json& request) override {
    return store_.kms().Call(WhoeverRunsThis(), service, operation, request);
  }

 private:
  OpenStore store_;
};

Result<MountEntry> MountAt(const std::vector<MountEntry>& mounts,
                           const std::string& path) {
  auto real = RealPath(path);
  // A mount whose daemon died cannot be resolved, but is listed.
  const std::string wanted = real.ok() ? *real : path;
  return MountHolding(mounts, wanted, path);
}

Result<std::unique_ptr<Connection>> ConnectOffline(const TargetOptions& target) {
  Harden();
  KF_ASSIGN_OR_RETURN(OpenStore store,
                      OpenStore::Open(target.store, target.root_key, AskPassphrase));
  return std::unique_ptr<Connection>(new OfflineConnection(std::move(store)));
}

}  // namespace

Result<MountEntry> ChooseMount(const TargetOptions& target) {
  KF_ASSIGN_OR_RETURN(const auto mounts, KeyfoldMounts());
  if (!target.mount.empty()) return MountAt(mounts, target.mount);
  const char* named = ::getenv("KEYFOLD_MOUNT");
  if (named != nullptr && *named != '\0') return MountAt(mounts, named);
  if (mounts.size() == 1) return mounts.front();
  if (mounts.empty())
    return Status(Error::kUsage,
                  "No Keyfold store is mounted. Mount one with: keyfold mount STORE "
                  "MOUNTPOINT, or name one with --store.");
  return Status(Error::kUsage,
                "Several stores are mounted. Name one with --mount MOUNTPOINT or "
                "KEYFOLD_MOUNT.");
}

Result<std::unique_ptr<Connection>> ConnectTo(const MountEntry& mount) {
  KF_ASSIGN_OR_RETURN(const std::string socket, SocketOf(mount));
  return std::unique_ptr<Connection>(new MountedConnection(socket));
}

Result<json> CallOn(const MountEntry& mount, std::string_view service,
                    std::string_view operation, const json& request) {
  KF_ASSIGN_OR_RETURN(const auto connection, ConnectTo(mount));
  return connection->Call(service, operation, request);
}

Result<std::unique_ptr<Connection>> Connect(const TargetOptions& target) {
  if (target.store.empty()) {
    KF_ASSIGN_OR_RETURN(const MountEntry mount, ChooseMount(target));
    return ConnectTo(mount);
  }
  const auto real = RealPath(target.store);
  KF_ASSIGN_OR_RETURN(const auto mounts, KeyfoldMounts());
  for (const MountEntry& mount : mounts)
    if (real.ok() && mount.store == *real) return ConnectTo(mount);
  return ConnectOffline(target);
}

}  // namespace keyfold
