"""Do locks keep processes apart, and only as long as they should?"""
import errno
import fcntl
import os
import struct
import subprocess

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
