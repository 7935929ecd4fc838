#include "fs/cli/BusyNews.h"

namespace keyfold {

std::string InUseBy(const std::vector<BusyProcess>& users, bool sees_all) {
  if (users.empty())
    return sees_all ? "in use by no process (another mount or a loop device on it)"
                    : "in use by nothing that you may see (another mount or a loop "
                      "device on it, or another user's process)";
  std::string text;
  for (const BusyProcess& user : users)
    text += (text.empty() ? "in use by " : "; ") + user.ToString();
  return text;
}

bool BusyNews::IsNews(const std::vector<BusyProcess>& users) {
  const bool passing = users.empty() && seen_ != users;
  seen_ = users;
  if (passing || told_ == users) return false;
  told_ = users;
  return true;
}

}  // namespace keyfold
