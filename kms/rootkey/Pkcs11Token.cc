#include "kms/rootkey/Pkcs11Token.h"

#include <p11-kit/p11-kit.h>
#include <p11-kit/uri.h>

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "kms/crypto/Crypto.h"
#include "kms/rootkey/WipedBytes.h"

namespace keyfold {
namespace {

struct FreeUri {
  void operator()(P11KitUri* uri) const { p11_kit_uri_free(uri); }
};
using Uri = std::unique_ptr<P11KitUri, FreeUri>;

Status Usage(const std::string& text) { return {Error::kUsage, text}; }

Status Gone(const std::string& text) {
  return {Error::kUnavailable, text + " Insert the token, or start what serves it."};
}

// Failed tells of a call that the token refused.
Status Failed(const char* call, CK_RV rv) {
  const std::string text = std::string(call) + ": " + p11_kit_strerror(rv) + ".";
  switch (rv) {
    case CKR_TOKEN_NOT_PRESENT:
    case CKR_DEVICE_REMOVED:
    case CKR_DEVICE_ERROR:
    case CKR_SLOT_ID_INVALID:
    case CKR_SESSION_HANDLE_INVALID:
      return Gone("The root key's token is not present. " + text);
    default:
      return {Error::kInternal, "The token refused " + text};
  }
}

Result<Uri> ParseUri(const std::string& text) {
  Uri uri(p11_kit_uri_new());
  if (!uri) std::abort();
  const int code = p11_kit_uri_parse(text.c_str(), P11_KIT_URI_FOR_ANY, uri.get());
  if (code != P11_KIT_URI_OK || text.find('\0') != std::string::npos)
    return Usage(
        "This is no PKCS#11 URI (RFC 7512). Write it as in "
        "'pkcs11:token=NAME;object=KEY?module-path=/usr/lib/MODULE.so'.");
  if (p11_kit_uri_get_pin_value(uri.get()) != nullptr)
    return Usage(
        "A PIN in the URI (pin-value) is seen by all users in the list of processes. "
        "Use pin-source=file:/PATH or be asked for it, and change this PIN.");
  if (p11_kit_uri_any_unrecognized(uri.get()) != 0 ||
      p11_kit_uri_get_module_name(uri.get()) != nullptr)
    return Usage(
        "The PKCS#11 URI has an attribute that is not known here. Use token, serial, "
        "manufacturer, model, slot-id, object, module-path and pin-source.");
  return uri;
}

// PinFile reads "file:/PATH", "file:///PATH" or "/PATH"; empty for anything else.
std::string PinFile(std::string source) {
  if (source.starts_with("file:")) source.erase(0, 5);
  if (source.starts_with("///")) source.erase(0, 2);
  return source.starts_with("/") && !source.starts_with("//") ? source : "";
}

// Modules are the PKCS#11 libraries loaded for one search.
class Modules {
 public:
  explicit Modules(const std::string& path) {
    if (path.empty()) {
      registered_ = p11_kit_modules_load_and_initialize(0);
      for (CK_FUNCTION_LIST** at = registered_; at != nullptr && *at != nullptr; ++at)
        list_.push_back(*at);
      return;
    }
    single_ = p11_kit_module_load(path.c_str(), 0);
    if (single_ == nullptr) return;
    start_ = p11_kit_module_initialize(single_);
    if (start_ == CKR_OK) list_.push_back(single_);
  }
  ~Modules() {
    if (registered_ != nullptr) p11_kit_modules_finalize_and_release(registered_);
    if (start_ == CKR_OK) p11_kit_module_finalize(single_);
    if (single_ != nullptr) p11_kit_module_release(single_);
  }
  Modules(const Modules&) = delete;
  Modules& operator=(const Modules&) = delete;
  const std::vector<CK_FUNCTION_LIST*>& list() const { return list_; }
  // Check is kUsage for a module that cannot be loaded, kUnavailable for one that
  // finds nothing to work with.
  Status Check(const std::string& path) const {
    if (!list_.empty()) return OkStatus();
    if (single_ != nullptr)
      return Gone("The PKCS#11 module " + path + " does not start (" +
                  p11_kit_strerror(start_) +
                  "). Is its device there, and its configuration readable?");
    const char* why = p11_kit_message();
    return Usage("The PKCS#11 module " + path + " cannot be loaded" +
                 (why != nullptr ? ": " + std::string(why) : std::string()) +
                 ". Name the token's library: module-path=/PATH.");
  }

