#include "kms/api/FilesLink.h"

#include <poll.h>
#include <sys/socket.h>

#include <chrono>

#include "kms/api/Packet.h"

namespace keyfold {
namespace {

using std::chrono::steady_clock;

constexpr auto kPatience = std::chrono::seconds(2);

// Receive gives an empty packet when there is none, or it has more than `most` bytes.
Bytes Receive(int socket, size_t most) {
  Bytes packet(most);
  packet.resize(ReceivePacket(socket, packet));
  return packet;
}

Status NoAnswer() {
  return {Error::kUnavailable, "The process that serves files does not answer."};
}

}  // namespace

Result<OpenHandles> RemoteFileView::Open(std::optional<uid_t> only) {
  const std::unique_lock lock(mutex_, kPatience);
  if (!lock) return NoAnswer();
  if (!SendPacket(socket_.get(), Encode(FilesQuestion{++number_, only}), {},
                  MSG_DONTWAIT)
           .ok())
    return NoAnswer();
  const auto until = steady_clock::now() + kPatience;
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        until - steady_clock::now());
    pollfd wait{socket_.get(), POLLIN, 0};
    if (left.count() <= 0 || ::poll(&wait, 1, static_cast<int>(left.count())) <= 0)
      return NoAnswer();
    auto answer = DecodeFilesAnswer(Receive(socket_.get(), kMostDataKeyMessage));
    if (!answer) return NoAnswer();
    // One of before came too late.
    if (answer->number == number_) return std::move(answer->open);
  }
}

FileViewServer::FileViewServer(UniqueFd socket, List list)
    : socket_(std::move(socket)),
      list_(std::move(list)),
      thread_([this] { Serve(); }) {}

FileViewServer::~FileViewServer() {
  ::shutdown(socket_.get(), SHUT_RDWR);
  thread_.join();
}

void FileViewServer::Serve() {
  constexpr size_t kMostQuestion = 64;
  for (;;) {
    try {
      const auto question = DecodeFilesQuestion(Receive(socket_.get(), kMostQuestion));
      if (!question) return;
      const FilesAnswer answer{question->number, list_(question->only)};
      // Who asked is told that there is no answer, if this fails.
      (void)SendPacket(socket_.get(), Encode(answer), {});
    } catch (const std::bad_alloc&) {  // or this
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  }
}

}  // namespace keyfold
