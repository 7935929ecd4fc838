#include "kms/api/DataKeyWire.h"

#include "kms/crypto/Crypto.h"

namespace keyfold {
namespace {

constexpr size_t kMostGroups = 65536;  // NGROUPS_MAX
constexpr uint32_t kMostNames = 64;    // of a context; files' have three
constexpr uint32_t kMostErrno = 4095;

class Writer {
 public:
  void Number(uint32_t value) { out_.Integer(value); }
  void Flag(bool value) { out_.Integer(static_cast<uint8_t>(value)); }
  template <typename Kind>
  void Choice(Kind value) {
    out_.Integer(static_cast<uint8_t>(value));
  }
  void Put(ByteView bytes) {
    out_.Integer(static_cast<uint32_t>(bytes.size()));
    out_.Append(bytes);
  }
  void Put(const std::string& text) { Put(AsBytes(text)); }
  void Put(const std::optional<std::vector<gid_t>>& groups) {
    Flag(groups.has_value());
    if (!groups) return;
    Number(static_cast<uint32_t>(groups->size()));
    for (const gid_t group : *groups) Number(group);
  }
  void Put(const EncryptionContext& context) {
    Number(static_cast<uint32_t>(context.size()));
    for (const auto& [name, value] : context) {
      Put(name);
      Put(value);
    }
  }
  void Put(const Status& status) {
    Choice(status.error());
    Number(static_cast<uint32_t>(status.sys_errno()));
    Put(status.message());
  }
  Bytes Take() { return out_.Take(); }

 private:
  ByteWriter out_;
};

// Reader goes on after a field that is not there, with nothing in its place; `ok` tells
// at the end.
class Reader {
 public:
  explicit Reader(ByteView packet) : in_(packet) {}
  bool ok() const { return ok_; }
  size_t remaining() const { return in_.remaining(); }

  uint32_t Number() { return Checked(in_.Integer<uint32_t>()); }
  // Choice is at least `first` and at most `last`.
  template <typename Kind>
  Kind Choice(Kind first, Kind last) {
    const auto value = Checked(in_.Integer<uint8_t>());
    ok_ &= value >= static_cast<uint8_t>(first) && value <= static_cast<uint8_t>(last);
    return ok_ ? static_cast<Kind>(value) : first;
  }
  bool Flag() { return Choice<uint8_t>(0, 1) == 1; }
  ByteView Raw() { return Checked(in_.Take(Number())); }
  std::string Text() { return std::string(AsText(Raw())); }
  Bytes Blob() {
    const ByteView raw = Raw();
    return Bytes(raw.begin(), raw.end());
  }
  std::optional<std::vector<gid_t>> Groups() {
    if (!Flag()) return std::nullopt;
    const uint32_t count = Number();
    ok_ &= count <= kMostGroups && count <= in_.remaining() / sizeof(uint32_t);
    if (!ok_) return std::nullopt;
    std::vector<gid_t> groups(count);
    for (gid_t& group : groups) group = Number();
    return groups;
  }
  EncryptionContext Context() {
    EncryptionContext context;
    const uint32_t count = Number();
    ok_ &= count <= kMostNames;
    for (uint32_t i = 0; i < count && ok_; ++i) {
      std::string name = Text();
      // In order, so that there is one way to say it.
      ok_ &= context.empty() || context.rbegin()->first < name;
      context.emplace(std::move(name), Text());
    }
    return context;
  }
  Status Outcome() {
    const auto error = Choice(Error::kOk, kLastError);
    const uint32_t number = Number();
    std::string message = Text();
    ok_ &= number == 0 || (error == Error::kSystem && number <= kMostErrno);
    ok_ &= error != Error::kOk || message.empty();
    return ok_ ? Status::Told(error, static_cast<int>(number), std::move(message))
               : OkStatus();
  }

 private:
  template <typename T>
  T Checked(std::optional<T> field) {
    ok_ &= field.has_value();
    return ok_ ? *field : T();
  }

