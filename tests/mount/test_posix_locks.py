"""Do locks keep processes apart, and only as long as they should?"""
import errno
import fcntl
import os
import select
import struct
import subprocess

import pytest

from likeext4 import failure


def test_locks_between_processes(folder):
    (folder / 'f').touch()
    code = ('import fcntl,sys\nf=open(sys.argv[1],"r+")\n'
            'try: fcntl.lockf(f, fcntl.LOCK_EX|fcntl.LOCK_NB)\n'
            'except OSError: sys.exit(3)\n')
    import fcntl
    with open(folder / 'f', 'r+') as f:
        fcntl.lockf(f, fcntl.LOCK_EX)
        assert subprocess.run(['python3', '-c', code, folder / 'f']).returncode == 3
        fcntl.lockf(f, fcntl.LOCK_UN)
        assert subprocess.run(['python3', '-c', code, folder / 'f']).returncode == 0


def in_child(action):
    """The errno of action() in another process, 0 if it succeeds."""
    child = os.fork()
    if child == 0:
        try:
            action()
            os._exit(0)
        except OSError as e:
            os._exit(e.errno)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_whole_file_locks_belong_to_the_open_file(folder):
    path = folder / 'f'
    path.touch()
    first, second = os.open(path, os.O_RDWR), os.open(path, os.O_RDWR)
    fcntl.flock(first, fcntl.LOCK_EX)
    assert failure(fcntl.flock, second, fcntl.LOCK_SH | fcntl.LOCK_NB) == errno.EAGAIN
    assert in_child(lambda: fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)) == 0
    copy = os.dup(first)
    os.close(first)
    assert failure(fcntl.flock, second, fcntl.LOCK_SH | fcntl.LOCK_NB) == errno.EAGAIN
    os.close(copy)
    fcntl.flock(second, fcntl.LOCK_SH | fcntl.LOCK_NB)
    os.close(second)


def test_ranges_are_locked_each_for_itself(folder):
    path = folder / 'f'
    path.touch()
    fd = os.open(path, os.O_RDWR)
    fcntl.lockf(fd, fcntl.LOCK_EX, 10, 100)
    fcntl.lockf(fd, fcntl.LOCK_SH, 10, 200)

    def attempt(kind, size, start):
        other = os.open(path, os.O_RDWR)
        fcntl.lockf(other, kind | fcntl.LOCK_NB, size, start)

    assert in_child(lambda: attempt(fcntl.LOCK_SH, 1, 105)) == errno.EAGAIN
    assert in_child(lambda: attempt(fcntl.LOCK_EX, 10, 110)) == 0
    assert in_child(lambda: attempt(fcntl.LOCK_SH, 10, 200)) == 0
    assert in_child(lambda: attempt(fcntl.LOCK_EX, 1, 209)) == errno.EAGAIN
    # A process's locks on a file go when it closes any of its descriptors.
    os.close(os.open(path, os.O_RDWR))
    assert in_child(lambda: attempt(fcntl.LOCK_EX, 0, 0)) == 0
    os.close(fd)


F_OFD_SETLK = 37


def test_ranges_locked_by_the_open_file(folder):
    path = folder / 'f'
    path.touch()
    first, second = os.open(path, os.O_RDWR), os.open(path, os.O_RDWR)

    def lock(fd, kind):
        fcntl.fcntl(fd, F_OFD_SETLK, struct.pack('hhqqi4x', kind, os.SEEK_SET, 0, 10, 0))

    lock(first, fcntl.F_WRLCK)
    assert failure(lock, second, fcntl.F_WRLCK) == errno.EAGAIN
    os.close(os.open(path, os.O_RDWR))
    assert failure(lock, second, fcntl.F_RDLCK) == errno.EAGAIN
    os.close(first)
    lock(second, fcntl.F_WRLCK)
    os.close(second)


# What a child does, a word at a time: the parent writes 'lock N' (of byte N, waiting for
# it) or 'unlock N', and reads 'ok' or the errno once that ended.
LOCKER = r"""
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
for line in sys.stdin:
    word, byte = line.split()
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX if word == 'lock' else fcntl.LOCK_UN, 1, int(byte))
        print('ok', flush=True)
    except OSError as e:
        print(e.errno, flush=True)
"""


class Locker:
    """Another process that locks bytes of a file and waits for them."""

    def __init__(self, path):
        self.process = subprocess.Popen(['python3', '-c', LOCKER, path], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def ask(self, order):
        self.process.stdin.write(order + '\n')
        self.process.stdin.flush()

    def answer(self, within):
        """How the order ended, or None if it has not by then."""
        ready, _, _ = select.select([self.process.stdout], [], [], within)
        return self.process.stdout.readline().strip() if ready else None

    def end(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def lockers(folder):
    path = folder / 'f'
    path.touch()
    made = [Locker(path), Locker(path)]
    yield made
    for locker in made:
        locker.end()


WAITS, SOON = 0.3, 10


def test_who_waits_for_a_lock_gets_it_when_it_is_let_go(lockers):
    one, other = lockers
    one.ask('lock 0')
    assert one.answer(SOON) == 'ok'
    other.ask('lock 0')
    assert other.answer(WAITS) is None
    one.ask('unlock 0')
    assert one.answer(SOON) == 'ok' and other.answer(SOON) == 'ok'
    # Or when who has it ends.
    one.ask('lock 0')
    assert one.answer(WAITS) is None
    other.end()
    assert one.answer(SOON) == 'ok'


def test_who_would_wait_for_ever_is_told(lockers):
    one, other = lockers
    for locker, byte in ((one, 0), (other, 1)):
        locker.ask(f'lock {byte}')
        assert locker.answer(SOON) == 'ok'
    one.ask('lock 1')
    assert one.answer(WAITS) is None
    other.ask('lock 0')
    assert other.answer(SOON) == str(errno.EDEADLK)
    other.ask('unlock 1')
    assert other.answer(SOON) == 'ok' and one.answer(SOON) == 'ok'


def test_a_signal_ends_the_wait_for_a_lock(folder, lockers):
    """A program can put a limit to its wait."""
    one, _ = lockers
    one.ask('lock 0')
    assert one.answer(SOON) == 'ok'
    code = """
import fcntl, os, signal, sys
class Late(Exception): pass
def ring(*_): raise Late
signal.signal(signal.SIGALRM, ring)
fd = os.open(sys.argv[1], os.O_RDWR)
signal.setitimer(signal.ITIMER_REAL, 0.2)
try: fcntl.lockf(fd, fcntl.LOCK_EX, 1, 0)
except Late: sys.exit(5)
"""
    waited = subprocess.run(['python3', '-c', code, folder / 'f'], timeout=SOON, check=False)
    assert waited.returncode == 5
