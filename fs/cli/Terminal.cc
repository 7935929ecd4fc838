#include "fs/cli/Terminal.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>

#include "fs/backend/Backend.h"
#include "kms/crypto/Crypto.h"

namespace keyfold {
namespace {

constexpr size_t kMaxPassphrase = 4096;

// What a signal handler needs to give the terminal its echo back.
int terminal_fd = -1;
termios terminal_before;

extern "C" void RestoreAndDie(int signal) {
  ::tcsetattr(terminal_fd, TCSAFLUSH, &terminal_before);
  ::signal(signal, SIG_DFL);
  ::raise(signal);
}

// QuietTerminal turns echo, line editing and signal keys off while it lives.
class QuietTerminal {
 public:
  explicit QuietTerminal(int fd) {
    if (::tcgetattr(fd, &terminal_before) != 0) return;
    terminal_fd = fd;
    for (size_t i = 0; i < kSignals.size(); ++i)
      before_[i] = ::signal(kSignals[i], RestoreAndDie);
    termios quiet = terminal_before;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO | ICANON | ISIG);
    quiet.c_cc[VMIN] = 1;
    quiet.c_cc[VTIME] = 0;
    ok_ = ::tcsetattr(fd, TCSAFLUSH, &quiet) == 0;
  }
  ~QuietTerminal() {
    if (terminal_fd < 0) return;
    ::tcsetattr(terminal_fd, TCSAFLUSH, &terminal_before);
    for (size_t i = 0; i < kSignals.size(); ++i) ::signal(kSignals[i], before_[i]);
    terminal_fd = -1;
  }
  QuietTerminal(const QuietTerminal&) = delete;
  QuietTerminal& operator=(const QuietTerminal&) = delete;
  bool ok() const { return ok_; }

 private:
  static constexpr std::array<int, 3> kSignals = {SIGTERM, SIGHUP, SIGQUIT};
  std::array<void (*)(int), 3> before_{};
  bool ok_ = false;
};

struct WipedLine {
  std::array<uint8_t, kMaxPassphrase> bytes;
  size_t size = 0;
  ~WipedLine() { ::explicit_bzero(bytes.data(), bytes.size()); }
};

void Say(int fd, std::string_view text) {
  if (::write(fd, text.data(), text.size()) < 0) return;  // the answer still counts
}

Result<SecretBytes> ReadLine(int fd, std::string_view prompt) {
  QuietTerminal quiet(fd);
  if (!quiet.ok()) return Status::FromErrno(errno, "turn the terminal's echo off");
  Say(fd, prompt);
  WipedLine line;
  for (;;) {
    uint8_t c = 0;
    const ssize_t count = ::read(fd, &c, 1);
    if (count < 0 && errno == EINTR) continue;
    const bool end_of_file = count <= 0 || (c == 0x04 && line.size == 0);
    if (end_of_file || c == 0x03) {  // ^D, ^C
      Say(fd, "\n");
      return Status(Error::kUsage, "No passphrase was given. Nothing was changed.");
    }
    if (c == '\n' || c == '\r') break;
    if (c == 0x7f || c == 0x08) {
      // A whole UTF-8 character goes.
      while (line.size > 0 && (line.bytes[--line.size] & 0xc0) == 0x80) continue;
    } else if (c == 0x15) {  // ^U
      line.size = 0;
    } else if (line.size == line.bytes.size()) {
      return Status(Error::kUsage, "The passphrase is longer than 4096 bytes.");
    } else {
      line.bytes[line.size++] = c;
    }
  }
  Say(fd, "\n");
  if (line.size == 0) return SecretBytes();
  return SecretFrom(MutableBytes(line.bytes.data(), line.size));
}

}  // namespace

Result<SecretBytes> AskPassphrase(Asked asked) {
  const bool pin = asked == Asked::kPin;
  const UniqueFd fd(::open("/dev/tty", O_RDWR | O_CLOEXEC));
  if (!fd.valid())
    return Status(Error::kUsage,
                  pin ? "There is no terminal to ask for the token's PIN on. Name a "
                        "file that holds it: pin-source=file:/PATH."
                      : "There is no terminal to ask for the passphrase on. Use "
                        "--root-key passphrase-file:FILE.");
  KF_ASSIGN_OR_RETURN(SecretBytes first,
                      ReadLine(fd.get(), pin ? "PIN: " : "Passphrase: "));
  if (asked != Asked::kNewPassphrase) return first;
  KF_ASSIGN_OR_RETURN(const SecretBytes second, ReadLine(fd.get(), "The same again: "));
  if (!ConstantTimeEqual(first, second))
    return Status(Error::kUsage, "The two passphrases differ. Try again.");
  return first;
}

}  // namespace keyfold
