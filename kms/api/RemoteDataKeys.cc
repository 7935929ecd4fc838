#include "kms/api/RemoteDataKeys.h"

#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <tuple>

#include "kms/service/Material.h"

namespace keyfold {
namespace {

using std::chrono::steady_clock;

constexpr auto kPinnedFor = std::chrono::milliseconds(250);
constexpr size_t kMostRemembered = 4096;

Status Gone() {
  return {Error::kUnavailable, "The process that holds the keys is gone."};
}

}  // namespace

struct RemoteDataKeys::Impl {
  explicit Impl(DataKeyEnd end)
      : calls(std::move(end.calls)),
        changes(std::move(end.changes)),
        counts(std::move(end.counts)) {
    for (const UniqueFd& connection : calls)
      free.push_back(std::make_unique<DataKeySocket>(connection.get()));
  }

  class Borrowed;

  // Exchange is one call on a connection that nobody else uses meanwhile. Not ok when
  // there is no answer.
  Result<DataKeyAnswer> Exchange(const DataKeyRequest& request);
  void LoseAll();
  void Listen(const std::function<void()>& gone);

  const std::vector<UniqueFd> calls;
  const UniqueFd changes;
  const std::shared_ptr<const DataKeyCounts> counts;
  std::atomic<bool> gone{false}, ending{false};

  std::mutex free_mutex;  // guards free
  std::condition_variable freed;
  // The one used last is last: its thread there is awake.
  std::vector<std::unique_ptr<DataKeySocket>> free;

  std::mutex listener_mutex;  // guards listener
  std::function<void()> listener;
  std::thread watcher;

  // What the KMS said lately. One program opens many files, and keys seldom get another
  // version.
  std::mutex memory_mutex;  // guards the rest
  steady_clock::time_point pinned_at;
  std::map<std::tuple<uid_t, gid_t, pid_t>, std::optional<std::vector<gid_t>>> pinned;
  uint64_t current_of = 0;  // the generation
  std::map<std::pair<std::string, uint32_t>, bool> current;
};

// Borrowed is a connection taken from those that are free, and given back at the end.
class RemoteDataKeys::Impl::Borrowed {
 public:
  explicit Borrowed(Impl& impl) : impl_(impl) {
    std::unique_lock lock(impl.free_mutex);
    impl.freed.wait(lock, [&impl] { return impl.gone || !impl.free.empty(); });
    if (impl.gone) return;
    socket_ = std::move(impl.free.back());
    impl.free.pop_back();
  }
  ~Borrowed() {
    if (!socket_) return;
    {
      const std::lock_guard lock(impl_.free_mutex);
      impl_.free.push_back(std::move(socket_));  // there was room for it
    }
    impl_.freed.notify_one();
  }
  Borrowed(const Borrowed&) = delete;
  Borrowed& operator=(const Borrowed&) = delete;
  DataKeySocket* get() const { return socket_.get(); }

