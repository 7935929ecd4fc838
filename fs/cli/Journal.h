// Journal: records of the system's journal, with fields of their own
// (systemd.journal-fields(7); the protocol is
// https://systemd.io/JOURNAL_NATIVE_PROTOCOL).
//
// Owns: the socket and the bytes. Must not know: what is told, to whom else.
// Thread-safe.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kms/base/UniqueFd.h"

namespace keyfold {

using JournalFields = std::vector<std::pair<std::string, std::string>>;

// JournalDatagram is one record; names are upper case. Values are cut at 16 KiB.
std::string JournalDatagram(const JournalFields& fields);

class Journal {
 public:
  static constexpr char kSocket[] = "/run/systemd/journal/socket";
  // Open is null where nothing listens. Its socket is made at once, as one of the
  // processes may make none later; each record finds the listener by its name, so that
  // it may be started anew.
  static std::unique_ptr<Journal> Open(const std::string& socket = kSocket);
  // HasStandardError tells whether that leads to the journal, as a unit's does.
  static bool HasStandardError();

  // Send does not wait: where the journal takes no more, the record is lost, and it is
  // false.
  bool Send(const JournalFields& fields) const;

 private:
  Journal(UniqueFd socket, std::string path)
      : socket_(std::move(socket)), path_(std::move(path)) {}
  const UniqueFd socket_;
  const std::string path_;
};

}  // namespace keyfold
