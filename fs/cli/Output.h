// Answers on standard output: JSON, text or a table, as the AWS CLI writes them.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kms/base/Status.h"

namespace keyfold {

struct OutputOptions {
  std::string format = "json";  // json, text, table
  std::string query;
};

// ShowTimes replaces seconds since 1970 by ISO 8601 in members that are times.
void ShowTimes(nlohmann::json& answer);
// Render returns the text with its newline; empty for an empty answer.
Result<std::string> Render(nlohmann::json answer, const OutputOptions& options);
// Print writes `text` to standard output; kSystem when it cannot be written.
Status Print(const std::string& text);

enum class Layout {
  kAligned,  // for people: two spaces between columns, none at line ends
  kTabs,     // for programs: a tab between cells, however many spaces they hold
};
// LayoutOfOutput is aligned if standard output is a terminal.
Layout LayoutOfOutput();
// Columns shows rows. Control characters in cells are shown as "?"; how something
// stands is in colour (Colour.h).
std::string Columns(const std::vector<std::vector<std::string>>& rows,
                    Layout layout = LayoutOfOutput());
// Cell is a value without its quotes.
std::string Cell(const nlohmann::json& value);

}  // namespace keyfold
