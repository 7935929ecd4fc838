#include "fs/cli/FsckState.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "fs/backend/Backend.h"
#include "kms/crypto/Crypto.h"

namespace keyfold {
namespace {

using nlohmann::json;

// On disk: never change.
constexpr char kNote[] = "fsck";
constexpr char kFile[] = "fsck.state";
constexpr size_t kMaxSize = 64 << 20;

constexpr std::pair<const char*, uint64_t FsckCounts::*> kCounts[] = {
    {"files", &FsckCounts::files},       {"folders", &FsckCounts::folders},
    {"links", &FsckCounts::links},       {"nodes", &FsckCounts::nodes},
    {"bytes", &FsckCounts::bytes},       {"damaged", &FsckCounts::damaged},
    {"repaired", &FsckCounts::repaired}, {"leftovers", &FsckCounts::leftovers},
    {"notes", &FsckCounts::notes},       {"notChecked", &FsckCounts::not_checked},
};

Result<UniqueFd> OpenStoreFolder(const std::string& store) {
  return OpenAt(AT_FDCWD, store, O_RDONLY | O_DIRECTORY);
}

// Backing names may be any bytes.
json ToJson(const WalkPosition& position) {
  json names = json::array();
  for (const std::string& name : position) names.push_back(ToBase64(AsBytes(name)));
  return names;
}

WalkPosition PositionOf(const json& names) {
  WalkPosition position;
  for (const json& name : names)
    position.emplace_back(AsText(FromBase64(name.get<std::string>()).value()));
  return position;
}

std::string TextOf(const FsckState& state) {
  json beyond = json::array(), counts;
  for (const WalkPosition& position : state.reached.beyond)
    beyond.push_back(ToJson(position));
  for (const auto& [name, member] : kCounts) counts[name] = state.counts.*member;
  return json{{"contents", state.contents},
              {"through", ToJson(state.reached.through)},
              {"beyond", beyond},
              {"counts", counts}}
             .dump() +
         "\n";
}

// Parse reads what TextOf wrote: who calls it has seen that.
std::optional<FsckState> Parse(const std::string& text) {
  FsckState state;
  try {
    const json object = json::parse(text);
    state.contents = object.at("contents").get<bool>();
    state.reached.through = PositionOf(object.at("through"));
    for (const json& position : object.at("beyond"))
      state.reached.beyond.push_back(PositionOf(position));
    for (const auto& [name, member] : kCounts)
      state.counts.*member = object.at("counts").at(name).get<uint64_t>();
  } catch (const std::exception&) {
    return std::nullopt;
  }
  return state;
}

}  // namespace

FsckCounts Plus(FsckCounts counts, const CheckTally& tally) {
  counts.files += tally.files;
  counts.folders += tally.folders;
  counts.links += tally.links;
  counts.nodes += tally.nodes;
  counts.bytes += tally.bytes;
  return counts;
}

Status SaveFsckState(const std::string& store, DataKeys& keys, const FsckState& state) {
  const std::string text = TextOf(state);
  // Far ahead of one large file: the state there is goes on to count.
  if (text.size() > kMaxSize) return OkStatus();
  KF_ASSIGN_OR_RETURN(const UniqueFd folder, OpenStoreFolder(store));
  KF_RETURN_IF_ERROR(ReplaceFile(folder.get(), kFile, AsBytes(text)));
  return keys.KeepNote(kNote, Sha256(AsBytes(text)));
}

Result<std::optional<FsckState>> LoadFsckState(const std::string& store,
                                               DataKeys& keys) {
  const std::optional<FsckState> none;
  KF_ASSIGN_OR_RETURN(const Bytes noted, keys.ReadNote(kNote));
  KF_ASSIGN_OR_RETURN(const UniqueFd folder, OpenStoreFolder(store));
  const auto fd = OpenAt(folder.get(), kFile, O_RDONLY | O_NONBLOCK);
  if (!fd.ok()) return none;
  struct stat st;
  if (::fstat(fd->get(), &st) != 0) return Status::FromErrno(errno, kFile);
  if (!S_ISREG(st.st_mode) || st.st_size > static_cast<off_t>(kMaxSize)) return none;
  std::string text(static_cast<size_t>(st.st_size), '\0');
  KF_ASSIGN_OR_RETURN(
      const size_t n,
      ReadAt(fd->get(), 0,
             MutableBytes(reinterpret_cast<uint8_t*>(text.data()), text.size())));
  text.resize(n);
  if (!ConstantTimeEqual(Sha256(AsBytes(text)), noted)) return none;
  return Parse(text);
}

Status ClearFsckState(const std::string& store, DataKeys& keys) {
  KF_ASSIGN_OR_RETURN(const Bytes noted, keys.ReadNote(kNote));
  if (!noted.empty()) KF_RETURN_IF_ERROR(keys.KeepNote(kNote, {}));
  (void)::unlink((store + "/" + kFile).c_str());
  return OkStatus();
}

}  // namespace keyfold
