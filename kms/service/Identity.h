// Identity: which principal a process is.
//
// Owns: the look-up of Unix names and groups, and a short memory of them. Must
// not know: policies' contents. Thread-safe: mutex_ guards the memory.
#pragma once

#include <chrono>
#include <map>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include "kms/service/DataKeys.h"
#include "policy/engine/Engine.h"

namespace keyfold {

class Identity {
 public:
  explicit Identity(uid_t root_uid) : root_uid_(root_uid) {}

  // Resolve is kAccessDenied for a caller whose groups cannot be read though a
  // decision may depend on them, and for a role it may not assume. What it
  // found is remembered for half a second.
  Result<policy::Principal> Resolve(const Caller& caller, const policy::IamIndex& iam);
  // Named makes the principal of the Unix user `name` (or of its ARN) as it
  // would be after logging in.
  policy::Principal Named(const std::string& name, const policy::IamIndex& iam) const;

 private:
  using Who = std::tuple<uid_t, gid_t, pid_t, const policy::IamIndex*>;
  Result<policy::Principal> Look(const Caller& caller, const policy::IamIndex& iam) const;

  const uid_t root_uid_;
  std::mutex mutex_;
  std::chrono::steady_clock::time_point remembered_at_;
  std::map<Who, policy::Principal> remembered_;
};

// Executable is the path of the process's program, or empty.
std::string Executable(pid_t pid);

}  // namespace keyfold
