// DataKeyLink: what joins the process that holds keys and the one that serves files.
//
// Owns: the sockets and the pages of counts, all made before the second process is
// forked; each process keeps one end and lets go of the other. A connection carries one
// call at a time, so there are as many as calls that can be under way. Must not know:
// what the messages say (DataKeyWire.h). Not synchronised, but for the counts.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include "kms/api/DataKeyWire.h"
#include "kms/base/UniqueFd.h"
#include "kms/service/FileCounts.h"

namespace keyfold {

// DataKeyCounts are the KMS's TimesWiped and Generation, and how often it was called by
// others, as of a second ago at most. Who serves files sees them without a call, and
// can't write them.
struct DataKeyCounts {
  std::atomic<uint64_t> times_wiped{0}, generation{0}, calls{0};
};

struct DataKeyEnd {
  std::vector<UniqueFd> calls;
  // A byte from the KMS for each change, after the counts were written.
  UniqueFd changes;
  std::shared_ptr<DataKeyCounts> counts;    // only to be read by who serves files
  std::shared_ptr<FileCounts> file_counts;  // only to be read by the KMS
  UniqueFd files;  // where the KMS asks what is open (FilesLink.h)
};

struct DataKeyLink {
  DataKeyEnd kms, files;
  static Result<DataKeyLink> Make(size_t calls);
};

// DataKeySocket sends and receives packets on one connection, which it does not own.
class DataKeySocket {
 public:
  explicit DataKeySocket(int socket);
  // EMSGSIZE where the machine allows no packet of that size, or it is too large.
  Status Send(const DataKeyRequest& request);
  Status Send(const DataKeyAnswer& answer);
  // Nothing when the other end is gone, or sent what is none.
  std::optional<DataKeyRequest> ReceiveRequest();
  std::optional<DataKeyAnswer> ReceiveAnswer();

 private:
  MutableBytes Receive();
  const int socket_;
  const std::unique_ptr<uint8_t[]> packet_;
};

}  // namespace keyfold
