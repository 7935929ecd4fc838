// Checker: looks at every object of a store's tree that nobody has mounted, tells what
// is damaged, and moves aside what cannot be opened if it is told to.
//
// Owns: the walk, verdicts on names and bindings, repairs. Must not know: how findings
// are shown. Run is called once; the rest is thread-safe meanwhile.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "fs/vault/FileChecker.h"
#include "fs/vault/Finding.h"
#include "fs/vault/Folder.h"
#include "fs/vault/Quarantine.h"
#include "fs/vault/Vault.h"
#include "fs/vault/WalkOrder.h"
#include "fs/vault/Workers.h"

namespace keyfold {

struct CheckOptions {
  VaultOptions vault;
  bool repair = false;
  bool contents = true;  // blocks, not only headers
  unsigned jobs = 1;     // threads
  WalkReached before;    // what an earlier check has done
  // Called with each finding, one at a time, after what was to be repaired is.
  std::function<void(const Finding&)> found;
};

// CheckTally counts what was looked at; bytes are those of files as read.
struct CheckTally {
  std::atomic<uint64_t> files{0}, folders{0}, links{0}, nodes{0}, bytes{0};
};

class Checker {
 public:
  Checker(CheckOptions options, const MetadataKey& key, StoreCheck& check,
          std::unique_ptr<Checkpoints> checkpoints, Quarantine& quarantine);
  ~Checker();

  // Run returns when all is checked, or soon after Stop. It fails when it cannot go on:
  // a use of a key or a finding could not be recorded, or for want of memory.
  Status Run();
  void Stop();
  // Complete tells, after Run, whether all was checked.
  bool complete() const { return complete_; }
  // Reached is what a later check need not do again.
  WalkReached Reached() const { return order_.Reached(); }
  const CheckTally& tally() const { return tally_; }

 private:
  // Entry is one name in a folder, and what is known of it.
  struct Entry {
    std::shared_ptr<Folder> folder;
    std::string folder_path;     // on the mount, ends with "/"
    std::string folder_backing;  // below the store
    std::string backing;         // its name in the backing folder
    std::optional<std::string> name;
    WalkPosition position;
    bool known = false;  // an earlier check has told of it

    std::string Path() const { return folder_path + name.value_or(""); }
    std::string BackingPath() const { return folder_backing + "/" + backing; }
  };
  struct Frame;

  Status Walk();
  Status EnterRoot();
  Status Push(std::shared_ptr<Folder> folder, std::string path, std::string backing,
              WalkPosition position);
  bool IsKnown(const WalkPosition& position) const;
  void Meet(Frame& frame, const std::string& backing);
  // Name classifies the entry's backing name; the fault if it is no object's.
  std::optional<Fault> Name(const Frame& frame, Entry* entry) const;
  void CheckObject(const Entry& entry, uint64_t number);
  std::shared_ptr<Folder> CheckFolder(const Entry& entry, int fd);
  // CheckFile is false when it was cut off.
  bool CheckFile(const Entry& entry, int fd, const struct stat& st);
  std::vector<Fault> CheckNames(const Entry& entry, int fd, const struct stat& st,
                                const FileVerdict& verdict);
  std::optional<Fault> CheckSymlink(const Entry& entry, int fd,
                                    const struct stat& st) const;
  void CheckXattrs(int fd, ByteView object, std::vector<Fault>* faults) const;
  Result<FileVerdict> VerdictOn(int fd, const struct stat& st);

  // CheckRepairs.cc: repairing, and telling.
  void Settle(const Entry& entry, int fd, const std::vector<Fault>& faults);
  Status Repair(const Entry& entry, int fd, Finding* finding);
  Status Trim(const Entry& entry, int fd) const;
  void Tell(const Finding& finding);
  void Fail(Status status);

  const CheckOptions options_;
  const VaultKeys keys_;
  StoreCheck& check_;
  const std::unique_ptr<Checkpoints> checkpoints_;
  const FileChecker files_;
  Quarantine& quarantine_;
  WalkOrder order_;
  const std::set<WalkPosition> beyond_;
  CheckTally tally_;
  dev_t device_ = 0;
  std::vector<Frame> frames_;  // of the walking thread
  std::atomic<bool> stopped_{false};
  bool complete_ = false;
  std::mutex told_mutex_;  // held while a finding is told; guards failure_
  Status failure_;
  // Files of several names are looked at once.
  using Verdict = std::shared_future<Result<FileVerdict>>;
  std::mutex linked_mutex_;  // guards linked_
  std::map<ino_t, Verdict> linked_;
  std::unique_ptr<Workers> workers_;  // last, so that it ends first
};

}  // namespace keyfold
