#include "kms/api/HttpStream.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace keyfold {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr seconds kIdle{30};         // between two requests
constexpr seconds kRequestTime{10};  // from a request's first byte to its last
constexpr seconds kWriteTime{10};    // without the peer taking a byte
constexpr seconds kAnswerTime{60};   // for an answer as a whole
constexpr seconds kFinishTime{2};    // for the peer to close, too
constexpr size_t kMostDropped = 16 << 20;

milliseconds Until(steady_clock::time_point end) {
  return std::chrono::duration_cast<milliseconds>(end - steady_clock::now());
}

bool WaitFor(int fd, short events, milliseconds time) {
  pollfd entry{fd, events, 0};
  const auto end = steady_clock::now() + time;
  for (;;) {
    const int64_t left = std::max<int64_t>(Until(end).count(), 0);
    const int found = ::poll(&entry, 1, static_cast<int>(left));
    if (found < 0 && errno == EINTR) continue;
    return found > 0;
  }
}

}  // namespace

HttpStream::HttpStream(int fd, TlsConnection* tls) : fd_(fd), tls_(tls) {
  const timeval idle{kIdle.count(), 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &idle, sizeof idle);
}

ssize_t HttpStream::Receive(int flags) {
  char* const to = buffer_.data() + end_;
  const size_t room = buffer_.size() - end_;
  return tls_ ? tls_->Read({reinterpret_cast<uint8_t*>(to), room})
              : ::recv(fd_, to, room, flags);
}

bool HttpStream::Received(ssize_t count) {
  if (count <= 0) return false;
  end_ += static_cast<size_t>(count);
  return true;
}

// Pass repeats `transfer` until something passed, and waits for `event` between, as
// long as time() says.
template <typename Transfer, typename Time>
ssize_t HttpStream::Pass(short event, Transfer&& transfer, Time&& time) {
  for (;;) {
    const ssize_t count = transfer();
    if (count >= 0) return count;
    if (tls_)
      event = tls_->wanted();
    else if (errno == EINTR)
      continue;
    else if (errno != EAGAIN)
      return -1;
    // What TLS reads may be nothing for us, for as long as the peer likes.
    const milliseconds left = time();
    if (event == 0 || left <= milliseconds(0) || !WaitFor(fd_, event, left)) return -1;
  }
}

bool HttpStream::Begin() {
  if (!tls_) return true;
  if (!WaitFor(fd_, POLLIN, kIdle)) return false;
  const auto end = steady_clock::now() + kRequestTime;
  return Pass(
             POLLIN, [&] { return tls_->Handshake(); }, [&] { return Until(end); }) > 0;
}

bool HttpStream::AwaitRequest() {
  if (begin_ == end_) {
    begin_ = end_ = 0;
    if (tls_ ? !tls_->HasPending() && !WaitFor(fd_, POLLIN, kIdle) : !Block())
      return false;
  }
  deadline_ = steady_clock::now() + kRequestTime;
  return true;
}

// Block receives for as long as a connection may be idle: one system call instead of
// two.
bool HttpStream::Block() {
  ssize_t count;
  do {
    count = Receive(0);
  } while (count < 0 && errno == EINTR);
  return Received(count);
}

bool HttpStream::Fill() {
  std::copy(buffer_.data() + begin_, buffer_.data() + end_, buffer_.data());
  end_ -= begin_;
  begin_ = 0;
  if (IsFull()) return false;
  return Received(Pass(
      POLLIN, [&] { return Receive(MSG_DONTWAIT); }, [&] { return Until(deadline_); }));
}

bool HttpStream::Send(std::string_view text) {
  const auto end = steady_clock::now() + kAnswerTime;
  while (!text.empty()) {
    const ssize_t count = Pass(
        POLLOUT,
        [&] {
          return tls_ ? tls_->Write(AsBytes(text))
                      : ::send(fd_, text.data(), text.size(),
                               MSG_NOSIGNAL | MSG_DONTWAIT);
        },
        [end] { return std::min<milliseconds>(kWriteTime, Until(end)); });
    if (count <= 0) return false;
    text.remove_prefix(static_cast<size_t>(count));
  }
  return true;
}

void HttpStream::Finish() {
  if (tls_) tls_->Close();
  ::shutdown(fd_, SHUT_WR);
  const auto end = steady_clock::now() + kFinishTime;
  for (size_t dropped = 0; dropped < kMostDropped;) {
    if (!WaitFor(fd_, POLLIN, Until(end))) return;
    const ssize_t count = ::recv(fd_, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (count <= 0) return;
    dropped += static_cast<size_t>(count);
  }
}

}  // namespace keyfold
