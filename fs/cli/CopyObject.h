// CopyObject: an object of a tree that is copied, and the folders it is in on both
// sides; and what the parts of a copy ask of objects.
//
// Must not know: what becomes of it. Free functions, thread-safe.
#pragma once

#include <sys/stat.h>

#include <memory>
#include <string>

#include "fs/backend/Backend.h"

namespace keyfold {

// A folder on both sides. In a dry run there may be none in the copy.
struct CopyPlace {
  UniqueFd from, to;
  std::string path;  // below what is copied; empty, or with a slash at its end
};
using CopyPlacePtr = std::shared_ptr<const CopyPlace>;

struct CopyObject {
  CopyPlacePtr place;
  std::string name;
  struct stat st;  // of the source
  std::string Path() const { return place->path + name; }
};

// StatOf looks at a name of a folder, through no link.
Result<struct stat> StatOf(int folder, const std::string& name);
// OpenBelow opens `path` below the folder `root`, or an absolute one, itself for an
// empty one. No part of it may be a link: kSystem/ELOOP or ENOTDIR; nor, unless it may
// `cross`, lie on another mount: kSystem/EXDEV.
Result<UniqueFd> OpenBelow(int root, const std::string& path, int flags, bool cross);

// The parts of a path below what is copied: "a/b/" and "c" of "a/b/c".
std::string ParentOf(const std::string& path);
std::string BaseOf(const std::string& path);

// IsSameFile: by kind, size and time, the one may be a copy of the other.
bool IsSameFile(const struct stat& source, const struct stat& copy);

}  // namespace keyfold
