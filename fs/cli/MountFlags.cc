#include "fs/cli/MountFlags.h"

#include <algorithm>
#include <array>

#include "kms/base/Spelling.h"

namespace keyfold {
namespace {

constexpr std::array<std::string_view, 17> kPassed = {
    "ro",         "noatime",      "nosuid", "suid",  "nodev",     "dev",
    "noexec",     "exec",         "sync",   "async", "dirsync",   "allow_other",
    "allow_root", "auto_unmount", "atime",  "rw",    "nodiratime"};
constexpr std::array<std::string_view, 20> kDropped = {
    "defaults", "auto",       "noauto",     "user",        "nouser",
    "users",    "nousers",    "owner",      "group",       "nofail",
    "_netdev",  "relatime",   "norelatime", "strictatime", "nostrictatime",
    "lazytime", "nolazytime", "diratime",   "nosymfollow", "silent"};

struct ValueFlag {
  std::string_view name;
  const char* expects;
  std::string MountFlags::*member;
};
constexpr std::array<ValueFlag, 12> kValues{
    {{"root-key", "SPEC", &MountFlags::root_key},
     {"kms-listen", "HOST:PORT", &MountFlags::kms_listen},
     {"kms-tls-certificate", "FILE", &MountFlags::tls_certificate},
     {"kms-tls-key", "FILE", &MountFlags::tls_key},
     {"metrics-listen", "HOST:PORT", &MountFlags::metrics_listen},
     {"metrics-user", "NAME", &MountFlags::metrics_user},
     {"audit-log-size", "SIZE", &MountFlags::audit_log_size},
     {"alert-commands", "no|applied|stored", &MountFlags::alert_commands},
     {"root-key-grace", "SECONDS", &MountFlags::root_key_grace},
     {"confine", "on|off", &MountFlags::confine},
     {"idle-timeout", "SPAN", &MountFlags::idle_timeout},
     {"mount-namespace", "FILE", &MountFlags::mount_namespace}}};

template <typename List>
bool Has(const List& list, std::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

Status Unknown(const std::string& word) {
  std::vector<std::string> known(kPassed.begin(), kPassed.end());
  known.insert(known.end(), kDropped.begin(), kDropped.end());
  known.insert(known.end(), {"nonempty", "debug"});
  for (const ValueFlag& flag : kValues) known.emplace_back(flag.name);
  const std::string name = word.substr(0, word.find('='));
  const std::string near = Nearest(name, known);
  return {Error::kUsage, "Unknown mount option \"" + name + "\"." +
                             (near.empty() ? " See: keyfold mount --help"
                                           : " Did you mean \"" + near + "\"?")};
}

// ValueOf is where the value of "name=value" goes; null for another word.
std::string* ValueOf(const std::string& word, MountFlags* flags) {
  const size_t equals = word.find('=');
  if (equals == std::string::npos) return nullptr;
  for (const ValueFlag& flag : kValues)
    if (word.compare(0, equals, flag.name) == 0) return &(flags->*flag.member);
  return nullptr;
}

}  // namespace

std::string MountFlagsWithValues() {
  std::string text;
  for (const ValueFlag& flag : kValues)
    text += (text.empty() ? "" : ", ") + std::string(flag.name) + "=" + flag.expects;
  return text;
}

Result<MountFlags> ParseMountFlags(std::string_view list, bool sloppy) {
  MountFlags flags;
  while (!list.empty()) {
    const std::string word(list.substr(0, list.find(',')));
    list.remove_prefix(std::min(list.size(), word.size() + 1));
    if (word.empty() || Has(kDropped, word) || word.starts_with("x-") ||
        word.starts_with("X-") || word.starts_with("comment="))
      continue;
    if (std::string* value = ValueOf(word, &flags)) {
      *value = word.substr(word.find('=') + 1);
    } else if (word == "nonempty") {
      flags.nonempty = true;
    } else if (word == "debug") {
      flags.debug = true;
    } else if (word == "rw") {
      std::erase(flags.fuse, "ro");
    } else if (Has(kPassed, word)) {
      flags.fuse.push_back(word);
    } else if (!sloppy) {
      return Unknown(word);
    }
  }
  return flags;
}

}  // namespace keyfold
