#include "kms/api/DataKeyLink.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <new>

#include "kms/api/Packet.h"
#include "kms/crypto/Crypto.h"
#include "kms/rootkey/WipedBytes.h"

namespace keyfold {
namespace {

static_assert(std::atomic<uint64_t>::is_always_lock_free, "else it is no shared count");

template <typename Counts>
Result<std::shared_ptr<Counts>> Map(int memory, int protection) {
  void* page = ::mmap(nullptr, sizeof(Counts), protection, MAP_SHARED, memory, 0);
  if (page == MAP_FAILED) return Status::FromErrno(errno, "mmap");
  return std::shared_ptr<Counts>(static_cast<Counts*>(page), [](Counts* counts) {
    ::munmap(counts, sizeof *counts);
  });
}

// Share makes counts that one process writes and the other can only read.
template <typename Counts>
Status Share(std::shared_ptr<Counts>* writer, std::shared_ptr<Counts>* reader) {
  const UniqueFd memory(
      ::memfd_create("keyfold-counts", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory.valid() || ::ftruncate(memory.get(), sizeof(Counts)) != 0)
    return Status::FromErrno(errno, "memfd_create");
  KF_ASSIGN_OR_RETURN(*writer, Map<Counts>(memory.get(), PROT_READ | PROT_WRITE));
  // What is mapped from now on can't be made writable (Linux 5.1).
  (void)::fcntl(memory.get(), F_ADD_SEALS,
                F_SEAL_FUTURE_WRITE | F_SEAL_GROW | F_SEAL_SHRINK);
  KF_ASSIGN_OR_RETURN(*reader, Map<Counts>(memory.get(), PROT_READ));
  new (writer->get()) Counts;
  return OkStatus();
}

struct Pair {
  UniqueFd kms, files;
};

Result<Pair> Connect() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return Status::FromErrno(errno, "socketpair");
  Pair pair{UniqueFd(ends[0]), UniqueFd(ends[1])};
  // For the largest packet; the kernel gives as much as the machine allows.
  const int room = kMostDataKeyMessage;
  for (const int end : ends)
    (void)::setsockopt(end, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
  return pair;
}

Status SendMessage(int socket, ByteView head, ByteView tail) {
  if (head.size() + tail.size() > kMostDataKeyMessage)
    return Status::FromErrno(EMSGSIZE, "send");
  return SendPacket(socket, head, tail);
}

// Wiping leaves nothing in a packet that was read.
struct Wiping {
  explicit Wiping(MutableBytes read) : packet(read) {}
  ~Wiping() { ::explicit_bzero(packet.data(), packet.size()); }
  Wiping(const Wiping&) = delete;
  Wiping& operator=(const Wiping&) = delete;
  const MutableBytes packet;
};

}  // namespace

Result<DataKeyLink> DataKeyLink::Make(size_t calls) {
  DataKeyLink link;
  KF_RETURN_IF_ERROR(Share(&link.kms.counts, &link.files.counts));
  KF_RETURN_IF_ERROR(Share(&link.files.file_counts, &link.kms.file_counts));
  const auto connect = [](UniqueFd* kms, UniqueFd* files) -> Status {
    KF_ASSIGN_OR_RETURN(Pair pair, Connect());
    *kms = std::move(pair.kms);
    *files = std::move(pair.files);
    return OkStatus();
  };
  KF_RETURN_IF_ERROR(connect(&link.kms.changes, &link.files.changes));
  KF_RETURN_IF_ERROR(connect(&link.kms.files, &link.files.files));
  for (size_t i = 0; i < calls; ++i)
    KF_RETURN_IF_ERROR(
        connect(&link.kms.calls.emplace_back(), &link.files.calls.emplace_back()));
  return link;
}

// The pages of a packet's room come into being as they are used, which most never are.
DataKeySocket::DataKeySocket(int socket)
    : socket_(socket),
      packet_(std::make_unique_for_overwrite<uint8_t[]>(kMostDataKeyMessage)) {}

Status DataKeySocket::Send(const DataKeyRequest& request) {
  return SendMessage(socket_, Encode(request), {});
}

Status DataKeySocket::Send(const DataKeyAnswer& answer) {
  const WipedBytes key(RevealSecret(answer.key.bytes()));
  return SendMessage(socket_, Encode(answer), key.bytes);
}

// Receive gives an empty packet when there is none.
MutableBytes DataKeySocket::Receive() {
  return {packet_.get(), ReceivePacket(socket_, {packet_.get(), kMostDataKeyMessage})};
}

std::optional<DataKeyRequest> DataKeySocket::ReceiveRequest() {
  return DecodeDataKeyRequest(Receive());
}

std::optional<DataKeyAnswer> DataKeySocket::ReceiveAnswer() {
  const Wiping received(Receive());
  return DecodeDataKeyAnswer(received.packet);
}

}  // namespace keyfold
