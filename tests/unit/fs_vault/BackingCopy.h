// BackingCopy: an encrypted file whose backing file a test can put back to what
// it was, and open through any DataFile.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "TestHeader.h"
#include "TestKeys.h"
#include "fs/vault/File.h"

namespace keyfold {

class BackingCopy {
 public:
  using Wrap = std::function<std::unique_ptr<DataFile>(std::unique_ptr<DataFile>)>;

  // Makes a file that holds what `fill` wrote, synced.
  explicit BackingCopy(const std::function<Status(File&)>& fill) {
    char name[] = "/var/tmp/keyfold-fault-XXXXXX";
    const int fd = ::mkstemp(name);
    if (fd < 0) std::abort();
    path_ = name;
    auto file = File::Create(std::make_unique<PosixDataFile>(UniqueFd(fd)), 1,
                             *checkpoints_, TestHeader(), DataKey(CopySecret(dek_)));
    EXPECT_TRUE(file.ok()) << file.status().ToString();
    EXPECT_TRUE(fill(**file).ok());
    EXPECT_TRUE((*file)->Sync(false).ok());
    EXPECT_TRUE((*file)->Settle().ok());
    original_ = Snapshot();
  }
  ~BackingCopy() { ::unlink(path_.c_str()); }
  BackingCopy(const BackingCopy&) = delete;
  BackingCopy& operator=(const BackingCopy&) = delete;

  const std::string& path() const { return path_; }
  const Bytes& original() const { return original_; }
  Checkpoints& checkpoints() { return *checkpoints_; }

  Bytes Snapshot() const {
    Bytes all(std::filesystem::file_size(path_));
    const UniqueFd fd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
    const auto n = ReadAt(fd.get(), 0, all);
    EXPECT_TRUE(n.ok() && *n == all.size());
    return all;
  }
  void Restore(const Bytes& snapshot) const {
    const UniqueFd fd(::open(path_.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC));
    EXPECT_TRUE(WriteAt(fd.get(), 0, snapshot).ok());
  }
  // Crash begins a run that follows one that did not end.
  void Crash() {
    runs_.push_back(std::move(checkpoints_));  // files that are open go on with it
    checkpoints_ = Checkpoints::Open(keys_).value();
  }
  // Open opens and unlocks it, through what `wrap` puts around the real file.
  Result<std::shared_ptr<File>> Open(const Wrap& wrap = {}) const {
    std::unique_ptr<DataFile> data = std::make_unique<PosixDataFile>(
        UniqueFd(::open(path_.c_str(), O_RDWR | O_CLOEXEC)));
    if (wrap) data = wrap(std::move(data));
    auto file = std::make_shared<File>(std::move(data), 1, *checkpoints_);
    KF_RETURN_IF_ERROR(Unlock(*file));
    return file;
  }
  Status Unlock(File& file) const {
    KF_ASSIGN_OR_RETURN(const auto claimed, file.Inspect());
    const Status first = UnlockBy(file, claimed);
    const auto other = File::Other(claimed);
    return first.ok() || !other ? first : UnlockBy(file, *other);
  }
  // BeginReencrypt gives the file a data key that Unlock knows by its blob, or goes on
  // with what was begun.
  static Status BeginReencrypt(File& file) {
    Bytes blob = RandomBytes(97);
    std::copy(kFresh.begin(), kFresh.end(), blob.begin());
    return file.BeginReencrypt(
        {DataKey(FreshKeyOf(blob)), std::move(blob), file.header().key_id});
  }
  static Status ReencryptAll(File& file) {
    KF_RETURN_IF_ERROR(BeginReencrypt(file));
    for (;;) {
      KF_ASSIGN_OR_RETURN(const auto progress, file.Reencrypt(40 * kBlockSize));
      if (progress.finished) return OkStatus();
    }
  }

 private:
  static constexpr std::string_view kFresh = "fresh data key";  // begins such blobs

  static SecretBytes FreshKeyOf(const Bytes& blob) {
    static const SecretBytes all = RandomSecret(kKeySize);
    return Hkdf(all, blob, AsBytes(kFresh));
  }
  Status UnlockBy(File& file, const File::ClaimedHeader& claimed) const {
    const Bytes& blob = claimed.slot.blob;
    const bool fresh = AsText(blob).starts_with(kFresh);
    return file.Unlock(DataKey(fresh ? FreshKeyOf(blob) : CopySecret(dek_)), claimed);
  }

  const SecretBytes dek_ = RandomSecret(kKeySize);
  TestKeys keys_;
  std::unique_ptr<Checkpoints> checkpoints_ = Checkpoints::Open(keys_).value();
  std::vector<std::unique_ptr<Checkpoints>> runs_;
  std::string path_;
  Bytes original_;
};

inline Result<Bytes> Contents(File& file) {
  Bytes out(file.length());
  KF_ASSIGN_OR_RETURN(const size_t n, file.Read(0, out));
  out.resize(n);
  return out;
}

}  // namespace keyfold
