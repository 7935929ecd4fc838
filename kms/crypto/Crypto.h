// The cryptographic primitives Keyfold is built on: the only place that
// includes OpenSSL and the only place that sees raw key bytes.
//
// Owns: algorithms and their parameters. Must not know: formats, files, keys'
// meaning. Free functions are thread-safe; an Aead may be used by several
// threads at once.
#pragma once

#include <array>
#include <memory>
#include <string_view>

#include "kms/base/Bytes.h"
#include "kms/base/Status.h"

namespace keyfold {

inline constexpr size_t kKeySize = 32;       // AES-256 and every derived key
inline constexpr size_t kGcmNonceSize = 12;  // NIST SP 800-38D, 96 bits
inline constexpr size_t kGcmTagSize = 16;
inline constexpr size_t kSivTagSize = 16;  // RFC 5297
inline constexpr size_t kSha256Size = 32;

using Sha256Digest = std::array<uint8_t, kSha256Size>;

// Functions here throw std::bad_alloc when there is no memory, and do nothing then.

// Random bytes from OpenSSL's CSPRNG. FillRandom and RandomBytes are for what others
// may see: ids, nonces, salts. RandomSecret draws from the generator that is kept for
// secrets.
void FillRandom(MutableBytes out);
Bytes RandomBytes(size_t size);
SecretBytes RandomSecret(size_t size);
// UuidText spells 16 bytes as RFC 9562 does, in lower case; RandomUuid makes such a
// text of version 4.
std::string UuidText(ByteView bytes);
std::string RandomUuid();

Sha256Digest Sha256(ByteView data);
Sha256Digest HmacSha256(const SecretBytes& key, ByteView data);
// HmacSha256Key is the same where the outcome is a key again; 32 bytes.
SecretBytes HmacSha256Key(const SecretBytes& key, ByteView data);
// Hmac is the MAC of `message` with one of the SHA-2 family, as long as its digest.
enum class MacHash { kSha224, kSha256, kSha384, kSha512 };
Bytes Hmac(MacHash hash, const SecretBytes& key, ByteView message);
bool ConstantTimeEqual(ByteView a, ByteView b);
bool ConstantTimeEqual(const SecretBytes& a, const SecretBytes& b);

// HKDF-SHA-256, RFC 5869. `info` separates uses; `salt` may be empty.
SecretBytes Hkdf(const SecretBytes& key, ByteView salt, ByteView info,
                 size_t size = kKeySize);
// The same, for output that is published (a key commitment).
Bytes HkdfPublic(const SecretBytes& key, ByteView salt, ByteView info,
                 size_t size = kKeySize);

// Scrypt, RFC 7914, with N = 2^log2_n. kInternal when OpenSSL refuses the
// parameters.
Result<SecretBytes> Scrypt(const SecretBytes& passphrase, ByteView salt,
                           unsigned log2_n, unsigned r, unsigned p);

// Aead is AES-256-GCM under one key, its schedule computed once.
class Aead {
 public:
  explicit Aead(const SecretBytes& key);  // key: 32 bytes
  Aead(Aead&&) noexcept;
  Aead& operator=(Aead&&) noexcept;
  ~Aead();

