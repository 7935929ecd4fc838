#include "kms/api/DataKeyServer.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <mutex>
#include <new>
#include <thread>
#include <utility>

namespace keyfold {
namespace {

// What a file's key is wrapped under: names that calls of the KMS's API may not use, so
// that nothing else is unwrapped here.
constexpr std::string_view kFilesContext = "keyfold:";

bool IsOfFiles(const EncryptionContext& context) {
  return !context.empty() &&
         std::all_of(context.begin(), context.end(), [](const auto& entry) {
           return entry.first.starts_with(kFilesContext);
         });
}

// Fill puts what a call returned into the answer. A key goes along by SetKey alone.
void SetKey(DataKeyAnswer* answer, DataKey key) { answer->key = std::move(key); }
void SetKey(DataKeyAnswer* answer, WrappedDataKey wrapped) {
  answer->key = std::move(wrapped.key);
  answer->blob = std::move(wrapped.blob);
  answer->text = std::move(wrapped.key_id);
}

DataKeyAnswer Told(Status status) {
  DataKeyAnswer answer;
  answer.status = std::move(status);
  return answer;
}

template <typename Key>
DataKeyAnswer KeyOf(Result<Key> made) {
  DataKeyAnswer answer;
  if (made.ok())
    SetKey(&answer, std::move(made).value());
  else
    answer.status = made.status();
  return answer;
}

// DoWithKeys does what uses a key. A key that is asked for without Authorize is asked
// for without a path, as that has the KMS record the call by itself: the other process
// could leave Authorize out.
DataKeyAnswer DoWithKeys(DataKeys& keys, const DataKeyRequest& request) {
  if (!IsOfFiles(request.context))
    return Told({Error::kValidation, "That is no context of a file."});
  switch (request.call) {
    case DataKeyCall::kGenerateDataKey:
      return KeyOf(
          keys.GenerateDataKey(request.caller, request.key, request.context, ""));
    case DataKeyCall::kUnwrapDataKey:
      return KeyOf(
          keys.UnwrapDataKey(request.caller, request.blob, request.context, ""));
    case DataKeyCall::kAuthorizeGenerate:
      return KeyOf(keys.AuthorizeGenerate(request.caller, request.key, request.context,
                                          request.event));
    case DataKeyCall::kAuthorizeUnwrap:
      return KeyOf(keys.AuthorizeUnwrap(request.caller, request.key, request.context,
                                        request.event, request.blob));
    default:
      break;
  }
  if (!IsOfFiles(request.to_context))
    return Told({Error::kValidation, "That is no context of a file."});
  return KeyOf(keys.RewrapDataKey(request.caller, request.blob, request.context,
                                  request.key, request.to_context, request.event.path));
}

DataKeyAnswer Do(DataKeys& keys, const std::function<Status()>& reload,
                 const DataKeyRequest& request) {
  DataKeyAnswer answer;
  switch (request.call) {
    case DataKeyCall::kResolveKey: {
      auto resolved = keys.ResolveKey(request.key);
      if (!resolved.ok()) return Told(resolved.status());
      answer.text = *std::move(resolved);
      return answer;
    }
    case DataKeyCall::kKeyLabel:
      answer.text = keys.KeyLabel(request.key);
      return answer;
    case DataKeyCall::kAuthorize:
      return Told(
          keys.Authorize(request.caller, request.key, request.context, request.event));
    case DataKeyCall::kPin:
      answer.groups = keys.Pin(request.caller).groups;
      return answer;
    case DataKeyCall::kStillAllowed:
      return Told(keys.StillAllowed(request.caller, request.key, request.context,
                                    request.event.use));
    case DataKeyCall::kRecordFileEvent:
      return Told(keys.RecordFileEvent(request.caller, request.key, request.event,
                                       request.outcome));
    case DataKeyCall::kIsCurrent:
      answer.yes = keys.IsCurrent(request.blob);
      return answer;
    case DataKeyCall::kReadNote: {
      auto note = keys.ReadNote(request.key);
      if (!note.ok()) return Told(note.status());
      answer.blob = *std::move(note);
      return answer;
    }
    case DataKeyCall::kKeepNote:
      return Told(keys.KeepNote(request.key, request.blob));
    case DataKeyCall::kGenerateDataKey:
    case DataKeyCall::kUnwrapDataKey:
    case DataKeyCall::kAuthorizeGenerate:
    case DataKeyCall::kAuthorizeUnwrap:
    case DataKeyCall::kRewrapDataKey:
      return DoWithKeys(keys, request);
    case DataKeyCall::kReload:
      return Told(reload ? reload() : OkStatus());
  }
  return Told({Error::kInternal, "no such call"});
}

// Publisher outlives the server where the KMS is in the middle of telling a change.
class Publisher {
 public:
  Publisher(UniqueFd changes, std::shared_ptr<DataKeyCounts> counts)
      : changes_(std::move(changes)), counts_(std::move(counts)) {}

