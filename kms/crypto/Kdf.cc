#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>

#include "kms/crypto/Crypto.h"
#include "kms/crypto/Internal.h"

namespace keyfold {
namespace {

EVP_KDF* HkdfAlgorithm() {
  static EVP_KDF* kdf = EVP_KDF_fetch(nullptr, "HKDF", nullptr);
  return kdf;
}

void HkdfInto(const SecretBytes& key, ByteView salt, ByteView info, MutableBytes out) {
  KdfCtx ctx(EVP_KDF_CTX_new(HkdfAlgorithm()));
  if (!ctx) std::abort();
  char digest[] = "SHA256";
  auto octets = [](const char* name, ByteView value) {
    return OSSL_PARAM_construct_octet_string(name, const_cast<uint8_t*>(value.data()),
                                             value.size());
  };
  OSSL_PARAM params[5];
  OSSL_PARAM* at = params;
  *at++ = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0);
  *at++ = octets(OSSL_KDF_PARAM_KEY, Raw(key));
  if (!salt.empty()) *at++ = octets(OSSL_KDF_PARAM_SALT, salt);
  *at++ = octets(OSSL_KDF_PARAM_INFO, info);
  *at = OSSL_PARAM_construct_end();
  Must(EVP_KDF_derive(ctx.get(), out.data(), out.size(), params));
}

}  // namespace

SecretBytes Hkdf(const SecretBytes& key, ByteView salt, ByteView info, size_t size) {
  SecretBytes out(size);
  HkdfInto(key, salt, info, RawMutable(out));
  return out;
}

Bytes HkdfPublic(const SecretBytes& key, ByteView salt, ByteView info, size_t size) {
  Bytes out(size);
  HkdfInto(key, salt, info, out);
  return out;
}

Result<SecretBytes> Scrypt(const SecretBytes& passphrase, ByteView salt,
                           unsigned log2_n, unsigned r, unsigned p) {
  SecretBytes out(kKeySize);
  const ByteView raw = Raw(passphrase);
  const MutableBytes to = RawMutable(out);
  constexpr uint64_t kMaxMemory = uint64_t{4} << 30;
  if (log2_n > 30 ||
      EVP_PBE_scrypt(reinterpret_cast<const char*>(raw.data()), raw.size(), salt.data(),
                     salt.size(), uint64_t{1} << log2_n, r, p, kMaxMemory, to.data(),
                     to.size()) != 1)
    return Status(Error::kInternal, "scrypt refused its parameters");
  return out;
}

}  // namespace keyfold
