#include "kms/api/ServeHttp.h"

#include <algorithm>
#include <boost/beast/http.hpp>
#include <ctime>

#include "kms/api/HttpStream.h"
#include "kms/crypto/Crypto.h"

namespace keyfold {
namespace {

namespace http = boost::beast::http;
using Parser = http::request_parser<http::string_body>;
using Field = http::field;

constexpr uint32_t kMaxHeaders = 16 * 1024;
constexpr int kMaxRequests = 10'000;  // through one connection
constexpr size_t kKeptRoom = 64 * 1024;

// AWS's clients correct their clock by it. RFC 9110, section 5.6.7.
std::string HttpDate(time_t now) {
  tm utc{};
  ::gmtime_r(&now, &utc);
  std::array<char, 40> text{};
  ::strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S GMT", &utc);
  return text.data();
}

std::string_view View(boost::beast::string_view text) {
  return {text.data(), text.size()};
}

Reply Malformed(std::string_view what) {
  return ErrorReply("SerializationException", what);
}

// Refusal answers, before any body is read, what is not of the kind: another method or
// path, and bodies of a size not known in advance, or in pieces or encoded.
std::optional<Reply> Refusal(const Parser::value_type& request, HttpKind kind) {
  const bool page = kind == HttpKind::kPages;
  const bool get = page && request.method() == http::verb::get;
  if ((request.method() != http::verb::post && !get) ||
      (request.target() != "/" && !page))
    return ErrorReply("UnknownOperationException",
                      page ? "Only GET and POST are answered."
                           : "Only POST requests to / are answered.",
                      404);
  if (request.count(Field::host) > 1) return Malformed("There is more than one Host.");
  const bool plain = request.count(Field::transfer_encoding) == 0 &&
                     request.count(Field::content_encoding) == 0 &&
                     request.count(Field::range) == 0 &&
                     !request[Field::content_type].starts_with("multipart/");
  if (!plain || request.count(Field::content_length) != (get ? 0U : 1U))
    return Malformed("The body must be plain and whole, with a Content-Length.");
  return std::nullopt;
}

Reply RefusalOf(boost::beast::error_code error) {
  if (error == http::error::header_limit)
    return ErrorReply("SerializationException", "The headers have more than 16 KiB.",
                      431);
  if (error == http::error::body_limit)
    return ErrorReply("RequestEntityTooLargeException",
                      "The request has more than 1 MiB.", 413);
  return Malformed("The request is not well-formed HTTP.");
}

HttpRequest RequestOf(Parser::value_type&& request) {
  HttpRequest out;
  out.method = View(request.method_string());
  out.target = View(request.target());
  for (const auto& field : request) {
    auto& [name, value] =
        out.headers.emplace_back(View(field.name_string()), View(field.value()));
    for (char& c : name)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  std::stable_sort(out.headers.begin(), out.headers.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  out.body = std::move(request.body());
  return out;
}

// HttpConnection answers the requests of one connection, one after the other.
class HttpConnection {
 public:
  HttpConnection(int fd, TlsConnection* tls, const HttpHandler& handler, HttpKind kind)
      : stream_(fd, tls), handler_(handler), kind_(kind) {}

  void Serve() {
    if (!stream_.Begin()) return;
    for (int left = kMaxRequests; left > 0 && stream_.AwaitRequest(); --left)
      if (!ServeOne(left == 1)) return;
  }

 private:
  // What comes of reading a part of a request.
  enum class Read { kDone, kRefused, kGone };

  // ServeOne is false when the connection is to end.
  bool ServeOne(bool last) {
    Parser parser;
    parser.header_limit(kMaxHeaders);
    parser.body_limit(kMaxBody);
    Read read = ReadUntil(parser, kMaxHeaders, [&] { return parser.is_header_done(); });
    if (read == Read::kGone) return false;
    if (read == Read::kDone) {
      if (const auto refusal = Refusal(parser.get(), kind_))
        return Answer(*refusal, true);
      if (boost::beast::iequals(parser.get()[Field::expect], "100-continue") &&
          !stream_.Send("HTTP/1.1 100 Continue\r\n\r\n"))
        return false;
      read = ReadUntil(parser, kMaxBody, [&] { return parser.is_done(); });
      if (read == Read::kGone) return false;
    }
    // What follows a request that could not be read is not the next one.
    if (read == Read::kRefused) return Answer(RefusalOf(error_), true);
    const bool close = last || parser.get().version() < 11 || !parser.keep_alive();
    const Reply reply = Call(RequestOf(parser.release()));
    return Answer(reply, close || reply.close);
  }

  // ReadUntil gives the parser at most `most` bytes: its own limit is on what it is
  // given at once.
  template <typename Done>
  Read ReadUntil(Parser& parser, size_t most, Done&& done) {
    for (size_t read = 0; !done();) {
      const std::string_view received = stream_.received();
      const size_t taken =
          parser.put(boost::asio::buffer(received.data(), received.size()), error_);
      stream_.Consume(taken);
      read += taken;
      if (read > most || stream_.IsFull()) error_ = http::error::header_limit;
      if (done() && read <= most) break;
      if (error_ && error_ != http::error::need_more) return Read::kRefused;
      if (!stream_.Fill()) return Read::kGone;
    }
    return Read::kDone;
  }

  Reply Call(const HttpRequest& request) {
    try {
      return handler_(request);
    } catch (const std::exception&) {
      return ErrorReply("KMSInternalException", "The request failed.", 500);
    }
  }

  // Answer is false when no other may follow on the connection.
  bool Answer(const Reply& reply, bool close) {
    Write(reply, close);
    // A large body is not copied behind its head: many may wait to be taken.
    const bool apart = reply.body.size() > kKeptRoom;
    if (!apart) text_ += reply.body;
    const bool sent = stream_.Send(text_) && (!apart || stream_.Send(reply.body));
    if (text_.capacity() > kKeptRoom) std::string().swap(text_);
    if (sent && close) stream_.Finish();
    return sent && !close;
  }

  // Write puts the answer's head into text_.
  void Write(const Reply& reply, bool close) {
    if (const time_t now = ::time(nullptr); now != date_) {
      date_text_ = HttpDate(now);
      date_ = now;
    }
    text_ = "HTTP/1.1 " + std::to_string(reply.http_status) + " ";
    text_ += View(http::obsolete_reason(
        http::int_to_status(static_cast<unsigned>(reply.http_status))));
    text_ += "\r\nx-amzn-RequestId: ";
    text_ += reply.request_id.empty() ? RandomUuid() : reply.request_id;
    text_ += "\r\nDate: ";
    text_ += date_text_;
    text_ += "\r\nCache-Control: no-cache, no-store, must-revalidate, private";
    text_ += "\r\nX-Content-Type-Options: nosniff\r\nContent-Type: ";
    text_ += reply.content_type;
    text_ += "\r\nContent-Length: ";
    text_ += std::to_string(reply.body.size());
    text_ += "\r\n";
    text_ += reply.headers;
    if (close) text_ += "Connection: close\r\n";
    text_ += "\r\n";
  }

  HttpStream stream_;
  const HttpHandler& handler_;
  const HttpKind kind_;
  boost::beast::error_code error_;
  std::string text_;  // of the answer: its room is used again
  time_t date_ = 0;
  std::string date_text_;  // of date_
};

}  // namespace

void ServeHttp(int fd, const HttpHandler& handler, TlsConnection* tls,
               HttpKind kind) noexcept {
  try {
    HttpConnection(fd, tls, handler, kind).Serve();
  } catch (const std::exception&) {
    // Out of memory for this connection: it is closed, the others go on.
  }
}

}  // namespace keyfold
