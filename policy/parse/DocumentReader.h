// DocumentReader: a policy document out of a tree.
#pragma once

#include "policy/parse/Parse.h"
#include "policy/parse/Reader.h"

namespace keyfold::policy {

// ReadDocument reads the map at `node`; the document has no name yet.
Result<Document> ReadDocument(const Source& source, const Node& node,
                              DocumentKind kind);

}  // namespace keyfold::policy
