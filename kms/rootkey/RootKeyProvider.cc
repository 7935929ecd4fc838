#include "kms/rootkey/RootKeyProvider.h"

#include <limits.h>
#include <unistd.h>

#include <cerrno>
#include <exception>
#include <optional>

#include "kms/crypto/Crypto.h"
#include "kms/rootkey/SecretFile.h"

namespace keyfold {
namespace {

using nlohmann::json;

constexpr size_t kSaltSize = 32;
constexpr size_t kMaxPassphraseSize = 4096;
constexpr size_t kSealedSize = kGcmNonceSize + kKeySize + kGcmTagSize;
constexpr uint64_t kMaxScryptMemory = uint64_t{1} << 30;
constexpr std::string_view kKeyFileInfo = "keyfold root key file v1";

enum class Provider { kPassphrase, kPassphraseFile, kFile };

// Names in the description and the AAD: never change.
std::string_view ProviderName(Provider provider) {
  switch (provider) {
    case Provider::kPassphrase:
      return "passphrase";
    case Provider::kPassphraseFile:
      return "passphrase-file";
    case Provider::kFile:
      return "file";
  }
  std::abort();
}

struct Spec {
  Provider provider;
  std::string path;  // absolute; empty for kPassphrase
};

Status UnknownSpec() {
  return {Error::kUsage,
          "The root key provider is not known. Use passphrase, passphrase-file:FILE or "
          "file:FILE."};
}

Result<std::string> AbsolutePath(const std::string& path) {
  if (path.empty() || path.find('\0') != std::string::npos) return UnknownSpec();
  std::string absolute = path;
  if (path[0] != '/') {
    char folder[PATH_MAX];
    if (getcwd(folder, sizeof folder) == nullptr)
      return Status::FromErrno(errno, "getcwd");
    absolute = std::string(folder) + "/" + path;
  }
  try {
    (void)json(absolute).dump();  // the description must be able to hold it
  } catch (const std::exception&) {
    return Status(Error::kUsage, "The root key file's name must be UTF-8.");
  }
  return absolute;
}

Result<Spec> ParseSpec(const std::string& spec) {
  if (spec == "passphrase") return Spec{Provider::kPassphrase, ""};
  for (Provider provider : {Provider::kPassphraseFile, Provider::kFile}) {
    const std::string prefix = std::string(ProviderName(provider)) + ":";
    if (!spec.starts_with(prefix)) continue;
    KF_ASSIGN_OR_RETURN(std::string path, AbsolutePath(spec.substr(prefix.size())));
    return Spec{provider, std::move(path)};
  }
  return UnknownSpec();
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

Result<SecretBytes> AskPassphrase(const PassphrasePrompt& prompt) {
  if (!prompt)
    return Status(Error::kUsage,
                  "No one can be asked for the passphrase here. Use "
                  "passphrase-file:FILE.");
  try {
    return prompt();
  } catch (const std::exception&) {
    return Status(Error::kInternal, "The passphrase could not be read.");
  }
}

Result<SecretBytes> GetPassphrase(const Spec& spec, const PassphrasePrompt& prompt) {
  Result<SecretBytes> passphrase =
      spec.provider == Provider::kPassphrase
          ? AskPassphrase(prompt)
          : ReadSecretFile(spec.path, kMaxPassphraseSize, true);
  if (!passphrase.ok()) return passphrase;
  if (passphrase->empty())
    return Status(Error::kUsage, "The passphrase is empty. Give one that is not.");
  if (passphrase->size() > kMaxPassphraseSize)
    return Status(Error::kUsage,
                  "The passphrase is longer than 4096 bytes. Give a shorter one.");
  return passphrase;
}

// Sealed is a description, parsed and bounded.
struct Sealed {
  Provider provider = Provider::kPassphrase;
  std::string path;
  ScryptParameters cost;
  Bytes salt;
  Bytes sealed;
};

bool UsesPassphrase(Provider provider) { return provider != Provider::kFile; }

// The AAD binds everything but the path: a file may be moved.
Bytes AadOf(const Sealed& sealed) {
  ByteWriter out;
  out.Prefixed(std::string_view("keyfold root key v1"));
  out.Prefixed(ProviderName(sealed.provider));
  if (UsesPassphrase(sealed.provider)) {
    out.Integer<uint32_t>(sealed.cost.log2_n);
    out.Integer<uint32_t>(sealed.cost.r);
    out.Integer<uint32_t>(sealed.cost.p);
  }
  out.Prefixed(ByteView(sealed.salt));
  return out.Take();
}

Result<SecretBytes> PassphraseKey(const Sealed& sealed, const Spec& source,
                                  const PassphrasePrompt& prompt) {
  KF_ASSIGN_OR_RETURN(SecretBytes passphrase, GetPassphrase(source, prompt));
  return Scrypt(passphrase, sealed.salt, sealed.cost.log2_n, sealed.cost.r,
                sealed.cost.p);
}

Result<SecretBytes> KeyFileKey(const Sealed& sealed, const std::string& path,
                               Error wrong_size) {
  KF_ASSIGN_OR_RETURN(SecretBytes secret, ReadSecretFile(path, kKeySize, false));
  if (secret.size() != kKeySize)
    return Status(wrong_size, path +
                                  " is not a key file: it must have exactly 32 bytes. "
                                  "Name the right file.");
  return Hkdf(secret, sealed.salt, AsBytes(kKeyFileInfo));
}

json Describe(const Sealed& sealed) {
  json out = {{"provider", ProviderName(sealed.provider)},
              {"salt", ToBase64(sealed.salt)},
              {"sealed", ToBase64(sealed.sealed)}};
  if (!sealed.path.empty()) out["path"] = sealed.path;
  if (UsesPassphrase(sealed.provider))
    out["scrypt"] = {
        {"log2_n", sealed.cost.log2_n}, {"r", sealed.cost.r}, {"p", sealed.cost.p}};
  return out;
}

Status Damaged(std::string_view member) {
  return {Error::kCorrupt, "The root key's description is damaged at \"" +
                               std::string(member) +
                               "\". Restore the store's configuration from a backup."};
}

std::optional<std::string> TextMember(const json& object, const char* name) {
  const auto it = object.find(name);
  if (it == object.end() || !it->is_string()) return std::nullopt;
  return it->get<std::string>();
}

std::optional<Bytes> BytesMember(const json& object, const char* name, size_t size) {
  const auto text = TextMember(object, name);
  if (!text) return std::nullopt;
  auto bytes = FromBase64(*text);
  if (!bytes || bytes->size() != size) return std::nullopt;
  return bytes;
}

std::optional<unsigned> SmallMember(const json& object, const char* name) {
  const auto it = object.find(name);
  if (it == object.end() || !it->is_number_integer()) return std::nullopt;
  const auto value = it->get<int64_t>();
  if (value < 0 || value > 1000) return std::nullopt;
  return static_cast<unsigned>(value);
}

Result<ScryptParameters> ParseCost(const json& description) {
  const auto scrypt = description.find("scrypt");
  if (scrypt == description.end() || !scrypt->is_object()) return Damaged("scrypt");
  const auto log2_n = SmallMember(*scrypt, "log2_n");
  const auto r = SmallMember(*scrypt, "r");
  const auto p = SmallMember(*scrypt, "p");
  if (!log2_n || !r || !p) return Damaged("scrypt");
  const ScryptParameters cost{*log2_n, *r, *p};
  KF_RETURN_IF_ERROR(CheckCost(cost, Error::kCorrupt));
  return cost;
}

Result<Sealed> ParseDescription(const json& description) {
  if (!description.is_object()) return Damaged("rootKey");
  Sealed out;
  const auto name = TextMember(description, "provider");
  bool known = false;
  for (Provider provider :
       {Provider::kPassphrase, Provider::kPassphraseFile, Provider::kFile}) {
    if (!name || *name != ProviderName(provider)) continue;
    out.provider = provider;
    known = true;
  }
  if (!known) return Damaged("provider");
  if (out.provider != Provider::kPassphrase) {
    auto path = TextMember(description, "path");
    if (!path || path->empty() || (*path)[0] != '/' ||
        path->find('\0') != std::string::npos)
      return Damaged("path");
    out.path = std::move(*path);
  }
  if (UsesPassphrase(out.provider)) {
    KF_ASSIGN_OR_RETURN(out.cost, ParseCost(description));
  }
  auto salt = BytesMember(description, "salt", kSaltSize);
  if (!salt) return Damaged("salt");
  auto sealed = BytesMember(description, "sealed", kSealedSize);
  if (!sealed) return Damaged("sealed");
  out.salt = std::move(*salt);
  out.sealed = std::move(*sealed);
  return out;
}

Result<SealedRootKey> Create(const std::string& spec_text,
                             const PassphrasePrompt& prompt,
                             const ScryptParameters& cost) {
  KF_ASSIGN_OR_RETURN(const Spec spec, ParseSpec(spec_text));
  KF_RETURN_IF_ERROR(CheckCost(cost, Error::kUsage));
  Sealed sealed;
  sealed.provider = spec.provider;
  sealed.path = spec.path;
  sealed.cost = cost;
  sealed.salt = RandomBytes(kSaltSize);
  SecretBytes wrapping;
  if (UsesPassphrase(spec.provider)) {
    KF_ASSIGN_OR_RETURN(wrapping, PassphraseKey(sealed, spec, prompt));
  } else {
    const Status created = CreateKeyFile(spec.path, kKeySize);
    if (!created.ok() && created.sys_errno() != EEXIST) return created;
    KF_ASSIGN_OR_RETURN(wrapping, KeyFileKey(sealed, spec.path, Error::kUsage));
  }
  SecretBytes root = RandomSecret(kKeySize);
  sealed.sealed = SealSecret(wrapping, AadOf(sealed), root);
  return SealedRootKey{RootKey(std::move(root)), Describe(sealed)};
}

Result<RootKey> Unseal(const json& description, const std::string& override_spec,
                       const PassphrasePrompt& prompt) {
  KF_ASSIGN_OR_RETURN(const Sealed sealed, ParseDescription(description));
  Spec source{sealed.provider, sealed.path};
  if (!override_spec.empty()) {
    KF_ASSIGN_OR_RETURN(source, ParseSpec(override_spec));
  }
  if (UsesPassphrase(source.provider) != UsesPassphrase(sealed.provider))
    return Status(Error::kUsage, "This store's root key is sealed by " +
                                     std::string(ProviderName(sealed.provider)) +
                                     ". Name a source of that kind.");
  SecretBytes wrapping;
  if (UsesPassphrase(sealed.provider)) {
    KF_ASSIGN_OR_RETURN(wrapping, PassphraseKey(sealed, source, prompt));
  } else {
    KF_ASSIGN_OR_RETURN(wrapping,
                        KeyFileKey(sealed, source.path, Error::kWrongCredential));
  }
  Result<SecretBytes> root = OpenSecret(wrapping, AadOf(sealed), sealed.sealed);
  if (!root.ok())
    return Status(Error::kWrongCredential,
                  UsesPassphrase(sealed.provider)
                      ? "The passphrase is wrong, or the store's configuration was "
                        "altered. Try again."
                      : source.path +
                            " is not this store's key file, or the store's "
                            "configuration was altered. Name the right file.");
  return RootKey(std::move(root).value());
}

}  // namespace

Result<SealedRootKey> CreateRootKey(const std::string& spec,
                                    const PassphrasePrompt& prompt,
                                    const ScryptParameters& cost) {
  try {
    return Create(spec, prompt, cost);
  } catch (const std::exception&) {
    return Status(Error::kInternal, "The root key could not be made.");
  }
}

Result<RootKey> UnsealRootKey(const json& description, const std::string& override_spec,
                              const PassphrasePrompt& prompt) {
  try {
    return Unseal(description, override_spec, prompt);
  } catch (const std::exception&) {
    return Status(Error::kInternal, "The root key could not be unsealed.");
  }
}

}  // namespace keyfold