 private:
  CK_FUNCTION_LIST** registered_ = nullptr;
  CK_FUNCTION_LIST* single_ = nullptr;
  CK_RV start_ = CKR_CRYPTOKI_NOT_INITIALIZED;
  std::vector<CK_FUNCTION_LIST*> list_;
};

template <size_t N>
std::string Padded(const unsigned char (&text)[N]) {
  return {reinterpret_cast<const char*>(text), p11_kit_space_strlen(text, N)};
}

std::string NameOf(const CK_TOKEN_INFO& info) {
  return "\"" + Padded(info.label) + "\" (serial " + Padded(info.serialNumber) + ")";
}

struct Place {
  CK_FUNCTION_LIST* module = nullptr;
  CK_SLOT_ID slot = 0;
  CK_TOKEN_INFO info{};
};

// TokensIn lists what is inserted; those that cannot be asked are left out.
std::vector<Place> TokensIn(const Modules& modules) {
  std::vector<Place> found;
  for (CK_FUNCTION_LIST* module : modules.list()) {
    CK_ULONG count = 0;
    if (module->C_GetSlotList(CK_TRUE, nullptr, &count) != CKR_OK) continue;
    std::vector<CK_SLOT_ID> slots(count);
    if (module->C_GetSlotList(CK_TRUE, slots.data(), &count) != CKR_OK) continue;
    slots.resize(count);
    for (const CK_SLOT_ID slot : slots) {
      Place place{module, slot, {}};
      if (module->C_GetTokenInfo(slot, &place.info) == CKR_OK &&
          (place.info.flags & CKF_TOKEN_INITIALIZED) != 0)
        found.push_back(place);
    }
  }
  return found;
}

bool Names(P11KitUri* uri, Place place) {
  const CK_SLOT_ID slot = p11_kit_uri_get_slot_id(uri);
  return p11_kit_uri_match_token_info(uri, &place.info) == 1 &&
         (slot == static_cast<CK_SLOT_ID>(-1) || slot == place.slot);
}

std::string Listed(const std::vector<Place>& places) {
  std::string text;
  for (const Place& place : places)
    text += (text.empty() ? "" : ", ") + NameOf(place.info);
  return text.empty() ? "none" : text;
}

template <typename T>
CK_ATTRIBUTE Attribute(CK_ATTRIBUTE_TYPE type, T* value) {
  return {type, value, sizeof *value};
}

CK_ATTRIBUTE Label(const std::string& label) {
  return {CKA_LABEL, const_cast<char*>(label.data()), label.size()};
}

unsigned char* Data(ByteView bytes) { return const_cast<unsigned char*>(bytes.data()); }

CK_BBOOL yes = CK_TRUE, no = CK_FALSE;  // templates take what could be written to
CK_OBJECT_CLASS secret_key = CKO_SECRET_KEY;
CK_KEY_TYPE aes = CKK_AES, generic_secret = CKK_GENERIC_SECRET;

}  // namespace

Result<Pkcs11Address> ParsePkcs11Uri(const std::string& text) {
  KF_ASSIGN_OR_RETURN(const Uri uri, ParseUri(text));
  Pkcs11Address out;
  out.uri = text;
  const CK_ATTRIBUTE* label = p11_kit_uri_get_attribute(uri.get(), CKA_LABEL);
  if (label == nullptr || label->ulValueLen == 0)
    return Usage(
        "The PKCS#11 URI must name the wrapping key: add object=NAME. It is made if "
        "the token has none of that name.");
  out.object.assign(static_cast<const char*>(label->pValue), label->ulValueLen);
  if (const char* path = p11_kit_uri_get_module_path(uri.get())) out.module_path = path;
  if (const char* source = p11_kit_uri_get_pin_source(uri.get())) {
    out.pin_file = PinFile(source);
    if (out.pin_file.empty())
      return Usage("pin-source expects a file with its whole path: file:/PATH.");
  }
  return out;
}

struct Pkcs11Token::Impl {
  explicit Impl(const Pkcs11Address& the_address)
      : address(the_address), modules(the_address.module_path) {}
  ~Impl() {
    if (session) {
      if (logged_in) place.module->C_Logout(*session);
      place.module->C_CloseSession(*session);
    }
  }
  std::string TokenName() const { return "The token " + NameOf(place.info); }