  // Seal writes plain.size() bytes to `cipher` (which may be `plain` itself)
  // and 16 to `tag`. The caller guarantees a nonce is never used twice.
  void Seal(ByteView nonce, ByteView aad, ByteView plain, MutableBytes cipher,
            MutableBytes tag) const;
  // Open is false, and `plain` is zeroed, unless everything authenticates.
  [[nodiscard]] bool Open(ByteView nonce, ByteView aad, ByteView cipher, ByteView tag,
                          MutableBytes plain) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// SealSecret returns nonce || ciphertext || tag (28 bytes longer than
// `secret`) under a random nonce.
Bytes SealSecret(const SecretBytes& key, ByteView aad, const SecretBytes& secret);
// OpenSecret undoes SealSecret; kInvalidCiphertext when anything differs.
Result<SecretBytes> OpenSecret(const SecretBytes& key, ByteView aad, ByteView sealed);
// The same for data the caller holds in plain.
Bytes SealBytes(const SecretBytes& key, ByteView aad, ByteView plain);
Result<Bytes> OpenBytes(const SecretBytes& key, ByteView aad, ByteView sealed);

// The same under a key set up before and a nonce of the caller's, which is not
// part of the output: ciphertext || tag, 16 bytes longer than `secret`.
Bytes SealSecretWith(const Aead& aead, ByteView nonce, ByteView aad,
                     const SecretBytes& secret);
Result<SecretBytes> OpenSecretWith(const Aead& aead, ByteView nonce, ByteView aad,
                                   ByteView sealed);

// AES-256-SIV, RFC 5297, deterministic: equal inputs give equal outputs.
// Output is 16 bytes longer than `plain`. key: 64 bytes.
class DeterministicAead {
 public:
  explicit DeterministicAead(const SecretBytes& key);
  ~DeterministicAead();
  Bytes Seal(ByteView aad, ByteView plain) const;
  Result<Bytes> Open(ByteView aad, ByteView sealed) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// RsaPrivateKey unwraps imported key material.
class RsaPrivateKey {
 public:
  enum class Padding { kOaepSha1, kOaepSha256 };
  static Result<RsaPrivateKey> Generate(unsigned bits);
  // FromPkcs8 parses DER that ToPkcs8 made.
  static Result<RsaPrivateKey> FromPkcs8(const SecretBytes& der);
  RsaPrivateKey(RsaPrivateKey&&) noexcept;
  RsaPrivateKey& operator=(RsaPrivateKey&&) noexcept;
  ~RsaPrivateKey();
  SecretBytes ToPkcs8() const;
  // SubjectPublicKeyInfo, DER: what GetParametersForImport hands out.
  Bytes PublicKeyDer() const;
  // Unwrap decrypts RSAES-OAEP (RFC 8017); kInvalidCiphertext on any failure.
  Result<SecretBytes> Unwrap(ByteView wrapped, Padding padding) const;
  // UnwrapRsaAes undoes RSA_AES_KEY_WRAP: an AES-256 key under OAEP, followed
  // by the payload under RFC 5649 key wrap with padding.
  Result<SecretBytes> UnwrapRsaAes(ByteView wrapped, Padding padding) const;

 private:
  RsaPrivateKey();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// SigningKey signs with Ed25519 (RFC 8032): equal messages give equal signatures.
class SigningKey {
 public:
  static SigningKey Generate();
  // FromSeed takes the 32 bytes that Seed gave; kCorrupt for another size.
  static Result<SigningKey> FromSeed(const SecretBytes& seed);
  SigningKey(SigningKey&&) noexcept;
  SigningKey& operator=(SigningKey&&) noexcept;
  ~SigningKey();
  SecretBytes Seed() const;
  // SubjectPublicKeyInfo, DER (RFC 8410), 44 bytes.
  Bytes PublicKeyDer() const;
  Bytes Sign(ByteView message) const;  // 64 bytes

 private:
  SigningKey();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};
// VerifySignature is false for anything but a signature of `message` by the Ed25519
// key whose SubjectPublicKeyInfo is `public_key_der`, hostile bytes included.
[[nodiscard]] bool VerifySignature(ByteView public_key_der, ByteView message,
                                   ByteView signature);
// GeneratedKeyPair is a new pair for somebody else to use.
enum class KeyPairKind {
  kRsa2048,
  kRsa3072,
  kRsa4096,
  kNistP256,
  kNistP384,
  kNistP521,
  kSecgP256k1
};
struct GeneratedKeyPair {
  SecretBytes private_key;  // PKCS #8 (RFC 5958), DER
  Bytes public_key;         // SubjectPublicKeyInfo (RFC 5280), DER
};
// GenerateKeyPair is kInternal when OpenSSL cannot make one.
Result<GeneratedKeyPair> GenerateKeyPair(KeyPairKind kind);

// For the edges where plaintext must cross: a client's own data key in a KMS
// reply, a passphrase that was typed. Copies; the caller answers for the copy.
Bytes RevealSecret(const SecretBytes& secret);
SecretBytes SecretFrom(MutableBytes source);  // wipes `source`
SecretBytes CopySecret(const SecretBytes& secret);
// SecretText is the secret in base64, padded.
SecretBytes SecretText(const SecretBytes& secret);
// Prefixed is `prefix` and `secret` as one.
SecretBytes Prefixed(std::string_view prefix, const SecretBytes& secret);

}  // namespace keyfold
