#include <errno.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "fs/vault/Errno.h"
#include "fs/vault/Vault.h"

namespace keyfold {
namespace {

// A small file is read with its header, so that reading it does not wait twice.
constexpr off_t kReadAtOpen = 64 << 10;
constexpr int kMostRewraps = 5;

Result<std::unique_ptr<DataFile>> OpenData(int path_fd, KeyUse use) {
  // Reading must not move the access time of the encrypted file.
  auto fd = Reopen(path_fd, O_RDWR | O_NOATIME | O_NONBLOCK);
  if (!fd.ok()) fd = Reopen(path_fd, O_RDWR | O_NONBLOCK);
  if (!fd.ok()) fd = Reopen(path_fd, O_RDONLY | O_NONBLOCK);
  if (!fd.ok()) return fd.status();
  if (use == KeyUse::kRead)
    (void)::posix_fadvise(fd->get(), 0, kReadAtOpen, POSIX_FADV_WILLNEED);
  return std::unique_ptr<DataFile>(new PosixDataFile(std::move(*fd)));
}

}  // namespace

EncryptionContext Vault::ContextOf(const FileIdentity& file) const {
  return {{std::string(kContextStore), options_.store_id},
          {std::string(kContextFolder), file.home_folder.Hex()},
          {std::string(kContextFile), file.file_id.Hex()}};
}

Result<Vault::NewlyMade> Vault::Create(const Place& place, mode_t mode,
                                       const User& user, const std::string& path) {
  KF_ASSIGN_OR_RETURN(const std::string backing, place.folder->BackingName(place.name));
  HeaderSlot header;
  header.file_id = NewId<FileId>();
  header.home_folder = place.folder->id();
  const EncryptionContext context = ContextOf(IdentityOf(header));
  const std::string key_id = place.folder->key_id();
  NewlyMade out;
  out.handle = std::make_shared<Handle>();
  out.handle->caller = keys_.Pin(user.caller);
  // Whoever may create may write what was created, as long as it stays open.
  out.handle->use = KeyUse::kCreate;
  out.handle->path = path;
  const Caller& caller = out.handle->caller;
  const uint64_t generation = keys_.Generation();
  KF_ASSIGN_OR_RETURN(WrappedDataKey wrapped,
                      keys_.AuthorizeGenerate(caller, key_id, context,
                                              {"CreateFile", path, KeyUse::kCreate}));
  header.key_id = wrapped.key_id;
  header.blob = std::move(wrapped.blob);

  KF_RETURN_IF_ERROR(place.folder->KeepLongName(backing, place.name));
  // Whether a set-group-id program may belong to the folder's group depends on
  // the caller's groups.
  const bool groups_decide = (mode & S_ISGID) != 0;
  KF_ASSIGN_OR_RETURN(NewFile made, MakeAs(user.identity(), groups_decide, [&] {
                        return NewFile::Create(place.folder->fd(), mode & 07777);
                      }));
  FileNames names;
  names.id = header.file_id;
  names.bindings = {vault_keys_.Bind(names.id, place.folder->id(), place.name)};
  KF_RETURN_IF_ERROR(WriteFileNames(made.fd(), names));
  struct stat st;
  if (::fstat(made.fd(), &st) != 0) return Status::FromErrno(errno, "stat");
  KF_ASSIGN_OR_RETURN(out.fd, Reopen(made.fd(), O_PATH));
  KF_ASSIGN_OR_RETURN(
      auto file,
      File::Create(std::make_unique<PosixDataFile>(made.TakeFd()), st.st_ino,
                   *checkpoints_, std::move(header), std::move(wrapped.key)));
  out.handle->admitted = true;
  files_.Add(file, out.handle);
  Closing closing(*this, out.handle);
  // From here on a right that ends is noticed; what ended before is asked for.
  if (keys_.Generation() != generation)
    KF_RETURN_IF_ERROR(StillAdmitted(*out.handle, key_id, context,
                                     {"CreateFile", path, KeyUse::kCreate}));
  KF_RETURN_IF_ERROR(made.Publish(out.fd.get(), backing));
  KF_RETURN_IF_ERROR(Stat(out.fd.get(), &out.st));
  closing.Keep();
  return out;
}

Result<std::shared_ptr<Handle>> Vault::OpenFile(const Place& place, int fd,
                                                const Caller& caller, KeyUse use,
                                                const std::string& path,
                                                const char* event) {
  struct stat st;
  if (::fstatat(fd, "", &st, AT_EMPTY_PATH) != 0)
    return Status::FromErrno(errno, "stat");
  if (!S_ISREG(st.st_mode)) return Status::FromErrno(EINVAL, "open");
  auto handle = std::make_shared<Handle>();
  handle->caller = keys_.Pin(caller);
  handle->use = use;
  handle->path = path;
  // Registered before the checks, so that a right lost meanwhile is noticed.
  KF_RETURN_IF_ERROR(
      files_.Join(st.st_ino, handle, [fd, use] { return OpenData(fd, use); }));
  Closing closing(*this, handle);
  KF_RETURN_IF_ERROR(
      Admit(handle, place, fd, st.st_nlink > 0 || place.folder, {event, path, use}));
  closing.Keep();
  return handle;
}

Status Vault::Unlock(const Handle& handle, const File::ClaimedHeader& claimed,
                     const FileEvent& event) {
  const FileIdentity identity = IdentityOf(claimed.slot);
  // No end is lost without a record.
  const auto recovering = [&] {
    return keys_.RecordFileEvent(handle.caller, identity.key_id,
                                 {"RecoverFile", event.path, event.use}, OkStatus());
  };
  KF_ASSIGN_OR_RETURN(
      const DataKey dek,
      keys_.AuthorizeUnwrap(handle.caller, identity.key_id, ContextOf(identity), event,
                            claimed.slot.blob));
  KF_RETURN_IF_ERROR(handle.file->Unlock(dek, claimed, recovering));
  Up(options_.counts->keys_unwrapped);
  return OkStatus();
}

// StillAdmitted asks again after Authorize, whose record says that it was allowed: a
// right that ended meanwhile is a refusal with a record of its own.
Status Vault::StillAdmitted(const Handle& handle, const std::string& key_id,
                            const EncryptionContext& context, const FileEvent& event) {
  Status allowed = keys_.StillAllowed(handle.caller, key_id, context, handle.use);
  if (!allowed.ok())
    KF_RETURN_IF_ERROR(keys_.RecordFileEvent(handle.caller, key_id, event, allowed));
  return allowed;
}

Status Vault::Admit(const std::shared_ptr<Handle>& handle, const Place& place, int fd,
                    bool linked, const FileEvent& event) {
  File& file = *handle->file;
  File::ClaimedHeader claimed;
  std::optional<FileIdentity> identity = file.identity();
  if (!identity) {
    KF_ASSIGN_OR_RETURN(claimed, file.Inspect());
    identity = IdentityOf(claimed.slot);
  }
  // A file without links has no name that could be wrong.
  if (linked) {
    if (!place.folder) return Status(Error::kCorrupt, std::string(kFileMoved));
    KF_ASSIGN_OR_RETURN(const FileNames names, BoundNames(place, fd));
    if (names.id != identity->file_id)
      return Status(Error::kCorrupt, "the file's header is another file's");
  }
  const EncryptionContext context = ContextOf(*identity);
  const uint64_t generation = keys_.Generation();
  if (claimed.raw.empty()) {
    KF_RETURN_IF_ERROR(
        keys_.Authorize(handle->caller, identity->key_id, context, event));
  } else {
    Status unlocked = Unlock(*handle, claimed, event);
    if (IsDamage(unlocked))
      if (const auto other = File::Other(claimed))
        if (Unlock(*handle, *other, event).ok()) unlocked = OkStatus();
    KF_RETURN_IF_ERROR(unlocked);
  }
  // Revoke passes over a file that is not unlocked; it sees this one from now on.
  if (keys_.Generation() != generation)
    KF_RETURN_IF_ERROR(StillAdmitted(*handle, identity->key_id, context, event));
  // The header in use may name another key than the one found first: of an older
  // slot, or of before a change of the key. Then that is the one to be asked.
  const auto in_use = file.identity();
  if (!in_use) return Status::FromErrno(ESTALE, "open");
  if (*in_use != *identity) return Admit(handle, place, fd, linked, event);
  // LoseRights does this the other way round, so that one of the two sees the other.
  handle->admitted = true;
  // Who has the right again opens again.
  if (handle->lost_errno != 0) return Status::FromErrno(ESTALE, "open");
  return OkStatus();
}

void Vault::Close(const std::shared_ptr<Handle>& handle) noexcept {
  if (files_.Leave(handle)) return;
  if (!settle_later_) return Settle(handle->file);
  (void)OrNoMemory([&] {
    settle_later_(handle->file);
    return OkStatus();
  });
}

bool Vault::HasWriters(const std::shared_ptr<File>& file) const {
  const auto handles = files_.HandlesOf(file);
  return std::any_of(handles.begin(), handles.end(),
                     [](const auto& handle) { return handle->use != KeyUse::kRead; });
}

Status Vault::Hold(ino_t ino, const std::function<Status()>& action) {
  const auto file = files_.Find(ino);
  return file == nullptr ? action() : file->Hold(action);
}

Result<Vault::KeyInfo> Vault::KeyOf(int fd) {
  struct stat st;
  if (::fstatat(fd, "", &st, AT_EMPTY_PATH) != 0)
    return Status::FromErrno(errno, "stat");
  const auto tell = [this](const HeaderSlot& header) -> KeyInfo {
    return {header.key_id, keys_.IsCurrent(header.blob), header.former.has_value(),
            ToHex(ByteView(header.commitment).first(kIdSize))};
  };
  if (const auto file = files_.Find(st.st_ino))
    if (file->identity()) return tell(file->header());
  KF_ASSIGN_OR_RETURN(UniqueFd real, Reopen(fd, O_RDONLY | O_NONBLOCK));
  const File file(std::make_unique<PosixDataFile>(std::move(real)), st.st_ino,
                  *checkpoints_);
  KF_ASSIGN_OR_RETURN(const auto claimed, file.Inspect());
  return tell(claimed.slot);
}

// Who may write a file may have its key wrapped, as writing makes data keys: the right
// was decided on when it was opened. What fails leaves the wrap there is.
void Vault::RefreshKey(const Handle& handle) {
  const HeaderSlot header = handle.file->header();
  if (header.blob.empty() || keys_.IsCurrent(header.blob)) return;
  const EncryptionContext context = ContextOf(IdentityOf(header));
  auto wrapped = keys_.RewrapDataKey(handle.caller, header.blob, context, header.key_id,
                                     context, handle.path);
  if (wrapped.ok()) handle.file->Refresh(header.blob, std::move(wrapped->blob));
}

Status Vault::BeginReencrypt(const Handle& handle) {
  if (handle.use == KeyUse::kRead) return Status::FromErrno(EBADF, "re-encrypt");
  const auto identity = handle.file->identity();
  if (!identity) return Status::FromErrno(ESTALE, "re-encrypt");
  const EncryptionContext context = ContextOf(*identity);
  const FileEvent event{"ReencryptFile", handle.path, KeyUse::kWrite};
  // One that was cut off is gone on with.
  if (handle.file->header().former)
    return keys_.Authorize(handle.caller, identity->key_id, context, event);
  KF_ASSIGN_OR_RETURN(
      WrappedDataKey fresh,
      keys_.AuthorizeGenerate(handle.caller, identity->key_id, context, event));
  return handle.file->BeginReencrypt(std::move(fresh));
}

Status Vault::SetFileKey(const Place& place, int fd, const std::string& key,
                         const Caller& caller, const std::string& path) {
  KF_ASSIGN_OR_RETURN(const std::string key_id, keys_.ResolveKey(key));
  KF_ASSIGN_OR_RETURN(auto handle,
                      OpenFile(place, fd, caller, KeyUse::kWrite, path, "SetFileKey"));
  const Closing closing(*this, handle);
  // Another data key, or another wrap, may be put in while this one is made.
  for (int attempt = 1;; ++attempt) {
    const HeaderSlot header = handle->file->header();
    const EncryptionContext context = ContextOf(IdentityOf(header));
    KF_ASSIGN_OR_RETURN(
        const WrappedDataKey wrapped,
        keys_.RewrapDataKey(caller, header.blob, context, key_id, context, path));
    const Status done = handle->file->Rewrap(header.blob, wrapped.key_id, wrapped.blob);
    if (done.sys_errno() != ESTALE || attempt == kMostRewraps) return done;
  }
}

namespace {

// Who has a file open many times is decided on once for each use, so that nobody can
// make a revocation take long.
struct ByUserAndUse {
  bool operator()(const Handle* a, const Handle* b) const {
    const Caller &x = a->caller, &y = b->caller;
    return std::tie(x.uid, x.gid, x.groups, x.role, x.is_service, a->use) <
           std::tie(y.uid, y.gid, y.groups, y.role, y.is_service, b->use);
  }
};

}  // namespace

// LoseRights marks the handles whose right ended; true if something was open by one.
bool Vault::LoseRights(const std::shared_ptr<File>& file) {
  const auto identity = file->identity();
  if (!identity) return false;
  const EncryptionContext context = ContextOf(*identity);
  bool lost = false;
  std::map<const Handle*, int, ByUserAndUse> decided;
  for (const auto& handle : files_.HandlesOf(file)) {
    const auto [it, is_new] = decided.try_emplace(handle.get());
    if (is_new)
      it->second = ErrnoOf(
          keys_.StillAllowed(handle->caller, identity->key_id, context, handle->use));
    if (it->second == 0) continue;
    handle->lost_errno = it->second;
    lost = lost || handle->admitted;
  }
  return lost;
}

void Vault::Revoke(PageCache& cache) {
  const uint64_t times_wiped = keys_.TimesWiped();
  std::vector<std::shared_ptr<File>> affected;
  // All are told before the first file's pages are dropped, which waits for writes.
  // One that is being revoked was left half-way for want of memory.
  for (auto& file : files_.All())
    if (LoseRights(file) || files_.IsRevoking(file->ino()))
      affected.push_back(std::move(file));
  for (const auto& file : affected) {
    // Pages are shared by all who have the file open, so none of them may put
    // pages back: the others must open it again.
    for (const auto& handle :
         files_.BeginRevoke(file, [&] { cache.Detach(file->ino()); })) {
      int none = 0;
      handle->lost_errno.compare_exchange_strong(none, ESTALE);
    }
    cache.Drop(file->ino());
  }
  for (const auto& file : affected) {
    (void)file->Settle();
    file->Wipe();
    files_.EndRevoke(file);
  }
  if (std::exchange(times_wiped_, times_wiped) != times_wiped) cache.DropAll();
}

void Vault::Settle(const std::shared_ptr<File>& file) noexcept {
  // What fails is tried again with FlushAll.
  (void)OrNoMemory([&] { return file->Settle(); });
  files_.DropUnused(file);
}

OpenHandles Vault::ListHandles(std::optional<uid_t> only) const {
  OpenHandles open;
  for (const auto& file : files_.All()) {
    const auto identity = file->identity();
    if (!identity) continue;
    for (const auto& handle : files_.HandlesOf(file)) {
      const Caller& caller = handle->caller;
      if (handle->lost_errno != 0 || (only && caller.uid != *only)) continue;
      open.Add({caller.uid, caller.pid, identity->key_id, handle->use, handle->path});
    }
  }
  return open;
}

// Who closes a file and does not sync it is not told how storing it ended.
void Vault::FlushAll() {
  for (const auto& file : files_.All()) {
    if (files_.HandlesOf(file).empty())
      Settle(file);
    else
      (void)file->Flush();
  }
}

void Vault::SettleAll() {
  Status settled = OkStatus();
  for (const auto& file : files_.All())
    if (const Status status = file->Settle(); !status.ok()) settled = status;
  if (settled.ok()) settled = SyncTree();
  // Else the files say which of their contents are there.
  if (settled.ok()) (void)checkpoints_->CloseAll();
}

void Vault::WipeAll() {
  for (const auto& file : files_.All()) file->Wipe();
}

Status Vault::SyncTree() {
  // Syncing takes a descriptor that is open for reading.
  KF_ASSIGN_OR_RETURN(const UniqueFd tree,
                      OpenAt(root_->fd(), ".", O_RDONLY | O_DIRECTORY));
  return ::syncfs(tree.get()) == 0 ? OkStatus() : Status::FromErrno(errno, "syncfs");
}

Status Vault::Checkpoint() {
  if (!checkpoints_->InUse()) return OkStatus();
  checkpoints_->Next();
  const auto files = files_.All();
  for (const auto& file : files) KF_RETURN_IF_ERROR(file->Mark());
  KF_RETURN_IF_ERROR(SyncTree());
  for (const auto& file : files) file->Confirm();
  return checkpoints_->Close();
}

}  // namespace keyfold
