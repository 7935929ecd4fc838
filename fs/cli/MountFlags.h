// The words after -o, of `keyfold mount`, mount(8) and fstab.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kms/base/Status.h"

namespace keyfold {

struct MountFlags {
  std::vector<std::string> fuse;  // passed to FuseMount
  std::string root_key;           // root-key=SPEC
  std::string kms_listen;         // kms-listen=HOST:PORT
  std::string tls_certificate;    // kms-tls-certificate=FILE
  std::string tls_key;            // kms-tls-key=FILE
  std::string metrics_listen;     // metrics-listen=HOST:PORT
  std::string metrics_user;       // metrics-user=NAME
  std::string audit_log_size;     // audit-log-size=SIZE
  std::string alert_commands;     // alert-commands=no|applied|stored
  std::string root_key_grace;     // root-key-grace=SECONDS
  std::string confine;            // confine=on|off
  std::string idle_timeout;       // idle-timeout=SPAN
  std::string mount_namespace;    // mount-namespace=FILE
  bool nonempty = false;
  bool debug = false;
};

// ParseMountFlags reads a comma list; what only mount(8) and systemd need is
// dropped. kUsage for an unknown word, unless `sloppy` (mount -s).
Result<MountFlags> ParseMountFlags(std::string_view list, bool sloppy);
// MountFlagsWithValues is for help: "root-key=SPEC, kms-listen=HOST:PORT, ...".
std::string MountFlagsWithValues();

}  // namespace keyfold
