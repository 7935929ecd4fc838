// Kernel: the kernel's side of FUSE, in the test's own process. Requests go as bytes
// through libfuse to the mount's real operations, and answers come back as bytes;
// nothing is mounted, so /dev/fuse and rights are not needed, and any request can be
// made.
//
// One at a time in a process. Used by one thread.
#pragma once

#include <linux/fuse.h>
#include <sys/uio.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <optional>
#include <string>

#include "fs/fuse/Request.h"

namespace keyfold {

// Message is the part of a request behind its header.
class Message {
 public:
  Message() = default;
  template <typename Part>
  explicit Message(const Part& part) {
    Add(part);
  }
  template <typename Part>
  Message& Add(const Part& part) {
    static_assert(std::is_trivially_copyable_v<Part>);
    return Raw({reinterpret_cast<const uint8_t*>(&part), sizeof part});
  }
  Message& Name(std::string_view name) { return Raw(AsBytes(name)).Add('\0'); }
  Message& Raw(ByteView bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  const Bytes& bytes() const { return bytes_; }

 private:
  Bytes bytes_;
};

class Kernel {
 public:
  struct Answer {
    int error = 0;  // a positive errno
    Bytes body;
    bool ok() const { return error == 0; }
    // As is what the body begins with.
    template <typename Part>
    Part As() const {
      Part part{};
      if (!body.empty())
        std::memcpy(&part, body.data(), std::min(sizeof part, body.size()));
      return part;
    }
  };

  explicit Kernel(Vault& vault) {
    constexpr size_t kDescriptors = 4;  // most anchors are handles
    fs_ = FuseMount::Impl::Make(vault, {}, kDescriptors).value();
    const fuse_custom_io io{Take, NothingToRead, nullptr, nullptr};
    const int none = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fuse_session_custom_io(fs_->session, &io, none) != 0) std::abort();
    running_ = this;
    fs_->flusher.Start();
    fuse_init_in init{};
    init.major = FUSE_KERNEL_VERSION;
    init.minor = FUSE_KERNEL_MINOR_VERSION;
    init.max_readahead = 1 << 20;
    init.flags = FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_DONT_MASK |
                 FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_PARALLEL_DIROPS |
                 FUSE_WRITEBACK_CACHE | FUSE_POSIX_ACL | FUSE_CACHE_SYMLINKS |
                 FUSE_MAX_PAGES | FUSE_HANDLE_KILLPRIV_V2 | FUSE_ATOMIC_O_TRUNC;
    if (!Ask(FUSE_INIT, 0, Message(init)).ok()) std::abort();
  }
  ~Kernel() {
    fs_->flusher.Stop();
    fs_.reset();
    running_ = nullptr;
  }
  Kernel(const Kernel&) = delete;
  Kernel& operator=(const Kernel&) = delete;

  // Ask makes a request as the process's own user, and waits for the answer.
  Answer Ask(uint32_t opcode, uint64_t node, const Message& message = {},
             uid_t uid = ::geteuid()) {
    Send(opcode, node, message, uid);
    std::unique_lock lock(mutex_);
    if (!answered_.wait_for(lock, std::chrono::seconds(30), [&] { return !!answer_; }))
      broken_ = "a request is not answered";
    return answer_ ? *std::exchange(answer_, {}) : Answer{ETIMEDOUT, {}};
  }
  // Tell makes one that has no answer.
  void Tell(uint32_t opcode, uint64_t node, const Message& message) {
    Send(opcode, node, message, ::geteuid());
  }
  // Broken is a promise of the protocol that was not kept; empty if none.
  std::string Broken() const {
    std::lock_guard lock(mutex_);
    return answer_ ? "an answer to no request" : broken_;
  }
  FuseMount::Impl& fs() { return *fs_; }

 private:
  void Send(uint32_t opcode, uint64_t node, const Message& message, uid_t uid) {
    fuse_in_header header{};
    header.len = static_cast<uint32_t>(sizeof header + message.bytes().size());
    header.opcode = opcode;
    header.nodeid = node;
    header.uid = uid;
    header.gid = ::getegid();
    header.pid = static_cast<uint32_t>(::getpid());
    {
      std::lock_guard lock(mutex_);
      if (answer_) broken_ = "an answer to no request";
      answer_.reset();
      header.unique = unique_ += 2;
    }
    Message request(header);
    request.Raw(message.bytes());
    fuse_buf buffer{};
    buffer.size = request.bytes().size();
    buffer.mem = const_cast<uint8_t*>(request.bytes().data());
    fuse_session_process_buf(fs_->session, &buffer);
  }
  static ssize_t NothingToRead(int, void*, size_t, void*) {
    errno = EAGAIN;
    return -1;
  }
  static ssize_t Take(int, iovec* parts, int count, void*) {
    Message all;
    for (int i = 0; i < count; ++i)
      all.Raw({static_cast<const uint8_t*>(parts[i].iov_base), parts[i].iov_len});
    running_->Received(all.bytes());
    return static_cast<ssize_t>(all.bytes().size());
  }
  void Received(const Bytes& bytes) {
    fuse_out_header header{};
    std::lock_guard lock(mutex_);
    if (bytes.size() < sizeof header) {
      broken_ = "an answer without a header";
      return;
    }
    std::memcpy(&header, bytes.data(), sizeof header);
    if (header.unique == 0) return;  // it asks the kernel to forget something
    if (header.len != bytes.size()) broken_ = "an answer of another size than it says";
    if (header.unique != unique_) broken_ = "an answer to no request";
    if (answer_) broken_ = "two answers to a request";
    if (header.error > 0 || header.error <= -512) broken_ = "an error there is not";
    answer_ = Answer{-header.error, Bytes(bytes.begin() + sizeof header, bytes.end())};
    answered_.notify_one();
  }

  static inline Kernel* running_ = nullptr;
  std::unique_ptr<FuseMount::Impl> fs_;
  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable answered_;
  uint64_t unique_ = 0;  // of the last request
  std::optional<Answer> answer_;
  std::string broken_;
};

}  // namespace keyfold
