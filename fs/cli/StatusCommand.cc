#include <memory>

#include "fs/cli/Commands.h"
#include "fs/cli/Report.h"

namespace keyfold {
namespace {

using nlohmann::json;

struct StatusWords {
  std::string mountpoint;
  std::string format = "text";
};

std::string ShowStatus(const json& status) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& [name, value] : status.items()) {
    std::string text = Cell(value);
    if (value.is_object()) {
      text.clear();
      for (const auto& [part, count] : value.items())
        text += (text.empty() ? "" : ", ") + Cell(count) + " " + part;
    }
    rows.push_back({name, text});
  }
  return Columns(rows);
}

Result<std::string> StatusOfAll(const StatusWords& words) {
  KF_ASSIGN_OR_RETURN(std::vector<MountEntry> mounts, KeyfoldMounts());
  if (!words.mountpoint.empty()) {
    KF_ASSIGN_OR_RETURN(const MountEntry one, ChooseMount({words.mountpoint, "", ""}));
    mounts = {one};
  }
  std::string text;
  json all = json::array();
  for (const MountEntry& mount : mounts) {
    auto status = CallOn(mount, "store", "GetStatus", json::object());
    if (!status.ok() && !words.mountpoint.empty()) return status.status();
    if (!status.ok())
      status = json{{"Mountpoint", mount.mountpoint},
                    {"Store", mount.store},
                    {"Error", status.status().message()}};
    text += (text.empty() ? "" : "\n") + ShowStatus(*status);
    all.push_back(std::move(*status));
  }
  if (words.format == "json") return Render(all, {});
  return text.empty() ? "No store is mounted.\n" : text;
}

}  // namespace

void AddStatus(CLI::App& app, Run* run) {
  const auto words = std::make_shared<StatusWords>();
  CLI::App* status = app.add_subcommand("status", "Shows what is mounted");
  status->add_option("mountpoint", words->mountpoint, "Only this mount")
      ->type_name("MOUNTPOINT");
  AddOutputOption(status, &words->format);
  status->footer("Example:\n  keyfold status /srv/finance");
  status->callback([words, run] {
    *run = [words] {
      const auto text = StatusOfAll(*words);
      if (!text.ok()) return Fail(text.status());
      return PrintOrFail(*text);
    };
  });
}

}  // namespace keyfold
