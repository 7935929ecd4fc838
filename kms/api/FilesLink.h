// FilesLink: how the process with the keys asks the one that serves files what is open.
//
// Owns: one socket of a DataKeyLink, at either end. The answer is not trusted and not
// waited for long: nobody's right hangs on it. Must not know: who may see it.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "kms/api/DataKeyLink.h"
#include "kms/service/FileView.h"

namespace keyfold {

// RemoteFileView asks. Thread-safe: mutex_ guards socket and number.
class RemoteFileView : public FileView {
 public:
  // It takes what is its own of `end`.
  explicit RemoteFileView(DataKeyEnd* end)
      : socket_(std::move(end->files)), counts_(end->file_counts) {}
  const FileCounts& counts() const override { return *counts_; }
  Result<OpenHandles> Open(std::optional<uid_t> only) override;

 private:
  std::timed_mutex mutex_;
  const UniqueFd socket_;
  const std::shared_ptr<const FileCounts> counts_;
  uint32_t number_ = 0;
};

// FileViewServer answers, by a thread of its own, until it goes.
class FileViewServer {
 public:
  using List = std::function<OpenHandles(std::optional<uid_t> only)>;
  FileViewServer(UniqueFd socket, List list);
  ~FileViewServer();

 private:
  void Serve();
  const UniqueFd socket_;
  const List list_;
  std::thread thread_;
};

}  // namespace keyfold
