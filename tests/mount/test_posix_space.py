"""Is space reserved, given back, skipped and run out of as on ext4?"""
import errno
import os
import random
import resource
import signal
import stat

import pytest

from likeext4 import (COLLAPSE_RANGE, INSERT_RANGE, UNSHARE_RANGE, failure, fallocate,
                      forget_caches, outcome)

KEEP, PUNCH, ZERO = 1, 2, 16
# Around the borders of blocks and of groups of blocks, which are 128 KiB for the
# first and 256 KiB for the others.
KIB = 1024


@pytest.fixture
def fd(folder):
    fd = os.open(folder / 'f', os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


def contents(fd):
    return os.pread(fd, os.fstat(fd).st_size, 0)


def blocks(fd):
    os.fsync(fd)
    return os.fstat(fd).st_blocks * 512


def test_a_sparse_file_takes_little_space_and_reads_as_zeros(fd):
    os.pwrite(fd, b'end', 1 << 40)
    assert os.fstat(fd).st_size == (1 << 40) + 3
    assert blocks(fd) < 1 << 20
    assert os.pread(fd, 100000, 1 << 39) == bytes(100000)
    assert os.pread(fd, 10, 1 << 40) == b'end'


def test_plain_fallocate_makes_longer_and_reserves(fd):
    os.write(fd, b'before')
    fallocate(fd, 0, 3, 1000 * KIB)
    assert os.fstat(fd).st_size == 1000 * KIB + 3
    assert contents(fd) == b'before' + bytes(1000 * KIB - 3)
    assert blocks(fd) >= 1000 * KIB
    fallocate(fd, 0, 0, 10)
    assert os.fstat(fd).st_size == 1000 * KIB + 3
    data = os.urandom(1000 * KIB)
    os.pwrite(fd, data, 3)
    forget_caches()
    assert contents(fd) == b'bef' + data


def test_keeping_the_size(fd):
    os.write(fd, b'x' * 5000)
    fallocate(fd, KEEP, 0, 1000 * KIB)
    assert os.fstat(fd).st_size == 5000
    assert blocks(fd) >= 1000 * KIB
    os.pwrite(fd, b'y', 300 * KIB)
    forget_caches()
    assert contents(fd) == b'x' * 5000 + bytes(300 * KIB - 5000) + b'y'


@pytest.mark.parametrize('mode', [PUNCH | KEEP, ZERO | KEEP, ZERO])
def test_zeroing_ranges(fd, mode):
    size = 900 * KIB + 77
    rng = random.Random(mode)
    borders = [0, 1, 4095, 4096, 4097, 128 * KIB, 128 * KIB + 1, 384 * KIB - 1, 384 * KIB,
               640 * KIB, 640 * KIB + 4096, size - 1, size, size + 1, size + 300 * KIB]
    for _ in range(40):
        data = rng.randbytes(size)
        os.ftruncate(fd, 0)
        os.pwrite(fd, data, 0)
        start, end = sorted(rng.sample(borders, 2))
        fallocate(fd, mode, start, end - start)
        stop = min(end, size)
        expected = data if start >= size else data[:start] + bytes(stop - start) + data[stop:]
        if mode == ZERO and end > size:
            expected += bytes(end - size)
        assert contents(fd) == expected, (start, end)
        os.pwrite(fd, b'again', start)
        forget_caches()
        expected = expected[:start].ljust(start, b'\0') + b'again' + expected[start + 5:]
        assert contents(fd) == expected, (start, end)


def test_a_punched_hole_gives_space_back(fd):
    os.write(fd, os.urandom(4 << 20))
    before = blocks(fd)
    fallocate(fd, PUNCH | KEEP, 1 << 20, 2 << 20)
    assert blocks(fd) <= before - (7 << 18)
    assert os.pread(fd, 2 << 20, 1 << 20) == bytes(2 << 20)
    assert os.fstat(fd).st_size == 4 << 20


def test_zeroed_ranges_stay_reserved(fd):
    os.write(fd, os.urandom(2 << 20))
    before = blocks(fd)
    fallocate(fd, ZERO, 0, 2 << 20)
    assert blocks(fd) >= before
    assert contents(fd) == bytes(2 << 20)


def test_refused_kinds_of_fallocate(fd, folder):
    os.write(fd, b'x' * 100000)
    assert failure(fallocate, fd, PUNCH, 0, 4096) == errno.EOPNOTSUPP
    assert failure(fallocate, fd, 0, 0, 0) == errno.EINVAL
    assert failure(fallocate, fd, 0, -1, 10) == errno.EINVAL
    assert failure(fallocate, fd, 0, 1 << 62, 1 << 62) == errno.EFBIG
    reader = os.open(folder / 'f', os.O_RDONLY)
    assert failure(fallocate, reader, 0, 0, 10) == errno.EBADF
    os.close(reader)
    assert contents(fd) == b'x' * 100000
    for mode in (UNSHARE_RANGE, UNSHARE_RANGE | KEEP, COLLAPSE_RANGE | KEEP, INSERT_RANGE | KEEP,
                 ZERO | PUNCH | KEEP):
        assert failure(fallocate, fd, mode, 4096, 4096) == errno.EOPNOTSUPP, mode
    forget_caches()
    assert contents(fd) == b'x' * 100000


def test_collapsing_and_inserting_ranges(fd, here):
    data = os.urandom(900 * KIB)
    os.write(fd, data)
    done = (outcome(fallocate, fd, COLLAPSE_RANGE, 128 * KIB, 256 * KIB),
            outcome(fallocate, fd, INSERT_RANGE, 128 * KIB, 256 * KIB))
    assert done == here(('ok', 'ok'))
    forget_caches()
    middle = bytes(256 * KIB) if done[0] == 'ok' else data[128 * KIB:384 * KIB]
    assert contents(fd) == data[:128 * KIB] + middle + data[384 * KIB:]


def test_holes_are_found(fd):
    def found(offset, whence):
        try:
            return os.lseek(fd, offset, whence)
        except OSError as e:
            return errno.errorcode[e.errno]

    assert found(0, os.SEEK_DATA) == 'ENXIO' and found(0, os.SEEK_HOLE) == 'ENXIO'
    os.pwrite(fd, b'x' * 100, 1 << 20)
    # Not yet written back.
    assert found(0, os.SEEK_HOLE) == 0
    assert found(0, os.SEEK_DATA) == 1 << 20
    assert found((1 << 20) + 50, os.SEEK_DATA) == (1 << 20) + 50
    assert found(1 << 20, os.SEEK_HOLE) == (1 << 20) + 100
    assert found((1 << 20) + 100, os.SEEK_DATA) == 'ENXIO'
    os.ftruncate(fd, 4 << 20)
    assert found(1 << 20, os.SEEK_HOLE) == (1 << 20) + 4096
    assert found((1 << 20) + 4096, os.SEEK_DATA) == 'ENXIO'
    os.pwrite(fd, b'y' * 600000, 0)
    fallocate(fd, PUNCH | KEEP, 8192, 4096)
    fallocate(fd, PUNCH | KEEP, 128 * KIB, 256 * KIB)
    assert found(0, os.SEEK_HOLE) == 8192
    assert found(8192, os.SEEK_DATA) == 12288
    assert found(12288, os.SEEK_HOLE) == 128 * KIB
    assert found(128 * KIB, os.SEEK_DATA) == 384 * KIB
    assert found(147 * 4096, os.SEEK_DATA) == 1 << 20


def test_data_in_the_cache_is_no_hole(fd):
    os.ftruncate(fd, 1 << 20)
    os.fsync(fd)
    os.pwrite(fd, b'x' * 4096, 512 * KIB)
    assert os.lseek(fd, 0, os.SEEK_DATA) == 512 * KIB
    assert os.lseek(fd, 512 * KIB, os.SEEK_HOLE) == 516 * KIB


def test_copying_between_files(fd, folder):
    data = os.urandom(3_000_000)
    os.write(fd, data)
    other = os.open(folder / 'other', os.O_RDWR | os.O_CREAT)
    done = 0
    while done < len(data):
        n = os.copy_file_range(fd, other, len(data) - done, done, done + 777)
        assert n > 0
        done += n
    assert os.copy_file_range(fd, other, 10, len(data), 0) == 0
    forget_caches()
    assert contents(other) == bytes(777) + data
    assert failure(os.copy_file_range, fd, fd, 100, 0, 50) == errno.EINVAL
    assert os.copy_file_range(fd, fd, 100_000, 0, 200_000) == 100_000
    assert contents(fd) == data[:200_000] + data[:100_000] + data[300_000:]
    reader = os.open(folder / 'f', os.O_RDONLY)
    assert failure(os.copy_file_range, other, reader, 10, 0, 0) == errno.EBADF
    os.close(reader)
    appender = os.open(folder / 'f', os.O_WRONLY | os.O_APPEND)
    assert failure(os.copy_file_range, other, appender, 10, 0, 0) == errno.EBADF
    os.close(appender)
    os.close(other)


def test_changing_space_clears_set_id_bits(folder, users):
    path, source = folder / 'program', folder / 'source'
    source.write_bytes(b'x' * 10000)

    def change(how):
        fd = os.open(path, os.O_RDWR)
        how(fd)
        os.close(fd)

    def copy(fd):
        other = os.open(source, os.O_RDONLY)
        assert os.copy_file_range(other, fd, 10000) == 10000

    for how in (lambda fd: fallocate(fd, 0, 0, 20000), lambda fd: fallocate(fd, KEEP, 0, 90000),
                lambda fd: fallocate(fd, PUNCH | KEEP, 0, 4096),
                lambda fd: fallocate(fd, ZERO, 0, 4096), copy):
        path.write_bytes(b'x' * 10000)
        path.chmod(0o6777)
        users.do('kftest1', change, how)
        assert stat.S_IMODE(path.stat().st_mode) == 0o777


def test_a_limit_on_file_size(folder):
    path = folder / 'f'

    def limited(action):
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))
            fd = os.open(path, os.O_RDWR | os.O_CREAT)
            try:
                action(fd)
                os._exit(0)
            except OSError as e:
                os._exit(e.errno)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert limited(lambda fd: os.pwrite(fd, b'x', 99999)) == 0
    assert limited(lambda fd: os.pwrite(fd, b'x', 100000)) == errno.EFBIG
    assert limited(lambda fd: os.ftruncate(fd, 100001)) == errno.EFBIG
    assert limited(lambda fd: fallocate(fd, 0, 0, 100001)) == errno.EFBIG
    assert path.stat().st_size == 100000


