// StoreCopy: all objects of a small backing tree, to put it back to what it was after
// somebody changed it.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <array>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "fs/backend/Backend.h"

namespace keyfold {

class StoreCopy {
 public:
  struct Object {
    std::string path;  // absolute
    std::filesystem::file_type type;
    Bytes bytes;         // of a regular file
    std::string target;  // of a symbolic link
    std::map<std::string, Bytes> attributes;
    std::string first_link;  // of a regular file that came before under this path
  };

  explicit StoreCopy(std::string root) : root_(std::move(root)) {
    namespace fs = std::filesystem;
    Keep(root_, fs::file_type::directory);
    std::map<ino_t, std::string> seen;
    for (const auto& entry : fs::recursive_directory_iterator(root_)) {
      const fs::file_type type = entry.symlink_status().type();
      Keep(entry.path(), type);
      struct stat st;
      EXPECT_EQ(::lstat(entry.path().c_str(), &st), 0);
      if (type != fs::file_type::regular) continue;
      if (const auto [it, fresh] = seen.try_emplace(st.st_ino, entry.path()); !fresh)
        objects_.back().first_link = it->second;
    }
  }

  const std::vector<Object>& objects() const { return objects_; }
  std::vector<std::string> Paths(std::filesystem::file_type type) const {
    std::vector<std::string> paths;
    for (const Object& object : objects_)
      if (object.type == type && object.path != root_) paths.push_back(object.path);
    return paths;
  }
  const Object& At(const std::string& path) const {
    for (const Object& object : objects_)
      if (object.path == path) return object;
    std::abort();
  }

  // Restore makes the tree anew; its root stays the same folder.
  void Restore() const {
    namespace fs = std::filesystem;
    for (const auto& entry : fs::directory_iterator(root_)) fs::remove_all(entry);
    for (const Object& object : objects_) {
      if (!object.first_link.empty())
        fs::create_hard_link(object.first_link, object.path);
      else if (object.type == fs::file_type::directory)
        fs::create_directory(object.path);
      else if (object.type == fs::file_type::symlink)
        fs::create_symlink(object.target, object.path);
      else
        RestoreBytes(object);
      for (const auto& [name, value] : object.attributes)
        EXPECT_EQ(::setxattr(object.path.c_str(), name.c_str(), value.data(),
                             value.size(), 0),
                  0)
            << object.path << ' ' << name;
    }
  }
  static void RestoreBytes(const Object& object) {
    const UniqueFd fd(
        ::open(object.path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    EXPECT_TRUE(WriteAt(fd.get(), 0, object.bytes).ok());
    EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(object.bytes.size())), 0);
  }

 private:
  void Keep(const std::string& path, std::filesystem::file_type type) {
    namespace fs = std::filesystem;
    Object object{path, type, {}, {}, {}, {}};
    if (type == fs::file_type::symlink) {
      object.target = fs::read_symlink(path);
    } else {
      KeepAttributes(object);
    }
    if (type == fs::file_type::regular) {
      object.bytes.resize(fs::file_size(path));
      const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
      const auto n = ReadAt(fd.get(), 0, object.bytes);
      EXPECT_TRUE(n.ok() && *n == object.bytes.size());
    }
    objects_.push_back(std::move(object));
  }
  static void KeepAttributes(Object& object) {
    std::array<char, 4096> list{}, value{};
    const ssize_t size = ::listxattr(object.path.c_str(), list.data(), list.size());
    ASSERT_GE(size, 0) << object.path;
    for (const char* name = list.data(); name < list.data() + size;
         name += std::string_view(name).size() + 1) {
      if (!std::string_view(name).starts_with("user.")) continue;
      const ssize_t n =
          ::getxattr(object.path.c_str(), name, value.data(), value.size());
      ASSERT_GE(n, 0);
      object.attributes[name].assign(value.begin(), value.begin() + n);
    }
  }

  const std::string root_;
  std::vector<Object> objects_;  // folders before what is in them
};

}  // namespace keyfold
