// Status and Result: how every Keyfold library reports failure.
//
// Owns: the closed set of error kinds. Must not know: errno mapping to FUSE
// replies (fs/vault) or HTTP codes (kms/api). Values are immutable after
// construction and safe to share between threads.
#pragma once

#include <cstdlib>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace keyfold {

// Error is every way an operation can fail. KMS names follow the AWS KMS API
// reference; each has one exception name on the wire (see ErrorName).
enum class Error {
  kOk = 0,
  // From the operating system; Status::sys_errno() says which.
  kSystem,
  // Bytes that fail authentication, or that no Keyfold could have written.
  kCorrupt,
  // A store, mount or file of another kind or a newer format.
  kNotAStore,
  kNewerFormat,
  kWrongCredential,
  kLocked,
  kUsage,
  kInternal,
  // The caller lacks the right.
  kAccessDenied,
  // AWS KMS errors.
  kNotFound,
  kDisabled,
  kInvalidState,
  kUnsupportedOperation,
  kInvalidCiphertext,
  kIncorrectKey,
  kInvalidKeyUsage,
  kInvalidMac,
  kIncorrectKeyMaterial,
  kInvalidImportToken,
  kExpiredImportToken,
  kValidation,
  kAlreadyExists,
  kInvalidAliasName,
  kNotAuthorized,
  kMalformedPolicyDocument,
  kLimitExceeded,
  kInvalidMarker,
  kInvalidArn,
  kInvalidGrantToken,
  kInvalidGrantId,
  kTagException,
  kDryRunOperation,
  kUnavailable,  // the device that unseals the root key is not there
  // AWS's errors of who calls, for signed requests.
  kMissingAuthentication,
  kIncompleteSignature,
  kInvalidSignature,
  kUnrecognizedClient,
  kExpiredToken,
  kNoSuchEntity,  // of IAM
};

// The last of them, for who goes through all.
inline constexpr Error kLastError = Error::kNoSuchEntity;

// ErrorName returns the AWS exception name of `error`
// ("AccessDeniedException"), or a Keyfold name of the same shape.
std::string_view ErrorName(Error error);
// ErrorFromName undoes ErrorName; kInternal for a name that is not known.
Error ErrorFromName(std::string_view name);

// Status is success, or an Error with a message for people. The message never
// holds a secret.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Error error, std::string message)
      : error_(error), message_(std::move(message)) {}

  // FromErrno describes a failed system call: `what` names the call or path.
  static Status FromErrno(int sys_errno, std::string_view what);
  // Told is what another process says of its own call; `sys_errno` is for kSystem.
  static Status Told(Error error, int sys_errno, std::string message);
  // NoMemory is kSystem/ENOMEM, and needs no memory itself.
  static Status NoMemory();

  bool ok() const { return error_ == Error::kOk; }
  Error error() const { return error_; }
  // sys_errno is meaningful only for Error::kSystem; otherwise 0.
  int sys_errno() const { return sys_errno_; }
  const std::string& message() const { return message_; }
  // ToString renders "AccessDeniedException: message".
  std::string ToString() const;

 private:
  Error error_ = Error::kOk;
  int sys_errno_ = 0;
  std::string message_;
};

inline Status OkStatus() { return Status(); }

// OrNoMemory makes want of memory kSystem/ENOMEM, where what was begun has to be
// undone. `body` returns a Status.
template <typename Body>
Status OrNoMemory(Body&& body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return Status::NoMemory();
  }
}

// Result<T> holds a T or the Status that explains its absence. Reading the
// value of a failed Result aborts: it is a violated invariant.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}         // NOLINT: implicit by design
  Result(Status status) : status_(std::move(status)) {  // NOLINT
    if (status_.ok()) std::abort();
  }
  Result(Error error, std::string message)
      : Result(Status(error, std::move(message))) {}

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }
  T& value() & { return Checked(); }
  const T& value() const& { return const_cast<Result*>(this)->Checked(); }
  T&& value() && { return std::move(Checked()); }
  T& operator*() & { return Checked(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(Checked()); }
  T* operator->() { return &Checked(); }
  const T* operator->() const { return &value(); }

 private:
  T& Checked() {
    if (!value_.has_value()) std::abort();
    return *value_;
  }
  Status status_;
  std::optional<T> value_;
};

}  // namespace keyfold

#define KF_CONCAT_INNER(a, b) a##b
#define KF_CONCAT(a, b) KF_CONCAT_INNER(a, b)

// KF_RETURN_IF_ERROR(expr) returns the Status of `expr` unless it is ok.
#define KF_RETURN_IF_ERROR(expr)           \
  do {                                     \
    ::keyfold::Status kf_status = (expr);  \
    if (!kf_status.ok()) return kf_status; \
  } while (false)

// KF_ASSIGN_OR_RETURN(lhs, expr) moves the value of Result `expr` into `lhs`,
// or returns its Status.
#define KF_ASSIGN_OR_RETURN(lhs, expr) \
  KF_ASSIGN_OR_RETURN_INNER(KF_CONCAT(kf_result_, __LINE__), lhs, expr)
#define KF_ASSIGN_OR_RETURN_INNER(tmp, lhs, expr) \
  auto tmp = (expr);                              \
  if (!tmp.ok()) return tmp.status();             \
  lhs = std::move(tmp).value()
