#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "kms/crypto/Crypto.h"
#include "kms/crypto/Internal.h"

namespace keyfold {
namespace {

const EVP_MD* Sha256Md() {
  static const EVP_MD* md = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  return md;
}

}  // namespace

Sha256Digest Sha256(ByteView data) {
  Sha256Digest out;
  Must(EVP_Digest(data.data(), data.size(), out.data(), nullptr, Sha256Md(), nullptr));
  return out;
}

void HmacSha256Into(ByteView key, ByteView first, ByteView second, MutableBytes out) {
  // Fetching the algorithm costs more than a short MAC, so each thread keeps a
  // context; a key of zeros takes the place of the secret one after use. It is also
  // what an empty key stands for.
  static EVP_MAC* const algorithm = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
  static constexpr uint8_t kNoKey[kKeySize] = {};
  thread_local MacCtx ctx;
  if (!ctx) {
    MacCtx fresh = Made(MacCtx(EVP_MAC_CTX_new(algorithm)));
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end()};
    Must(EVP_MAC_CTX_set_params(fresh.get(), params));
    ctx = std::move(fresh);
  }
  if (out.size() != kSha256Size) std::abort();
  if (key.empty()) key = kNoKey;
  size_t size = 0;
  Must(EVP_MAC_init(ctx.get(), key.data(), key.size(), nullptr));
  Must(EVP_MAC_update(ctx.get(), first.data(), first.size()));
  if (!second.empty()) Must(EVP_MAC_update(ctx.get(), second.data(), second.size()));
  Must(EVP_MAC_final(ctx.get(), out.data(), &size, out.size()));
  Must(EVP_MAC_init(ctx.get(), kNoKey, sizeof kNoKey, nullptr));
}

Sha256Digest HmacSha256(const SecretBytes& key, ByteView data) {
  Sha256Digest out;
  HmacSha256Into(Raw(key), data, {}, out);
  return out;
}

SecretBytes HmacSha256Key(const SecretBytes& key, ByteView data) {
  SecretBytes out(kSha256Size);
  HmacSha256Into(Raw(key), data, {}, RawMutable(out));
  return out;
}

Bytes Hmac(MacHash hash, const SecretBytes& key, ByteView message) {
  static constexpr const char* kDigests[] = {"SHA224", "SHA256", "SHA384", "SHA512"};
  Bytes out(EVP_MAX_MD_SIZE);
  size_t size = 0;
  if (EVP_Q_mac(nullptr, "HMAC", nullptr, kDigests[static_cast<size_t>(hash)], nullptr,
                Raw(key).data(), key.size(), message.data(), message.size(), out.data(),
                out.size(), &size) == nullptr)
    throw std::bad_alloc();
  out.resize(size);
  return out;
}

bool ConstantTimeEqual(ByteView a, ByteView b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}
bool ConstantTimeEqual(const SecretBytes& a, const SecretBytes& b) {
  return ConstantTimeEqual(Raw(a), Raw(b));
}

}  // namespace keyfold
