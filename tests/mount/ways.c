// Every way a program may come to a file's bytes. Opens the file, prepares each way
// while it has the right, and at each line of standard input tries all and tells what
// each saw: OLD or NEW contents, nothing that is either, or the errno.
//   ways PATH|fd:N SCRATCH
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ring.h"

enum { kSize = 16384 };
static int file, path_only, scratch;
static int kept[2], pinned[2];
static char *map, *locked, *private_map;
static char buffer[kSize];

static void Tell(const char* way, ssize_t got, int error) {
  if (got < 0) {
    printf("%s %s\n", way, strerrorname_np(error));
    return;
  }
  const int is_new = got > 3 && memmem(buffer, (size_t)got, "NEW!", 4) != NULL;
  const int is_old = got > 3 && memmem(buffer, (size_t)got, "OLD!", 4) != NULL;
  printf("%s %s\n", way, is_new ? "new" : is_old ? "old" : got == 0 ? "empty" : "other");
}

static void ReadByRing(void) {
  if (ring.fd < 0) {
    printf("io_uring unavailable:%s\n", strerrorname_np(ring.error));
    return;
  }
  const ssize_t got = ByRing(IORING_OP_READ_FIXED, buffer, kSize, 0);
  Tell("io_uring", got, errno);
}

// Touches memory in a child, as it may be SIGBUS; the kernel may refuse as well.
static void Touch(const char* way, const char* area) {
  int pipes[2];
  if (pipe(pipes) != 0) return;
  const pid_t child = fork();
  if (child == 0) {
    memcpy(buffer, area, kSize);
    _exit(write(pipes[1], buffer, kSize) == kSize ? 0 : 1);
  }
  close(pipes[1]);
  ssize_t got = 0, more;
  while ((more = read(pipes[0], buffer + got, (size_t)(kSize - got))) > 0) got += more;
  close(pipes[0]);
  int status;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status))
    printf("%s SIG%s\n", way, sigabbrev_np(WTERMSIG(status)));
  else
    Tell(way, got, 0);
}

static void ReadInto(const char* way, int from, int via_splice) {
  int pipes[2];
  if (pipe(pipes) != 0) return;
  const int memory = memfd_create("ways", 0);
  off_t at = 0;
  ssize_t got = via_splice ? splice(from, &at, pipes[1], NULL, kSize, 0)
                           : sendfile(memory, from, &at, kSize);
  const int error = errno;
  if (got > 0)
    got = via_splice ? read(pipes[0], buffer, kSize) : pread(memory, buffer, kSize, 0);
  Tell(way, got, error);
  close(memory);
  close(pipes[0]);
  close(pipes[1]);
}

static void Reopen(const char* way, int fd) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const int again = open(link, O_RDONLY);
  const int error = errno;
  if (again < 0) {
    Tell(way, -1, error);
    return;
  }
  const ssize_t got = pread(again, buffer, kSize, 0);
  Tell(way, got, errno);
  close(again);
}

static void Copy(void) {
  off_t from = 0, to = 0;
  ssize_t got = copy_file_range(file, &from, scratch, &to, kSize, 0);
  const int error = errno;
  if (got > 0) got = pread(scratch, buffer, kSize, 0);
  Tell("copy_file_range", got, error);
}

static void TryAll(void) {
  ssize_t got = pread(file, buffer, kSize, 0);
  Tell("read", got, errno);
  struct iovec area = {buffer, kSize};
  got = preadv2(file, &area, 1, 0, RWF_NOWAIT);
  Tell("read_nowait", got, errno);
  ReadByRing();
  Touch("map", map);
  Touch("locked_map", locked);
  Touch("private_map", private_map);
  struct iovec there = {map, kSize};
  got = process_vm_readv(getpid(), &area, 1, &there, 1, 0);
  Tell("process_vm_readv", got, errno);
  ReadInto("splice", file, 1);
  ReadInto("sendfile", file, 0);
  Copy();
  got = madvise(map, kSize, MADV_POPULATE_READ);
  Tell("populate", got, errno);
  Reopen("reopen", file);
  Reopen("reopen_path", path_only);
  puts("end");
  fflush(stdout);
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  file = strncmp(argv[1], "fd:", 3) == 0 ? atoi(argv[1] + 3) : open(argv[1], O_RDONLY);
  if (file < 0) return perror("open"), 1;
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  path_only = open(link, O_PATH);
  scratch = open(argv[2], O_RDWR);
  map = mmap(NULL, kSize, PROT_READ, MAP_SHARED, file, 0);
  locked = mmap(NULL, kSize, PROT_READ, MAP_SHARED, file, 0);
  private_map = mmap(NULL, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
  if (map == MAP_FAILED || locked == MAP_FAILED || private_map == MAP_FAILED)
    return perror("mmap"), 1;
  (void)mlock(locked, kSize);
  // What is in a pipe was taken while the right was there; it must not change.
  struct iovec page = {map, 4096};
  off_t at = 0;
  if (pipe(kept) != 0 || pipe(pinned) != 0 ||
      splice(file, &at, kept[1], NULL, 4096, 0) < 0 ||
      vmsplice(pinned[1], &page, 1, 0) < 0)
    return perror("splice"), 1;
  PrepareRing(file, buffer, kSize);
  char* line = NULL;
  size_t size = 0;
  puts("ready");
  fflush(stdout);
  while (getline(&line, &size, stdin) > 0) {
    if (strcmp(line, "pipes\n") != 0) {
      TryAll();
      continue;
    }
    ssize_t got = read(kept[0], buffer, kSize);
    Tell("pipe", got, errno);
    got = read(pinned[0], buffer, kSize);
    Tell("pinned_pipe", got, errno);
    puts("end");
    fflush(stdout);
  }
  return 0;
}
