// The DataKeys side of the service: keys as the filesystem uses them.
#include "kms/service/Service.h"

namespace keyfold {
namespace {

constexpr char kViaService[] = "fs.keyfold";
constexpr char kDecrypt[] = "kms:Decrypt";
constexpr char kGenerate[] = "kms:GenerateDataKey";
constexpr char kKmsPrefix[] = "kms:";
constexpr char kReEncrypt[] = "ReEncrypt";

std::initializer_list<const char*> ActionsOf(KeyUse use) {
  static constexpr std::initializer_list<const char*> kRead = {kDecrypt};
  static constexpr std::initializer_list<const char*> kCreate = {kGenerate};
  static constexpr std::initializer_list<const char*> kWrite = {kDecrypt, kGenerate};
  switch (use) {
    case KeyUse::kRead:
      return kRead;
    case KeyUse::kCreate:
      return kCreate;
    case KeyUse::kWrite:
      return kWrite;
  }
  return kWrite;
}

}  // namespace

Result<std::string> Service::ResolveKey(const std::string& given) {
  const KeyRef key =
      keyfold::ResolveKey(*catalog_->state(), account(), given, clock_.Now());
  if (!key) return Status(Error::kNotFound, "Key '" + given + "' does not exist");
  return key->id;
}

std::string Service::KeyLabel(const std::string& key_id) {
  const std::string alias = catalog_->state()->AliasOf(key_id);
  return alias.empty() ? key_id : alias;
}

Service::FileUse Service::DecideFileUse(const Caller& caller, const std::string& key_id,
                                        const EncryptionContext& context,
                                        std::initializer_list<const char*> actions) {
  FileUse use;
  const auto state = catalog_->state();
  const TimePoint now = clock_.Now();
  auto principal = identity_.Resolve(caller, *state->iam);
  if (!principal.ok()) {
    use.principal = UnresolvedPrincipal(caller.uid);
    use.outcome = principal.status();
    return use;
  }
  use.principal = *std::move(principal);
  use.key = state->FindKey(key_id);
  if (!use.key || use.key->DueForDestruction(now)) {
    use.key = nullptr;
    use.outcome = {Error::kNotFound,
                   "Key '" + KeyArn(account(), key_id) + "' does not exist"};
    return use;
  }
  const std::string arn = KeyArn(account(), key_id);
  policy::Request request{{}, arn, policy::LazyContext([&] {
                            policy::Context known =
                                KeyConditions(account(), *state, *use.key, now);
                            AddContext(known, context);
                            known["kms:ViaService"] = {kViaService};
                            known["kms:EncryptionAlgorithm"] = {"SYMMETRIC_DEFAULT"};
                            return known;
                          })};
  const auto grants = state->GrantsOf(key_id).HeldBy(use.principal);
  for (const char* action : actions) {
    request.action = action;
    if (!policy::DecideOnKey(*state->iam, use.principal, request, use.key->policy,
                             grants)
             .allowed()) {
      use.outcome = AccessDenied(use.principal, action, arn);
      return use;
    }
  }
  use.outcome = RequireUse(account(), *use.key, KeyUsage::kEncryptDecrypt, now);
  return use;
}

Status Service::FinishFileUse(const Caller& caller, const FileUse& use,
                              const std::string& key_id, const FileEvent& event,
                              const Status& outcome) {
  counts_.NoteFileUse(caller.uid, event.use, outcome.error());
  try {
    JsonText request;
    request.Add("path", event.path).Add("use", KeyUseName(event.use));
    std::string resources = Recorder::FileResource(event.path);
    if (!key_id.empty())
      resources = recorder_->KeyResource(KeyArn(account(), key_id)) + "," + resources;
    JsonText record = recorder_->Base(caller, use.principal, "fs.keyfold", event.name,
                                      event.use == KeyUse::kRead);
    record.AddJson("requestParameters", request.Object())
        .AddJson("additionalEventData", event.use == KeyUse::kCreate
                                            ? R"({"keyOperations":["GenerateDataKey"]})"
                                            : R"({"keyOperations":["Decrypt"]})")
        .AddJson("resources", "[" + resources + "]");
    return recorder_->AppendUse(record, outcome);
  } catch (const std::exception&) {
    return {Error::kInternal, "The record of a file's use could not be built."};
  }
}

Status Service::Authorize(const Caller& caller, const std::string& key_id,
                          const EncryptionContext& context, const FileEvent& event) {
  FileUse use = DecideFileUse(caller, key_id, context, ActionsOf(event.use));
  if (use.outcome.ok()) use.outcome = root_keys_.Check();
  if (use.key && use.outcome.error() != Error::kAccessDenied) {
    activity_->NoteFile(key_id, clock_.Now());
    if (use.outcome.ok())
      for (const char* action : ActionsOf(event.use))
        NoteGrants(use.principal, action + sizeof kKmsPrefix - 1, key_id,
                   *catalog_->state());
  }
  KF_RETURN_IF_ERROR(FinishFileUse(caller, use, key_id, event, use.outcome));
  return use.outcome;
}

Status Service::StillAllowed(const Caller& caller, const std::string& key_id,
                             const EncryptionContext& context, KeyUse use) {
  KF_RETURN_IF_ERROR(DecideFileUse(caller, key_id, context, ActionsOf(use)).outcome);
  return root_keys_.CheckHeld();
}

Status Service::RecordFileEvent(const Caller& caller, const std::string& key_id,
                                const FileEvent& event, const Status& outcome) {
  const FileUse use = DecideFileUse(caller, key_id, {}, {});
  return FinishFileUse(caller, use, key_id, event, outcome);
}

// A file's own record, written by Authorize before, stands for the use of its key;
// what fails, or serves no file, gets one by itself.
Status Service::RecordKeyUse(const Caller& caller, const FileUse& use,
                             const char* event, const std::string& key_id,
                             const EncryptionContext& context, const std::string& path,
                             const Status& outcome) {
  // The file's own record tells of its use; a change of its key has two keys.
  if (outcome.ok() && !path.empty() && std::string_view(event) != kReEncrypt)
    return OkStatus();
  try {
    std::string resources = recorder_->KeyResource(KeyArn(account(), key_id));
    if (!path.empty()) resources += "," + Recorder::FileResource(path);
    JsonText names;
    for (const auto& [name, value] : context) names.Add(name, value);
    JsonText request;
    request.AddJson("encryptionContext", names.Object());
    JsonText record = recorder_->Base(caller, use.principal, "kms.amazonaws.com", event,
                                      true, kViaService);
    record.AddJson("requestParameters", request.Object())
        .AddJson("responseElements", "null")
        .AddJson("resources", "[" + resources + "]");
    return recorder_->AppendUse(record, outcome);
  } catch (const std::exception&) {
    return {Error::kInternal, "The record of a key's use could not be built."};
  }
}

Result<WrappedDataKey> Service::WrapDataKey(const Caller& caller, DataKey key,
                                            const char* event,
                                            const std::string& key_id,
                                            const EncryptionContext& context,
                                            const std::string& path) {
  const FileUse use = DecideFileUse(caller, key_id, context, {kGenerate});
  const auto wrap = [&]() -> Result<Bytes> {
    KF_RETURN_IF_ERROR(use.outcome);
    KF_ASSIGN_OR_RETURN(const auto secrets, root_keys_.Use());
    return EncryptUnder(*secrets, *use.key, context, key.bytes());
  };
  Result<Bytes> blob = wrap();
  KF_RETURN_IF_ERROR(
      RecordKeyUse(caller, use, event, key_id, context, path, blob.status()));
  if (!blob.ok()) return blob.status();
  return WrappedDataKey{std::move(key), *std::move(blob), key_id};
}

Result<WrappedDataKey> Service::GenerateDataKey(const Caller& caller,
                                                const std::string& key_id,
                                                const EncryptionContext& context,
                                                const std::string& path) {
  return WrapDataKey(caller, DataKey(RandomSecret(kKeySize)), "GenerateDataKey", key_id,
                     context, path);
}

Result<DataKey> Service::UnwrapDataKey(const Caller& caller, ByteView blob,
                                       const EncryptionContext& context,
                                       const std::string& path) {
  const auto header = ParseBlobHeader(blob);
  if (!header)
    return Status(Error::kInvalidCiphertext, "The wrapped data key is not valid.");
  const FileUse use = DecideFileUse(caller, header->key_id, context, {kDecrypt});
  const auto unwrap = [&]() -> Result<SecretBytes> {
    KF_RETURN_IF_ERROR(use.outcome);
    KF_ASSIGN_OR_RETURN(const auto secrets, root_keys_.Use());
    return DecryptUnder(*secrets, *use.key, blob, context);
  };
  Result<SecretBytes> plain = unwrap();
  KF_RETURN_IF_ERROR(RecordKeyUse(caller, use, "Decrypt", header->key_id, context, path,
                                  plain.status()));
  if (!plain.ok()) return plain.status();
  if (plain->size() != kKeySize)
    return Status(Error::kInvalidCiphertext, "The wrapped data key has another size.");
  return DataKey(std::move(plain).value());
}

Result<WrappedDataKey> Service::RewrapDataKey(const Caller& caller, ByteView blob,
                                              const EncryptionContext& from,
                                              const std::string& to_key_id,
                                              const EncryptionContext& to,
                                              const std::string& path) {
  KF_ASSIGN_OR_RETURN(DataKey key, UnwrapDataKey(caller, blob, from, path));
  KF_ASSIGN_OR_RETURN(
      WrappedDataKey wrapped,
      WrapDataKey(caller, std::move(key), kReEncrypt, to_key_id, to, path));
  wrapped.key = DataKey();
  return wrapped;
}

bool Service::IsCurrent(ByteView blob) {
  const auto header = ParseBlobHeader(blob);
  if (!header) return true;
  const auto state = catalog_->state();
  const KeyRef key = state->FindKey(header->key_id);
  return !key || header->version >= key->CurrentVersion();
}

Result<Bytes> Service::ReadNote(const std::string& name) {
  const auto state = catalog_->state();
  const auto it = state->notes.find(name);
  return it == state->notes.end() ? Bytes() : it->second;
}

Status Service::KeepNote(const std::string& name, ByteView value) {
  std::lock_guard lock(write_mutex_);
  nlohmann::json record = OwnRecord("store.keyfold", "KeepNote");
  record["requestParameters"] = {{"name", name}, {"value", ToBase64(value)}};
  Transaction transaction(*catalog_->state());
  transaction.PutNote(name, Bytes(value.begin(), value.end()));
  return CommitRecorded(std::move(record), std::move(transaction));
}

}  // namespace keyfold
