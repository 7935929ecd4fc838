#include "fs/vault/OpenFiles.h"

#include <errno.h>

namespace keyfold {

Status OpenFiles::Join(ino_t ino, const std::shared_ptr<Handle>& handle,
                       const std::function<Result<std::unique_ptr<DataFile>>()>& open) {
  std::unique_ptr<DataFile> data;  // closed after the lock is released
  for (;;) {
    {
      std::lock_guard lock(mutex_);
      auto it = entries_.find(ino);
      if (it == entries_.end() && data != nullptr) {
        handle->first = true;
        Entry entry{std::make_shared<File>(std::move(data), ino, checkpoints_), {}};
        it = entries_.emplace(ino, std::move(entry)).first;
      }
      if (it != entries_.end()) {
        if (it->second.revoking) return Status::FromErrno(EAGAIN, "open");
        handle->file = it->second.file;
        it->second.handles.push_back(handle);
        ++handles_;
        CountLocked();
        if (!handle->first) Up(counts_.keys_reused);
        return OkStatus();
      }
    }
    KF_ASSIGN_OR_RETURN(data, open());
  }
}

void OpenFiles::Add(const std::shared_ptr<File>& file,
                    const std::shared_ptr<Handle>& handle) {
  std::lock_guard lock(mutex_);
  handle->file = file;
  handle->first = true;
  Entry& entry = entries_[file->ino()];
  handles_ += 1 - entry.handles.size();
  entry = Entry{file, {handle}};
  CountLocked();
}

OpenFiles::Entry* OpenFiles::EntryOf(const std::shared_ptr<File>& file) {
  const auto it = entries_.find(file->ino());
  return it != entries_.end() && it->second.file == file ? &it->second : nullptr;
}

bool OpenFiles::Leave(const std::shared_ptr<Handle>& handle) noexcept {
  const std::shared_ptr<File> file = handle->file;
  // The last to leave must find nothing to write, as a newcomer reads the header
  // from disk; only one who is alone can be the last.
  (void)file->WriteHeader();
  std::lock_guard lock(mutex_);
  Entry* entry = EntryOf(file);
  if (entry == nullptr) return true;
  handles_ -= std::erase(entry->handles, handle);
  const bool dropped = DropUnusedLocked(file);
  CountLocked();
  return dropped;
}

void OpenFiles::DropUnused(const std::shared_ptr<File>& file) {
  std::lock_guard lock(mutex_);
  (void)DropUnusedLocked(file);
  CountLocked();
}

bool OpenFiles::DropUnusedLocked(const std::shared_ptr<File>& file) {
  const Entry* entry = EntryOf(file);
  if (entry == nullptr || !entry->handles.empty() || entry->revoking) return true;
  if (!file->SeemsSettled() || !file->WriteHeader().ok()) return false;
  file->Wipe();
  entries_.erase(file->ino());
  return true;
}

void OpenFiles::CountLocked() {
  counts_.open_files.store(entries_.size(), std::memory_order_relaxed);
  counts_.open_handles.store(handles_, std::memory_order_relaxed);
}

std::shared_ptr<File> OpenFiles::Find(ino_t ino) const {
  std::lock_guard lock(mutex_);
  const auto it = entries_.find(ino);
  return it == entries_.end() ? nullptr : it->second.file;
}

bool OpenFiles::IsRevoking(ino_t ino) const {
  std::lock_guard lock(mutex_);
  const auto it = entries_.find(ino);
  return it != entries_.end() && it->second.revoking;
}

std::vector<std::shared_ptr<File>> OpenFiles::All() const {
  std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<File>> all;
  for (const auto& [ino, entry] : entries_) all.push_back(entry.file);
  return all;
}

OpenFiles::Handles OpenFiles::HandlesOf(const std::shared_ptr<File>& file) const {
  std::lock_guard lock(mutex_);
  const Entry* entry = const_cast<OpenFiles*>(this)->EntryOf(file);
  return entry == nullptr ? Handles() : entry->handles;
}

OpenFiles::Handles OpenFiles::BeginRevoke(const std::shared_ptr<File>& file,
                                          const std::function<void()>& detach) {
  std::lock_guard lock(mutex_);
  Entry* entry = EntryOf(file);
  if (entry == nullptr) return {};
  Handles handles = entry->handles;
  detach();
  entry->revoking = true;
  return handles;
}

void OpenFiles::EndRevoke(const std::shared_ptr<File>& file) {
  std::lock_guard lock(mutex_);
  const Entry* entry = EntryOf(file);
  if (entry == nullptr) return;
  handles_ -= entry->handles.size();
  Up(counts_.revoked_handles, entry->handles.size());
  entries_.erase(file->ino());
  CountLocked();
}

}  // namespace keyfold
