"""When a quota on the store's filesystem is used up, is that told at the latest by fsync,
is nothing lost that was confirmed, does the log say what to do, and does the mount live on?

quota.c is the quota: it has the daemon's writes fail with EDQUOT."""
import os
import pathlib
import subprocess

import pytest

from likeext4 import fallocate, forget_caches, outcome
from share import SANITIZED, LoggedShare

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason='needs root to drop caches'),
    pytest.mark.skipif(SANITIZED, reason='a sanitizer must be the first library'),
]
BLOCK = 4096


class LimitedShare(LoggedShare):
    """Its daemon has a quota for contents while the file `used_up` is there."""

    @property
    def prefix(self):
        return ('env', f'LD_PRELOAD={self.shim}', f'QUOTA_FLAG={self.used_up}',
                f'QUOTA_OF={self.store}/tree')

    def __init__(self, folder):
        self.shim, self.used_up = folder / 'quota.so', folder / 'used up'
        source = pathlib.Path(__file__).with_name('quota.c')
        subprocess.run(['gcc', '-O1', '-Wall', '-Werror', '-shared', '-fPIC', '-o', self.shim,
                        source], check=True)
        super().__init__(folder)


@pytest.fixture
def share(tmp_path):
    made = LimitedShare(tmp_path)
    yield made
    made.end()


def synced(path, data, at=0, flags=os.O_CREAT):
    """Writes, syncs and closes; what fails first is told, and the file closed all the same."""
    fd = os.open(path, os.O_WRONLY | flags)
    try:
        os.pwrite(fd, data, at)
        os.fsync(fd)
    finally:
        outcome(os.close, fd)


def is_old_or_new(found, old, new):
    """Is each block of what was found either?"""
    return len(found) == len(old) and all(
        found[at:at + BLOCK] in (old[at:at + BLOCK], new[at:at + BLOCK])
        for at in range(0, len(old), BLOCK))


def test_a_used_up_quota_is_told_and_takes_nothing_that_was_confirmed(share):
    files = {share.mnt / name: os.urandom(3 << 20) for name in ('kept', 'overwritten', 'grown')}
    for path, data in files.items():
        synced(path, data)
    kept, overwritten, grown = files
    new = os.urandom(3 << 20)
    holder = os.open(overwritten, os.O_RDWR)
    share.used_up.touch()
    assert outcome(synced, share.mnt / 'new', new) == 'EDQUOT'
    assert outcome(synced, overwritten, new) == 'EDQUOT'
    assert outcome(synced, grown, new, 3 << 20) == 'EDQUOT'
    assert outcome(fallocate, holder, 0, 4 << 20, 1 << 20) == 'EDQUOT'
    outcome(os.close, holder)  # which may tell it again
    for _ in range(2):  # also once nothing is in the caches
        assert kept.read_bytes() == files[kept]
        assert is_old_or_new(overwritten.read_bytes(), files[overwritten], new)
        assert grown.read_bytes()[:3 << 20] == files[grown]
        forget_caches()
    log = share.log.read_text()
    assert log.count('A quota on the filesystem under the store is used up') == 1, log
    assert share.process.poll() is None
    # Once there is space, everything can be written again ...
    share.used_up.unlink()
    synced(overwritten, new)
    synced(grown, new, 3 << 20)
    synced(share.mnt / 'new', new)
    # ... and lasts.
    share.unmount()
    assert share.process.wait(20) == 0
    share.mount()
    assert [path.read_bytes() for path in (kept, overwritten, grown, share.mnt / 'new')] == \
        [files[kept], new, files[grown] + new, new]
    share.unmount()
    assert share.process.wait(20) == 0
    share.run(None, 'fsck', share.store)  # ends with 0 only if it finds no damage


def test_a_file_that_is_held_open_can_be_written_once_there_is_space(share):
    data = os.urandom(2 << 20)
    fd = os.open(share.mnt / 'f', os.O_RDWR | os.O_CREAT)
    os.pwrite(fd, data, 0)
    os.fsync(fd)
    share.used_up.touch()
    newer = os.urandom(2 << 20)

    def write():
        os.pwrite(fd, newer, 1 << 20)
        os.fsync(fd)

    assert outcome(write) == 'EDQUOT'
    share.used_up.unlink()
    write()
    os.close(fd)
    forget_caches()
    assert (share.mnt / 'f').read_bytes() == data[:1 << 20] + newer
