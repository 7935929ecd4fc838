// KeptAttributes: what a copy of an object takes over besides its contents.
//
// Owns: the order it is done in, and what is lost. Must not know: walks, contents. Free
// functions, thread-safe.
#pragma once

#include <sys/stat.h>

#include <functional>
#include <string>

#include "fs/backend/Backend.h"

namespace keyfold {

struct Keeping {
  bool owners = true;
  // The permissions that are taken over; access control lists only with all of them.
  mode_t permissions = 07777;
};

// Called with the name of what cannot be kept, and why: for want of privilege, or as
// the filesystem has no room or no place for it.
using Lost = std::function<void(const std::string& what, const Status& why)>;

// GiveAttributes gives the copy `to` the owner, the lists, the user's attributes and
// the mode of `from`, both any descriptors. What is a program that runs as its owner
// keeps that only with its owner. `also` are permissions the copy has meanwhile. Fails
// with what may go better another time.
Status GiveAttributes(int from, const struct stat& st, int to, const Keeping& keeping,
                      mode_t also, const Lost& lost);
// OtherStatus names what a copy has otherwise than GiveAttributes leaves it, by what
// stat(2) tells; OtherAttributes by all there is. Empty if there is nothing.
std::string OtherStatus(const struct stat& st, const struct stat& copy,
                        const Keeping& keeping);
Result<std::string> OtherAttributes(int from, const struct stat& st, int to,
                                    const Keeping& keeping);
// WithoutList is the mode for a copy that cannot have the access control list (the
// bytes of its attribute, posix_acl_xattr.h in Linux): it gives nobody more than both
// did.
mode_t WithoutList(mode_t mode, ByteView list);
// ModeOf is the mode GiveAttributes gives if owners are kept.
mode_t ModeOf(const struct stat& st, const Keeping& keeping);
// GiveTimes is last, since all else moves them.
Status GiveTimes(const struct stat& st, int to, const Lost& lost);

}  // namespace keyfold
