// Having a mount encrypt an open file anew, part by part. Free functions.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "fs/fuse/Reencryption.h"
#include "kms/base/Status.h"

namespace keyfold {

// Reencrypt gives the file that `path` leads to (it may be an O_PATH descriptor's)
// another data key, or goes on with what was cut off: calls `begun` once it has that
// key, asks `part` before each step how much to do, and tells `passed` how many bytes
// were done. Others may have the file open. kSystem with the mount's errno; the file
// can be used whatever fails, and running it again goes on.
struct ReencryptSteps {
  std::function<Status()> begun;
  std::function<uint64_t()> part;
  std::function<void(uint64_t)> passed;
};
Status Reencrypt(const std::string& path, const ReencryptSteps& steps);
// AskToReencrypt asks for one part, of a descriptor that is open for writing. kSystem.
Status AskToReencrypt(int fd, Reencryption* asked);

}  // namespace keyfold
