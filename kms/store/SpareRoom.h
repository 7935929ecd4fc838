// SpareRoom: disk space set aside for the commit that a full disk would refuse.
//
// Owns: one file that holds nothing. Best effort: where the filesystem cannot set
// space aside there is none to give. Not synchronised.
#pragma once

#include <string>

namespace keyfold {

class SpareRoom {
 public:
  explicit SpareRoom(std::string path) : path_(std::move(path)) {}
  // Take sets kSize bytes aside unless it has them, or as many as there are.
  void Take();
  // Give frees what there is; false when there is nothing.
  bool Give();

  static constexpr long kSize = 256 * 1024;

 private:
  const std::string path_;
  bool held_ = false, whole_ = false;
};

}  // namespace keyfold
