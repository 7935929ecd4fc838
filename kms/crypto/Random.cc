#include <openssl/rand.h>
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

#include "kms/crypto/Crypto.h"
#include "kms/crypto/Internal.h"

namespace keyfold {
namespace {

// RandomPool hands out random bytes drawn a page at a time: OpenSSL takes as long for
// 16 bytes as for a few hundred. A child process finds the page zeroed, and so
// empty: it never gives what its parent gives.
class RandomPool {
 public:
  RandomPool() {
    void* page = ::mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) throw std::bad_alloc();
    if (::madvise(page, sizeof(Page), MADV_WIPEONFORK) != 0) std::abort();
    page_ = static_cast<Page*>(page);
  }
  ~RandomPool() { ::munmap(page_, sizeof(Page)); }
  RandomPool(const RandomPool&) = delete;
  RandomPool& operator=(const RandomPool&) = delete;

  // Take gives up to sizeof(Page::bytes) bytes, each once, and keeps no copy.
  void Take(MutableBytes out) {
    if (page_->left < out.size()) {
      page_->left = 0;  // what a failure leaves there is not to be given
      Must(RAND_bytes(page_->bytes, sizeof page_->bytes));
      page_->left = sizeof page_->bytes;
    }
    page_->left -= out.size();
    std::memcpy(out.data(), page_->bytes + page_->left, out.size());
    ::explicit_bzero(page_->bytes + page_->left, out.size());
  }

 private:
  struct Page {
    size_t left;
    uint8_t bytes[4096 - sizeof(size_t)];
  };
  Page* page_;
};

}  // namespace

void FillRandom(MutableBytes out) {
  constexpr size_t kPooled = 256;
  thread_local RandomPool pool;
  if (out.size() <= kPooled)
    pool.Take(out);
  else
    Must(RAND_bytes(out.data(), static_cast<int>(out.size())));
}

Bytes RandomBytes(size_t size) {
  Bytes out(size);
  FillRandom(out);
  return out;
}

SecretBytes RandomSecret(size_t size) {
  SecretBytes out(size);
  if (size > 0) Must(RAND_priv_bytes(RawMutable(out).data(), static_cast<int>(size)));
  return out;
}

std::string UuidText(ByteView bytes) {
  std::string text = ToHex(bytes);
  for (size_t at : {8, 13, 18, 23}) text.insert(at, 1, '-');
  return text;
}

std::string RandomUuid() {
  std::array<uint8_t, 16> raw;
  FillRandom(raw);
  raw[6] = static_cast<uint8_t>((raw[6] & 0x0f) | 0x40);
  raw[8] = static_cast<uint8_t>((raw[8] & 0x3f) | 0x80);
  return UuidText(raw);
}

}  // namespace keyfold