  ByteReader in_;
  bool ok_ = true;
};

}  // namespace

Bytes Encode(const DataKeyRequest& request) {
  Writer out;
  out.Choice(request.call);
  out.Number(request.caller.uid);
  out.Number(request.caller.gid);
  out.Number(static_cast<uint32_t>(request.caller.pid));
  out.Put(request.caller.groups);
  out.Put(request.key);
  out.Put(request.event.name);
  out.Put(request.event.path);
  out.Choice(request.event.use);
  out.Put(request.context);
  out.Put(request.to_context);
  out.Put(request.blob);
  out.Put(request.outcome);
  return out.Take();
}

std::optional<DataKeyRequest> DecodeDataKeyRequest(ByteView packet) {
  Reader in(packet);
  DataKeyRequest request;
  request.call = in.Choice(DataKeyCall::kResolveKey, DataKeyCall::kLast);
  request.caller.uid = in.Number();
  request.caller.gid = in.Number();
  request.caller.pid = static_cast<pid_t>(in.Number());
  request.caller.groups = in.Groups();
  request.key = in.Text();
  request.event.name = in.Text();
  request.event.path = in.Text();
  request.event.use = in.Choice(KeyUse::kRead, KeyUse::kWrite);
  request.context = in.Context();
  request.to_context = in.Context();
  request.blob = in.Blob();
  request.outcome = in.Outcome();
  if (!in.ok() || in.remaining() != 0) return std::nullopt;
  return request;
}

Bytes Encode(const DataKeyAnswer& answer) {
  Writer out;
  out.Put(answer.status);
  out.Put(answer.text);
  out.Put(answer.blob);
  out.Flag(answer.yes);
  out.Put(answer.groups);
  out.Flag(!answer.key.empty());
  return out.Take();
}

std::optional<DataKeyAnswer> DecodeDataKeyAnswer(MutableBytes packet) {
  Reader in(packet);
  DataKeyAnswer answer;
  answer.status = in.Outcome();
  answer.text = in.Text();
  answer.blob = in.Blob();
  answer.yes = in.Flag();
  answer.groups = in.Groups();
  const size_t key = in.Flag() ? kKeySize : 0;
  if (!in.ok() || in.remaining() != key) return std::nullopt;
  if (key != 0) answer.key = DataKey(SecretFrom(packet.last(key)));
  return answer;
}

Bytes Encode(const FilesQuestion& question) {
  Writer out;
  out.Number(question.number);
  out.Flag(question.only.has_value());
  out.Number(question.only.value_or(0));
  return out.Take();
}

std::optional<FilesQuestion> DecodeFilesQuestion(ByteView packet) {
  Reader in(packet);
  FilesQuestion question;
  question.number = in.Number();
  const bool one = in.Flag();
  const uid_t uid = in.Number();
  if (one) question.only = uid;
  if (!in.ok() || in.remaining() != 0 || (!one && uid != 0)) return std::nullopt;
  return question;
}

Bytes Encode(const FilesAnswer& answer) {
  Writer out;
  out.Number(answer.number);
  out.Number(answer.open.left_out);
  out.Number(static_cast<uint32_t>(answer.open.shown.size()));
  for (const OpenHandle& handle : answer.open.shown) {
    out.Number(handle.uid);
    out.Number(static_cast<uint32_t>(handle.pid));
    out.Put(handle.key_id);
    out.Choice(handle.use);
    out.Put(handle.path);
  }
  return out.Take();
}

std::optional<FilesAnswer> DecodeFilesAnswer(ByteView packet) {
  Reader in(packet);
  FilesAnswer answer;
  answer.number = in.Number();
  answer.open.left_out = in.Number();
  const uint32_t count = in.Number();
  for (uint32_t i = 0; i < count && in.ok(); ++i) {
    OpenHandle handle;
    handle.uid = in.Number();
    handle.pid = static_cast<pid_t>(in.Number());
    handle.key_id = in.Text();
    handle.use = in.Choice(KeyUse::kRead, KeyUse::kWrite);
    handle.path = in.Text();
    answer.open.shown.push_back(std::move(handle));
  }
  if (!in.ok() || in.remaining() != 0) return std::nullopt;
  return answer;
}

}  // namespace keyfold
