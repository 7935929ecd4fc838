// Exposition: a mount in numbers, as Prometheus reads them.
//
// Owns: names and labels of metrics, and the library that writes them. They hold key
// ids and counts: no names of files or users. Must not know: who asks. Pure functions.
#pragma once

#include <string>

#include "kms/service/Figures.h"
#include "kms/service/FileCounts.h"

namespace keyfold {

// The text format's type (Prometheus, exposition formats).
inline constexpr char kExpositionType[] = "text/plain; version=0.0.4; charset=utf-8";

std::string Expose(const KmsFigures& kms, const FileCounts& files,
                   const std::string& version);

}  // namespace keyfold
