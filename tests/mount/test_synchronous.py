"""Is what was written on the backing store when the call returns that promises so?

The daemon is killed just after: what only the kernel's cache held is gone."""
import contextlib
import mmap
import os
import signal
import time

import pytest

from share import lone_share


@pytest.fixture
def share():
    with lone_share('sync') as made:
        yield made


def written_and_killed(share, flags, after=lambda fd: None):
    """What a file holds in which 'old' was overwritten and appended to by `flags`."""
    path = share.mnt / 'f'
    path.write_bytes(b'old' * 2000)
    fd = os.open(path, os.O_RDWR)
    os.fsync(fd)
    os.close(fd)
    daemon = share.daemon()
    fd = os.open(path, os.O_RDWR | flags)
    with mmap.mmap(-1, 8192) as buffer:
        buffer[:] = b'n' * 8192
        os.pwritev(fd, [buffer], 0)
    after(fd)
    # Before another process is started: closing what it inherits would write back.
    os.kill(daemon, signal.SIGKILL)
    with contextlib.suppress(OSError):
        os.close(fd)
    share.await_end(daemon)
    share.mount()
    return path.read_bytes()


OLD, NEW = b'old' * 2000, b'n' * 8192


def test_without_a_promise_the_cache_is_lost(share):
    assert written_and_killed(share, 0) == OLD


@pytest.mark.parametrize('flags', [os.O_SYNC, os.O_DSYNC, os.O_DIRECT, os.O_DIRECT | os.O_SYNC],
                         ids=['sync', 'dsync', 'direct', 'direct-sync'])
def test_synchronous_writes_are_written(share, flags):
    found = written_and_killed(share, flags)
    if flags == os.O_DIRECT:
        # It passes the kernel's cache by, and promises nothing of what the disk holds.
        assert found[:6000] in (OLD, NEW[:6000])
    else:
        assert found == NEW


@pytest.mark.parametrize('call', [os.fsync, os.fdatasync], ids=['fsync', 'fdatasync'])
def test_what_was_synced_is_written(share, call):
    assert written_and_killed(share, 0, call) == NEW


def test_sync_of_everything_writes_contents(share):
    # FUSE tells the daemon nothing of sync(2): it follows within 5 seconds.
    def sync_and_wait(fd):
        os.sync()
        time.sleep(7)
    assert written_and_killed(share, 0, sync_and_wait) == NEW


def test_msync_writes(share):
    def change(fd):
        with mmap.mmap(fd, 8192) as m:
            m[0:6] = b'mapped'
            m.flush()
    assert written_and_killed(share, 0, change) == b'mapped' + NEW[6:]
