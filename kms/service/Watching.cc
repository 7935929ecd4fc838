// Who uses what at this moment, and the KMS in numbers.
#include "kms/service/Operations.h"
#include "kms/service/Service.h"

namespace keyfold {
namespace {

using nlohmann::json;

std::string_view WordOf(KeyUse use) { return use == KeyUse::kRead ? "read" : "write"; }

json FilesOf(const std::vector<OpenHandle>& handles, const State& state) {
  json files = json::array();
  for (const OpenHandle& handle : handles)
    files.push_back({{"Uid", handle.uid},
                     {"Pid", handle.pid},
                     {"KeyId", handle.key_id},
                     {"Alias", state.AliasOf(handle.key_id)},
                     {"Use", WordOf(handle.use)},
                     {"Path", handle.path}});
  return files;
}

json UsersOf(const CallCounts& counts, std::optional<uid_t> only) {
  json users = json::array();
  for (const auto& [uid, of] : counts.Users(only))
    users.push_back({{"Uid", uid},
                     {"FileUses", of.file_uses},
                     {"KmsCalls", of.calls},
                     {"Refusals", of.refusals}});
  return users;
}

json KeysOf(const State& state, TimePoint now) {
  json keys = json::array();
  for (const auto& [id, key] : state.keys) {
    json one = {{"KeyId", id},
                {"Alias", state.AliasOf(id)},
                {"KeyState", StateName(key->StateAt(now))}};
    if (key->deletion_date) one["DeletionDate"] = WireTime(*key->deletion_date);
    if (const auto expiry = key->EarliestExpiry()) one["ValidTo"] = WireTime(*expiry);
    keys.push_back(std::move(one));
  }
  return keys;
}

json MountOf(const FileCounts& counts) {
  json operations = json::object(), failures = json::object();
  for (size_t i = 0; i < kFileOperations; ++i) {
    uint64_t sum = 0;
    for (const SharedCount& bucket : counts.operations[i].buckets) sum += bucket;
    operations[std::string(kFileOperationNames[i])] = sum;
  }
  for (size_t i = 0; i < kFileFailures; ++i)
    failures[std::string(kFileFailureNames[i])] = counts.failures[i].load();
  return {{"Operations", std::move(operations)},
          {"Failures", std::move(failures)},
          {"ReadBytes", counts.read_bytes.load()},
          {"WrittenBytes", counts.written_bytes.load()},
          {"OpenFiles", counts.open_files.load()},
          {"OpenHandles", counts.open_handles.load()}};
}

}  // namespace

// Who may read the audit log may see what will stand in it, and everybody their own.
Answer GetActivity(Invocation& call) {
  const uint64_t last = call.audit.head().sequence;
  const bool everything = call.AuthorizeOnAccount(kLookup, "*").ok();
  const auto only = everything ? std::nullopt : std::optional<uid_t>(call.caller.uid);
  json answer = {{"Everything", everything},
                 {"LastSequence", last},
                 {"Time", WireTime(call.now)},
                 {"Users", UsersOf(call.counts, only)}};
  if (everything) answer["Keys"] = KeysOf(*call.state, call.now);
  if (call.files == nullptr) return answer;  // a store that is not mounted
  KF_ASSIGN_OR_RETURN(const OpenHandles open, call.files->Open(only));
  answer["Files"] = FilesOf(open.shown, *call.state);
  answer["FilesNotShown"] = open.left_out;
  if (everything) answer["Mount"] = MountOf(call.files->counts());
  return answer;
}

KmsFigures Service::Figures() const {
  const auto state = catalog_->state();
  KmsFigures figures;
  figures.now = clock_.Now();
  for (const auto& [id, key] : state->keys)
    figures.keys.push_back(
        {id, key->StateAt(figures.now), key->deletion_date, key->EarliestExpiry()});
  figures.aliases = state->aliases.size();
  figures.grants = state->GrantCount();
  figures.audit_records = audit_->head().sequence;
  figures.root_key_there = root_keys_.Check().ok();
  figures.counts = counts_.All();
  return figures;
}

}  // namespace keyfold
