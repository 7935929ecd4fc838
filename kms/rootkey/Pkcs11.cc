// The root key sealed under a key inside a PKCS#11 token.
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "kms/crypto/Crypto.h"
#include "kms/rootkey/Description.h"
#include "kms/rootkey/Pkcs11Token.h"
#include "kms/rootkey/Provider.h"
#include "kms/rootkey/SecretFile.h"

namespace keyfold {
namespace {

using nlohmann::json;

constexpr size_t kMaxPinSize = 255;
constexpr size_t kSealedSize = kGcmNonceSize + kKeySize + kGcmTagSize;
constexpr size_t kWrappedSize = kKeySize + 8;  // RFC 5649
// In the description and the AAD: never change.
constexpr std::string_view kProvider = "pkcs11";
constexpr std::string_view kGcm = "AES-GCM";
constexpr std::string_view kKeyWrapPad = "AES-KEY-WRAP-PAD";
constexpr std::string_view kInfo = "keyfold root key token v1";

// `wrapped` is empty with AES-GCM.
Bytes AadOf(std::string_view mechanism, ByteView salt, ByteView wrapped) {
  ByteWriter out = StartRootKeyAad(kProvider);
  out.Prefixed(mechanism);
  out.Prefixed(salt);
  out.Prefixed(wrapped);
  return out.Take();
}

// IsOfRoot tells whether the file and all folders that lead to it are root's alone.
bool IsOfRoot(std::string path) {
  struct stat info;
  while (stat(path.c_str(), &info) == 0 && info.st_uid == 0 &&
         (info.st_mode & 022) == 0) {
    if (path == "/") return true;
    const size_t slash = path.rfind('/');
    path.resize(slash == 0 ? 1 : slash);
  }
  return false;
}

// Whoever can write to the store must not choose the code that runs here. Returned is
// the path to load, which no link leads to.
Result<std::string> StoredModule(const std::string& path) {
  if (path.find('/') == std::string::npos) return path;  // p11-kit's own folder
  char real[PATH_MAX];
  if (realpath(path.c_str(), real) == nullptr)
    return Status{Error::kUsage,
                  "The PKCS#11 module " + path +
                      " is not there. Install it, or name it: --root-key "
                      "'pkcs11:...?module-path=/PATH'."};
  const std::string_view place(real);
  bool known = false;
  for (const std::string_view folder : {"/usr/", "/lib/", "/lib64/", "/opt/"})
    known = known || place.starts_with(folder);
  if (known && IsOfRoot(real)) return std::string(real);
  return Status{
      Error::kUsage,
      "The store names the PKCS#11 module " + path +
          ", which is not root's own in /usr, /lib or /opt, and a store must not "
          "choose what runs here. Name it yourself: --root-key "
          "'pkcs11:...?module-path=/PATH'."};
}

Result<Pkcs11Address> AddressOf(const UnsealRequest& request) {
  if (!request.spec.empty()) return ParsePkcs11Uri(request.spec);
  const auto uri = TextMember(request.description, "uri");
  if (!uri) return DamagedDescription("uri");
  auto address = ParsePkcs11Uri(*uri);
  if (!address.ok()) return DamagedDescription("uri");
  KF_ASSIGN_OR_RETURN(address->module_path, StoredModule(address->module_path));
  return address;
}

Result<SecretBytes> GetPin(const Pkcs11Address& address,
                           const PassphrasePrompt& prompt) {
  if (address.pin_file.empty() && !prompt)
    return Status(Error::kUsage,
                  "No one can be asked for the token's PIN here. Add "
                  "pin-source=file:/PATH to the URI.");
  auto pin = address.pin_file.empty()
                 ? prompt(Asked::kPin)
                 : ReadSecretFile(address.pin_file, kMaxPinSize, true);
  if (pin.ok() && pin->empty())
    return Status(Error::kUsage, "The PIN is empty. Give one that is not.");
  return pin;
}

Result<std::unique_ptr<Pkcs11Token>> OpenToken(const Pkcs11Address& address,
                                               const PassphrasePrompt& prompt) {
  KF_ASSIGN_OR_RETURN(auto token, Pkcs11Token::Find(address));
  SecretBytes pin;
  if (token->TakesPin()) {
    KF_ASSIGN_OR_RETURN(pin, GetPin(address, prompt));
  }
  KF_RETURN_IF_ERROR(token->Login(pin));
  return token;
}

// Device asks a token that was there whether it still is, and looks for one that was
// not from the beginning.
class Device : public RootKeyDevice {
 public:
  explicit Device(Pkcs11Address address) : address_(std::move(address)) {}
  Status Check() override {
    if (token_ == nullptr) {
      KF_ASSIGN_OR_RETURN(token_, Pkcs11Token::Find(address_));
      return OkStatus();
    }
    const Status status = token_->Check();
    if (!status.ok()) token_.reset();
    return status;
  }

