// The root key sealed under a file of 32 bytes.
#include <cerrno>

#include "kms/crypto/Crypto.h"
#include "kms/rootkey/Description.h"
#include "kms/rootkey/Provider.h"
#include "kms/rootkey/SecretFile.h"

namespace keyfold {
namespace {

using nlohmann::json;

constexpr size_t kSealedSize = kGcmNonceSize + kKeySize + kGcmTagSize;
constexpr std::string_view kProvider = "file";  // in the AAD: never change
constexpr std::string_view kInfo = "keyfold root key file v1";

// The AAD leaves the path out: a file may be moved.
Bytes AadOf(ByteView salt) {
  ByteWriter out = StartRootKeyAad(kProvider);
  out.Prefixed(salt);
  return out.Take();
}

Result<SecretBytes> WrappingKey(ByteView salt, const std::string& path,
                                Error wrong_size) {
  KF_ASSIGN_OR_RETURN(SecretBytes secret, ReadSecretFile(path, kKeySize, false));
  if (secret.size() != kKeySize)
    return Status(wrong_size, path +
                                  " is not a key file: it must have exactly 32 bytes. "
                                  "Name the right file.");
  return Hkdf(secret, salt, AsBytes(kInfo));
}

}  // namespace

Result<json> SealByKeyFile(const SealRequest& request, const SecretBytes& root) {
  KF_ASSIGN_OR_RETURN(const std::string path, AbsolutePath(AfterColon(request.spec)));
  const Status created = CreateKeyFile(path, kKeySize);
  if (!created.ok() && created.sys_errno() != EEXIST) return created;
  const Bytes salt = RandomBytes(kRootKeySaltSize);
  KF_ASSIGN_OR_RETURN(const SecretBytes wrapping,
                      WrappingKey(salt, path, Error::kUsage));
  return json{{"path", path},
              {"salt", ToBase64(salt)},
              {"sealed", ToBase64(SealSecret(wrapping, AadOf(salt), root))}};
}

Result<SecretBytes> UnsealByKeyFile(const UnsealRequest& request) {
  const json& description = request.description;
  const auto described = PathMember(description, "path");
  if (!described) return DamagedDescription("path");
  const auto salt =
      BytesMember(description, "salt", kRootKeySaltSize, kRootKeySaltSize);
  if (!salt) return DamagedDescription("salt");
  const auto sealed = BytesMember(description, "sealed", kSealedSize, kSealedSize);
  if (!sealed) return DamagedDescription("sealed");
  std::string path = *described;
  if (!request.spec.empty()) {
    KF_ASSIGN_OR_RETURN(path, AbsolutePath(AfterColon(request.spec)));
  }
  KF_ASSIGN_OR_RETURN(const SecretBytes wrapping,
                      WrappingKey(*salt, path, Error::kWrongCredential));
  auto root = OpenSecret(wrapping, AadOf(*salt), *sealed);
  if (!root.ok())
    return Status(Error::kWrongCredential,
                  path +
                      " is not this store's key file, or the store's "
                      "configuration was altered. Name the right file.");
  return root;
}

}  // namespace keyfold
