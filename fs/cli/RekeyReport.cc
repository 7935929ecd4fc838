#include "fs/cli/RekeyReport.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "fs/cli/Figures.h"
#include "fs/cli/Harmless.h"
#include "fs/cli/Output.h"

namespace keyfold {
namespace {

nlohmann::json CountsOf(const RekeyCounts& counts) {
  return {{"files", counts.files},
          {"bytes", counts.bytes},
          {"foldersBound", counts.bound},
          {"wrapped", counts.wrapped},
          {"wrappedBytes", counts.wrapped_bytes},
          {"reencrypted", counts.reencrypted},
          {"reencryptedBytes", counts.reencrypted_bytes},
          {"refused", counts.refused}};
}

}  // namespace

void RekeyReport::Refused(const std::string& path, const Status& why) {
  line_.Clear();
  if (json_) {
    const nlohmann::json line = {
        {"path", path}, {"error", ErrorName(why.error())}, {"why", why.message()}};
    (void)Print(line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) +
                "\n");
    return;
  }
  std::fprintf(stderr, "keyfold: %s: %s\n", Harmless(path).c_str(),
               Harmless(why.message()).c_str());
}

void RekeyReport::Progress(const RekeyCounts& counts) {
  if (!progress_) return;
  const double seconds = std::max(line_.Seconds(), 0.001);
  const uint64_t done = reencrypt_ ? counts.reencrypted_bytes : counts.files;
  const uint64_t all = reencrypt_ ? size_.bytes : size_.files;
  const double rate = static_cast<double>(done) / seconds;
  std::string text = Number(counts.files, "file", "files");
  if (size_.files > 0) text += " of " + std::to_string(size_.files);
  if (reencrypt_) text += ", " + Amount(static_cast<double>(done));
  if (reencrypt_ && all > 0) text += " of " + Amount(static_cast<double>(all));
  text += reencrypt_ ? ", " + Amount(rate) + "/s"
                     : ", " + std::to_string(static_cast<uint64_t>(rate)) + " files/s";
  const bool known = all > 0 && all >= done;
  if (known && rate > 0)
    text += ", " + Duration(static_cast<double>(all - done) / rate) + " left";
  line_.Show(text,
             known ? std::optional(static_cast<double>(done) / static_cast<double>(all))
                   : std::nullopt);
}

Status RekeyReport::Summarize(const RekeyCounts& counts, int exit_code) {
  line_.Clear();
  if (json_) {
    nlohmann::json summary = CountsOf(counts);
    summary["seconds"] = line_.Seconds();
    summary["exitCode"] = exit_code;
    return Print(nlohmann::json{{"summary", summary}}.dump() + "\n");
  }
  std::string text = "Looked at " + FilesOf(counts.files, counts.bytes) + " in " +
                     Duration(line_.Seconds()) + ".\n";
  if (counts.bound > 0)
    text += "Bound to the key: " + Number(counts.bound, "folder", "folders") + ".\n";
  if (counts.wrapped > 0)
    text += "Data key wrapped anew: " + Number(counts.wrapped, "file", "files") + ".\n";
  if (counts.reencrypted > 0)
    text += "New data key, contents encrypted anew: " +
            FilesOf(counts.reencrypted, counts.reencrypted_bytes) + ".\n";
  if (counts.refused > 0)
    text += "Not done: " + std::to_string(counts.refused) +
            ", each named above. The same command does what is left.\n";
  else if (counts.wrapped + counts.reencrypted + counts.bound == 0)
    text += "Nothing was to be done.\n";
  return Print(text);
}

Status RekeyReport::WhatWouldBe(const RekeyCounts& counts,
                                const std::optional<KeySpeed>& speed) {
  line_.Clear();
  double seconds = 0;
  if (speed)
    seconds = speed->Wrapping(counts.wrapped) +
              speed->Reencrypting(counts.reencrypted, counts.reencrypted_bytes);
  if (json_) {
    nlohmann::json summary = CountsOf(counts);
    if (speed) summary["seconds"] = seconds;
    return Print(nlohmann::json{{"wouldBe", summary}}.dump() + "\n");
  }
  std::string text = "Looked at " + FilesOf(counts.files, counts.bytes) + ".\n";
  if (counts.bound > 0)
    text += "Would be bound to the key: " + Number(counts.bound, "folder", "folders") +
            ".\n";
  if (counts.wrapped > 0)
    text += "Data key would be wrapped anew: " +
            FilesOf(counts.wrapped, counts.wrapped_bytes) + ".\n";
  if (counts.reencrypted > 0)
    text += "Would get a new data key and contents encrypted anew: " +
            FilesOf(counts.reencrypted, counts.reencrypted_bytes) + ".\n";
  if (counts.wrapped + counts.reencrypted + counts.bound == 0)
    text += "Nothing is to be done.\n";
  else if (speed)
    text += "That takes about " + Duration(seconds) + ", by what was measured.\n";
  return Print(text);
}

}  // namespace keyfold
