// Where the daemon's Unix socket lies, and making it there.
//
// Owns: the runtime folder's place and permissions, replacing the socket of a
// dead daemon. Must not know: what is spoken through it. Not synchronised.
#pragma once

#include <sys/types.h>

#include <string>

#include "kms/base/Status.h"

namespace keyfold {

// MakeRuntimeFolder returns the folder for sockets, made if it is missing:
// /run/keyfold (0755) for root; $XDG_RUNTIME_DIR/keyfold or /tmp/keyfold-UID
// (0700) for others. kAccessDenied when it is not this user's alone to write.
Result<std::string> MakeRuntimeFolder();

// SocketFile is a listening socket that everyone who reaches it may connect to;
// removed when the object goes.
class SocketFile {
 public:
  // Listen makes the socket at `path`. kLocked when another process listens
  // there; a socket nobody listens on is replaced. kUsage for a path longer
  // than a socket's address can be (107 bytes).
  static Result<SocketFile> Listen(const std::string& path);
  SocketFile(SocketFile&& other) noexcept;
  SocketFile& operator=(SocketFile&&) = delete;
  ~SocketFile();

  int fd() const { return fd_; }
  const std::string& path() const { return path_; }

 private:
  SocketFile() = default;
  int fd_ = -1;
  std::string path_;
  ino_t ino_ = 0;
};

}  // namespace keyfold
