#include "fs/cli/SystemCalls.h"

#include <fcntl.h>
#include <linux/prctl.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <ucontext.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <memory>

namespace keyfold {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

// By name, as not every machine has every call. Libraries make more than the daemon's
// own code: OpenSSL, SQLite, look-ups of users and hosts, TPMs, and modules of PKCS#11
// that nobody here has seen.
constexpr std::array kBoth = {
    // files
    "open", "openat", "openat2", "close", "close_range", "dup", "dup2", "dup3",
    "fcntl64", "ioctl", "flock", "read", "write", "readv", "writev", "pread64",
    "pwrite64", "preadv", "pwritev", "lseek", "_llseek", "fallocate", "ftruncate",
    "ftruncate64", "fsync", "fdatasync", "fadvise64", "fadvise64_64",
    "arm_fadvise64_64",
    // names and attributes
    "stat", "stat64", "lstat", "lstat64", "fstat", "fstat64", "newfstatat", "fstatat64",
    "statx", "statfs", "statfs64", "fstatfs", "fstatfs64", "access", "faccessat",
    "faccessat2", "readlink", "readlinkat", "getdents", "getdents64", "getcwd", "chdir",
    "fchdir", "umask", "mkdir", "mkdirat", "linkat", "link", "unlink", "unlinkat",
    "rmdir", "rename", "renameat", "renameat2", "chmod", "fchmod", "fchmodat", "fchown",
    "fchown32",
    // memory
    "brk", "munmap", "mremap", "madvise", "mincore", "msync", "membarrier", "mlock",
    "mlock2", "munlock", "mlockall", "munlockall",
    // time
    "clock_gettime", "clock_gettime64", "clock_getres", "clock_getres_time64",
    "clock_nanosleep", "clock_nanosleep_time64", "nanosleep", "gettimeofday", "time",
    "times",
    // threads and signals
    "futex", "futex_time64", "futex_waitv", "set_robust_list", "get_robust_list",
    "set_tid_address", "rseq", "gettid", "exit", "exit_group", "restart_syscall",
    "arch_prctl", "sched_yield", "sched_getaffinity", "sched_setaffinity",
    "sched_getparam", "sched_getscheduler", "sched_get_priority_max",
    "sched_get_priority_min", "getcpu", "rt_sigaction", "rt_sigprocmask",
    "rt_sigreturn", "rt_sigtimedwait", "rt_sigtimedwait_time64", "rt_sigpending",
    "rt_sigsuspend", "sigreturn", "sigaltstack",
    // waiting
    "poll", "ppoll", "ppoll_time64", "select", "_newselect", "pselect6",
    "pselect6_time64", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait",
    "epoll_pwait2", "eventfd2", "pipe2",
    // sockets that are there
    "socketpair", "send", "sendto", "sendmsg", "recv", "recvfrom", "recvmsg",
    "shutdown", "getsockopt", "setsockopt",
    // who this is
    "getpid", "getppid", "getpgrp", "getpgid", "getsid", "setsid", "getuid", "getuid32",
    "geteuid", "geteuid32", "getgid", "getgid32", "getegid", "getegid32", "getresuid",
    "getresuid32", "getresgid", "getresgid32", "getgroups", "getgroups32", "capget",
    // the machine
    "getrandom", "getrlimit", "ugetrlimit", "getrusage", "sysinfo", "uname",
    "getpriority"};

// Who serves files does with them all that users do, and acts as those.
constexpr std::array kOfFiles = {
    "creat", "preadv2", "pwritev2", "copy_file_range", "sendfile", "sendfile64",
    "truncate", "truncate64", "syncfs", "sync_file_range", "sync_file_range2",
    "readahead", "mknod", "mknodat", "symlink", "symlinkat", "fchmodat2", "chown",
    "chown32", "lchown", "lchown32", "fchownat", "utime", "utimes", "futimesat",
    "utimensat", "utimensat_time64", "getxattr", "lgetxattr", "fgetxattr", "setxattr",
    "lsetxattr", "fsetxattr", "listxattr", "llistxattr", "flistxattr", "removexattr",
    "lremovexattr", "fremovexattr", "name_to_handle_at", "open_by_handle_at",
    "setgroups", "setgroups32", "setfsuid", "setfsuid32", "setfsgid", "setfsgid32",
    "capset",
    // to wait for the process that has the keys
    "wait4", "waitid"};

// Who has the keys answers callers, and asks webhooks, users' names, tokens and TPMs.
constexpr std::array kOfKeys = {
    "memfd_create", "alarm", "setitimer", "getitimer", "timer_create", "timer_settime",
    "timer_settime64", "timer_gettime", "timer_gettime64", "timer_getoverrun",
    "timer_delete", "timerfd_create", "timerfd_settime", "timerfd_settime64",
    "timerfd_gettime", "timerfd_gettime64", "epoll_create", "eventfd", "pipe",
    // sockets, of the families below
    "connect", "bind", "listen", "accept", "accept4", "getsockname", "getpeername",
    "sendmmsg", "recvmmsg", "recvmmsg_time64",
    // shared memory and semaphores of tokens' modules (opencryptoki)
    "shmget", "shmdt", "shmctl", "semget", "semop", "semtimedop", "semctl"};

// Nothing here nor in a library means well by these: reading other processes, or the
// daemon's own memory by a way around; changing the kernel.
constexpr std::array kDeadly = {"ptrace",
                                "process_vm_readv",
                                "process_vm_writev",
                                "pidfd_getfd",
                                "kexec_load",
                                "kexec_file_load",
                                "init_module",
                                "finit_module",
                                "delete_module",
                                "bpf",
                                "userfaultfd",
                                "perf_event_open",
                                "iopl",
                                "ioperm"};

// Namespaces that a thread would be put into.
constexpr uint64_t kNewSpaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS |
                                CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |
                                CLONE_NEWNET;

constexpr int kMostNumbers = 1024;
std::array<std::atomic<bool>, kMostNumbers> refused;

// OnRefused makes the call fail with EPERM, in the thread that made it.
void OnRefused(int, siginfo_t* info, void* context) {
  constexpr int kByFilter = 1;  // SYS_SECCOMP, which the C library hasn't
  if (info->si_code != kByFilter) return;
  const int number = info->si_syscall;
  if (number >= 0 && number < kMostNumbers) refused[static_cast<size_t>(number)] = true;
  auto* registers = &static_cast<ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
  registers->gregs[REG_RAX] = -EPERM;
#elif defined(__aarch64__)
  registers->regs[0] = static_cast<uint64_t>(-EPERM);
#else
#error "Where is the result of a system call on this machine?"
#endif
}

// Filter collects rules; the first that can't be added is what Load answers.
class Filter {
 public:
  explicit Filter(uint32_t otherwise) : context_(seccomp_init(otherwise)) {
    if (context_ == nullptr) error_ = ENOMEM;
  }
  // Add lets `name` be done with `action` where all conditions hold.
  void Add(uint32_t action, const char* name,
           std::initializer_list<scmp_arg_cmp> conditions = {}) {
    const int number = seccomp_syscall_resolve_name(name);
    if (number < 0) return;  // of another machine, or newer than libseccomp
    Note(seccomp_rule_add_array(context_.get(), action, number,
                                static_cast<unsigned>(conditions.size()),
                                conditions.begin()));
  }
  void Set(scmp_filter_attr attribute, uint32_t value) {
    Note(seccomp_attr_set(context_.get(), attribute, value));
  }
  Status Load() {
    if (error_ == 0) Note(seccomp_load(context_.get()));
    return error_ == 0 ? OkStatus() : Status::FromErrno(error_, "seccomp");
  }

