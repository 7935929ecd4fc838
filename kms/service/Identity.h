// Identity: which principal a process is.
//
// Owns: the look-up of Unix names and groups, and a short memory of them. Must
// not know: policies' contents. Thread-safe: mutex_ guards the memory.
#pragma once

#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "kms/service/DataKeys.h"
#include "policy/engine/Engine.h"

namespace keyfold {

class Identity {
 public:
  // set_root_uid names the account's root user; before the object is shared.
  void set_root_uid(uid_t uid) { root_uid_ = uid; }

  // Resolve is kAccessDenied for a caller whose groups cannot be read though a
  // decision may depend on them, and for a role it may not assume. What it
  // found is remembered for half a second, and never taken for what another IAM
  // document says.
  Result<policy::Principal> Resolve(const Caller& caller, const policy::IamIndex& iam);
  // Pin fills in caller.groups, if they can be read.
  Caller Pin(const Caller& caller);
  // CallerNamed is the Unix user of that name as it would be after logging in, with no
  // process; empty when the machine knows none. Remembered for half a second.
  std::optional<Caller> CallerNamed(const std::string& user);
  // Named makes the principal of a Unix user as it would be after logging in.
  // `name` is the user's, user:NAME or an ARN; kValidation when it names no user
  // that the machine or the account knows.
  Result<policy::Principal> Named(const std::string& name,
                                  const policy::IamIndex& iam) const;

 private:
  // Signed requests come of no process; their access keys tell them apart.
  using Who = std::tuple<uid_t, gid_t, pid_t, std::string>;
  struct Known {
    std::optional<std::vector<gid_t>> groups;
    std::optional<policy::Principal> principal;
    uint64_t iam = 0;  // the number of the document that made it so
  };
  Result<policy::Principal> Look(const Caller& caller,
                                 const policy::IamIndex& iam) const;
  void ForgetOld();  // mutex_ is held
  // Remembered is what is known of `caller`; empty when nothing is.
  Known Remembered(const Caller& caller);
  void Remember(const Caller& caller, Known known);

  uid_t root_uid_ = static_cast<uid_t>(-1);
  std::mutex mutex_;
  std::chrono::steady_clock::time_point remembered_at_;
  std::map<Who, Known> remembered_;
  std::map<std::string, std::optional<Caller>> named_;
};

// UnresolvedPrincipal is how records name a caller that cannot be resolved.
policy::Principal UnresolvedPrincipal(uid_t uid);
// Executable is the path of the process's program, or empty.
std::string Executable(pid_t pid);

}  // namespace keyfold
