// Digests: a copy of the audit log never passes for signed unless its signer signed it,
// and anything may stand in it.
//
// An input is the text of one file.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kms/audit/AuditChain.h"
#include "kms/crypto/Crypto.h"
#include "tests/fuzz/Input.h"

using namespace keyfold;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Bytes& signer = *new Bytes(SigningKey::Generate().PublicKeyDer());
  const int fd = memfd_create("copy", MFD_CLOEXEC);
  if (fd < 0 || write(fd, data, size) != static_cast<ssize_t>(size)) abort();
  const auto found = VerifyCopy({"/proc/self/fd/" + std::to_string(fd)}, {signer});
  close(fd);
  Promise(!found.ok() || found->digests == 0, "nobody else's digest passes");
  return 0;
}