 private:
  void Note(int result) {
    if (error_ == 0 && result < 0) error_ = -result;
  }
  struct Release {
    void operator()(void* context) const { seccomp_release(context); }
  };
  std::unique_ptr<void, Release> context_;
  int error_ = 0;
};

scmp_arg_cmp Is(unsigned argument, uint64_t value) {
  return SCMP_CMP64(argument, SCMP_CMP_EQ, value);
}
scmp_arg_cmp HasBits(unsigned argument, uint64_t mask, uint64_t bits) {
  return SCMP_CMP64(argument, SCMP_CMP_MASKED_EQ, mask, bits);
}

void AddByArguments(Filter* filter) {
  // No memory that is written is executed. Libraries are still loaded: those of
  // look-ups and tokens are when they are first needed.
  filter->Add(SCMP_ACT_ALLOW, "mmap", {HasBits(2, PROT_EXEC, 0)});
  filter->Add(SCMP_ACT_ALLOW, "mmap", {HasBits(2, PROT_WRITE | PROT_EXEC, PROT_EXEC)});
  filter->Add(SCMP_ACT_ALLOW, "mprotect", {HasBits(2, PROT_EXEC, 0)});
  // Threads, no processes. What clone3 is asked for can't be seen from here: the C
  // library falls back.
  filter->Add(SCMP_ACT_ALLOW, "clone",
              {HasBits(0, CLONE_THREAD | kNewSpaces, CLONE_THREAD)});
  filter->Add(SCMP_ACT_ERRNO(ENOSYS), "clone3");
  // Nothing that has the kernel send signals to others (F_SETOWN, F_SETSIG). The
  // command has 32 bits, whatever stands above.
  for (const int command :
       {F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK, F_SETLK, F_SETLKW,
        F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW, F_DUPFD_CLOEXEC})
    filter->Add(SCMP_ACT_ALLOW, "fcntl",
                {HasBits(1, UINT32_MAX, static_cast<uint64_t>(command))});
  // Signals to its own threads.
  filter->Add(SCMP_ACT_ALLOW, "tgkill", {Is(0, static_cast<uint64_t>(::getpid()))});
  // Limits are read only, and the process stays out of others' reach.
  filter->Add(SCMP_ACT_ALLOW, "prlimit64", {Is(2, 0)});
  for (const int option :
       {PR_SET_NAME, PR_GET_NAME, PR_GET_DUMPABLE, PR_SET_SECUREBITS, PR_GET_SECUREBITS,
        PR_GET_NO_NEW_PRIVS, PR_CAPBSET_READ, PR_SET_TIMERSLACK, PR_SET_VMA})
    filter->Add(SCMP_ACT_ALLOW, "prctl", {Is(0, static_cast<uint64_t>(option))});
}

void AddForFiles(Filter* filter) {
  for (const char* name : kOfFiles) filter->Add(SCMP_ACT_ALLOW, name);
  filter->Add(SCMP_ACT_ALLOW, "unshare", {Is(0, CLONE_FS)});  // a umask of its own
  // The C library tries to connect to a system log that went. The KMS's callers are
  // told by who connects, so this process makes no connections, not even there.
  filter->Add(SCMP_ACT_ERRNO(EPERM), "socket");
}

void AddForKeys(Filter* filter) {
  for (const char* name : kOfKeys) filter->Add(SCMP_ACT_ALLOW, name);
  filter->Add(SCMP_ACT_ALLOW, "shmat", {HasBits(2, SHM_EXEC, 0)});
  // Webhooks, the endpoint, and who connects to it; look-ups.
  for (const int family : {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK})
    filter->Add(SCMP_ACT_ALLOW, "socket", {Is(0, static_cast<uint64_t>(family))});
}

}  // namespace

