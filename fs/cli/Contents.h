// Contents: what a regular file holds, read in order, holes left out, and its hash.
//
// Owns: finding holes, reading past the kernel's cache. Must not know: names, copies.
// Free functions, thread-safe.
#pragma once

#include <cstdint>
#include <functional>

#include "kms/base/Status.h"
#include "kms/crypto/Crypto.h"

namespace keyfold {

struct ReadSteps {
  uint64_t part = 0;  // how many bytes at once, at most; 0: as many as is good
  // Called after so many bytes; what it returns ends the work if it is an error.
  std::function<Status(uint64_t bytes)> passed;
};

// The hash of contents and length. Blocks of zeros do not count, so that a hole and
// zeros that were written are the same, and holes need not be read.
using ContentHash = Sha256Digest;

// ReadContents reads the first `size` bytes and hands what is no hole to `taken`, whose
// error ends it. ChangedMeanwhile when there are fewer.
Status ChangedMeanwhile();  // kSystem/EAGAIN
using Taken = std::function<Status(uint64_t offset, ByteView contents)>;
Result<ContentHash> ReadContents(int fd, uint64_t size, const ReadSteps& steps,
                                 const Taken& taken);
// PassCache syncs the file, and has what is read through `fd` from then on come from
// its filesystem, not from the kernel's cache.
Status PassCache(int fd);

}  // namespace keyfold