 private:
  const Pkcs11Address address_;
  std::unique_ptr<Pkcs11Token> token_;
};

}  // namespace

Result<json> SealByPkcs11(const SealRequest& request, const SecretBytes& root) {
  KF_ASSIGN_OR_RETURN(const Pkcs11Address address, ParsePkcs11Uri(request.spec));
  KF_ASSIGN_OR_RETURN(const auto token, OpenToken(address, request.prompt));
  KF_RETURN_IF_ERROR(token->MakeKey());
  KF_ASSIGN_OR_RETURN(const TokenMechanism mechanism, token->Mechanism());
  const Bytes salt = RandomBytes(kRootKeySaltSize);
  json out = {{"uri", address.uri}, {"salt", ToBase64(salt)}};
  if (mechanism == TokenMechanism::kGcm) {
    Bytes sealed = RandomBytes(kGcmNonceSize);
    KF_ASSIGN_OR_RETURN(const Bytes cipher,
                        token->Encrypt(sealed, AadOf(kGcm, salt, {}), root));
    sealed.insert(sealed.end(), cipher.begin(), cipher.end());
    out["mechanism"] = kGcm;
    out["sealed"] = ToBase64(sealed);
    return out;
  }
  // Key wrap binds nothing, so what it wraps is a key that does.
  const SecretBytes inner = RandomSecret(kKeySize);
  KF_ASSIGN_OR_RETURN(const Bytes wrapped, token->Wrap(inner));
  const SecretBytes wrapping = Hkdf(inner, salt, AsBytes(kInfo));
  out["mechanism"] = kKeyWrapPad;
  out["wrapped"] = ToBase64(wrapped);
  out["sealed"] =
      ToBase64(SealSecret(wrapping, AadOf(kKeyWrapPad, salt, wrapped), root));
  return out;
}

Result<SecretBytes> UnsealByPkcs11(const UnsealRequest& request) {
  const json& description = request.description;
  const auto mechanism = TextMember(description, "mechanism");
  if (mechanism != kGcm && mechanism != kKeyWrapPad)
    return DamagedDescription("mechanism");
  const auto salt =
      BytesMember(description, "salt", kRootKeySaltSize, kRootKeySaltSize);
  if (!salt) return DamagedDescription("salt");
  const auto sealed = BytesMember(description, "sealed", kSealedSize, kSealedSize);
  if (!sealed) return DamagedDescription("sealed");
  const auto wrapped = mechanism == kGcm ? std::optional<Bytes>(Bytes())
                                         : BytesMember(description, "wrapped",
                                                       kWrappedSize, kWrappedSize);
  if (!wrapped) return DamagedDescription("wrapped");
  KF_ASSIGN_OR_RETURN(const Pkcs11Address address, AddressOf(request));
  KF_ASSIGN_OR_RETURN(const auto token, OpenToken(address, request.prompt));
  KF_RETURN_IF_ERROR(token->FindKey());
  const Bytes aad = AadOf(*mechanism, *salt, *wrapped);
  if (mechanism == kGcm)
    return token->Decrypt(ByteView(*sealed).first(kGcmNonceSize), aad,
                          ByteView(*sealed).subspan(kGcmNonceSize));
  KF_ASSIGN_OR_RETURN(const SecretBytes inner, token->Unwrap(*wrapped));
  auto root = OpenSecret(Hkdf(inner, *salt, AsBytes(kInfo)), aad, *sealed);
  if (!root.ok())
    return Status(Error::kWrongCredential,
                  "The store's configuration was altered. Restore keyfold.json from a "
                  "backup.");
  return root;
}

Result<std::string> Pkcs11Spec(const json& description) {
  KF_ASSIGN_OR_RETURN(const Pkcs11Address address, AddressOf({description, "", {}}));
  return address.uri;
}

std::string Pkcs11PinFile(const std::string& spec) {
  const auto address = ParsePkcs11Uri(spec);
  return address.ok() ? address->pin_file : std::string();
}

Result<std::unique_ptr<RootKeyDevice>> WatchPkcs11(const UnsealRequest& request) {
  KF_ASSIGN_OR_RETURN(Pkcs11Address address, AddressOf(request));
  return std::unique_ptr<RootKeyDevice>(new Device(std::move(address)));
}

}  // namespace keyfold