Result<bool> FilterSystemCalls(SystemCalls which) {
  if (kSanitized) return false;
  struct sigaction action {};
  action.sa_sigaction = OnRefused;
  action.sa_flags = SA_SIGINFO;
  if (::sigaction(SIGSYS, &action, nullptr) != 0)
    return Status::FromErrno(errno, "seccomp");
  Filter filter(SCMP_ACT_TRAP);
  // A look-up in a tree instead of some hundred comparisons.
  filter.Set(SCMP_FLTATR_CTL_OPTIMIZE, 2);
  filter.Set(SCMP_FLTATR_CTL_TSYNC, 1);
  // Calls by the tables of another machine (32 bits) are nobody's here.
  filter.Set(SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  for (const char* name : kBoth) filter.Add(SCMP_ACT_ALLOW, name);
  for (const char* name : kDeadly) filter.Add(SCMP_ACT_KILL_PROCESS, name);
  AddByArguments(&filter);
  which == SystemCalls::kFiles ? AddForFiles(&filter) : AddForKeys(&filter);
  KF_RETURN_IF_ERROR(filter.Load());
  return true;
}

void ForEachRefusal(const std::function<void(const std::string& name)>& tell) {
  for (int number = 0; number < kMostNumbers; ++number) {
    if (!refused[static_cast<size_t>(number)].exchange(false)) continue;
    char* name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);
    tell(name != nullptr ? name : "number " + std::to_string(number));
    std::free(name);
  }
}

}  // namespace keyfold
