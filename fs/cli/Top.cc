#include "fs/cli/Top.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <vector>

#include "fs/cli/Figures.h"
#include "fs/cli/Harmless.h"
#include "fs/cli/Output.h"

namespace keyfold {
namespace {

using nlohmann::json;
using Rows = std::vector<std::vector<std::string>>;

const json kNothing = json::array();

const json& List(const json& answer, const char* name) {
  const auto it = answer.find(name);
  return it != answer.end() && it->is_array() ? *it : kNothing;
}

uint64_t Count(const json& object, const char* name) {
  return object.value(name, uint64_t{0});
}

std::string OneDecimal(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", value);
  return text;
}

// Rates are differences between two answers by the seconds between them.
class Rates {
 public:
  Rates(const json& now, const json& before)
      : known_(before.is_object()),
        seconds_(known_ ? now.value("Time", 0.0) - before.value("Time", 0.0) : 0) {}
  double Of(uint64_t now, uint64_t before) const {
    return seconds_ > 0 && now > before ? static_cast<double>(now - before) / seconds_
                                        : 0;
  }
  std::string Text(uint64_t now, uint64_t before) const {
    return known_ ? OneDecimal(Of(now, before)) : "-";
  }
  std::string Bytes(uint64_t now, uint64_t before) const {
    return known_ ? Amount(Of(now, before)) + "/s" : "-";
  }

 private:
  const bool known_;
  const double seconds_;
};

std::string KeyName(const json& of) {
  const std::string alias = of.value("Alias", std::string());
  return alias.empty() ? of.value("KeyId", std::string()) : alias;
}

// Span counts days where seconds would tell nobody more.
std::string Span(double seconds) {
  constexpr double kDay = 86400;
  return seconds < 2 * kDay
             ? Duration(seconds)
             : Number(static_cast<uint64_t>(std::llround(seconds / kDay)), "day",
                      "days");
}

std::string Remaining(const json& key, double now) {
  for (const auto& [member, word] :
       {std::pair("DeletionDate", "deleted in "), std::pair("ValidTo", "expires in ")})
    if (key.contains(member))
      return word + Span(std::max(0.0, key[member].get<double>() - now));
  return "";
}

json UserIn(const json& answer, uid_t uid) {
  for (const json& user : List(answer, "Users"))
    if (user.value("Uid", uid_t{0}) == uid) return user;
  return json::object();
}

uint64_t Sum(const json& counts) {
  uint64_t sum = 0;
  for (const auto& [name, count] : counts.items()) sum += count.get<uint64_t>();
  return sum;
}

std::string Head(const std::string& mountpoint, const json& now, const json& before,
                 const Rates& rates) {
  const size_t shown = List(now, "Files").size();
  const uint64_t open = shown + Count(now, "FilesNotShown");
  std::string text = Harmless(mountpoint) + ": " +
                     Number(open, "open file", "open files") +
                     (now.value("Everything", false) ? "" : " of yours") + "\n";
  const auto mount = now.find("Mount");
  if (mount == now.end()) return text;
  const json was =
      before.is_object() ? before.value("Mount", json::object()) : json::object();
  const json none = json::object();
  text += "requests/s " +
          rates.Text(Sum((*mount)["Operations"]), Sum(was.value("Operations", none))) +
          ", read " + rates.Bytes(Count(*mount, "ReadBytes"), Count(was, "ReadBytes")) +
          ", written " +
          rates.Bytes(Count(*mount, "WrittenBytes"), Count(was, "WrittenBytes")) +
          ", failed/s " +
          rates.Text(Sum((*mount)["Failures"]), Sum(was.value("Failures", none))) +
          "\n";
  return text;
}

Rows UsersOf(const json& now, const json& before, const Rates& rates,
             const NameOf& name_of) {
  std::map<uid_t, size_t> open;
  for (const json& file : List(now, "Files")) ++open[file["Uid"].get<uid_t>()];
  std::map<uid_t, json> users;
  for (const json& user : List(now, "Users")) users[user["Uid"].get<uid_t>()] = user;
  for (const auto& [uid, count] : open) users.try_emplace(uid, json::object());
  Rows rows = {{"USER", "OPEN", "USES/s", "CALLS/s", "REFUSED/s", "REFUSED"}};
  for (const auto& [uid, user] : users) {
    const json was = UserIn(before, uid);
    std::vector<std::string> row = {name_of(uid), std::to_string(open[uid])};
    for (const char* what : {"FileUses", "KmsCalls", "Refusals"})
      row.push_back(rates.Text(Count(user, what), Count(was, what)));
    row.push_back(std::to_string(Count(user, "Refusals")));
    rows.push_back(std::move(row));
  }
  return rows;
}

Rows KeysOf(const json& now) {
  std::map<std::string, size_t> open;
  for (const json& file : List(now, "Files"))
    ++open[file.value("KeyId", std::string())];
  Rows rows = {{"KEY", "STATE", "OPEN", ""}};
  for (const json& key : List(now, "Keys"))
    rows.push_back({KeyName(key), key.value("KeyState", std::string()),
                    std::to_string(open[key.value("KeyId", std::string())]),
                    Remaining(key, now.value("Time", 0.0))});
  return rows;
}

Rows FilesOf(const json& now, const NameOf& name_of) {
  Rows rows = {{"USER", "PID", "USE", "KEY", "FILE"}};
  for (const json& file : List(now, "Files"))
    rows.push_back({name_of(file["Uid"].get<uid_t>()), Cell(file["Pid"]),
                    Cell(file["Use"]), KeyName(file), Harmless(Cell(file["Path"]))});
  return rows;
}

// Cut keeps the first lines, and says how many are missing.
std::string Cut(const std::string& text, size_t lines) {
  const auto all = static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
  if (all <= lines) return text;
  size_t end = 0;
  for (size_t i = 0; i + 1 < lines; ++i) end = text.find('\n', end) + 1;
  return text.substr(0, end) + "... " + std::to_string(all - lines + 1) +
         " more lines\n";
}

}  // namespace

std::string TopPage(const std::string& mountpoint, const json& now, const json& before,
                    const NameOf& name_of, size_t lines, Layout layout) {
  const Rates rates(now, before);
  std::string text = Head(mountpoint, now, before, rates);
  text += "\n" + Columns(UsersOf(now, before, rates, name_of), layout);
  if (now.contains("Keys")) text += "\n" + Columns(KeysOf(now), layout);
  if (!List(now, "Files").empty())
    text += "\n" + Columns(FilesOf(now, name_of), layout);
  if (const uint64_t left = Count(now, "FilesNotShown"); left > 0)
    text += "and " + Number(left, "more", "more") + "\n";
  return Cut(text, lines);
}

}  // namespace keyfold
