// Packets on the SOCK_SEQPACKET sockets between the daemon's processes. Free functions,
// thread-safe.
#pragma once

#include "kms/base/Bytes.h"
#include "kms/base/Status.h"

namespace keyfold {

// SendPacket sends both as one; `flags` are send(2)'s, to which it adds MSG_NOSIGNAL.
Status SendPacket(int socket, ByteView head, ByteView tail, int flags = 0);
// ReceivePacket returns the packet's size; 0 when there is none, or it has more bytes
// than there is room.
size_t ReceivePacket(int socket, MutableBytes room);

}  // namespace keyfold
