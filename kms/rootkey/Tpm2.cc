// The root key sealed by the machine's TPM.
#include <stdlib.h>

#include <optional>

#include "kms/crypto/Crypto.h"
#include "kms/rootkey/Description.h"
#include "kms/rootkey/Provider.h"
#include "kms/rootkey/SecretFile.h"
#include "kms/rootkey/TpmSeal.h"
#include "kms/rootkey/WipedBytes.h"

namespace keyfold {
namespace {

using nlohmann::json;

constexpr size_t kMaxAuthSize = 4096;
constexpr size_t kNameSize = 34;  // algorithm u16, SHA-256
constexpr size_t kMostBlob = 1024;
constexpr std::string_view kAuthInfo = "keyfold root key tpm2 auth v1";
constexpr char kUsualTcti[] = "device:/dev/tpmrm0";
constexpr char kTctiVariable[] = "KEYFOLD_TPM2_TCTI";
// In the description: never change.
constexpr char kNoAuth[] = "none", kAskedAuth[] = "prompt", kAuthFile[] = "file:";

// Spec is "tpm2[:pcrs=sha256:N+N][,auth=prompt|file:/PATH][,tcti=TCTI]".
struct Spec {
  std::string pcrs, auth, tcti;
};

Status WrongSpec(const std::string& word) {
  return {Error::kUsage,
          "\"" + word +
              "\" is no part of a TPM's root key. Write "
              "tpm2:pcrs=sha256:0+7,auth=prompt,tcti=device:/dev/tpmrm0, or "
              "part of that; auth=file:/PATH reads a file."};
}

bool IsAuth(const std::string& auth) {
  return auth == kNoAuth || auth == kAskedAuth ||
         (auth.starts_with(std::string(kAuthFile) + "/") &&
          auth.find('\0') == std::string::npos);
}

Result<Spec> ParseSpec(const std::string& text) {
  Spec spec;
  std::string rest = AfterColon(text);
  while (!rest.empty()) {
    // A TCTI may hold commas, and comes last.
    const bool last = rest.starts_with("tcti=");
    const std::string word = last ? rest : rest.substr(0, rest.find(','));
    rest.erase(0, word.size() + 1);
    const std::string value = word.substr(word.find('=') + 1);
    if (last)
      spec.tcti = value;
    else if (word.starts_with("pcrs="))
      spec.pcrs = value;
    else if (word.starts_with("auth=") && IsAuth(value))
      spec.auth = value;
    else
      return WrongSpec(word.substr(0, word.find('=')));
  }
  if (!spec.tcti.empty()) KF_RETURN_IF_ERROR(CheckTcti(spec.tcti));
  return spec;
}

std::string TctiOfEnvironment() {
  const char* variable = getenv(kTctiVariable);
  return variable == nullptr ? "" : variable;
}

std::string TctiOf(const std::string& named) {
  if (!named.empty()) return named;
  const std::string variable = TctiOfEnvironment();
  return variable.empty() ? kUsualTcti : variable;
}

// StoredTcti is what the store may choose. Whoever poses as the TPM is told what proves
// the passphrase, and could guess it: so a store names devices only.
Result<std::string> StoredTcti(const std::string& stored) {
  if (stored.empty() || IsDeviceTcti(stored)) return stored;
  const std::string variable = TctiOfEnvironment();
  if (!variable.empty()) return variable;
  return Status(Error::kUsage,
                "The store's TPM is reached by " + stored +
                    ", which is no device of this machine, and a store must not choose "
                    "whom to trust as the TPM. Name it yourself: --root-key "
                    "tpm2:tcti=TCTI, or " +
                    kTctiVariable + "=TCTI.");
}

// AuthValue makes of a passphrase of any length what a TPM takes. It would drop zeros
// at the end, so there are none.
Result<SecretBytes> AuthValue(const std::string& auth, const PassphrasePrompt& prompt,
                              Asked asked, ByteView salt) {
  if (auth == kNoAuth) return SecretBytes();
  if (auth == kAskedAuth && !prompt)
    return Status(Error::kUsage,
                  "No one can be asked for the TPM's passphrase here. Use "
                  "auth=file:/PATH.");
  auto word = auth == kAskedAuth ? prompt(asked)
                                 : ReadSecretFile(auth.substr(sizeof kAuthFile - 1),
                                                  kMaxAuthSize, true);
  if (!word.ok()) return word;
  if (word->empty())
    return Status(Error::kUsage, "The passphrase is empty. Give one that is not.");
  WipedBytes value(RevealSecret(Hkdf(*word, salt, AsBytes(kAuthInfo))));
  value.bytes.back() |= 1;
  return SecretFrom(value.bytes);
}

struct Described {
  TpmBlob blob;
  Bytes salt;
  std::string auth, tcti, pcrs;
};

Result<Described> Parse(const json& description) {
  Described out;
  const auto auth = TextMember(description, "auth");
  if (!auth || !IsAuth(*auth)) return DamagedDescription("auth");
  out.auth = *auth;
  const auto tcti = TextMember(description, "tcti");
  if (!tcti || (!tcti->empty() && !CheckTcti(*tcti).ok()))
    return DamagedDescription("tcti");
  out.tcti = *tcti;
  const auto salt =
      BytesMember(description, "salt", kRootKeySaltSize, kRootKeySaltSize);
  if (!salt) return DamagedDescription("salt");
  out.salt = *salt;
  const auto root = BytesMember(description, "storageRoot", kNameSize, kNameSize);
  if (!root) return DamagedDescription("storageRoot");
  out.blob.storage_root = *root;
  const auto public_part = BytesMember(description, "public", 1, kMostBlob);
  if (!public_part) return DamagedDescription("public");
  out.blob.public_part = *public_part;
  const auto private_part = BytesMember(description, "private", 1, kMostBlob);
  if (!private_part) return DamagedDescription("private");
  out.blob.private_part = *private_part;
  const auto pcrs = TextMember(description, "pcrs");
  if (!pcrs) return DamagedDescription("pcrs");
  out.pcrs = *pcrs;
  if (pcrs->empty()) return out;
  auto numbers = ParsePcrs(*pcrs);
  if (!numbers.ok()) return DamagedDescription("pcrs");
  out.blob.pcrs = *std::move(numbers);
  const auto values = description.find("pcrValues");
  if (values == description.end() || !values->is_object())
    return DamagedDescription("pcrValues");
  for (auto& [pcr, value] : out.blob.pcrs) {
    auto known =
        BytesMember(*values, std::to_string(pcr).c_str(), kSha256Size, kSha256Size);
    if (!known) return DamagedDescription("pcrValues");
    value = *std::move(known);
  }
  return out;
}

class Device : public RootKeyDevice {
 public:
  explicit Device(std::string tcti) : tcti_(std::move(tcti)) {}
  Status Check() override { return CheckTpm(tcti_); }

