"""Changes files of a folder at random until that fails, and tells of each step in a line
before it is taken and with "ok" once it has returned. crash_model.py knows what the
lines mean.

Given a file that grows, it begins each line with the file's size, and syncs what it
renames, and the folder."""
import ctypes
import os
import random
import sys

folder, seed = sys.argv[1], int(sys.argv[2])
watched = sys.argv[3] if len(sys.argv) > 3 else None
rng = random.Random(seed)
libc = ctypes.CDLL(None, use_errno=True)
KEEP_AND_PUNCH = 3
PAGE, LONGEST = 4096, 700_000
held = {}  # descriptors of files that stay open


def tell(*words):
    if watched:
        words = (os.stat(watched).st_size, *words)
    print(*words, flush=True)


def data(number, size):
    return random.Random(f'{seed}:{number}').randbytes(size)


def size():
    return rng.choice((1, 100, PAGE, 5000, 3 * PAGE, 60_000, rng.randrange(1, 200_000)))


def place(limit):
    """Within the file, at the beginning of a block more often than not."""
    at = rng.randrange(limit + 1)
    return at if rng.randrange(3) == 0 else at // PAGE * PAGE


def write(name, fd, length, number):
    at, count = place(length), size()
    tell('write', name, number, at, count)
    os.pwrite(fd, data(number, count), at)


def append(name, fd, length, number):
    if length > LONGEST:
        return cut(name, fd, length, number)
    count = size()
    tell('write', name, number, length, count)
    os.pwrite(fd, data(number, count), length)


def cut(name, fd, length, number):
    to = place(length)
    tell('truncate', name, to)
    os.ftruncate(fd, to)


def grow(name, fd, length, number):
    if length > LONGEST:
        return cut(name, fd, length, number)
    to = length + size()
    tell('truncate', name, to)
    os.ftruncate(fd, to)


def punch(name, fd, length, number):
    at, count = place(length), size()
    tell('punch', name, at, count)
    if libc.fallocate(fd, KEEP_AND_PUNCH, ctypes.c_long(at), ctypes.c_long(count)) != 0:
        raise OSError(ctypes.get_errno(), 'fallocate')


def sync(name, fd, length, number):
    tell('sync', name)
    os.fsync(fd) if rng.randrange(2) else os.fdatasync(fd)


def replace(name, fd, length, number):
    """A new file takes the old one's name."""
    os.close(held.pop(name))
    new, count = name + '.new', size()
    tell('make', new)
    fd = os.open(f'{folder}/{new}', os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    tell('ok')
    tell('write', new, number, 0, count)
    os.pwrite(fd, data(number, count), 0)
    tell('ok')
    if watched or rng.randrange(2):
        sync(new, fd, count, number)
        tell('ok')
    os.close(fd)
    tell('rename', new, name)
    os.rename(f'{folder}/{new}', f'{folder}/{name}')
    if watched:
        tell('ok')
        tell('keep', folder)
        fd = os.open(folder, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)


def step(number):
    name = rng.choice('abcd')
    if name not in held:
        held[name] = os.open(f'{folder}/{name}', os.O_RDWR)
    fd = held[name]
    kind = rng.choices((write, append, cut, grow, punch, sync, replace),
                       (12, 6, 3, 2, 4, 4, 1))[0]
    kind(name, fd, os.fstat(fd).st_size, number)
    tell('ok')
    if name in held and rng.randrange(8) == 0:
        os.close(held.pop(name))


number = 0
try:
    while True:
        step(number)
        number += 1
except OSError:
    pass
