// Checkpoints: which contents survived, when the power failed.
//
// Time is cut into checkpoints with numbers that grow. A header says in which one it
// was written. Closing a checkpoint means that all that was written in it is durable.
// One that was never closed, because the daemon was killed or the power failed, is
// torn: files last written in it may end earlier than their headers say, no others.
//
// Owns: the numbers, and that they are kept before they are used. Must not know: files.
// Thread-safe.
#pragma once

#include <atomic>
#include <memory>
#include <set>
#include <shared_mutex>

#include "fs/vault/SharedMutex.h"
#include "kms/service/DataKeys.h"

namespace keyfold {

class Checkpoints {
 public:
  // Of one that is closing, all that is there may be counted on at any moment; headers
  // carry a later number by then.
  enum class State { kClosed, kClosing, kOpen, kTorn };

  // Open reads what `keys` keeps of former runs, and begins the first checkpoint of
  // this one. kCorrupt for a note that Open did not write.
  static Result<std::unique_ptr<Checkpoints>> Open(DataKeys& keys);

  // OpenToCheck knows the same of former runs and begins none, so that nothing may be
  // written with it.
  static Result<std::unique_ptr<Checkpoints>> OpenToCheck(DataKeys& keys);

  // Writing is held while a header is written that counts on the checkpoint's end.
  class Writing {
   public:
    explicit Writing(Checkpoints& of);
    uint64_t number() const { return number_; }

   private:
    const std::shared_lock<SharedMutex> lock_;
    const uint64_t number_;
  };

  State StateOf(uint64_t number) const;
  // InUse tells whether a header carries a number that is not closed.
  bool InUse() const;
  // Next lets headers carry the next number, once no header is being written. When all
  // that was written before is durable, Close says so. Not at once with each other.
  void Next();
  Status Close();
  // CloseAll ends the run: nothing is written after.
  Status CloseAll();

 private:
  // On disk: numbers from `first` on, before `end`, are those of this run that are not
  // closed; those of a run that goes on are kept before headers carry them.
  struct Note {
    uint64_t first = 1, end = 1;
    std::set<uint64_t> torn;
  };
  explicit Checkpoints(DataKeys& keys) : keys_(keys) {}
  static Result<Note> Parse(ByteView bytes);
  static Result<Note> ReadAfterRun(DataKeys& keys);
  Status Keep(Note note);

  DataKeys& keys_;
  mutable SharedMutex mutex_;  // shared to write a header; guards the next two
  Note note_;
  uint64_t current_ = 1;
  std::atomic<uint64_t> used_{0};  // the highest that a header carries
};

}  // namespace keyfold
