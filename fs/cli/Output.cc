#include "fs/cli/Output.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <csignal>
#include <cstdio>

#include "fs/cli/Colour.h"
#include "fs/cli/Harmless.h"
#include "fs/cli/Query.h"
#include "fs/cli/Times.h"

namespace keyfold {
namespace {

using nlohmann::json;

constexpr std::array<std::string_view, 9> kTimes = {
    "CreateDate",       "CreationDate",      "DeletionDate",
    "ValidTo",          "ParametersValidTo", "LastUpdatedDate",
    "NextRotationDate", "RotationDate",      "Expiration"};

std::string Upper(std::string text) {
  for (char& c : text)
    c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

bool IsScalar(const json& value) { return !value.is_structured(); }

void Line(const std::string& label, const std::vector<std::string>& cells,
          std::string* out) {
  std::string line = label;
  for (const std::string& cell : cells) line += (line.empty() ? "" : "\t") + cell;
  *out += line + "\n";
}

// Text writes one line per object: its scalars joined by tabs, led by the name
// of the member that holds it; what is nested follows on lines of its own.
void Text(const json& value, const std::string& label, std::string* out) {
  if (IsScalar(value)) {
    Line(label, {Cell(value)}, out);
  } else if (value.is_array()) {
    if (std::all_of(value.begin(), value.end(), IsScalar)) {
      std::vector<std::string> cells;
      for (const json& item : value) cells.push_back(Cell(item));
      // A list that is a member has a line per item, one on its own has one.
      if (label.empty()) return Line(label, cells, out);
      for (const std::string& cell : cells) Line(label, {cell}, out);
    } else {
      for (const json& item : value) Text(item, label, out);
    }
  } else {
    std::vector<std::string> cells;
    for (const auto& [name, member] : value.items())
      if (IsScalar(member)) cells.push_back(Cell(member));
    if (!cells.empty()) Line(label, cells, out);
    for (const auto& [name, member] : value.items())
      if (!IsScalar(member)) Text(member, Upper(name), out);
  }
}

// Table writes objects as name and value, lists of objects as columns.
void Table(const json& value, const std::string& title, std::string* out) {
  if (!title.empty()) *out += title + "\n";
  std::vector<std::vector<std::string>> rows;
  if (value.is_array()) {
    std::vector<std::string> names;
    for (const json& item : value)
      if (item.is_object())
        for (const auto& [name, member] : item.items())
          if (std::find(names.begin(), names.end(), name) == names.end())
            names.push_back(name);
    if (!names.empty()) rows.push_back(names);
    for (const json& item : value) {
      std::vector<std::string> row;
      for (const std::string& name : names)
        row.push_back(item.is_object() && item.contains(name) ? Cell(item[name]) : "");
      if (names.empty()) row.push_back(Cell(item));
      rows.push_back(row);
    }
    *out += Columns(rows, Layout::kAligned);
    return;
  }
  if (IsScalar(value)) {
    *out += Cell(value) + "\n";
    return;
  }
  for (const auto& [name, member] : value.items())
    if (IsScalar(member)) rows.push_back({name, Cell(member)});
  *out += Columns(rows, Layout::kAligned);
  for (const auto& [name, member] : value.items())
    if (!IsScalar(member)) Table(member, name, out);
}

size_t Width(const std::string& cell) {  // of UTF-8: continuation bytes have none
  return static_cast<size_t>(std::count_if(cell.begin(), cell.end(),
                                           [](char c) { return (c & 0xc0) != 0x80; }));
}

using TableRows = std::vector<std::vector<std::string>>;

std::string Aligned(const TableRows& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], Width(row[i]));
  }
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line +=
          Coloured(Harmless(row[i])) + std::string(widths[i] - Width(row[i]) + 2, ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

// Each row keeps all its cells, the empty ones at its end too.
std::string Tabbed(const TableRows& rows) {
  std::string out;
  for (const auto& row : rows)
    for (size_t i = 0; i < row.size(); ++i)
      out += Harmless(row[i]) + (i + 1 < row.size() ? "\t" : "\n");
  return out;
}

}  // namespace

std::string Cell(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_null()) return "None";
  if (value.is_boolean()) return value.get<bool>() ? "True" : "False";
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

Layout LayoutOfOutput() {
  return ::isatty(STDOUT_FILENO) == 1 ? Layout::kAligned : Layout::kTabs;
}

std::string Columns(const std::vector<std::vector<std::string>>& rows, Layout layout) {
  return layout == Layout::kAligned ? Aligned(rows) : Tabbed(rows);
}

void ShowTimes(json& answer) {
  if (answer.is_array())
    for (json& item : answer) ShowTimes(item);
  if (!answer.is_object()) return;
  for (auto& [name, member] : answer.items()) {
    const bool time = std::find(kTimes.begin(), kTimes.end(), name) != kTimes.end();
    if (time && member.is_number()) {
      member = IsoTime(member.get<double>());
    } else {
      ShowTimes(member);
    }
  }
}

Result<std::string> Render(json answer, const OutputOptions& options) {
  if (answer.empty() && options.query.empty()) return std::string();
  ShowTimes(answer);
  if (!options.query.empty()) {
    KF_ASSIGN_OR_RETURN(answer, Query(answer, options.query));
  }
  std::string out;
  if (options.format == "text") {
    Text(answer, "", &out);
  } else if (options.format == "table") {
    Table(answer, "", &out);
  } else {
    out = answer.dump(4, ' ', false, json::error_handler_t::replace) + "\n";
  }
  return out;
}

Status Print(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() ||
      std::fflush(stdout) != 0) {
    if (errno == EPIPE) {  // nobody reads on: end as other programs do
      std::signal(SIGPIPE, SIG_DFL);
      std::raise(SIGPIPE);
    }
    return Status::FromErrno(errno, "standard output");
  }
  return OkStatus();
}

}  // namespace keyfold
