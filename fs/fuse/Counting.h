// Counting: how many requests of each kind there are, how long they take and why they
// fail, without a word of it in the operations.
//
// Must not know: what the operations do, who looks at the counts. Thread-safe.
#pragma once

#include "fs/fuse/Request.h"

namespace keyfold {

// CountOperations puts a clock before each operation that `ops` has.
void CountOperations(fuse_lowlevel_ops* ops);
// CountFailure notes that a request is answered with `error`, a positive errno.
void CountFailure(FileCounts& counts, int error);

}  // namespace keyfold