# The largest file of ext4 with blocks of 4 KiB.
LARGEST = (1 << 44) - 4096


def test_lengths_up_to_what_the_backing_filesystem_can(fd):
    os.write(fd, b'kept')
    for length in (1 << 45, (1 << 63) - 1):
        assert failure(os.ftruncate, fd, length) == errno.EFBIG
        assert os.fstat(fd).st_size == 4
    assert failure(fallocate, fd, 0, 1 << 45, 1) == errno.EFBIG
    os.ftruncate(fd, 1 << 43)
    os.pwrite(fd, b'far', (1 << 43) + 10)
    os.fsync(fd)
    forget_caches()
    assert os.pread(fd, 10, (1 << 43) + 10) == b'far'
    os.ftruncate(fd, 4)
    assert contents(fd) == b'kept'


def test_a_write_behind_the_largest_file_changes_nothing(fd):
    os.write(fd, b'kept')
    os.fsync(fd)

    def write():
        os.pwrite(fd, b'x', 1 << 45)
        os.fsync(fd)

    assert failure(write) == errno.EFBIG
    os.ftruncate(fd, 4)
    assert contents(fd) == b'kept'
    os.pwrite(fd, b'more', 4)
    os.fsync(fd)
    forget_caches()
    assert contents(fd) == b'keptmore'


def test_a_write_behind_the_largest_file_is_refused_at_once(fd, here):
    written = outcome(os.pwrite, fd, b'x', 1 << 45)
    synced = outcome(os.fsync, fd)
    os.ftruncate(fd, 0)
    assert 'EFBIG' in (written, synced)
    assert ('pwrite' if written == 'EFBIG' else 'fsync') == here('pwrite')