  // Open begins the session that all else needs.
  Status Open() {
    if (session) return OkStatus();
    CK_SESSION_HANDLE handle = 0;
    CK_RV rv = place.module->C_OpenSession(
        place.slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr, &handle);
    if (rv == CKR_TOKEN_WRITE_PROTECTED)
      rv = place.module->C_OpenSession(place.slot, CKF_SERIAL_SESSION, nullptr, nullptr,
                                       &handle);
    if (rv != CKR_OK) return Failed("C_OpenSession", rv);
    session = handle;
    return OkStatus();
  }
  Result<std::vector<CK_OBJECT_HANDLE>> Search();
  Result<CK_OBJECT_HANDLE> Generate();
  Status Take(CK_OBJECT_HANDLE found);
  // Can goes by the list too: some tell of mechanisms that they were forbidden.
  bool Can(CK_MECHANISM_TYPE type, CK_FLAGS flags) const {
    CK_ULONG count = 0;
    if (place.module->C_GetMechanismList(place.slot, nullptr, &count) != CKR_OK)
      return false;
    std::vector<CK_MECHANISM_TYPE> list(count);
    if (place.module->C_GetMechanismList(place.slot, list.data(), &count) != CKR_OK)
      return false;
    CK_MECHANISM_INFO info{};
    return std::find(list.begin(), list.end(), type) != list.end() &&
           place.module->C_GetMechanismInfo(place.slot, type, &info) == CKR_OK &&
           (info.flags & flags) == flags;
  }
  bool CanGcm() const { return Can(CKM_AES_GCM, CKF_ENCRYPT | CKF_DECRYPT); }
  bool CanWrap() const { return Can(CKM_AES_KEY_WRAP_PAD, CKF_WRAP | CKF_UNWRAP); }
  bool KeyMay(CK_ATTRIBUTE_TYPE use) const {
    CK_BBOOL value = CK_FALSE;
    CK_ATTRIBUTE wanted = Attribute(use, &value);
    return place.module->C_GetAttributeValue(*session, key, &wanted, 1) == CKR_OK &&
           value == CK_TRUE;
  }
  Status NotSealedHere(const char* call, CK_RV rv) const;

