#include "kms/base/Status.h"

#include <cstring>

namespace keyfold {

std::string_view ErrorName(Error error) {
  switch (error) {
    case Error::kOk:
      return "Ok";
    case Error::kSystem:
      return "SystemError";
    case Error::kCorrupt:
      return "IntegrityFailure";
    case Error::kNotAStore:
      return "NotAStore";
    case Error::kNewerFormat:
      return "NewerFormat";
    case Error::kWrongCredential:
      return "WrongCredential";
    case Error::kLocked:
      return "StoreInUse";
    case Error::kUsage:
      return "UsageError";
    case Error::kInternal:
      return "KMSInternalException";
    case Error::kAccessDenied:
      return "AccessDeniedException";
    case Error::kNotFound:
      return "NotFoundException";
    case Error::kDisabled:
      return "DisabledException";
    case Error::kInvalidState:
      return "KMSInvalidStateException";
    case Error::kUnsupportedOperation:
      return "UnsupportedOperationException";
    case Error::kInvalidCiphertext:
      return "InvalidCiphertextException";
    case Error::kIncorrectKey:
      return "IncorrectKeyException";
    case Error::kInvalidKeyUsage:
      return "InvalidKeyUsageException";
    case Error::kInvalidMac:
      return "KMSInvalidMacException";
    case Error::kIncorrectKeyMaterial:
      return "IncorrectKeyMaterialException";
    case Error::kInvalidImportToken:
      return "InvalidImportTokenException";
    case Error::kExpiredImportToken:
      return "ExpiredImportTokenException";
    case Error::kValidation:
      return "ValidationException";
    case Error::kAlreadyExists:
      return "AlreadyExistsException";
    case Error::kInvalidAliasName:
      return "InvalidAliasNameException";
    case Error::kNotAuthorized:
      return "NotAuthorizedException";
    case Error::kMalformedPolicyDocument:
      return "MalformedPolicyDocumentException";
    case Error::kLimitExceeded:
      return "LimitExceededException";
    case Error::kInvalidMarker:
      return "InvalidMarkerException";
    case Error::kInvalidArn:
      return "InvalidArnException";
    case Error::kInvalidGrantToken:
      return "InvalidGrantTokenException";
    case Error::kInvalidGrantId:
      return "InvalidGrantIdException";
    case Error::kTagException:
      return "TagException";
    case Error::kDryRunOperation:
      return "DryRunOperationException";
    case Error::kUnavailable:
      return "KeyUnavailableException";
    case Error::kMissingAuthentication:
      return "MissingAuthenticationTokenException";
    case Error::kIncompleteSignature:
      return "IncompleteSignatureException";
    case Error::kInvalidSignature:
      return "InvalidSignatureException";
    case Error::kUnrecognizedClient:
      return "UnrecognizedClientException";
    case Error::kExpiredToken:
      return "ExpiredTokenException";
    case Error::kNoSuchEntity:
      return "NoSuchEntityException";
  }
  return "KMSInternalException";
}

Error ErrorFromName(std::string_view name) {
  for (int i = 0; i <= static_cast<int>(kLastError); ++i)
    if (ErrorName(static_cast<Error>(i)) == name) return static_cast<Error>(i);
  return Error::kInternal;
}

Status Status::FromErrno(int sys_errno, std::string_view what) {
  char buffer[128];
  const char* text = strerror_r(sys_errno, buffer, sizeof buffer);
  Status status(Error::kSystem, std::string(what) + ": " + text);
  status.sys_errno_ = sys_errno;
  return status;
}

Status Status::Told(Error error, int sys_errno, std::string message) {
  Status status(error, std::move(message));
  if (error == Error::kSystem) status.sys_errno_ = sys_errno;
  return status;
}

Status Status::NoMemory() {
  Status status(Error::kSystem, "no memory");  // short enough to lie in the object
  status.sys_errno_ = ENOMEM;
  return status;
}

std::string Status::ToString() const {
  return ok() ? std::string("Ok") : std::string(ErrorName(error_)) + ": " + message_;
}

}  // namespace keyfold
