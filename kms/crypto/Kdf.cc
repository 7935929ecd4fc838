#include <openssl/evp.h>

#include <algorithm>

#include "kms/crypto/Crypto.h"
#include "kms/crypto/Internal.h"

namespace keyfold {
namespace {

// RFC 5869 over our HMAC: OpenSSL's looks its parts up by name in each call, which
// takes twice as long as the work itself.
void HkdfInto(const SecretBytes& key, ByteView salt, ByteView info, MutableBytes out) {
  constexpr size_t kMostBlocks = 255;
  if (out.size() > kMostBlocks * kSha256Size) std::abort();
  SecretBytes extracted(kSha256Size), block(kSha256Size);
  HmacSha256Into(salt, Raw(key), {}, RawMutable(extracted));
  Bytes tail(info.begin(), info.end());
  tail.push_back(0);
  for (size_t done = 0; done < out.size();) {
    ++tail.back();
    HmacSha256Into(Raw(extracted), done == 0 ? ByteView() : Raw(block), tail,
                   RawMutable(block));
    const size_t n = std::min(kSha256Size, out.size() - done);
    std::copy_n(Raw(block).begin(), n, out.begin() + static_cast<ptrdiff_t>(done));
    done += n;
  }
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
