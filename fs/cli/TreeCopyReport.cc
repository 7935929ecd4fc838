#include "fs/cli/TreeCopyReport.h"

#include <algorithm>
#include <cstdio>

#include "fs/cli/Figures.h"
#include "fs/cli/Harmless.h"
#include "fs/cli/Output.h"

namespace keyfold {
namespace {

using nlohmann::json;

std::string Line(const char* what, const std::string& value) {
  return std::string(what) + ": " + value + ".\n";
}

std::string Others(const TreeCopyCounts& counts) {
  std::string out;
  const auto add = [&](uint64_t count, const char* one, const char* several) {
    if (count == 0) return;
    out += (out.empty() ? "" : ", ") + Number(count, one, several);
  };
  add(counts.folders, "folder", "folders");
  add(counts.links, "symbolic link", "symbolic links");
  add(counts.hard_links, "hard link", "hard links");
  add(counts.others, "fifo, socket or device", "fifos, sockets and devices");
  return out;
}

json CountsOf(const TreeCopyCounts& counts) {
  return {{"files", counts.files},          {"bytes", counts.bytes},
          {"there", counts.there},          {"thereBytes", counts.there_bytes},
          {"folders", counts.folders},      {"symbolicLinks", counts.links},
          {"hardLinks", counts.hard_links}, {"others", counts.others},
          {"conflicts", counts.conflicts},  {"failed", counts.failed},
          {"leftOut", counts.left_out},     {"mended", counts.mended}};
}

}  // namespace

void TreeCopyReport::Tell(const json& line, const std::string& text) {
  line_.Clear();
  if (json_)
    (void)Print(line.dump(-1, ' ', false, json::error_handler_t::replace) + "\n");
  else
    std::fprintf(stderr, "keyfold: %s\n", Harmless(text).c_str());
}

void TreeCopyReport::Failed(const std::string& path, const Status& why) {
  const std::lock_guard lock(mutex_);
  Tell({{"path", path}, {"error", ErrorName(why.error())}, {"why", why.message()}},
       path + ": " + why.message());
}

void TreeCopyReport::LeftOut(const std::string& path, const std::string& why) {
  const std::lock_guard lock(mutex_);
  Tell({{"path", path}, {"leftOut", why}}, path + " is left out: " + why);
}

void TreeCopyReport::NotKept(const std::string& path, const std::string& what,
                             const Status& why) {
  const std::lock_guard lock(mutex_);
  if (json_)
    return Tell({{"path", path}, {"notKept", what}, {"why", why.message()}}, "");
  Loss& loss = losses_[what];
  if (loss.objects++ == 0) loss = {1, path, why.message()};
}

void TreeCopyReport::Progress(const TreeCopyCounts& counts, const TreeSize& size) {
  const std::lock_guard lock(mutex_);
  if (!progress_) return;
  const double seconds = std::max(line_.Seconds(), 0.001);
  uint64_t done = counts.passed + counts.there_bytes;
  if (size.files > 0) done = std::min(done, size.bytes);  // files may have grown since
  // What was there before says nothing of the speed.
  const double rate = static_cast<double>(counts.passed) / seconds;
  const double files_rate = static_cast<double>(counts.files) / seconds;
  const uint64_t files = counts.files + counts.there;
  std::string text = Number(files, "file", "files");
  if (size.files > 0) text += " of " + std::to_string(size.files);
  text += ", " + Amount(static_cast<double>(done));
  if (size.bytes > 0) text += " of " + Amount(static_cast<double>(size.bytes));
  text += ", " + Amount(rate) + "/s";
  // Small files take their time by their number, large ones by their bytes.
  double left =
      rate > 0 && size.bytes > done ? static_cast<double>(size.bytes - done) / rate : 0;
  if (files_rate > 0 && size.files > files)
    left = std::max(left, static_cast<double>(size.files - files) / files_rate);
  if (left > 0) text += ", " + Duration(left) + " left";
  // Of files that are all empty, their number tells how far it is.
  const auto share = [](uint64_t part, uint64_t all) {
    return static_cast<double>(part) / static_cast<double>(all);
  };
  std::optional<double> fraction;
  if (size.bytes > 0)
    fraction = share(done, size.bytes);
  else if (size.files > 0)
    fraction = share(files, size.files);
  line_.Show(text, fraction);
}

void TreeCopyReport::EndProgress() {
  const std::lock_guard lock(mutex_);
  line_.Clear();
}

std::string TreeCopyReport::Text(const TreeCopyCounts& counts, const End& end) const {
  std::string text = (end.dry_run ? words_.would : words_.done) + ": " +
                     FilesOf(counts.files, counts.bytes);
  if (!end.dry_run) text += " in " + Duration(line_.Seconds());
  if (!end.dry_run && end.read_back && counts.files > 0)
    text += ", read back and the same as what was read from the source";
  text += ".\n";
  if (counts.there > 0)
    text += Line("Already there", FilesOf(counts.there, counts.there_bytes));
  if (const std::string others = Others(counts); !others.empty())
    text += Line("Besides", others);
  if (counts.mended > 0)
    text += Line(end.dry_run ? "Owners, modes, lists and attributes to be mended, of"
                             : "Owners, modes, lists and attributes mended, of",
                 Number(counts.mended, "object", "objects"));
  for (const auto& [what, loss] : losses_)
    text += "Not kept: " + what + ", of " + Number(loss.objects, "object", "objects") +
            ", such as " + Harmless(loss.path) + " (" + Harmless(loss.why) + ").\n";
  if (counts.left_out > 0)
    text += Line("Left out, each named above", std::to_string(counts.left_out));
  if (counts.conflicts > 0)
    text += "There already and different, each named above: " +
            std::to_string(counts.conflicts) +
            ". They stay as they are; --overwrite replaces files and links.\n";
  if (!end.complete)
    text += "It was cut off. The same command does what is left.\n";
  else if (counts.failed > 0)
    text += "Not done: " + std::to_string(counts.failed) +
            ", each named above. The same command does what is left.\n";
  return text;
}

Status TreeCopyReport::Summarize(const TreeCopyCounts& counts, const End& end) {
  const std::lock_guard lock(mutex_);
  line_.Clear();
  if (!json_) return Print(Text(counts, end));
  json summary = CountsOf(counts);
  summary["seconds"] = line_.Seconds();
  summary["complete"] = end.complete;
  summary["exitCode"] = end.exit_code;
  return Print(json{{end.dry_run ? "wouldBe" : "summary", summary}}.dump() + "\n");
}

}  // namespace keyfold
