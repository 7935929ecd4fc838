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

int Filtered(const std::function<int()>& body) {
  return InChild([&] {
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return kNoFilter;
    const auto filtered = FilterSystemCalls();
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

std::vector<Call> Forbidden() {
  return {
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
      {"socket", [] { return ::socket(AF_PACKET, SOCK_RAW, 0); }},
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
}

TEST_F(SystemCallsTest, WhatIsNotListedFailsAndIsToldByName) {
  for (const Call& call : Forbidden()) {
    const int status = Filtered([&] {
      errno = 0;
      if (call.make() != -1 || errno != EPERM) return kLetThrough;
      std::string told;
      ForEachRefusal([&](const std::string& name) { told += name; });
      const bool named = told == call.name || (told == "clone" && call.name[0] == 'f');
      return named ? kAsExpected : kRefused;
    });
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == kAsExpected)
        << call.name << ": " << status;
  }
}

TEST_F(SystemCallsTest, WhatIsPlainlyHostileEndsTheProcess) {
  for (const long number :
       {SYS_ptrace, SYS_process_vm_readv, SYS_bpf, SYS_init_module, SYS_userfaultfd,
        SYS_perf_event_open, SYS_kexec_load, SYS_pidfd_getfd}) {
    const int status = Filtered([number] {
      ::syscall(number, 0, 0, 0, 0, 0, 0);
      return kLetThrough;
    });
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) << number;
  }
}

TEST_F(SystemCallsTest, WhatTheDaemonDoesIsLetThrough) {
  const int status = Filtered([] {
    bool threaded = false;
    std::thread([&] { threaded = ::unshare(CLONE_FS) == 0; }).join();
    const int file = ::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    rlimit limit;
    const bool done = threaded && file >= 0 && ::pwrite(file, "x", 1, 0) == 1 &&
                      ::fsync(file) == 0 && ::getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
                      ::getpwnam("root") != nullptr &&
                      ::socket(AF_UNIX, SOCK_STREAM, 0) >= 0 &&
                      ::socket(AF_INET6, SOCK_STREAM, 0) >= 0;
    addrinfo* found = nullptr;
    if (::getaddrinfo("localhost", "80", nullptr, &found) != 0) return kRefused;
    std::string told;
    ForEachRefusal([&](const std::string& name) { told += name + " "; });
    if (!told.empty()) ::dprintf(2, "refused: %s\n", told.c_str());
    return done && told.empty() ? kAsExpected : kRefused;
  });
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == kAsExpected) << status;
}

TEST_F(SystemCallsTest, ThreadsThatAreThereAreFilteredToo) {
  const int status = Filtered([] { return kAsExpected; });
  ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == kAsExpected);
  const int late = InChild([] {
    std::atomic<int> result{-1};
    std::atomic<bool> go{false};
    std::thread other([&] {
      while (!go) std::this_thread::yield();
      result = ::chroot("/") == -1 && errno == EPERM ? kAsExpected : kLetThrough;
    });
    const bool filtered =
        ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && FilterSystemCalls().ok();
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
    if (!KeepForServing(false).ok()) return 12;
    const Capabilities serving = Capabilities::OfThread();
    if (!serving.Has(CAP_SETUID) || serving.Has(CAP_SYS_ADMIN)) return 13;
    if (mounting.Take()) return 14;
    return ::prctl(PR_CAPBSET_READ, CAP_SYS_ADMIN, 0, 0, 0) == 0 &&
                   ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1
               ? kAsExpected
               : 15;
  });
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == kAsExpected) << status;
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
