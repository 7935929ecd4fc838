// KmsProcess: the process of a mount that has the keys. It holds the open store, the
// root key and all that hangs on it, answers the KMS's callers, and gives the process
// that serves the filesystem what DataKeys.h names and nothing else.
//
// Owns: that process, which is forked before anything secret is in memory; the order in
// which store, socket and alerts come and go in it; the clock of the KMS. It ends with
// the process that forked it. Must not know: FUSE, files. Not synchronised, but for
// keys().
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "fs/cli/Serve.h"
#include "kms/api/RemoteDataKeys.h"

namespace keyfold {

class KmsProcess {
 public:
  // Start forks it. Its KMS answers at SocketOf the store once that is open. It asks
  // for a passphrase on this process's terminal. `calls` may be under way at once.
  static Result<std::unique_ptr<KmsProcess>> Start(const ServeOptions& options,
                                                   const std::string& socket_folder,
                                                   size_t calls);
  // The destructor lets it end, and waits for that.
  ~KmsProcess();

  struct Opened {
    std::string store_id;
    MetadataKey metadata_key;
  };
  // AwaitOpen is called once, first. The error is that of opening the store.
  Result<Opened> AwaitOpen();
  RemoteDataKeys& keys() { return *keys_; }
  // Where it looks for what this process counts.
  const std::shared_ptr<FileCounts>& file_counts() const { return file_counts_; }
  // TakeFilesSocket gives where it asks what is open, once.
  UniqueFd TakeFilesSocket() { return std::move(files_socket_); }

 private:
  KmsProcess(pid_t pid, DataKeyEnd end)
      : pid_(pid),
        file_counts_(std::move(end.file_counts)),
        files_socket_(std::move(end.files)),
        keys_(std::make_unique<RemoteDataKeys>(std::move(end))) {}
  int Wait();

  pid_t pid_;  // 0 when it was waited for
  const std::shared_ptr<FileCounts> file_counts_;
  UniqueFd files_socket_;
  std::unique_ptr<RemoteDataKeys> keys_;
};

// SocketOf is where the KMS of a store answers.
std::string SocketOf(const std::string& socket_folder, const std::string& store_id);

}  // namespace keyfold
