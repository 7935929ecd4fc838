// What processes of this program tell each other over a stream of their own: JSON, one
// line each, in turns.
//
// Must not know: what it is about. Free functions.
#pragma once

#include <nlohmann/json.hpp>

#include "kms/base/Status.h"

namespace keyfold {

// OtherEndGone is what to tell when it is.
Status OtherEndGone();
// SendMessage is false when the other end is gone.
bool SendMessage(int socket, const nlohmann::json& message);
// ReceiveMessage is no object when the other end is gone, or sent none.
nlohmann::json ReceiveMessage(int socket);

// A status as a message, but for the number of its error; there may be more in it.
nlohmann::json ToMessage(const Status& status);
// StatusIn is kSystem for what is no such message.
Status StatusIn(const nlohmann::json& message);

}  // namespace keyfold
