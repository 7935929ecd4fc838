#include "fs/cli/FsckReport.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "fs/cli/Figures.h"
#include "fs/cli/Harmless.h"
#include "fs/cli/Output.h"

namespace keyfold {
namespace {

using nlohmann::json;

std::string_view GravityName(Gravity gravity) {
  switch (gravity) {
    case Gravity::kDamage:
      return "damage";
    case Gravity::kLeftover:
      return "leftover";
    case Gravity::kNote:
      return "note";
    case Gravity::kNotChecked:
      return "not-checked";
  }
  return "";
}

std::string Line(const Finding& finding) {
  std::string text =
      Harmless(finding.path.empty() ? finding.backing : finding.path) + ": ";
  if (finding.range)
    text += "bytes " + std::to_string(finding.range->begin) + " to " +
            std::to_string(finding.range->end - 1) + ": ";
  text += Harmless(finding.why);
  if (!finding.action.empty()) text += "; " + Harmless(finding.action);
  text += " [" + std::string(TraitsOf(finding.kind).name) + "]\n";
  if (!finding.path.empty() && !finding.backing.empty())
    text += "    " + Harmless(finding.backing) + "\n";
  return text;
}

std::string JsonLine(const Finding& finding) {
  const FindingTraits& traits = TraitsOf(finding.kind);
  json line = {{"kind", traits.name},     {"gravity", GravityName(traits.gravity)},
               {"path", finding.path},    {"backing", finding.backing},
               {"why", finding.why},      {"repaired", finding.repaired},
               {"action", finding.action}};
  if (finding.range) {
    line["begin"] = finding.range->begin;
    line["end"] = finding.range->end;
  }
  return line.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace

void FsckReport::Put(const std::string& text) {
  const Status status = Print(text);
  if (printed_.ok()) printed_ = status;
}

void FsckReport::Add(const Finding& finding) {
  const std::lock_guard lock(mutex_);
  const Gravity gravity = TraitsOf(finding.kind).gravity;
  if (finding.repaired)
    ++found_.repaired;
  else if (gravity == Gravity::kDamage)
    ++found_.damaged;
  else if (gravity == Gravity::kLeftover)
    ++found_.leftovers;
  else if (gravity == Gravity::kNote)
    ++found_.notes;
  else
    ++found_.not_checked;
  line_.Clear();
  Put(json_ ? JsonLine(finding) : Line(finding));
}

void FsckReport::Progress(const FsckCounts& looked_at, const TreeSize& size) {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!progress_ || !lock) return;
  const bool known = size.files > 0;
  const auto all = static_cast<double>(size.bytes);
  double done = static_cast<double>(looked_at.bytes);
  if (known) done = std::min(done, all);  // files may have grown since
  const double rate =
      (done - static_cast<double>(before_.bytes)) / std::max(line_.Seconds(), 0.001);
  std::string text = Number(looked_at.files, "file", "files") + ", " + Amount(done);
  if (known) text += " of " + Amount(all);
  text += ", " + Amount(rate) + "/s";
  if (known && rate > 0) text += ", " + Duration((all - done) / rate) + " left";
  line_.Show(text, known && all > 0 ? std::optional(done / all) : std::nullopt);
}

void FsckReport::EndProgress() {
  const std::lock_guard lock(mutex_);
  line_.Clear();
}

void FsckReport::Summarize(const FsckCounts& looked_at, bool complete, int exit_code) {
  const std::lock_guard lock(mutex_);
  line_.Clear();
  const FsckCounts& found = found_;
  if (json_) {
    return Put(json{{"summary",
                     {{"files", looked_at.files},
                      {"folders", looked_at.folders},
                      {"links", looked_at.links},
                      {"nodes", looked_at.nodes},
                      {"bytes", looked_at.bytes},
                      {"damaged", found.damaged},
                      {"repaired", found.repaired},
                      {"leftovers", found.leftovers},
                      {"notes", found.notes},
                      {"notChecked", found.not_checked},
                      {"complete", complete},
                      {"seconds", line_.Seconds()},
                      {"exitCode", exit_code}}}}
                   .dump() +
               "\n");
  }
  std::string text = "Looked at " + Number(looked_at.files, "file", "files") + " (" +
                     Amount(static_cast<double>(looked_at.bytes)) + "), " +
                     Number(looked_at.folders, "folder", "folders") + " and " +
                     Number(looked_at.links, "link", "links") + " in " +
                     Duration(line_.Seconds()) + ".\n";
  if (looked_at.nodes > 0)
    text += Number(looked_at.nodes, "fifo, socket or device holds",
                   "fifos, sockets and devices hold") +
            " nothing to be checked.\n";
  if (found.not_checked > 0)
    text += Number(found.not_checked, "file was", "files were") +
            " not checked, as told above.\n";
  if (found.repaired > 0) text += "Repaired: " + std::to_string(found.repaired) + ".\n";
  if (found.leftovers > 0)
    text += Number(found.leftovers, "leftover does", "leftovers do") +
            " no harm; --repair tidies what can be.\n";
  if (found.damaged > 0)
    text += "Damage left: " + std::to_string(found.damaged) + ".\n";
  else if (complete)
    text += found.not_checked > 0 ? "No damage is left in what was checked.\n"
                                  : "No damage is left.\n";
  if (!complete) text += std::string(incomplete_) + "\n";
  Put(text);
}

FsckCounts FsckReport::Found() const {
  const std::lock_guard lock(mutex_);
  return found_;
}

Status FsckReport::Printed() const {
  const std::lock_guard lock(mutex_);
  return printed_;
}

}  // namespace keyfold
