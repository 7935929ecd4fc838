// DataKeys: what a process that serves files sends to the one with the keys, and what
// it is answered: bytes that are a message are the one that is written, and no bytes
// end the other side, nor take a key from it that is no file's.
//
// An input is a kind, then a packet: a request (even kind) or an answer; from 128 on,
// of what is open.
#include <sys/socket.h>

#include "kms/api/DataKeyServer.h"
#include "tests/fuzz/FuzzKms.h"

using namespace keyfold;

namespace {

// Server has one connection, and is made anew when that ended.
class Server {
 public:
  std::optional<DataKeyAnswer> Ask(ByteView packet) {
    if (!server_) Start();
    Promise(::send(files_.calls[0].get(), packet.data(), packet.size(), MSG_NOSIGNAL) ==
                static_cast<ssize_t>(packet.size()),
            "the connection is there");
    auto answer = DataKeySocket(files_.calls[0].get()).ReceiveAnswer();
    if (!answer) server_.reset();
    return answer;
  }

 private:
  void Start() {
    auto link = DataKeyLink::Make(1);
    Promise(link.ok(), "there are sockets");
    files_ = std::move(link->files);
    server_ = std::make_unique<DataKeyServer>(fuzz_.kms(), std::move(link->kms));
  }

  FuzzKms fuzz_;
  DataKeyEnd files_;
  std::unique_ptr<DataKeyServer> server_;
};

void Request(ByteView packet) {
  static Server& server = *new Server();
  const auto request = DecodeDataKeyRequest(packet);
  if (request) {
    const Bytes written = Encode(*request);
    Promise(written == Bytes(packet.begin(), packet.end()),
            "a request that is read is the one that is written");
    Promise(!request->caller.is_service && request->caller.role.empty() &&
                request->caller.access_key_id.empty(),
            "who calls is a process");
  }
  if (packet.empty()) return;  // is the end
  const auto answer = server.Ask(packet);
  Promise(answer.has_value() == request.has_value(), "requests alone are answered");
  if (!answer) return;
  Promise(answer->status.ok() || answer->key.empty(), "a failure brings no key");
  Promise(
      answer->key.empty() || request->context.begin()->first.starts_with("keyfold:"),
      "a key that is given is a file's");
}

void Answer(ByteView packet) {
  Bytes bytes(packet.begin(), packet.end());
  const auto answer = DecodeDataKeyAnswer(bytes);
  if (!answer) return;
  const Bytes written = Encode(*answer);
  Promise(written.size() + answer->key.bytes().size() == packet.size() &&
              std::equal(written.begin(), written.end(), packet.begin()),
          "an answer that is read is the one that is written");
  for (size_t i = written.size(); i < bytes.size(); ++i)
    Promise(bytes[i] == 0, "no key is left behind");
}

// Same promises that what is read is written alike.
template <typename Message>
void Same(const std::optional<Message>& read, ByteView packet) {
  if (read)
    Promise(Encode(*read) == Bytes(packet.begin(), packet.end()),
            "a message that is read is the one that is written");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const ByteView packet(data + 1, size - 1);
  if (data[0] >= 128 && data[0] % 2 == 0)
    Same(DecodeFilesQuestion(packet), packet);
  else if (data[0] >= 128)
    Same(DecodeFilesAnswer(packet), packet);
  else if (data[0] % 2 == 0)
    Request(packet);
  else
    Answer(packet);
  return 0;
}