  const Pkcs11Address address;
  const Modules modules;
  Place place;
  std::optional<CK_SESSION_HANDLE> session;
  bool logged_in = false;
  CK_OBJECT_HANDLE key = 0;
};

Result<std::vector<CK_OBJECT_HANDLE>> Pkcs11Token::Impl::Search() {
  std::array wanted = {Attribute(CKA_CLASS, &secret_key), Attribute(CKA_TOKEN, &yes),
                       Label(address.object)};
  CK_RV rv = place.module->C_FindObjectsInit(*session, wanted.data(), wanted.size());
  if (rv != CKR_OK) return Failed("C_FindObjectsInit", rv);
  std::vector<CK_OBJECT_HANDLE> found(2);
  CK_ULONG count = 0;
  rv = place.module->C_FindObjects(*session, found.data(), found.size(), &count);
  place.module->C_FindObjectsFinal(*session);
  if (rv != CKR_OK) return Failed("C_FindObjects", rv);
  found.resize(count);
  return found;
}

// Generate gives the key one use only: a key that could both wrap and decrypt would
// bring out other keys of the token.
Result<CK_OBJECT_HANDLE> Pkcs11Token::Impl::Generate() {
  if (!CanGcm() && !CanWrap())
    return Status(Error::kUnsupportedOperation,
                  TokenName() + " has neither AES-GCM nor AES key wrap with padding.");
  CK_ULONG size = kKeySize;
  CK_BBOOL* crypts = CanGcm() ? &yes : &no;
  CK_BBOOL* wraps = CanGcm() ? &no : &yes;
  Bytes id = RandomBytes(16);
  std::array shape = {Attribute(CKA_CLASS, &secret_key),
                      Attribute(CKA_KEY_TYPE, &aes),
                      Attribute(CKA_VALUE_LEN, &size),
                      Attribute(CKA_TOKEN, &yes),
                      Attribute(CKA_PRIVATE, &yes),
                      Attribute(CKA_SENSITIVE, &yes),
                      Attribute(CKA_EXTRACTABLE, &no),
                      Attribute(CKA_MODIFIABLE, &no),
                      Attribute(CKA_ENCRYPT, crypts),
                      Attribute(CKA_DECRYPT, crypts),
                      Attribute(CKA_WRAP, wraps),
                      Attribute(CKA_UNWRAP, wraps),
                      Attribute(CKA_SIGN, &no),
                      Attribute(CKA_VERIFY, &no),
                      CK_ATTRIBUTE{CKA_ID, id.data(), id.size()},
                      Label(address.object)};
  CK_MECHANISM make = {CKM_AES_KEY_GEN, nullptr, 0};
  CK_OBJECT_HANDLE made = 0;
  const CK_RV rv =
      place.module->C_GenerateKey(*session, &make, shape.data(), shape.size(), &made);
  if (rv != CKR_OK) return Failed("C_GenerateKey", rv);
  return made;
}

Status Pkcs11Token::Impl::Take(CK_OBJECT_HANDLE found) {
  CK_KEY_TYPE type = 0;
  CK_ULONG size = 0;
  CK_BBOOL sensitive = CK_FALSE, extractable = CK_TRUE;
  std::array known = {Attribute(CKA_KEY_TYPE, &type), Attribute(CKA_VALUE_LEN, &size),
                      Attribute(CKA_SENSITIVE, &sensitive),
                      Attribute(CKA_EXTRACTABLE, &extractable)};
  const CK_RV rv =
      place.module->C_GetAttributeValue(*session, found, known.data(), known.size());
  if (rv != CKR_OK) return Failed("C_GetAttributeValue", rv);
  if (type != CKK_AES || size != kKeySize)
    return Usage("The token's key \"" + address.object +
                 "\" is no AES key of 256 bits. Name another with object=.");
  if (sensitive != CK_TRUE || extractable != CK_FALSE)
    return Usage("The token's key \"" + address.object +
                 "\" could be taken out of it (it is extractable or not sensitive). "
                 "Name another with object=, which is then made.");
  key = found;
  return OkStatus();
}

Status Pkcs11Token::Impl::NotSealedHere(const char* call, CK_RV rv) const {
  const Status failed = Failed(call, rv);
  if (failed.error() == Error::kUnavailable) return failed;
  return {Error::kWrongCredential,
          TokenName() + " has a key \"" + address.object +
              "\", but not the one that sealed this store, or the store's "
              "configuration was altered. Use the right token."};
}

Pkcs11Token::Pkcs11Token() = default;
Pkcs11Token::~Pkcs11Token() = default;

Result<std::unique_ptr<Pkcs11Token>> Pkcs11Token::Find(const Pkcs11Address& address) {
  KF_ASSIGN_OR_RETURN(const Uri uri, ParseUri(address.uri));
  std::unique_ptr<Pkcs11Token> token(new Pkcs11Token());
  token->impl_ = std::make_unique<Impl>(address);
  KF_RETURN_IF_ERROR(token->impl_->modules.Check(address.module_path));
  const std::vector<Place> seen = TokensIn(token->impl_->modules);
  std::vector<Place> fit;
  for (const Place& place : seen)
    if (Names(uri.get(), place)) fit.push_back(place);
  if (fit.empty())
    return Gone("No token is there that " +
                address.uri.substr(0, address.uri.find('?')) +
                " names. Tokens seen: " + Listed(seen) + ".");
  if (fit.size() > 1)
    return Usage("Several tokens fit: " + Listed(fit) +
                 ". Add serial=NUMBER to the URI, before object=.");
  token->impl_->place = fit.front();
  return token;
}

Status Pkcs11Token::Check() {
  CK_TOKEN_INFO now{};
  const Place& place = impl_->place;
  const CK_RV rv = place.module->C_GetTokenInfo(place.slot, &now);
  if (rv != CKR_OK || NameOf(now) != NameOf(place.info))
    return Gone(impl_->TokenName() + " is not present.");
  return OkStatus();
}

bool Pkcs11Token::TakesPin() const {
  const CK_FLAGS flags = impl_->place.info.flags;
  return (flags & CKF_LOGIN_REQUIRED) != 0 &&
         (flags & CKF_PROTECTED_AUTHENTICATION_PATH) == 0;
}

Status Pkcs11Token::Login(const SecretBytes& pin) {
  const std::string name = impl_->TokenName();
  const CK_FLAGS flags = impl_->place.info.flags;
  if ((flags & CKF_USER_PIN_LOCKED) != 0)
    return {Error::kWrongCredential, name +
                                         " has locked its PIN after wrong ones. "
                                         "Unlock it with the token's own tools."};
  KF_RETURN_IF_ERROR(impl_->Open());
  if ((flags & CKF_LOGIN_REQUIRED) == 0) return OkStatus();
  WipedBytes text(TakesPin() ? RevealSecret(pin) : Bytes());
  const CK_RV rv = impl_->place.module->C_Login(
      *impl_->session, CKU_USER, TakesPin() ? text.bytes.data() : nullptr,
      text.bytes.size());
  switch (rv) {
    case CKR_OK:
      impl_->logged_in = true;
      return OkStatus();
    case CKR_USER_ALREADY_LOGGED_IN:
      return OkStatus();
    case CKR_PIN_INCORRECT:
    case CKR_PIN_INVALID:
    case CKR_PIN_LEN_RANGE:
      return {Error::kWrongCredential,
              name +
                  " does not accept this PIN. It was tried once: tokens lock after "
                  "a few wrong ones. Correct it first."};
    case CKR_PIN_LOCKED:
      return {Error::kWrongCredential, name +
                                           " has locked its PIN after wrong ones. "
                                           "Unlock it with the token's own tools."};
    case CKR_USER_PIN_NOT_INITIALIZED:
      return Usage(name + " has no user PIN yet. Set it: pkcs11-tool --init-pin.");
    default:
      return Failed("C_Login", rv);
  }
}

Status Pkcs11Token::MakeKey() {
  KF_ASSIGN_OR_RETURN(const auto found, impl_->Search());
  if (found.size() > 1)
    return Usage("The token has several keys \"" + impl_->address.object +
                 "\". Name another with object=.");
  if (found.size() == 1) return impl_->Take(found.front());
  KF_ASSIGN_OR_RETURN(const CK_OBJECT_HANDLE made, impl_->Generate());
  // A token may make of a template what it likes.
  return impl_->Take(made);
}

Status Pkcs11Token::FindKey() {
  KF_ASSIGN_OR_RETURN(const auto found, impl_->Search());
  if (found.size() == 1) {
    impl_->key = found.front();
    return OkStatus();
  }
  return {
      Error::kWrongCredential,
      impl_->TokenName() + (found.empty() ? " has no key \"" : " has several keys \"") +
          impl_->address.object + "\". Use the token that the store was made with."};
}

Result<TokenMechanism> Pkcs11Token::Mechanism() const {
  if (impl_->CanGcm() && impl_->KeyMay(CKA_ENCRYPT) && impl_->KeyMay(CKA_DECRYPT))
    return TokenMechanism::kGcm;
  if (impl_->CanWrap() && impl_->KeyMay(CKA_WRAP) && impl_->KeyMay(CKA_UNWRAP))
    return TokenMechanism::kKeyWrapPad;
  return Status(Error::kUnsupportedOperation,
                "The token's key \"" + impl_->address.object +
                    "\" may neither encrypt and decrypt with AES-GCM nor wrap and "
                    "unwrap with padding. Name another with object=.");
}

Result<Bytes> Pkcs11Token::Encrypt(ByteView nonce, ByteView aad,
                                   const SecretBytes& plain) {
  CK_GCM_PARAMS gcm = {Data(nonce), nonce.size(), nonce.size() * 8,
                       Data(aad),   aad.size(),   kGcmTagSize * 8};
  CK_MECHANISM mechanism = {CKM_AES_GCM, &gcm, sizeof gcm};
  CK_FUNCTION_LIST* module = impl_->place.module;
  CK_RV rv = module->C_EncryptInit(*impl_->session, &mechanism, impl_->key);
  if (rv != CKR_OK) return Failed("C_EncryptInit", rv);
  WipedBytes text(RevealSecret(plain));
  Bytes out(text.bytes.size() + kGcmTagSize);
  CK_ULONG size = out.size();
  rv = module->C_Encrypt(*impl_->session, text.bytes.data(), text.bytes.size(),
                         out.data(), &size);
  if (rv != CKR_OK) return Failed("C_Encrypt", rv);
  if (size != out.size())
    return Status(Error::kInternal, "The token's AES-GCM gives another size.");
  return out;
}

Result<SecretBytes> Pkcs11Token::Decrypt(ByteView nonce, ByteView aad,
                                         ByteView sealed) {
  CK_GCM_PARAMS gcm = {Data(nonce), nonce.size(), nonce.size() * 8,
                       Data(aad),   aad.size(),   kGcmTagSize * 8};
  CK_MECHANISM mechanism = {CKM_AES_GCM, &gcm, sizeof gcm};
  CK_FUNCTION_LIST* module = impl_->place.module;
  CK_RV rv = module->C_DecryptInit(*impl_->session, &mechanism, impl_->key);
  if (rv != CKR_OK) return Failed("C_DecryptInit", rv);
  WipedBytes out(sealed.size());
  CK_ULONG size = out.bytes.size();
  rv = module->C_Decrypt(*impl_->session, Data(sealed), sealed.size(), out.bytes.data(),
                         &size);
  if (rv != CKR_OK || size == 0 || size > out.bytes.size())
    return impl_->NotSealedHere("C_Decrypt", rv);
  return SecretFrom(MutableBytes(out.bytes).first(size));
}

Result<Bytes> Pkcs11Token::Wrap(const SecretBytes& secret) {
  WipedBytes text(RevealSecret(secret));
  std::array shape = {Attribute(CKA_CLASS, &secret_key),
                      Attribute(CKA_KEY_TYPE, &generic_secret),
                      Attribute(CKA_TOKEN, &no), Attribute(CKA_EXTRACTABLE, &yes),
                      CK_ATTRIBUTE{CKA_VALUE, text.bytes.data(), text.bytes.size()}};
  CK_FUNCTION_LIST* module = impl_->place.module;
  CK_OBJECT_HANDLE inner = 0;
  CK_RV rv =
      module->C_CreateObject(*impl_->session, shape.data(), shape.size(), &inner);
  if (rv != CKR_OK) return Failed("C_CreateObject", rv);
  CK_MECHANISM mechanism = {CKM_AES_KEY_WRAP_PAD, nullptr, 0};
  Bytes out(secret.size() + 16);
  CK_ULONG size = out.size();
  rv = module->C_WrapKey(*impl_->session, &mechanism, impl_->key, inner, out.data(),
                         &size);
  module->C_DestroyObject(*impl_->session, inner);
  if (rv != CKR_OK) return Failed("C_WrapKey", rv);
  out.resize(size);
  return out;
}

Result<SecretBytes> Pkcs11Token::Unwrap(ByteView wrapped) {
  std::array shape = {Attribute(CKA_CLASS, &secret_key),
                      Attribute(CKA_KEY_TYPE, &generic_secret),
                      Attribute(CKA_TOKEN, &no), Attribute(CKA_SENSITIVE, &no),
                      Attribute(CKA_EXTRACTABLE, &yes)};
  CK_FUNCTION_LIST* module = impl_->place.module;
  CK_MECHANISM mechanism = {CKM_AES_KEY_WRAP_PAD, nullptr, 0};
  CK_OBJECT_HANDLE inner = 0;
  CK_RV rv = module->C_UnwrapKey(*impl_->session, &mechanism, impl_->key, Data(wrapped),
                                 wrapped.size(), shape.data(), shape.size(), &inner);
  if (rv != CKR_OK) return impl_->NotSealedHere("C_UnwrapKey", rv);
  WipedBytes out(wrapped.size());
  CK_ATTRIBUTE value = {CKA_VALUE, out.bytes.data(), out.bytes.size()};
  rv = module->C_GetAttributeValue(*impl_->session, inner, &value, 1);
  module->C_DestroyObject(*impl_->session, inner);
  if (rv != CKR_OK) return Failed("C_GetAttributeValue", rv);
  if (value.ulValueLen == 0 || value.ulValueLen > out.bytes.size())
    return Status(Error::kInternal, "The token's key unwrap gives another size.");
  return SecretFrom(MutableBytes(out.bytes).first(value.ulValueLen));
}

}  // namespace keyfold
