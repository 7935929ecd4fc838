#include "fs/cli/Journal.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "kms/base/Bytes.h"

namespace keyfold {
namespace {

constexpr size_t kLongestValue = 16 << 10;

}  // namespace

std::string JournalDatagram(const JournalFields& fields) {
  ByteWriter out;
  for (const auto& [name, whole] : fields) {
    const std::string_view value = std::string_view(whole).substr(0, kLongestValue);
    out.Append(name);
    // A line break would begin the next field.
    if (value.find('\n') == std::string_view::npos) {
      out.Append("=");
    } else {
      out.Append("\n");
      out.Integer(static_cast<uint64_t>(value.size()));
    }
    out.Append(value);
    out.Append("\n");
  }
  return std::string(AsText(out.bytes()));
}

std::unique_ptr<Journal> Journal::Open(const std::string& socket) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd.valid() || socket.size() >= sizeof sockaddr_un().sun_path) return nullptr;
  std::unique_ptr<Journal> journal(new Journal(std::move(fd), socket));
  // A datagram without fields is none, but somebody has to be there to take it.
  return journal->Send({}) ? std::move(journal) : nullptr;
}

bool Journal::HasStandardError() {
  const char* stream = ::getenv("JOURNAL_STREAM");
  struct stat st;
  return stream != nullptr && ::fstat(STDERR_FILENO, &st) == 0 &&
         std::to_string(st.st_dev) + ":" + std::to_string(st.st_ino) == stream;
}

bool Journal::Send(const JournalFields& fields) const {
  const std::string datagram = JournalDatagram(fields);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path_.copy(address.sun_path, sizeof address.sun_path - 1);
  ssize_t n;
  do
    n = ::sendto(socket_.get(), datagram.data(), datagram.size(),
                 MSG_NOSIGNAL | MSG_DONTWAIT,
                 reinterpret_cast<const sockaddr*>(&address), sizeof address);
  while (n < 0 && errno == EINTR);
  return n == static_cast<ssize_t>(datagram.size());
}

}  // namespace keyfold
