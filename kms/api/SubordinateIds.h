// SubordinateIds: whose a uid is that only namespaces use.
//
// Owns: what subuid(5) says. Must not know: connections, rights: a subordinate id is a
// principal of its own. Immutable, so thread-safe.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace keyfold {

class SubordinateIds {
 public:
  SubordinateIds() = default;
  // Read knows no ids where there is no such file; lines that say nothing, and those of
  // root, are passed over.
  static SubordinateIds Read(const std::string& path = "/etc/subuid");
  // OwnerOf is `uid` itself if it is nobody's subordinate.
  uid_t OwnerOf(uid_t uid) const;

 private:
  struct Range {
    uid_t first = 0;
    uint64_t count = 0;
    uid_t owner = 0;
  };
  std::vector<Range> ranges_;
};

}  // namespace keyfold
