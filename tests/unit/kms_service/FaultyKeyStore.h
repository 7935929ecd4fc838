// FaultyKeyStore: a key store whose commits can be told to fail, before or after they
// are made, as SQLite's do on a disk that fails.
#pragma once

#include <errno.h>

#include <memory>
#include <utility>

#include "kms/store/KeyStore.h"

namespace keyfold {

// CommitFault says how commits fail from the next one on.
struct CommitFault {
  enum class When { kNever, kBefore, kAfter } when = When::kNever;
  int times = 1;
  bool unreadable = false;  // reading fails meanwhile
};

class FaultyKeyStore : public KeyStore {
 public:
  // `fault` outlives the store.
  FaultyKeyStore(std::unique_ptr<KeyStore> under, CommitFault& fault)
      : under_(std::move(under)), fault_(fault) {}

  int format() const override { return under_->format(); }
  Status RaiseFormat(int format) override { return under_->RaiseFormat(format); }
  Result<std::vector<Row>> ReadAll(Table table) override {
    if (fault_.unreadable) return Status::FromErrno(EIO, "key store");
    return under_->ReadAll(table);
  }
  Status Commit(const std::vector<Change>& changes) override {
    const Status failed = Status::FromErrno(EIO, "key store");
    if (fault_.when == CommitFault::When::kNever || fault_.times == 0)
      return under_->Commit(changes);
    --fault_.times;
    if (fault_.when == CommitFault::When::kAfter)
      KF_RETURN_IF_ERROR(under_->Commit(changes));
    return failed;
  }

 private:
  const std::unique_ptr<KeyStore> under_;
  CommitFault& fault_;
};

}  // namespace keyfold
