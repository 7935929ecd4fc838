"""Does a file read back what a model of it says, whatever is done to it?

Two files on a mount and their bytes in memory, changed in step by every call that
changes contents: after fsx, the old exerciser of filesystems, in idea.

KEYFOLD_TEST_SEED repeats a run (the seed is printed), KEYFOLD_TEST_STEPS sets its
length."""
import errno
import mmap
import os
import random
import time

import pytest

from likeext4 import fallocate, forget_caches
from share import lone_share

STEPS = int(os.environ.get('KEYFOLD_TEST_STEPS', 4000))
SEED = int(os.environ.get('KEYFOLD_TEST_SEED', time.time_ns() % 10**9))
LONGEST = 3 << 20
KEEP, PUNCH, ZERO = 1, 2, 16
PAGE = 4096


class Mirror:
    """A file and what it should hold."""

    def __init__(self, path):
        self.path = path
        self.model = bytearray()
        self.open(os.O_CREAT)

    def open(self, flags=0):
        self.fd = os.open(self.path, os.O_RDWR | flags)
        self.direct = os.open(self.path, os.O_RDWR | os.O_DIRECT)

    def close(self):
        os.close(self.fd)
        os.close(self.direct)

    def put(self, at, data):
        if not data:
            return
        if at > len(self.model):
            self.model.extend(bytes(at - len(self.model)))
        self.model[at:at + len(data)] = data

    def resize(self, size):
        del self.model[size:]
        self.model.extend(bytes(size - len(self.model)))

    def check(self):
        assert os.fstat(self.fd).st_size == len(self.model)
        found = os.pread(self.fd, len(self.model) + 1, 0)
        if found != self.model:
            wrong = [i for i in range(0, len(self.model), PAGE)
                     if found[i:i + PAGE] != self.model[i:i + PAGE]]
            raise AssertionError(f'{self.path.name}: blocks {[w // PAGE for w in wrong]} differ, '
                                 f'{len(found)} bytes of {len(self.model)}')


