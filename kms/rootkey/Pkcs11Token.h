// Pkcs11Token: a key inside a PKCS#11 token (PKCS #11 v2.40), found by an RFC 7512 URI.
//
// Owns: loading the token's module, sessions, the wrapping key and its use; all of
// p11-kit. Must not know: what is sealed, where a PIN comes from. Not synchronised.
#pragma once

#include <memory>
#include <string>

#include "kms/base/Bytes.h"
#include "kms/base/Status.h"

namespace keyfold {

// Pkcs11Address is what a URI names.
struct Pkcs11Address {
  std::string uri;          // whole, as given
  std::string object;       // the wrapping key's label
  std::string module_path;  // empty: the modules registered with p11-kit
  std::string pin_file;     // absolute; empty: somebody is asked
};
// ParsePkcs11Uri is kUsage for what is no such URI, one without object=, and one with
// pin-value=: argument lists are visible to all.
Result<Pkcs11Address> ParsePkcs11Uri(const std::string& uri);

// How the token seals 32 bytes.
enum class TokenMechanism {
  kGcm,         // CKM_AES_GCM, with associated data
  kKeyWrapPad,  // CKM_AES_KEY_WRAP_PAD, for tokens that lack GCM
};

class Pkcs11Token {
 public:
  // Find loads the module and finds the one token that `address` names. kUnavailable,
  // with the tokens there are, for none; kUsage for several, or no such module.
  static Result<std::unique_ptr<Pkcs11Token>> Find(const Pkcs11Address& address);
  ~Pkcs11Token();
  // Check is kUnavailable when the token is not there any more.
  Status Check();

  // TakesPin is false for tokens that need none, or have a keypad of their own.
  bool TakesPin() const;
  // Login tries `pin` once. kWrongCredential for a wrong PIN and for one that is
  // locked: a token counts the tries.
  Status Login(const SecretBytes& pin);

  // MakeKey finds the AES-256 key, or makes one that never leaves the token. kUsage
  // for a key that could. FindKey only finds: kWrongCredential for none.
  Status MakeKey();
  Status FindKey();
  // Mechanism is what this token's key is best used with; kUnsupportedOperation.
  Result<TokenMechanism> Mechanism() const;

  // Encrypt and Decrypt are AES-GCM with a nonce of 12 bytes; the output is ciphertext
  // and tag. Wrap and Unwrap are RFC 5649. kWrongCredential when the token's key did
  // not seal that, or a byte differs.
  Result<Bytes> Encrypt(ByteView nonce, ByteView aad, const SecretBytes& plain);
  Result<SecretBytes> Decrypt(ByteView nonce, ByteView aad, ByteView sealed);
  Result<Bytes> Wrap(const SecretBytes& secret);
  Result<SecretBytes> Unwrap(ByteView wrapped);

 private:
  Pkcs11Token();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace keyfold
