// HttpStream: the bytes of one connection, with a time limit on each request.
//
// Owns: a buffer of what was received, and waiting. Must not know: HTTP. One thread.
#pragma once

#include <array>
#include <chrono>
#include <string_view>

#include "kms/crypto/Tls.h"

namespace keyfold {

class HttpStream {
 public:
  // With `tls` the bytes pass through that, and `fd` does not block. Neither is closed.
  HttpStream(int fd, TlsConnection* tls);

  // Begin comes first. With TLS it is false when the handshake's first byte does not
  // come in 30 seconds, or its last 10 after that.
  bool Begin();
  // AwaitRequest is false when no first byte of a request comes in 30 seconds. The rest
  // of the request has 10 from there on.
  bool AwaitRequest();
  // What was received and not yet consumed, in one piece.
  std::string_view received() const { return {buffer_.data() + begin_, end_ - begin_}; }
  void Consume(size_t count) { begin_ += count; }
  // Fill waits for more; false when the peer is gone or out of time, or when it is
  // full.
  bool Fill();
  // IsFull: 16 KiB are received and not consumed.
  bool IsFull() const { return end_ - begin_ == buffer_.size(); }
  // Send is false when the peer takes no byte for 10 seconds, not all of them within a
  // minute, or is gone.
  bool Send(std::string_view text);
  // Finish lets the peer read what was sent last: it says that nothing follows, and
  // takes, for at most 2 seconds and 16 MiB, what is still on its way. Closing with
  // bytes unread would have the kernel tell the peer to throw the answer away.
  void Finish();

 private:
  ssize_t Receive(int flags);
  template <typename Transfer, typename Time>
  ssize_t Pass(short event, Transfer&& transfer, Time&& time);
  bool Received(ssize_t count);
  bool Block();

  const int fd_;
  TlsConnection* const tls_;
  std::array<char, 16 * 1024> buffer_;
  size_t begin_ = 0, end_ = 0;
  std::chrono::steady_clock::time_point deadline_{};
};

}  // namespace keyfold
