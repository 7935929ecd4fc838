#include "fs/cli/StoreConfig.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/backend/Backend.h"
#include "fs/cli/Parameters.h"

namespace keyfold {
namespace {

using nlohmann::json;

constexpr char kFile[] = "keyfold.json";
constexpr size_t kMaxSize = 64 * 1024;

Status Damaged(const std::string& store) {
  return {Error::kCorrupt,
          store + "/keyfold.json is damaged. Restore it from a backup of the store."};
}

bool Text(const json& object, const char* name, std::string* out) {
  const auto it = object.find(name);
  if (it == object.end() || !it->is_string()) return false;
  *out = it->get<std::string>();
  return true;
}

}  // namespace

Result<StoreConfig> ReadStoreConfig(const std::string& store) {
  const UniqueFd folder(::open(store.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid()) {
    if (errno == ENOENT || errno == ENOTDIR)
      return Status(Error::kNotAStore, store +
                                           " is not a folder. Make a store with: "
                                           "keyfold init " +
                                           store);
    return Status::FromErrno(errno, store);
  }
  KF_ASSIGN_OR_RETURN(const std::string text, ReadStoreConfigText(store));
  return ParseStoreConfig(text, store);
}

Result<std::string> ReadStoreConfigText(const std::string& store) {
  // What is planted in its place is neither followed nor waited for.
  const auto fd = OpenAt(AT_FDCWD, store + "/" + kFile, O_RDONLY | O_NONBLOCK);
  if (fd.status().sys_errno() == ENOENT)
    return Status(Error::kNotAStore,
                  store +
                      " is not a Keyfold store: it has no keyfold.json. Name the "
                      "folder that keyfold init made.");
  struct stat st;
  if (fd.status().sys_errno() == ELOOP ||
      (fd.ok() && ::fstat(fd->get(), &st) == 0 && !S_ISREG(st.st_mode)))
    return Damaged(store);
  if (!fd.ok()) return fd.status();
  auto text = ReadTextFile(FdPath(fd->get()), kMaxSize);
  if (text.status().error() == Error::kUsage) return Damaged(store);  // too large
  return text;
}

Result<StoreConfig> ParseStoreConfig(const std::string& text,
                                     const std::string& store) {
  const json object = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return Damaged(store);
  const auto format = object.find("format");
  if (format == object.end() || !format->is_number_integer()) return Damaged(store);
  if (format->get<int64_t>() > kStoreFormat)
    return Status(Error::kNewerFormat,
                  store + " is of format " + format->dump() +
                      ", and this Keyfold knows stores up to format " +
                      std::to_string(kStoreFormat) +
                      ". Nothing was changed. Use a newer Keyfold.");
  if (format->get<int64_t>() < kOldestStoreFormat) return Damaged(store);
  StoreConfig config;
  config.format = format->get<int>();
  std::string wrapped;
  const auto root_uid = object.find("rootUid");
  const auto root_key = object.find("rootKey");
  if (!Text(object, "storeId", &config.account.store_id) ||
      !Text(object, "account", &config.account.id) ||
      !Text(object, "region", &config.account.region) ||
      !Text(object, "metadataKey", &wrapped) || root_key == object.end() ||
      root_uid == object.end() || !root_uid->is_number_unsigned())
    return Damaged(store);
  config.account.root_uid = root_uid->get<uid_t>();
  config.root_key = *root_key;
  if (object.contains("keyStore") && (!Text(object, "keyStore", &config.key_store) ||
                                      config.key_store.find('/') != std::string::npos))
    return Damaged(store);
  auto blob = FromBase64(wrapped);
  if (!blob) return Damaged(store);
  config.metadata_key = std::move(*blob);
  return config;
}

Status WriteStoreConfig(const std::string& store, const StoreConfig& config) {
  json object = {{"format", config.format},
                 {"storeId", config.account.store_id},
                 {"account", config.account.id},
                 {"region", config.account.region},
                 {"rootUid", config.account.root_uid},
                 {"rootKey", config.root_key},
                 {"metadataKey", ToBase64(config.metadata_key)}};
  if (!config.key_store.empty()) object["keyStore"] = config.key_store;
  const std::string text = object.dump(2) + "\n";
  const UniqueFd folder(::open(store.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid()) return Status::FromErrno(errno, store);
  return ReplaceFile(folder.get(), kFile, AsBytes(text));
}

}  // namespace keyfold