class Exercise:
    def __init__(self, share, seed):
        self.share, self.rng = share, random.Random(seed)
        self.files = [Mirror(share.mnt / 'a'), Mirror(share.mnt / 'b')]
        self.done = []

    def offset(self, limit=LONGEST):
        """Near the borders of blocks and groups more often than not."""
        rng = self.rng
        if limit <= 0:
            return 0
        at = rng.randrange(limit)
        kind = rng.randrange(4)
        if kind == 0:
            at = at // PAGE * PAGE
        elif kind == 1:
            at = (at // (256 << 10)) * (256 << 10) + (128 << 10)
        elif kind == 2:
            at = at // PAGE * PAGE + rng.choice((-1, 1))
        return min(max(at, 0), limit)

    def size(self):
        return self.rng.choice((1, 100, PAGE - 1, PAGE, PAGE + 1, self.rng.randrange(1, 40000),
                                self.rng.randrange(1, 700000), 256 << 10))

    # Each step is told in one line, before it is taken.

    def write(self, f):
        at, data = self.offset(), self.rng.randbytes(self.size())
        yield f'write {at} {len(data)}'
        assert os.pwrite(f.fd, data, at) == len(data)
        f.put(at, data)

    def append(self, f):
        data = self.rng.randbytes(self.size())
        if len(f.model) > LONGEST:
            data = b''
        yield f'append {len(data)}'
        fd = os.open(f.path, os.O_WRONLY | os.O_APPEND)
        os.write(fd, data)
        os.close(fd)
        f.put(len(f.model), data)

    def read(self, f):
        at, size = self.offset(len(f.model) + 10000), self.size()
        yield f'read {at} {size}'
        assert os.pread(f.fd, size, at) == f.model[at:at + size]

    def write_direct(self, f):
        at, size = self.offset() // PAGE * PAGE, (self.size() // PAGE + 1) * PAGE
        yield f'write-direct {at} {size}'
        with mmap.mmap(-1, size) as buffer:
            buffer[:] = data = self.rng.randbytes(size)
            assert os.pwritev(f.direct, [buffer], at) == size
        f.put(at, data)

    def read_direct(self, f):
        at, size = self.offset(len(f.model) + PAGE) // PAGE * PAGE, (self.size() // PAGE + 1) * PAGE
        yield f'read-direct {at} {size}'
        with mmap.mmap(-1, size) as buffer:
            n = os.preadv(f.direct, [buffer], at)
            assert buffer[:n] == f.model[at:at + size]

    def truncate(self, f):
        size = self.offset(LONGEST if self.rng.randrange(2) else len(f.model) + 1)
        yield f'truncate {size}'
        os.ftruncate(f.fd, size) if self.rng.randrange(2) else os.truncate(f.path, size)
        f.resize(size)

    def map(self, f):
        if not f.model:
            return
        at = self.offset(len(f.model) - 1)
        size = min(self.size(), len(f.model) - at)
        change = self.rng.randrange(2)
        yield f'map {at} {size} {"write" if change else "read"}'
        with mmap.mmap(f.fd, len(f.model)) as m:
            assert m[at:at + size] == f.model[at:at + size]
            if change:
                m[at:at + size] = data = self.rng.randbytes(size)
                f.put(at, data)
                if self.rng.randrange(2):
                    m.flush()

    def punch(self, f):
        at, size = self.offset(), self.size()
        yield f'punch {at} {size}'
        fallocate(f.fd, PUNCH | KEEP, at, size)
        end = min(at + size, len(f.model))
        f.put(at, bytes(max(0, end - at)))

    def zero(self, f):
        at, size, keep = self.offset(), self.size(), self.rng.randrange(2)
        yield f'zero {at} {size} {"keep" if keep else ""}'
        fallocate(f.fd, ZERO | (KEEP if keep else 0), at, size)
        end = min(at + size, len(f.model)) if keep else at + size
        f.put(at, bytes(max(0, end - at)))

    def reserve(self, f):
        at, size, keep = self.offset(), self.size(), self.rng.randrange(2)
        yield f'reserve {at} {size} {"keep" if keep else ""}'
        fallocate(f.fd, KEEP if keep else 0, at, size)
        if not keep and at + size > len(f.model):
            f.resize(at + size)

    def copy(self, f):
        to = self.rng.choice(self.files)
        at, out, size = self.offset(), self.offset(), self.size()
        if to is f and abs(at - out) < size:
            return
        yield f'copy {at} {size} to {to.path.name} {out}'
        data = bytes(f.model[at:at + size])
        done = 0
        while done < len(data):
            n = os.copy_file_range(f.fd, to.fd, size - done, at + done, out + done)
            assert n > 0
            done += n
        to.put(out, data)

    def seek(self, f):
        at = self.offset(len(f.model))
        yield f'seek {at}'
        while at < len(f.model):
            try:
                data = os.lseek(f.fd, at, os.SEEK_DATA)
            except OSError as e:
                assert e.errno == errno.ENXIO
                data = len(f.model)
            assert not any(f.model[at:data]), f'data at {at} to {data} is told to be a hole'
            if data == len(f.model):
                break
            at = os.lseek(f.fd, data, os.SEEK_HOLE)
            assert data < at <= len(f.model)

    def sync(self, f):
        yield 'fsync'
        os.fsync(f.fd)

    def reopen(self, f):
        yield 'reopen'
        f.close()
        f.open()

    def drop(self, f):
        yield 'drop caches'
        forget_caches()

    def check(self, f):
        yield 'check'
        f.check()

    def remount(self, f):
        yield 'remount'
        for each in self.files:
            each.close()
        self.share.unmount()
        self.share.mount()
        for each in self.files:
            each.open()
            each.check()

    WEIGHTS = {write: 20, append: 4, read: 12, write_direct: 6, read_direct: 4, truncate: 8,
               map: 10, punch: 6, zero: 5, reserve: 5, copy: 8, seek: 5, sync: 3, reopen: 4,
               drop: 1, check: 6, remount: 0.3}

    def run(self, steps):
        kinds, weights = list(self.WEIGHTS), list(self.WEIGHTS.values())
        for count in range(steps):
            f = self.rng.choice(self.files)
            step = self.rng.choices(kinds, weights)[0](self, f)
            for line in step:
                self.done.append(f'{count}: {f.path.name} {line}')
        for f in self.files:
            f.check()


@pytest.fixture
def share():
    with lone_share('fsx') as made:
        yield made


def test_two_files_hold_what_their_models_hold(share):
    exercise = Exercise(share, SEED)
    try:
        exercise.run(STEPS)
    except BaseException:
        print(f'KEYFOLD_TEST_SEED={SEED} KEYFOLD_TEST_STEPS={STEPS}; the last steps were:',
              *exercise.done[-40:], sep='\n')
        raise
    finally:
        for f in exercise.files:
            f.close()
