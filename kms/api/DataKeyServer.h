// DataKeyServer: a Kms for the process that serves files (RemoteDataKeys.h there).
//
// That process reads what hostile users and a hostile store send it, so it gets no more
// than the interface: no bytes of it end this process, and no call of it gives a file's
// key without a record.
//
// Owns: a thread for each connection. Must not know: what is decided. Thread-safe.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "kms/api/DataKeyLink.h"

namespace keyfold {

class DataKeyServer {
 public:
  // `keys` must outlive it, and tells its changes to no one else meanwhile. `reload` is
  // called, by any thread, when the other process is told to read settings anew.
  DataKeyServer(DataKeys& keys, DataKeyEnd end, std::function<Status()> reload = {});
  // Ends each connection after the call it is in.
  ~DataKeyServer();

  // AwaitEnd is true once the other process is gone, which it waits for.
  bool AwaitEnd(std::chrono::milliseconds most);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace keyfold
