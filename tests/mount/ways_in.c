// Every way a program may bring bytes into a file. Opens the file for writing, prepares
// each way while it has the right, and at each word on standard input, of four letters,
// tries to fill with it the block of the file that each way has to itself, in the order
// in which it tells what came of them: ok or the errno.
//   ways_in PATH SCRATCH
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

enum { kBlock = 4096, kBlocks = 16 };
static int file, scratch;
static char *map, *locked;
static char* buffer;

// Where the next way writes.
static off_t at;

static void Tell(const char* way, ssize_t done, int error) {
  printf("%s %s\n", way, done < 0 ? strerrorname_np(error) : "ok");
  at += kBlock;
}

// Stores to memory in a child, as it may be SIGBUS.
static void Store(const char* way, char* area) {
  const pid_t child = fork();
  if (child == 0) {
    memcpy(area + at, buffer, kBlock);
    _exit(msync(area + at, kBlock, MS_SYNC) == 0 ? 0 : errno);
  }
  int status;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) {
    printf("%s SIG%s\n", way, sigabbrev_np(WTERMSIG(status)));
    at += kBlock;
  } else {
    Tell(way, WEXITSTATUS(status) == 0 ? 0 : -1, WEXITSTATUS(status));
  }
}

static void ThroughPipe(const char* way, int by_page) {
  int pipes[2];
  if (pipe(pipes) != 0) return;
  struct iovec area = {buffer, kBlock};
  loff_t to = at;
  ssize_t done = by_page ? vmsplice(pipes[1], &area, 1, 0)
                         : write(pipes[1], buffer, kBlock);
  if (done > 0) done = splice(pipes[0], NULL, file, &to, kBlock, 0);
  Tell(way, done, errno);
  close(pipes[0]);
  close(pipes[1]);
}

static void SendFile(void) {
  const int memory = memfd_create("ways", 0);
  off_t from = 0;
  ssize_t done = pwrite(memory, buffer, kBlock, 0);
  if (done > 0) done = lseek(file, at, SEEK_SET);
  if (done >= 0) done = sendfile(file, memory, &from, kBlock);
  Tell("sendfile", done, errno);
  close(memory);
}

static void Copy(void) {
  off_t from = 0, to = at;
  ssize_t done = pwrite(scratch, buffer, kBlock, 0);
  if (done > 0) done = copy_file_range(scratch, &from, file, &to, kBlock, 0);
  Tell("copy_file_range", done, errno);
}

static void WriteByRing(void) {
  if (ring.fd < 0) {
    printf("io_uring unavailable:%s\n", strerrorname_np(ring.error));
    at += kBlock;
    return;
  }
  const ssize_t done = ByRing(IORING_OP_WRITE_FIXED, buffer, kBlock, at);
  Tell("io_uring", done, errno);
}

static void TryAll(const char* word) {
  for (int i = 0; i < kBlock; ++i) buffer[i] = word[i % 4];
  at = 0;
  struct iovec area = {buffer, kBlock};
  ssize_t done = pwrite(file, buffer, kBlock, at);
  Tell("pwrite", done, errno);
  done = pwritev2(file, &area, 1, at, RWF_DSYNC);
  Tell("pwritev_sync", done, errno);
  done = pwritev2(file, &area, 1, at, RWF_NOWAIT);
  Tell("pwrite_nowait", done, errno);
  done = pwrite(file, buffer, 100, at + 50);
  Tell("pwrite_part", done, errno);
  Store("map", map);
  Store("locked_map", locked);
  area.iov_base = map + at;
  struct iovec from = {buffer, kBlock};
  done = process_vm_writev(getpid(), &from, 1, &area, 1, 0);
  Tell("process_vm_writev", done, errno);
  ThroughPipe("splice", 0);
  ThroughPipe("splice_page", 1);
  SendFile();
  Copy();
  WriteByRing();
  done = fallocate(file, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, at, kBlock);
  Tell("punch", done, errno);
  done = fallocate(file, FALLOC_FL_ZERO_RANGE, at, kBlock);
  Tell("zero", done, errno);
  done = ftruncate(file, at);
  Tell("truncate", done, errno);
  done = fsync(file);
  Tell("fsync", done, errno);
  puts("end");
  fflush(stdout);
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  file = open(argv[1], O_RDWR);
  scratch = open(argv[2], O_RDWR);
  if (file < 0 || scratch < 0) return perror("open"), 1;
  const size_t size = kBlocks * kBlock;
  map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  locked = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  buffer = mmap(NULL, kBlock, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map == MAP_FAILED || locked == MAP_FAILED || buffer == MAP_FAILED)
    return perror("mmap"), 1;
  (void)mlock(locked, size);
  PrepareRing(file, buffer, kBlock);
  char* line = NULL;
  size_t room = 0;
  puts("ready");
  fflush(stdout);
  while (getline(&line, &room, stdin) > 4) TryAll(line);
  return 0;
}
