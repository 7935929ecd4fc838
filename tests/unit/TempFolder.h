// TempFolder: a folder of a test's own, gone with the object.
#pragma once

#include <stdlib.h>
#include <sys/xattr.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace keyfold {

class TempFolder {
 public:
  explicit TempFolder(const std::string& parent = "/var/tmp") {
    path_ = parent + "/keyfold-test-XXXXXX";
    if (::mkdtemp(path_.data()) == nullptr) std::abort();
  }
  ~TempFolder() { std::filesystem::remove_all(path_); }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// QuickParent is for folders of which nothing need survive power loss: in memory, where
// that keeps extended attributes.
inline std::string QuickParent() {
  const TempFolder probe("/dev/shm");
  return ::setxattr(probe.path().c_str(), "user.probe", "", 0, 0) == 0 ? "/dev/shm"
                                                                       : "/var/tmp";
}

}  // namespace keyfold
