// One request at a time through io_uring, by hand, for the programs that try ways to a
// file. The file and the buffer are registered: the kernel holds both.
#pragma once

#include <errno.h>
#include <linux/io_uring.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static struct {
  int fd, error;  // why there is none
  struct io_uring_params params;
  char* rings;
  struct io_uring_sqe* entries;
} ring = {.fd = -1};

static void PrepareRing(int file, char* buffer, size_t bytes) {
  ring.fd = (int)syscall(SYS_io_uring_setup, 4, &ring.params);
  ring.error = errno;
  if (ring.fd < 0) return;
  const size_t size = ring.params.sq_off.array + ring.params.sq_entries * 4;
  const size_t other =
      ring.params.cq_off.cqes + ring.params.cq_entries * sizeof(struct io_uring_cqe);
  ring.rings = mmap(NULL, size > other ? size : other, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_POPULATE, ring.fd, IORING_OFF_SQ_RING);
  ring.entries =
      mmap(NULL, ring.params.sq_entries * sizeof(struct io_uring_sqe),
           PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.fd, IORING_OFF_SQES);
  struct iovec area = {buffer, bytes};
  if (syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_FILES, &file, 1) != 0 ||
      syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_BUFFERS, &area, 1) != 0) {
    ring.error = errno;
    ring.fd = -1;
  }
}

// ByRing does IORING_OP_READ_FIXED or IORING_OP_WRITE_FIXED. Returns as read(2) and
// write(2) do.
static ssize_t ByRing(int operation, char* buffer, size_t bytes, off_t at) {
  unsigned* tail = (unsigned*)(ring.rings + ring.params.sq_off.tail);
  const unsigned mask = *(unsigned*)(ring.rings + ring.params.sq_off.ring_mask);
  unsigned* array = (unsigned*)(ring.rings + ring.params.sq_off.array);
  unsigned* head = (unsigned*)(ring.rings + ring.params.cq_off.head);
  const unsigned done_mask = *(unsigned*)(ring.rings + ring.params.cq_off.ring_mask);
  struct io_uring_cqe* done =
      (struct io_uring_cqe*)(ring.rings + ring.params.cq_off.cqes);
  struct io_uring_sqe* entry = &ring.entries[*tail & mask];
  memset(entry, 0, sizeof *entry);
  entry->opcode = (__u8)operation;
  entry->flags = IOSQE_FIXED_FILE;
  entry->addr = (unsigned long)buffer;
  entry->len = (__u32)bytes;
  entry->off = (__u64)at;
  array[*tail & mask] = *tail & mask;
  __atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
  if (syscall(SYS_io_uring_enter, ring.fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
    return -1;
  const int result = done[*head & done_mask].res;
  __atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
  if (result >= 0) return result;
  errno = -result;
  return -1;
}
