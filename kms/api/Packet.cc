#include "kms/api/Packet.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>

namespace keyfold {

Status SendPacket(int socket, ByteView head, ByteView tail, int flags) {
  std::array<iovec, 2> parts{{{const_cast<uint8_t*>(head.data()), head.size()},
                              {const_cast<uint8_t*>(tail.data()), tail.size()}}};
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  ssize_t n;
  do n = ::sendmsg(socket, &message, MSG_NOSIGNAL | flags);
  while (n < 0 && errno == EINTR);
  if (n < 0) return Status::FromErrno(errno, "send");
  return static_cast<size_t>(n) == head.size() + tail.size()
             ? OkStatus()
             : Status::FromErrno(EIO, "send");
}

size_t ReceivePacket(int socket, MutableBytes room) {
  ssize_t n;
  do n = ::recv(socket, room.data(), room.size(), MSG_TRUNC);
  while (n < 0 && errno == EINTR);
  const bool whole = n > 0 && static_cast<size_t>(n) <= room.size();
  return whole ? static_cast<size_t>(n) : 0;
}

}  // namespace keyfold