 private:
  Impl& impl_;
  std::unique_ptr<DataKeySocket> socket_;
};

Result<DataKeyAnswer> RemoteDataKeys::Impl::Exchange(const DataKeyRequest& request) {
  const Borrowed connection(*this);
  if (connection.get() == nullptr) return Gone();
  const Status sent = connection.get()->Send(request);
  // For want of room nothing was sent; all other failures are an end.
  for (const int room : {EMSGSIZE, ENOBUFS, ENOMEM})
    if (sent.sys_errno() == room) return sent;
  if (sent.ok())
    if (auto answer = connection.get()->ReceiveAnswer()) return *std::move(answer);
  LoseAll();
  return Gone();
}

// LoseAll is for the first connection that fails: without its answer what was asked may
// have happened or not, so there is no going on with the others.
void RemoteDataKeys::Impl::LoseAll() {
  {
    const std::lock_guard lock(free_mutex);
    gone = true;
  }
  freed.notify_all();
  for (const UniqueFd& connection : calls) ::shutdown(connection.get(), SHUT_RDWR);
  ::shutdown(changes.get(), SHUT_RDWR);
}

void RemoteDataKeys::Impl::Listen(const std::function<void()>& tell_gone) {
  char bytes[64];
  for (;;) {
    const ssize_t n = ::recv(changes.get(), bytes, sizeof bytes, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    std::function<void()> call;
    {
      const std::lock_guard lock(listener_mutex);
      call = listener;
    }
    if (call) call();
  }
  if (ending) return;
  LoseAll();
  tell_gone();
}

RemoteDataKeys::RemoteDataKeys(DataKeyEnd end)
    : impl_(std::make_unique<Impl>(std::move(end))) {}

RemoteDataKeys::~RemoteDataKeys() { Unwatch(); }

std::optional<DataKeyAnswer> RemoteDataKeys::Hello() {
  return DataKeySocket(impl_->calls.front().get()).ReceiveAnswer();
}

void RemoteDataKeys::Watch(std::function<void()> gone) {
  impl_->watcher =
      std::thread([impl = impl_.get(), gone = std::move(gone)] { impl->Listen(gone); });
}

void RemoteDataKeys::Unwatch() {
  if (!impl_->watcher.joinable()) return;
  impl_->ending = true;
  ::shutdown(impl_->changes.get(), SHUT_RD);
  impl_->watcher.join();
}

bool RemoteDataKeys::IsGone() const { return impl_->gone; }

Status RemoteDataKeys::Reload() {
  DataKeyRequest request;
  request.call = DataKeyCall::kReload;
  return Call(request).status;
}

uint64_t RemoteDataKeys::CallsOfOthers() const { return impl_->counts->calls; }

DataKeyAnswer RemoteDataKeys::Call(const DataKeyRequest& request) {
  auto answer = impl_->Exchange(request);
  if (answer.ok()) return *std::move(answer);
  DataKeyAnswer none;
  none.status = answer.status();
  return none;
}

Result<DataKey> RemoteDataKeys::CallForKey(const DataKeyRequest& request) {
  DataKeyAnswer answer = Call(request);
  KF_RETURN_IF_ERROR(answer.status);
  if (answer.key.empty()) return Status(Error::kInternal, "an answer without its key");
  return std::move(answer.key);
}

Result<WrappedDataKey> RemoteDataKeys::CallForWrapped(const DataKeyRequest& request) {
  DataKeyAnswer answer = Call(request);
  KF_RETURN_IF_ERROR(answer.status);
  if (answer.key.empty() && request.call != DataKeyCall::kRewrapDataKey)
    return Status(Error::kInternal, "an answer without its key");
  return WrappedDataKey{std::move(answer.key), std::move(answer.blob),
                        std::move(answer.text)};
}

Result<std::string> RemoteDataKeys::ResolveKey(const std::string& key) {
  DataKeyRequest request;
  request.call = DataKeyCall::kResolveKey;
  request.key = key;
  DataKeyAnswer answer = Call(request);
  KF_RETURN_IF_ERROR(answer.status);
  return std::move(answer.text);
}

std::string RemoteDataKeys::KeyLabel(const std::string& key_id) {
  DataKeyRequest request;
  request.call = DataKeyCall::kKeyLabel;
  request.key = key_id;
  const DataKeyAnswer answer = Call(request);
  return answer.status.ok() ? answer.text : key_id;
}

Status RemoteDataKeys::Authorize(const Caller& caller, const std::string& key_id,
                                 const EncryptionContext& context,
                                 const FileEvent& event) {
  return Call({DataKeyCall::kAuthorize, caller, key_id, event, context, {}, {}, {}})
      .status;
}

Caller RemoteDataKeys::Pin(const Caller& caller) {
  if (caller.groups) return caller;
  const std::tuple who(caller.uid, caller.gid, caller.pid);
  Caller out = caller;
  {
    const std::lock_guard lock(impl_->memory_mutex);
    const auto now = steady_clock::now();
    if (now - impl_->pinned_at > kPinnedFor || impl_->pinned.size() > kMostRemembered) {
      impl_->pinned.clear();
      impl_->pinned_at = now;
    }
    const auto known = impl_->pinned.find(who);
    if (known != impl_->pinned.end()) {
      out.groups = known->second;
      return out;
    }
  }
  DataKeyAnswer answer = Call({DataKeyCall::kPin, caller, {}, {}, {}, {}, {}, {}});
  if (!answer.status.ok()) return out;
  out.groups = std::move(answer.groups);
  const std::lock_guard lock(impl_->memory_mutex);
  impl_->pinned[who] = out.groups;
  return out;
}

Status RemoteDataKeys::StillAllowed(const Caller& caller, const std::string& key_id,
                                    const EncryptionContext& context, KeyUse use) {
  return Call({DataKeyCall::kStillAllowed,
               caller,
               key_id,
               {{}, {}, use},
               context,
               {},
               {},
               {}})
      .status;
}

Status RemoteDataKeys::RecordFileEvent(const Caller& caller, const std::string& key_id,
                                       const FileEvent& event, const Status& outcome) {
  return Call({DataKeyCall::kRecordFileEvent,
               caller,
               key_id,
               event,
               {},
               {},
               {},
               outcome})
      .status;
}

Result<WrappedDataKey> RemoteDataKeys::GenerateDataKey(const Caller& caller,
                                                       const std::string& key_id,
                                                       const EncryptionContext& context,
                                                       const std::string& path) {
  return CallForWrapped({DataKeyCall::kGenerateDataKey,
                         caller,
                         key_id,
                         {{}, path, KeyUse::kCreate},
                         context,
                         {},
                         {},
                         {}});
}

Result<DataKey> RemoteDataKeys::UnwrapDataKey(const Caller& caller, ByteView blob,
                                              const EncryptionContext& context,
                                              const std::string& path) {
  return CallForKey({DataKeyCall::kUnwrapDataKey,
                     caller,
                     {},
                     {{}, path, KeyUse::kRead},
                     context,
                     {},
                     Bytes(blob.begin(), blob.end()),
                     {}});
}

Result<WrappedDataKey> RemoteDataKeys::AuthorizeGenerate(
    const Caller& caller, const std::string& key_id, const EncryptionContext& context,
    const FileEvent& event) {
  return CallForWrapped(
      {DataKeyCall::kAuthorizeGenerate, caller, key_id, event, context, {}, {}, {}});
}

Result<DataKey> RemoteDataKeys::AuthorizeUnwrap(const Caller& caller,
                                                const std::string& key_id,
                                                const EncryptionContext& context,
                                                const FileEvent& event, ByteView blob) {
  return CallForKey({DataKeyCall::kAuthorizeUnwrap,
                     caller,
                     key_id,
                     event,
                     context,
                     {},
                     Bytes(blob.begin(), blob.end()),
                     {}});
}

Result<WrappedDataKey> RemoteDataKeys::RewrapDataKey(const Caller& caller,
                                                     ByteView blob,
                                                     const EncryptionContext& from,
                                                     const std::string& to_key_id,
                                                     const EncryptionContext& to,
                                                     const std::string& path) {
  return CallForWrapped({DataKeyCall::kRewrapDataKey,
                         caller,
                         to_key_id,
                         {{}, path, KeyUse::kWrite},
                         from,
                         to,
                         Bytes(blob.begin(), blob.end()),
                         {}});
}

bool RemoteDataKeys::IsCurrent(ByteView blob) {
  const auto header = ParseBlobHeader(blob);
  if (!header) return true;
  const std::pair version(header->key_id, header->version);
  const uint64_t generation = Generation();
  {
    const std::lock_guard lock(impl_->memory_mutex);
    if (impl_->current_of != generation || impl_->current.size() > kMostRemembered)
      impl_->current.clear();
    impl_->current_of = generation;
    const auto known = impl_->current.find(version);
    if (known != impl_->current.end()) return known->second;
  }
  DataKeyRequest request;
  request.call = DataKeyCall::kIsCurrent;
  request.blob.assign(blob.begin(), blob.end());
  const DataKeyAnswer answer = Call(request);
  if (!answer.status.ok()) return true;
  const std::lock_guard lock(impl_->memory_mutex);
  if (impl_->current_of == generation) impl_->current[version] = answer.yes;
  return answer.yes;
}

Result<Bytes> RemoteDataKeys::ReadNote(const std::string& name) {
  DataKeyRequest request;
  request.call = DataKeyCall::kReadNote;
  request.key = name;
  DataKeyAnswer answer = Call(request);
  KF_RETURN_IF_ERROR(answer.status);
  return std::move(answer.blob);
}

Status RemoteDataKeys::KeepNote(const std::string& name, ByteView value) {
  DataKeyRequest request;
  request.call = DataKeyCall::kKeepNote;
  request.key = name;
  request.blob.assign(value.begin(), value.end());
  return Call(request).status;
}

uint64_t RemoteDataKeys::TimesWiped() const { return impl_->counts->times_wiped; }

uint64_t RemoteDataKeys::Generation() const { return impl_->counts->generation; }

void RemoteDataKeys::SetChangeListener(std::function<void()> listener) {
  const std::lock_guard lock(impl_->listener_mutex);
  impl_->listener = std::move(listener);
}

}  // namespace keyfold
