#include "kms/api/LoopbackSocket.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

namespace keyfold {
namespace {

constexpr int kBacklog = 128;

union Address {
  sockaddr any;
  sockaddr_in v4;
  sockaddr_in6 v6;
};

Status BadAddress(const std::string& given) {
  return {Error::kUsage,
          "\"" + given +
              "\" is no address of this machine alone. Give 127.0.0.1:PORT, [::1]:PORT "
              "or localhost:PORT; other machines reach it through a proxy or an SSH "
              "tunnel."};
}

bool IsLoopback(const Address& address) {
  if (address.any.sa_family == AF_INET)
    return (ntohl(address.v4.sin_addr.s_addr) >> 24) == 127;
  return IN6_IS_ADDR_LOOPBACK(&address.v6.sin6_addr);
}

Result<Address> Parse(const std::string& given) {
  const size_t colon = given.rfind(':');
  if (colon == std::string::npos) return BadAddress(given);
  std::string host = given.substr(0, colon);
  uint16_t port = 0;
  const char* end = given.data() + given.size();
  const auto parsed = std::from_chars(given.data() + colon + 1, end, port);
  if (parsed.ec != std::errc() || parsed.ptr != end) return BadAddress(given);
  if (host == "localhost") host = "127.0.0.1";
  Address address{};
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    address.v6.sin6_family = AF_INET6;
    address.v6.sin6_port = htons(port);
    host = host.substr(1, host.size() - 2);
    if (::inet_pton(AF_INET6, host.c_str(), &address.v6.sin6_addr) != 1)
      return BadAddress(given);
  } else {
    address.v4.sin_family = AF_INET;
    address.v4.sin_port = htons(port);
    if (::inet_pton(AF_INET, host.c_str(), &address.v4.sin_addr) != 1)
      return BadAddress(given);
  }
  if (!IsLoopback(address)) return BadAddress(given);
  return address;
}

socklen_t SizeOf(const Address& address) {
  return address.any.sa_family == AF_INET ? sizeof address.v4 : sizeof address.v6;
}

std::string HostOf(const Address& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const void* host = address.any.sa_family == AF_INET
                         ? static_cast<const void*>(&address.v4.sin_addr)
                         : static_cast<const void*>(&address.v6.sin6_addr);
  ::inet_ntop(address.any.sa_family, host, text.data(), text.size());
  return text.data();
}

uint16_t PortOf(const Address& address) {
  return address.any.sa_family == AF_INET ? address.v4.sin_port : address.v6.sin6_port;
}

bool EndOf(int fd, decltype(::getpeername)* which, Address* out) {
  socklen_t size = sizeof *out;
  *out = {};
  return which(fd, &out->any, &size) == 0 &&
         (out->any.sa_family == AF_INET || out->any.sa_family == AF_INET6);
}

void PutHost(const Address& address, __be32 (&words)[4]) {
  if (address.any.sa_family == AF_INET)
    words[0] = address.v4.sin_addr.s_addr;
  else
    std::memcpy(words, &address.v6.sin6_addr, sizeof words);
}

}  // namespace

Result<LoopbackSocket> LoopbackSocket::Listen(const std::string& given) {
  KF_ASSIGN_OR_RETURN(Address address, Parse(given));
  LoopbackSocket socket;
  socket.fd_ = ::socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (socket.fd_ < 0) return Status::FromErrno(errno, "socket");
  const int on = 1;
  ::setsockopt(socket.fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  ::setsockopt(socket.fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (::bind(socket.fd_, &address.any, SizeOf(address)) != 0 ||
      ::listen(socket.fd_, kBacklog) != 0)
    return Status::FromErrno(errno, "listen on " + given);
  if (!EndOf(socket.fd_, ::getsockname, &address))
    return Status::FromErrno(errno, "socket's address");
  const std::string host = HostOf(address);
  socket.port_ = ntohs(PortOf(address));
  socket.address_ = (address.any.sa_family == AF_INET ? host : "[" + host + "]") + ":" +
                    std::to_string(socket.port_);
  return socket;
}

LoopbackSocket::LoopbackSocket(LoopbackSocket&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      address_(std::move(other.address_)),
      port_(other.port_) {}

LoopbackSocket::~LoopbackSocket() {
  if (fd_ >= 0) ::close(fd_);
}

std::string PeerAddress(int fd) {
  Address peer;
  return EndOf(fd, ::getpeername, &peer) ? HostOf(peer) : "unknown";
}

std::optional<uid_t> PeerUid(int fd) {
  Address here, peer;
  if (!EndOf(fd, ::getsockname, &here) || !EndOf(fd, ::getpeername, &peer))
    return std::nullopt;
  struct {
    nlmsghdr header;
    inet_diag_req_v2 request;
  } ask{};
  ask.header.nlmsg_len = sizeof ask;
  ask.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  ask.header.nlmsg_flags = NLM_F_REQUEST;
  ask.request.sdiag_family = static_cast<uint8_t>(peer.any.sa_family);
  ask.request.sdiag_protocol = IPPROTO_TCP;
  ask.request.idiag_states = ~0u;
  // The other end's socket: what is its own is the peer of ours.
  ask.request.id.idiag_sport = PortOf(peer);
  ask.request.id.idiag_dport = PortOf(here);
  PutHost(peer, ask.request.id.idiag_src);
  PutHost(here, ask.request.id.idiag_dst);
  ask.request.id.idiag_cookie[0] = ask.request.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  const int netlink = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
  if (netlink < 0) return std::nullopt;
  alignas(nlmsghdr) std::array<char, 8192> answer;
  ssize_t size = ::send(netlink, &ask, sizeof ask, 0);
  if (size > 0) size = ::recv(netlink, answer.data(), answer.size(), 0);
  ::close(netlink);
  nlmsghdr header;
  inet_diag_msg found;
  if (size < static_cast<ssize_t>(NLMSG_LENGTH(sizeof found))) return std::nullopt;
  std::memcpy(&header, answer.data(), sizeof header);
  std::memcpy(&found, answer.data() + NLMSG_HDRLEN, sizeof found);
  // A socket that was closed meanwhile is nobody's, and a listening one another's.
  const inet_diag_sockid& id = found.id;
  if (header.nlmsg_type != SOCK_DIAG_BY_FAMILY || found.idiag_inode == 0 ||
      found.idiag_state == TCP_LISTEN || id.idiag_sport != ask.request.id.idiag_sport ||
      id.idiag_dport != ask.request.id.idiag_dport)
    return std::nullopt;
  return found.idiag_uid;
}

}  // namespace keyfold
