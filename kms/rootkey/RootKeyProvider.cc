#include "kms/rootkey/RootKeyProvider.h"

#include <limits.h>
#include <unistd.h>

#include <cerrno>
#include <exception>

#include "kms/crypto/Crypto.h"
#include "kms/rootkey/Description.h"
#include "kms/rootkey/Provider.h"

namespace keyfold {
namespace {

using nlohmann::json;

// Names in the description: never change.
struct Provider {
  std::string_view name;
  SealRoot* seal;
  UnsealRoot* unseal;  // the same for providers that stand in for each other
  Respell* spec;
  NameFile* file;
  WatchRoot* watch;  // null unless its secret lies in a device
};
// PathSpec is of the providers that need a path or nothing.
Result<std::string> PathSpec(const json& description) {
  const std::string name = *TextMember(description, "provider");
  if (!description.contains("path")) return name;
  const auto path = PathMember(description, "path");
  if (!path) return DamagedDescription("path");
  return name + ":" + *path;
}
std::string NoFile(const std::string&) { return {}; }

constexpr Provider kProviders[] = {
    {"passphrase", SealByPassphrase, UnsealByPassphrase, PathSpec, NoFile, nullptr},
    {"passphrase-file", SealByPassphrase, UnsealByPassphrase, PathSpec, AfterColon,
     nullptr},
    {"file", SealByKeyFile, UnsealByKeyFile, PathSpec, AfterColon, nullptr},
    {"pkcs11", SealByPkcs11, UnsealByPkcs11, Pkcs11Spec, Pkcs11PinFile, WatchPkcs11},
    {"tpm2", SealByTpm2, UnsealByTpm2, Tpm2Spec, Tpm2AuthFile, WatchTpm2},
};

const Provider* Named(std::string_view name) {
  for (const Provider& provider : kProviders)
    if (provider.name == name) return &provider;
  return nullptr;
}

// OfSpec is the provider that a spec begins with.
const Provider* OfSpec(const std::string& spec) {
  return Named(spec.substr(0, spec.find(':')));
}

Result<const Provider*> OfDescription(const json& description,
                                      const std::string& override_spec) {
  if (!description.is_object()) return DamagedDescription("rootKey");
  const Provider* described =
      Named(TextMember(description, "provider").value_or(std::string()));
  if (described == nullptr) return DamagedDescription("provider");
  if (override_spec.empty()) return described;
  const Provider* given = OfSpec(override_spec);
  if (given == nullptr) return UnknownRootKeySpec();
  if (given->unseal != described->unseal)
    return Status(Error::kUsage, "This store's root key is sealed by " +
                                     std::string(described->name) +
                                     ". Name a source of that kind.");
  return described;
}

Result<json> Seal(const SecretBytes& root, const SealRequest& request) {
  const Provider* provider = OfSpec(request.spec);
  if (provider == nullptr) return UnknownRootKeySpec();
  KF_ASSIGN_OR_RETURN(json description, provider->seal(request, root));
  description["provider"] = provider->name;
  return description;
}

}  // namespace

ByteWriter StartRootKeyAad(std::string_view provider) {
  ByteWriter out;
  out.Prefixed(std::string_view("keyfold root key v1"));
  out.Prefixed(provider);
  return out;
}

std::string AfterColon(const std::string& spec) {
  const size_t colon = spec.find(':');
  return colon == std::string::npos ? "" : spec.substr(colon + 1);
}

Status UnknownRootKeySpec() {
  return {Error::kUsage,
          "The root key provider is not known. Use passphrase, passphrase-file:FILE, "
          "file:FILE, pkcs11:URI or tpm2."};
}

Result<std::string> AbsolutePath(const std::string& path) {
  if (path.empty() || path.find('\0') != std::string::npos) return UnknownRootKeySpec();
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

Result<json> SealRootKey(const RootKey& key, const std::string& spec,
                         const PassphrasePrompt& prompt, const ScryptParameters& cost) {
  try {
    return Seal(key.bytes(), {spec, prompt, cost});
  } catch (const std::exception&) {
    return Status(Error::kInternal, "The root key could not be sealed.");
  }
}

Result<SealedRootKey> CreateRootKey(const std::string& spec,
                                    const PassphrasePrompt& prompt,
                                    const ScryptParameters& cost) {
  RootKey key(RandomSecret(kKeySize));
  KF_ASSIGN_OR_RETURN(json description, SealRootKey(key, spec, prompt, cost));
  return SealedRootKey{std::move(key), std::move(description)};
}

Result<RootKey> UnsealRootKey(const json& description, const std::string& override_spec,
                              const PassphrasePrompt& prompt) {
  try {
    KF_ASSIGN_OR_RETURN(const Provider* provider,
                        OfDescription(description, override_spec));
    KF_ASSIGN_OR_RETURN(SecretBytes root,
                        provider->unseal({description, override_spec, prompt}));
    if (root.size() != kKeySize) return DamagedDescription("sealed");
    return RootKey(std::move(root));
  } catch (const std::exception&) {
    return Status(Error::kInternal, "The root key could not be unsealed.");
  }
}

Result<std::string> RootKeySpec(const json& description) {
  try {
    KF_ASSIGN_OR_RETURN(const Provider* provider, OfDescription(description, ""));
    return provider->spec(description);
  } catch (const std::exception&) {
    return Status(Error::kInternal, "The root key's description could not be read.");
  }
}

std::string RootKeyFile(const std::string& spec) {
  const Provider* provider = OfSpec(spec);
  return provider == nullptr ? std::string() : provider->file(spec);
}

Result<std::unique_ptr<RootKeyDevice>> WatchRootKey(const json& description,
                                                    const std::string& override_spec) {
  try {
    KF_ASSIGN_OR_RETURN(const Provider* provider,
                        OfDescription(description, override_spec));
    if (provider->watch == nullptr) return std::unique_ptr<RootKeyDevice>();
    return provider->watch({description, override_spec, nullptr});
  } catch (const std::exception&) {
    return Status(Error::kInternal, "The root key's device could not be watched.");
  }
}

}  // namespace keyfold
