// The root key sealed under a passphrase, asked for or in a file.
#include "kms/crypto/Crypto.h"
#include "kms/rootkey/Description.h"
#include "kms/rootkey/Provider.h"
#include "kms/rootkey/SecretFile.h"

namespace keyfold {
namespace {

using nlohmann::json;

constexpr size_t kMaxPassphraseSize = 4096;
// A new one has as many bytes at least: NIST SP 800-63B, 5.1.1.1.
constexpr size_t kLeastPassphraseSize = 8;
constexpr size_t kSealedSize = kGcmNonceSize + kKeySize + kGcmTagSize;
constexpr uint64_t kMaxScryptMemory = uint64_t{1} << 30;
// Names in the description and the AAD: never change.
constexpr std::string_view kAsked = "passphrase";
constexpr std::string_view kInFile = "passphrase-file";

// Source is where the passphrase comes from.
struct Source {
  std::string_view provider;
  std::string path;  // absolute; empty when somebody is asked
};

struct Sealed {
  Source source;
  ScryptParameters cost;
  Bytes salt, sealed;
};

Result<Source> ParseSource(const std::string& spec) {
  if (spec == kAsked) return Source{kAsked, ""};
  if (!spec.starts_with(std::string(kInFile) + ":")) return UnknownRootKeySpec();
  KF_ASSIGN_OR_RETURN(std::string path, AbsolutePath(AfterColon(spec)));
  return Source{kInFile, std::move(path)};
}

Status CheckCost(const ScryptParameters& cost, Error error) {
  const bool bounded = cost.log2_n >= 10 && cost.log2_n <= 22 && cost.r >= 1 &&
                       cost.r <= 32 && cost.p >= 1 && cost.p <= 16;
  if (!bounded || (uint64_t{128} * cost.r << cost.log2_n) > kMaxScryptMemory)
    return {
        error,
        "The passphrase's scrypt parameters are out of bounds (log2_n 10 to 22, r 1 "
        "to 32, p 1 to 16, at most 1 GiB of memory)."};
  return OkStatus();
}

Result<SecretBytes> GetPassphrase(const Source& source, const PassphrasePrompt& prompt,
                                  Asked asked) {
  if (source.path.empty() && !prompt)
    return Status(Error::kUsage,
                  "No one can be asked for the passphrase here. Use "
                  "passphrase-file:FILE.");
  Result<SecretBytes> passphrase =
      source.path.empty() ? prompt(asked)
                          : ReadSecretFile(source.path, kMaxPassphraseSize, true);
  if (!passphrase.ok()) return passphrase;
  if (passphrase->empty())
    return Status(Error::kUsage, "The passphrase is empty. Give one that is not.");
  if (asked == Asked::kNewPassphrase && passphrase->size() < kLeastPassphraseSize)
    return Status(
        Error::kUsage,
        "The passphrase has less than 8 characters: whoever has a copy of the "
        "store could try them all. Take five random words or more.");
  if (passphrase->size() > kMaxPassphraseSize)
    return Status(Error::kUsage,
                  "The passphrase is longer than 4096 bytes. Give a shorter one.");
  return passphrase;
}

// The AAD binds everything but the path: a file may be moved.
Bytes AadOf(const Sealed& sealed) {
  ByteWriter out = StartRootKeyAad(sealed.source.provider);
  out.Integer<uint32_t>(sealed.cost.log2_n);
  out.Integer<uint32_t>(sealed.cost.r);
  out.Integer<uint32_t>(sealed.cost.p);
  out.Prefixed(ByteView(sealed.salt));
  return out.Take();
}

Result<SecretBytes> WrappingKey(const Sealed& sealed, const Source& source,
                                const PassphrasePrompt& prompt, Asked asked) {
  KF_ASSIGN_OR_RETURN(SecretBytes passphrase, GetPassphrase(source, prompt, asked));
  return Scrypt(passphrase, sealed.salt, sealed.cost.log2_n, sealed.cost.r,
                sealed.cost.p);
}

Result<ScryptParameters> ParseCost(const json& description) {
  const auto scrypt = description.find("scrypt");
  if (scrypt == description.end() || !scrypt->is_object())
    return DamagedDescription("scrypt");
  const auto log2_n = SmallMember(*scrypt, "log2_n");
  const auto r = SmallMember(*scrypt, "r");
  const auto p = SmallMember(*scrypt, "p");
  if (!log2_n || !r || !p) return DamagedDescription("scrypt");
  const ScryptParameters cost{*log2_n, *r, *p};
  KF_RETURN_IF_ERROR(CheckCost(cost, Error::kCorrupt));
  return cost;
}

Result<Sealed> Parse(const json& description) {
  Sealed out;
  out.source.provider =
      TextMember(description, "provider") == kInFile ? kInFile : kAsked;
  if (out.source.provider == kInFile) {
    const auto path = PathMember(description, "path");
    if (!path) return DamagedDescription("path");
    out.source.path = *path;
  }
  KF_ASSIGN_OR_RETURN(out.cost, ParseCost(description));
  auto salt = BytesMember(description, "salt", kRootKeySaltSize, kRootKeySaltSize);
  if (!salt) return DamagedDescription("salt");
  auto sealed = BytesMember(description, "sealed", kSealedSize, kSealedSize);
  if (!sealed) return DamagedDescription("sealed");
  out.salt = *std::move(salt);
  out.sealed = *std::move(sealed);
  return out;
}

}  // namespace

Result<json> SealByPassphrase(const SealRequest& request, const SecretBytes& root) {
  KF_RETURN_IF_ERROR(CheckCost(request.cost, Error::kUsage));
  Sealed sealed;
  KF_ASSIGN_OR_RETURN(sealed.source, ParseSource(request.spec));
  sealed.cost = request.cost;
  sealed.salt = RandomBytes(kRootKeySaltSize);
  KF_ASSIGN_OR_RETURN(
      const SecretBytes wrapping,
      WrappingKey(sealed, sealed.source, request.prompt, Asked::kNewPassphrase));
  json out = {
      {"salt", ToBase64(sealed.salt)},
      {"sealed", ToBase64(SealSecret(wrapping, AadOf(sealed), root))},
      {"scrypt",
       {{"log2_n", sealed.cost.log2_n}, {"r", sealed.cost.r}, {"p", sealed.cost.p}}}};
  if (!sealed.source.path.empty()) out["path"] = sealed.source.path;
  return out;
}

Result<SecretBytes> UnsealByPassphrase(const UnsealRequest& request) {
  KF_ASSIGN_OR_RETURN(const Sealed sealed, Parse(request.description));
  Source source = sealed.source;
  if (!request.spec.empty()) {
    KF_ASSIGN_OR_RETURN(source, ParseSource(request.spec));
  }
  KF_ASSIGN_OR_RETURN(const SecretBytes wrapping,
                      WrappingKey(sealed, source, request.prompt, Asked::kPassphrase));
  auto root = OpenSecret(wrapping, AadOf(sealed), sealed.sealed);
  if (!root.ok())
    return Status(Error::kWrongCredential,
                  "The passphrase is wrong, or the store's configuration was "
                  "altered. Try again.");
  return root;
}

}  // namespace keyfold