  // One at a time, so that neither count goes back. The generation is asked for first
  // and written last: TimesWiped grows before it does.
  void Publish(const DataKeys& keys) {
    const std::lock_guard lock(mutex_);
    const uint64_t generation = keys.Generation();
    counts_->times_wiped = keys.TimesWiped();
    counts_->generation = generation;
  }
  // When there is no room for more bytes, those that are there wake the other side.
  void Wake() { (void)::send(changes_.get(), "c", 1, MSG_DONTWAIT | MSG_NOSIGNAL); }

  bool AwaitEnd(int most) {
    pollfd wait{changes_.get(), POLLIN,
                0};  // it sends nothing: its end is all there is
    return ::poll(&wait, 1, most) > 0;
  }

 private:
  const UniqueFd changes_;
  const std::shared_ptr<DataKeyCounts> counts_;
  std::mutex mutex_;
};

}  // namespace

struct DataKeyServer::Impl {
  Impl(DataKeys& of, DataKeyEnd end, std::function<Status()> r)
      : keys(of),
        reload(std::move(r)),
        calls(std::move(end.calls)),
        publisher(std::make_shared<Publisher>(std::move(end.changes),
                                              std::move(end.counts))) {}

  void Serve(int connection);

  DataKeys& keys;
  const std::function<Status()> reload;  // or empty
  const std::vector<UniqueFd> calls;
  const std::shared_ptr<Publisher> publisher;
  std::vector<std::thread> threads;
};

void DataKeyServer::Impl::Serve(int connection) {
  DataKeySocket socket(connection);
  try {
    for (;;) {
      const auto request = socket.ReceiveRequest();
      if (!request) break;
      DataKeyAnswer answer;
      try {
        answer = Do(keys, reload, *request);
      } catch (const std::bad_alloc&) {
        answer = Told(Status::NoMemory());
      }
      if (!socket.Send(answer).ok()) break;
    }
  } catch (const std::bad_alloc&) {  // the connection ends
  }
  ::shutdown(connection, SHUT_RDWR);
}

DataKeyServer::DataKeyServer(DataKeys& keys, DataKeyEnd end,
                             std::function<Status()> reload)
    : impl_(std::make_unique<Impl>(keys, std::move(end), std::move(reload))) {
  keys.SetChangeListener([&keys, publisher = impl_->publisher] {
    publisher->Publish(keys);
    publisher->Wake();
  });
  impl_->publisher->Publish(keys);
  for (const UniqueFd& connection : impl_->calls)
    impl_->threads.emplace_back(
        [impl = impl_.get(), fd = connection.get()] { impl->Serve(fd); });
}

DataKeyServer::~DataKeyServer() {
  impl_->keys.SetChangeListener({});
  for (const UniqueFd& connection : impl_->calls)
    ::shutdown(connection.get(), SHUT_RDWR);
  for (std::thread& thread : impl_->threads) thread.join();
}

bool DataKeyServer::AwaitEnd(std::chrono::milliseconds most) {
  return impl_->publisher->AwaitEnd(static_cast<int>(most.count()));
}

}  // namespace keyfold