 private:
  const std::string tcti_;
};

// With a spec its parts replace what is described, but for the PCRs, which are sealed.
Result<Described> Source(const UnsealRequest& request) {
  KF_ASSIGN_OR_RETURN(Described described, Parse(request.description));
  KF_ASSIGN_OR_RETURN(const Spec spec, ParseSpec(request.spec));
  if (spec.tcti.empty()) {
    KF_ASSIGN_OR_RETURN(described.tcti, StoredTcti(described.tcti));
  } else {
    described.tcti = spec.tcti;
  }
  if (!spec.pcrs.empty() && spec.pcrs != described.pcrs)
    return Status(Error::kUsage,
                  "The root key is sealed for other PCRs. Leave out pcrs=.");
  if (!spec.auth.empty()) {
    if ((spec.auth == kNoAuth) != (described.auth == kNoAuth))
      return Status(Error::kUsage, described.auth == kNoAuth
                                       ? "The root key is sealed without auth=."
                                       : "The root key is sealed with auth=.");
    described.auth = spec.auth;
  }
  return described;
}

}  // namespace

Result<json> SealByTpm2(const SealRequest& request, const SecretBytes& root) {
  KF_ASSIGN_OR_RETURN(Spec spec, ParseSpec(request.spec));
  if (spec.auth.empty()) spec.auth = kNoAuth;
  PcrValues pcrs;
  if (!spec.pcrs.empty()) {
    KF_ASSIGN_OR_RETURN(pcrs, ParsePcrs(spec.pcrs));
  }
  const Bytes salt = RandomBytes(kRootKeySaltSize);
  KF_ASSIGN_OR_RETURN(const SecretBytes auth, AuthValue(spec.auth, request.prompt,
                                                        Asked::kNewPassphrase, salt));
  KF_ASSIGN_OR_RETURN(const TpmBlob blob,
                      SealInTpm(TctiOf(spec.tcti), pcrs, auth, root));
  json out = {{"auth", spec.auth},
              {"tcti", spec.tcti},
              {"pcrs", spec.pcrs},
              {"salt", ToBase64(salt)},
              {"storageRoot", ToBase64(blob.storage_root)},
              {"public", ToBase64(blob.public_part)},
              {"private", ToBase64(blob.private_part)}};
  for (const auto& [pcr, value] : blob.pcrs)
    out["pcrValues"][std::to_string(pcr)] = ToBase64(value);
  return out;
}

Result<SecretBytes> UnsealByTpm2(const UnsealRequest& request) {
  KF_ASSIGN_OR_RETURN(const Described source, Source(request));
  KF_ASSIGN_OR_RETURN(
      const SecretBytes auth,
      AuthValue(source.auth, request.prompt, Asked::kPassphrase, source.salt));
  return UnsealInTpm(TctiOf(source.tcti), source.blob, auth);
}

Result<std::unique_ptr<RootKeyDevice>> WatchTpm2(const UnsealRequest& request) {
  KF_ASSIGN_OR_RETURN(const Described source, Source(request));
  return std::unique_ptr<RootKeyDevice>(new Device(TctiOf(source.tcti)));
}

Result<std::string> Tpm2Spec(const json& description) {
  KF_ASSIGN_OR_RETURN(const Described described, Parse(description));
  std::string spec = "tpm2:auth=" + described.auth;
  if (!described.pcrs.empty()) spec += ",pcrs=" + described.pcrs;
  // Another is for whoever runs this to name again.
  if (IsDeviceTcti(described.tcti)) spec += ",tcti=" + described.tcti;
  return spec;
}

std::string Tpm2AuthFile(const std::string& spec) {
  const auto parsed = ParseSpec(spec);
  if (!parsed.ok() || !parsed->auth.starts_with(kAuthFile)) return {};
  return parsed->auth.substr(sizeof kAuthFile - 1);
}

}  // namespace keyfold
