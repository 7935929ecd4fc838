// Does the confinement let through what the daemon does, and nothing else?
//
// Each case is confined in a process of its own, which tells by its exit status.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/io_uring.h>
#include <netdb.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <thread>

#include "fs/backend/Capabilities.h"
#include "fs/cli/Confinement.h"
#include "fs/cli/SystemCalls.h"

extern char** environ;

namespace keyfold {
namespace {

// InChild runs `body` in a child, and returns how that ended (wait(2)).
int InChild(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = -1;
  ::waitpid(child, &status, 0);
  return status;
}

constexpr int kAsExpected = 0, kLetThrough = 1, kRefused = 2, kNoFilter = 3;

int Filtered(SystemCalls which, const std::function<int()>& body) {
  return InChild([&] {
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return kNoFilter;
    const auto filtered = FilterSystemCalls(which);
    if (!filtered.ok() || !*filtered) return kNoFilter;
    return body();
  });
}

class SystemCallsTest : public testing::Test {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "programs with a sanitizer are not filtered";
#endif
  }
};

struct Call {
  const char* name;
  std::function<int64_t()> make;
};

void* Fails(void* pages) { return pages == MAP_FAILED ? nullptr : pages; }

constexpr SystemCalls kEither[] = {SystemCalls::kFiles, SystemCalls::kKeys};

std::vector<Call> Forbidden(SystemCalls which) {
  std::vector<Call> calls = {
      {"execve",
       [] {
         char program[] = "/bin/true";
         char* words[] = {program, nullptr};
         return ::execve(program, words, environ);
       }},
      {"fork", [] { return ::syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); }},
      {"vfork", [] { return ::syscall(SYS_vfork); }},
      {"mount", [] { return ::mount("none", "/nowhere", "tmpfs", 0, nullptr); }},
      {"umount2", [] { return ::umount2("/nowhere", 0); }},
      {"unshare", [] { return ::unshare(CLONE_NEWUSER); }},
      {"setns", [] { return ::syscall(SYS_setns, -1, 0); }},
      {"chroot", [] { return ::chroot("/"); }},
      {"setuid", [] { return ::setuid(::getuid()); }},
      {"kill", [] { return ::kill(::getpid(), 0); }},
      {"keyctl", [] { return ::syscall(SYS_keyctl, 0, -3, 0, 0, 0); }},
      {"io_uring_setup", [] { return ::syscall(SYS_io_uring_setup, 1, nullptr); }},
      {"prlimit64",
       [] {
         const rlimit limit{RLIM_INFINITY, RLIM_INFINITY};
         return ::setrlimit(RLIMIT_CORE, &limit);
       }},
      {"prctl", [] { return ::prctl(PR_SET_DUMPABLE, 1); }},
      {"fcntl", [] { return ::fcntl(0, F_SETOWN, ::getppid()); }},
      {"fcntl",  // the same, to the kernel
       [] { return ::syscall(SYS_fcntl, 0, (1L << 32) | F_SETOWN, ::getppid()); }},
      // Its parent's: the other process of the daemon is such a one.
      {"tgkill", [] { return ::syscall(SYS_tgkill, ::getppid(), ::getppid(), 0); }},
      {"mmap",
       [] {
         return Fails(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) == nullptr
                    ? -1
                    : 0;
       }},
      {"mprotect",
       [] {
         void* page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
         return ::mprotect(page, 4096, PROT_READ | PROT_EXEC);
       }},
      {"swapon", [] { return ::syscall(SYS_swapon, "/nowhere", 0); }},
      {"reboot", [] { return ::syscall(SYS_reboot, 0, 0, 0, nullptr); }},
  };
  const std::vector<Call> apart =
      which == SystemCalls::kFiles
          ? std::vector<Call>{{"connect", [] { return ::connect(0, nullptr, 0); }},
                              {"bind", [] { return ::bind(0, nullptr, 0); }},
                              {"listen", [] { return ::listen(0, 0); }},
                              {"accept4",
                               [] { return ::accept4(0, nullptr, nullptr, 0); }},
                              {"shmget", [] { return ::syscall(SYS_shmget, 0, 0, 0); }}}
          : std::vector<Call>{
                {"socket", [] { return ::socket(AF_PACKET, SOCK_RAW, 0); }},
                {"setfsuid", [] { return ::syscall(SYS_setfsuid, 1); }},
                {"capset", [] { return ::syscall(SYS_capset, nullptr, nullptr); }},
                {"mknodat",
                 [] { return ::syscall(SYS_mknodat, AT_FDCWD, "/nowhere", 0, 0); }},
                {"open_by_handle_at",
                 [] { return ::syscall(SYS_open_by_handle_at, 0, nullptr, 0); }},
                {"setxattr",
                 [] { return ::syscall(SYS_setxattr, "/nowhere", "x", "y", 1, 0); }},
                {"unshare", [] { return ::unshare(CLONE_FS); }}};
  calls.insert(calls.end(), apart.begin(), apart.end());
  return calls;
}

TEST_F(SystemCallsTest, WhatIsNotListedFailsAndIsToldByName) {
  for (const SystemCalls which : kEither)
    for (const Call& call : Forbidden(which)) {
      const int status = Filtered(which, [&] {
        errno = 0;
        if (call.make() != -1 || errno != EPERM) return kLetThrough;
        std::string told;
        ForEachRefusal([&](const std::string& name) { told += name; });
        const bool named =
            told == call.name || (told == "clone" && call.name[0] == 'f');
        return named ? kAsExpected : kRefused;
      });
      EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == kAsExpected)
          << call.name << ": " << status;
    }
}

