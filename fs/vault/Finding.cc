#include "fs/vault/Finding.h"

#include <cstdlib>

namespace keyfold {

const FindingTraits& TraitsOf(FindingKind kind) {
  static constexpr FindingTraits kHeader{"header", Gravity::kDamage,
                                         Remedy::kQuarantine},
      kHeaderSlot{"header-slot", Gravity::kDamage, Remedy::kRestoreSlot},
      // A newer Keyfold may open it.
      kNewerFormat{"newer-format", Gravity::kDamage, Remedy::kNone},
      kWrappedKey{"wrapped-key", Gravity::kDamage, Remedy::kQuarantine},
      kCutShort{"cut-short", Gravity::kDamage, Remedy::kQuarantine},
      // The rest of the file can be read.
      kBlocks{"blocks", Gravity::kDamage, Remedy::kNone},
      kUnreadable{"unreadable", Gravity::kDamage, Remedy::kNone},
      kUnsyncedEnd{"unsynced-end", Gravity::kNote, Remedy::kNone},
      kKeyUnavailable{"key-unavailable", Gravity::kNotChecked, Remedy::kNone},
      kNoRight{"no-right", Gravity::kNotChecked, Remedy::kNone},
      kNotReached{"not-reached", Gravity::kNotChecked, Remedy::kNone},
      kNames{"names", Gravity::kDamage, Remedy::kQuarantine},
      kMoved{"moved", Gravity::kDamage, Remedy::kQuarantine},
      kSpareBinding{"spare-binding", Gravity::kLeftover, Remedy::kTrim},
      kFolder{"folder", Gravity::kDamage, Remedy::kQuarantine},
      kName{"name", Gravity::kDamage, Remedy::kQuarantine},
      // Who knows the name can still open it.
      kLongName{"long-name", Gravity::kDamage, Remedy::kNone},
      kForeign{"foreign", Gravity::kDamage, Remedy::kQuarantine},
      kSymlink{"symlink", Gravity::kDamage, Remedy::kQuarantine},
      kAttribute{"attribute", Gravity::kDamage, Remedy::kNone},
      kMountedInto{"mounted-into", Gravity::kDamage, Remedy::kNone},
      kHalfMade{"half-made", Gravity::kLeftover, Remedy::kQuarantine},
      kOrphanSidecar{"orphan-sidecar", Gravity::kLeftover, Remedy::kQuarantine},
      kConfiguration{"configuration", Gravity::kDamage, Remedy::kNone},
      kKeyStore{"key-store", Gravity::kDamage, Remedy::kNone},
      kAuditLog{"audit-log", Gravity::kDamage, Remedy::kNone};
  switch (kind) {
    case FindingKind::kHeader:
      return kHeader;
    case FindingKind::kHeaderSlot:
      return kHeaderSlot;
    case FindingKind::kNewerFormat:
      return kNewerFormat;
    case FindingKind::kWrappedKey:
      return kWrappedKey;
    case FindingKind::kCutShort:
      return kCutShort;
    case FindingKind::kBlocks:
      return kBlocks;
    case FindingKind::kUnreadable:
      return kUnreadable;
    case FindingKind::kUnsyncedEnd:
      return kUnsyncedEnd;
    case FindingKind::kKeyUnavailable:
      return kKeyUnavailable;
    case FindingKind::kNoRight:
      return kNoRight;
    case FindingKind::kNotReached:
      return kNotReached;
    case FindingKind::kNames:
      return kNames;
    case FindingKind::kMoved:
      return kMoved;
    case FindingKind::kSpareBinding:
      return kSpareBinding;
    case FindingKind::kFolder:
      return kFolder;
    case FindingKind::kName:
      return kName;
    case FindingKind::kLongName:
      return kLongName;
    case FindingKind::kForeign:
      return kForeign;
    case FindingKind::kSymlink:
      return kSymlink;
    case FindingKind::kAttribute:
      return kAttribute;
    case FindingKind::kMountedInto:
      return kMountedInto;
    case FindingKind::kHalfMade:
      return kHalfMade;
    case FindingKind::kOrphanSidecar:
      return kOrphanSidecar;
    case FindingKind::kConfiguration:
      return kConfiguration;
    case FindingKind::kKeyStore:
      return kKeyStore;
    case FindingKind::kAuditLog:
      return kAuditLog;
  }
  std::abort();
}

}  // namespace keyfold
