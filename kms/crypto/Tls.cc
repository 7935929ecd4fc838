#include "kms/crypto/Tls.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <climits>

#include "kms/base/PrivateFile.h"
#include "kms/base/UniqueFd.h"
#include "kms/crypto/Internal.h"

namespace keyfold {
namespace {

using Context = std::unique_ptr<SSL_CTX, Deleter<SSL_CTX_free>>;
using File = std::unique_ptr<BIO, Deleter<BIO_free>>;
using Session = std::unique_ptr<SSL, Deleter<SSL_free>>;

int SizeOf(size_t size) { return static_cast<int>(std::min<size_t>(size, INT_MAX)); }

Status Unreadable(const std::string& file, const char* what) {
  const char* reason = ERR_reason_error_string(ERR_peek_last_error());
  ERR_clear_error();
  return {Error::kUsage, file + " cannot be used as the TLS " + what + ": " +
                             (reason == nullptr ? "no reason given" : reason) +
                             ". Name a PEM file."};
}

// UseKey reads the very file whose owner and mode it looked at.
Status UseKey(SSL_CTX* context, const std::string& path) {
  // O_NONBLOCK: opening a FIFO must not wait.
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!fd.valid()) return Status::FromErrno(errno, path);
  KF_RETURN_IF_ERROR(CheckPrivateFile(fd.get(), path));
  const auto file = Made(File(BIO_new_fd(fd.get(), BIO_NOCLOSE)));
  // A key under a passphrase is refused, not asked for.
  const Pkey key(PEM_read_bio_PrivateKey(
      file.get(), nullptr, [](char*, int, int, void*) { return 0; }, nullptr));
  if (!key || SSL_CTX_use_PrivateKey(context, key.get()) != 1 ||
      SSL_CTX_check_private_key(context) != 1)
    return Unreadable(path, "key");
  return OkStatus();
}

}  // namespace

struct TlsConnection::Impl {
  Session ssl;
};
struct TlsServer::Impl {
  Context context;
};

TlsConnection::TlsConnection(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TlsConnection::~TlsConnection() = default;

ssize_t TlsConnection::Outcome(int result) {
  wanted_ = 0;
  if (result > 0) return result;
  switch (SSL_get_error(impl_->ssl.get(), result)) {
    case SSL_ERROR_WANT_READ:
      wanted_ = POLLIN;
      return -1;
    case SSL_ERROR_WANT_WRITE:
      wanted_ = POLLOUT;
      return -1;
    case SSL_ERROR_ZERO_RETURN:
      return 0;
    default:
      ERR_clear_error();
      return -1;
  }
}

ssize_t TlsConnection::Read(MutableBytes out) {
  ERR_clear_error();
  return Outcome(SSL_read(impl_->ssl.get(), out.data(), SizeOf(out.size())));
}

ssize_t TlsConnection::Write(ByteView data) {
  ERR_clear_error();
  return Outcome(SSL_write(impl_->ssl.get(), data.data(), SizeOf(data.size())));
}

ssize_t TlsConnection::Handshake() {
  ERR_clear_error();
  return Outcome(SSL_do_handshake(impl_->ssl.get()));
}

void TlsConnection::Close() {
  ERR_clear_error();
  (void)SSL_shutdown(impl_->ssl.get());
  ERR_clear_error();
}

bool TlsConnection::HasPending() const { return SSL_pending(impl_->ssl.get()) > 0; }

TlsServer::TlsServer() : impl_(std::make_unique<Impl>()) {}
TlsServer::TlsServer(TlsServer&&) noexcept = default;
TlsServer::~TlsServer() = default;

Result<TlsServer> TlsServer::Load(const std::string& certificate,
                                  const std::string& key) {
  TlsServer server;
  server.impl_->context = Made(Context(SSL_CTX_new(TLS_server_method())));
  SSL_CTX* context = server.impl_->context.get();
  Must(SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION));
  // A write that has to wait is repeated with what is left, from another place.
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_RELEASE_BUFFERS);
  // Else it would go on reading what is for itself alone for as long as that comes.
  SSL_CTX_clear_mode(context, SSL_MODE_AUTO_RETRY);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  // A fifo would be waited for.
  struct stat st;
  if (::stat(certificate.c_str(), &st) == 0 && !S_ISREG(st.st_mode))
    return Status(Error::kUsage, certificate + " is not a regular file.");
  if (SSL_CTX_use_certificate_chain_file(context, certificate.c_str()) != 1)
    return Unreadable(certificate, "certificate");
  KF_RETURN_IF_ERROR(UseKey(context, key));
  return server;
}

std::unique_ptr<TlsConnection> TlsServer::Accept(int fd) const {
  auto connection = std::make_unique<TlsConnection::Impl>();
  connection->ssl.reset(SSL_new(impl_->context.get()));
  if (!connection->ssl || SSL_set_fd(connection->ssl.get(), fd) != 1) return nullptr;
  SSL_set_accept_state(connection->ssl.get());
  return std::unique_ptr<TlsConnection>(new TlsConnection(std::move(connection)));
}

}  // namespace keyfold