TEST_F(SystemCallsTest, WhatIsPlainlyHostileEndsTheProcess) {
  for (const SystemCalls which : kEither)
    for (const long number :
         {SYS_ptrace, SYS_process_vm_readv, SYS_bpf, SYS_init_module, SYS_userfaultfd,
          SYS_perf_event_open, SYS_kexec_load, SYS_pidfd_getfd}) {
      const int status = Filtered(which, [number] {
        ::syscall(number, 0, 0, 0, 0, 0, 0);
        return kLetThrough;
      });
      EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) << number;
    }
}

// ToldNothing tells whether all was let through.
bool ToldNothing() {
  std::string told;
  ForEachRefusal([&](const std::string& name) { told += name + " "; });
  if (!told.empty()) ::dprintf(2, "refused: %s\n", told.c_str());
  return told.empty();
}

bool WritesAFile() {
  const int file = ::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  rlimit limit;
  return file >= 0 && ::pwrite(file, "x", 1, 0) == 1 && ::fsync(file) == 0 &&
         ::getrlimit(RLIMIT_NOFILE, &limit) == 0;
}

TEST_F(SystemCallsTest, WhatServingFilesTakesIsLetThrough) {
  const int status = Filtered(SystemCalls::kFiles, [] {
    bool threaded = false;
    std::thread([&] { threaded = ::unshare(CLONE_FS) == 0; }).join();
    // No connection can be made, by which it could be a caller of the KMS.
    const bool alone = ::socket(AF_UNIX, SOCK_STREAM, 0) < 0 && errno == EPERM;
    int ends[2];
    const bool done = threaded && alone && WritesAFile() &&
                      ::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) == 0 &&
                      ::setfsuid(::geteuid()) >= 0;
    return done && ToldNothing() ? kAsExpected : kRefused;
  });
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == kAsExpected) << status;
}

TEST_F(SystemCallsTest, WhatKeepingKeysTakesIsLetThrough) {
  const int status = Filtered(SystemCalls::kKeys, [] {
    bool threaded = false;
    std::thread([&] { threaded = true; }).join();
    const bool done = threaded && WritesAFile() && ::getpwnam("root") != nullptr &&
                      ::socket(AF_UNIX, SOCK_STREAM, 0) >= 0 &&
                      ::socket(AF_INET6, SOCK_STREAM, 0) >= 0;
    addrinfo* found = nullptr;
    if (::getaddrinfo("localhost", "80", nullptr, &found) != 0) return kRefused;
    return done && ToldNothing() ? kAsExpected : kRefused;
  });
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == kAsExpected) << status;
}

TEST_F(SystemCallsTest, ThreadsThatAreThereAreFilteredToo) {
  const int status = Filtered(SystemCalls::kFiles, [] { return kAsExpected; });
  ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == kAsExpected);
  const int late = InChild([] {
    std::atomic<int> result{-1};
    std::atomic<bool> go{false};
    std::thread other([&] {
      while (!go) std::this_thread::yield();
      result = ::chroot("/") == -1 && errno == EPERM ? kAsExpected : kLetThrough;
    });
    const bool filtered = ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
                          FilterSystemCalls(SystemCalls::kKeys).ok();
    go = true;
    other.join();
    std::string told;
    ForEachRefusal([&](const std::string& name) { told += name; });
    return filtered && told == "chroot" ? result.load() : kNoFilter;
  });
  EXPECT_TRUE(WIFEXITED(late) && WEXITSTATUS(late) == kAsExpected) << late;
}

TEST(ConfinementTest, CapabilitiesAreGoneForGood) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to have any";
  const int status = InChild([] {
    if (!KeepForMounting().ok()) return 10;
    const Capabilities mounting = Capabilities::OfThread();
    if (!mounting.Has(CAP_SYS_ADMIN) || mounting.Has(CAP_SYS_MODULE)) return 11;
    if (!KeepForServing().ok()) return 12;
    const Capabilities serving = Capabilities::OfThread();
    if (!serving.Has(CAP_SETUID) || serving.Has(CAP_SYS_ADMIN)) return 13;
    if (serving.Has(CAP_SYS_PTRACE)) return 16;
    if (mounting.Take()) return 14;
    return ::prctl(PR_CAPBSET_READ, CAP_SYS_ADMIN, 0, 0, 0) == 0 &&
                   ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1
               ? kAsExpected
               : 15;
  });
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == kAsExpected) << status;
}

TEST(ConfinementTest, WhoHasTheKeysKeepsLittle) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to have any";
  for (const bool others_files : {false, true}) {
    const int status = InChild([others_files] {
      if (!KeepForOpening().ok()) return 10;
      if (Capabilities::OfThread().Has(CAP_SETUID)) return 11;
      if (!KeepForKeys(true, others_files).ok()) return 12;
      const Capabilities kept = Capabilities::OfThread();
      if (!kept.Has(CAP_SYS_PTRACE) || !kept.Has(CAP_NET_BIND_SERVICE)) return 13;
      if (kept.Has(CAP_SETPCAP) || kept.Has(CAP_DAC_READ_SEARCH)) return 14;
      return kept.Has(CAP_DAC_OVERRIDE) == others_files ? kAsExpected : 15;
    });
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == kAsExpected) << status;
  }
}

TEST(ConfinementTest, MemoryThatIsMappedLaterIsLockedToo) {
  if (::geteuid() != 0) GTEST_SKIP() << "an ordinary user may lock little";
  const int status = InChild([] {
    if (!LockMemory()) return kRefused;
    char* page = static_cast<char*>(::mmap(nullptr, 1 << 20, PROT_READ | PROT_WRITE,
                                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    page[0] = 1;
    // A locked page can't be thrown away.
    return ::madvise(page, 4096, MADV_DONTNEED) == -1 && errno == EINVAL ? kAsExpected
                                                                         : kLetThrough;
  });
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == kAsExpected) << status;
}

}  // namespace
}  // namespace keyfold
