// Tls: a server's end of TLS 1.2 or 1.3 on connected sockets.
//
// Owns: certificate, key and the protocol. Must not know: what is spoken, how to wait:
// the caller makes the socket non-blocking and waits for what wanted() says. TlsServer
// may be used by several threads, a TlsConnection by one.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "kms/base/Bytes.h"
#include "kms/base/Status.h"

namespace keyfold {

class TlsConnection {
 public:
  ~TlsConnection();
  // Read and Write return how many bytes passed, 0 at the end of the connection, -1
  // when the socket has to be waited for or the connection is broken.
  ssize_t Read(MutableBytes out);
  ssize_t Write(ByteView data);
  // Handshake is 1 when the peers agree, else as Read. It comes before the others.
  ssize_t Handshake();
  // Close tells the peer, if that is possible without waiting, that nothing follows.
  void Close();
  // Poll's event to wait for after -1; 0 when the connection is broken.
  short wanted() const { return wanted_; }
  // What was received and not yet read.
  bool HasPending() const;

 private:
  friend class TlsServer;
  struct Impl;
  explicit TlsConnection(std::unique_ptr<Impl> impl);
  ssize_t Outcome(int result);
  std::unique_ptr<Impl> impl_;
  short wanted_ = 0;
};

class TlsServer {
 public:
  // Load reads PEM files: the certificate with its chain, and its private key.
  // kUsage when one is no such file, they do not belong together, or others may read
  // the key; kSystem when the key's cannot be opened.
  static Result<TlsServer> Load(const std::string& certificate, const std::string& key);
  TlsServer(TlsServer&&) noexcept;
  TlsServer& operator=(TlsServer&&) = delete;
  ~TlsServer();

  // Accept makes the server's end on `fd`, which the caller closes. Null for want of
  // memory.
  std::unique_ptr<TlsConnection> Accept(int fd) const;

 private:
  TlsServer();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace keyfold
