#include "fs/cli/KeyAttributes.h"

#include <sys/xattr.h>

#include <cerrno>

namespace keyfold {
namespace {

constexpr char kKeyXattr[] = "user.keyfold.key";

Result<std::string> Attribute(const std::string& path, const char* name) {
  char value[512];
  const ssize_t size = ::getxattr(path.c_str(), name, value, sizeof value);
  if (size < 0) return Status::FromErrno(errno, path);
  return std::string(value, static_cast<size_t>(size));
}

}  // namespace

Result<std::string> KeyLabelOf(const std::string& path) {
  return Attribute(path, kKeyXattr);
}

Result<std::string> KeyIdOf(const std::string& path) {
  return Attribute(path, "user.keyfold.key-id");
}

Result<std::string> FolderIdOf(const std::string& path) {
  return Attribute(path, "user.keyfold.folder-id");
}

Result<std::string> DataKeyIdOf(const std::string& path) {
  return Attribute(path, "user.keyfold.data-key-id");
}

Result<WrapState> WrapStateOf(const std::string& path) {
  KF_ASSIGN_OR_RETURN(const std::string words,
                      Attribute(path, "user.keyfold.key-state"));
  return WrapState{words.starts_with("old"), words.ends_with("reencrypting")};
}

Status SetKeyOf(const std::string& path, const std::string& key) {
  if (::setxattr(path.c_str(), kKeyXattr, key.data(), key.size(), 0) != 0)
    return Status::FromErrno(errno, path);
  return OkStatus();
}

}  // namespace keyfold
