"""What the mount does that no local filesystem does, or does in a way of its own."""
import contextlib
import errno
import os
import pathlib
import re

import pytest

from documents import sections
from likeext4 import DIFFERENCES, failure, forget_caches
from share import Share, lone_share, small_disk

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to mount a loop device')


def test_extended_attributes(mount_folder):
    for path in (mount_folder / 'f', mount_folder / 'd'):
        path.mkdir() if path.name == 'd' else path.write_text('x')
        assert os.listxattr(path) == []
        os.setxattr(path, 'user.a', b'1')
        os.setxattr(path, 'user.' + 'n' * 169, bytes(range(256)))
        assert sorted(os.listxattr(path)) == ['user.a', 'user.' + 'n' * 169]
        assert os.getxattr(path, 'user.' + 'n' * 169) == bytes(range(256))
        assert failure(os.setxattr, path, 'user.a', b'2', os.XATTR_CREATE) == errno.EEXIST
        os.setxattr(path, 'user.a', b'', os.XATTR_REPLACE)
        assert os.getxattr(path, 'user.a') == b''
        os.removexattr(path, 'user.a')
        assert failure(os.getxattr, path, 'user.a') == errno.ENODATA
        assert failure(os.removexattr, path, 'user.a') == errno.ENODATA
        assert failure(os.setxattr, path, 'user.b', b'', os.XATTR_REPLACE) == errno.ENODATA
        assert failure(os.setxattr, path, 'user.' + 'n' * 170, b'') == errno.ERANGE
        assert failure(os.setxattr, path, 'user.keyfold.names', b'x') == errno.EPERM
        assert failure(os.getxattr, path, 'user.keyfold.names') == errno.ENODATA
    os.rename(mount_folder / 'f', mount_folder / 'g')
    assert os.listxattr(mount_folder / 'g') == ['user.' + 'n' * 169]


def numbers(folder):
    """The inode number of all there is in a folder, by path, as told by two system calls."""
    found = {}
    for where, folders, files in os.walk(folder):
        with os.scandir(where) as entries:
            listed = {entry.name: entry.inode() for entry in entries}
        for name in folders + files:
            path = os.path.join(where, name)
            found[os.path.relpath(path, folder)] = os.lstat(path).st_ino
            assert listed[name] == os.lstat(path).st_ino
    return found


@needs_root
def test_inode_numbers_outlive_the_mount():
    """Backup programs take a file of another number for another file."""
    with lone_share('numbers') as share:
        (share.mnt / 'd' / 'e').mkdir(parents=True)
        for name in ('f', 'd/g', 'd/e/h'):
            (share.mnt / name).write_text(name)
        os.link(share.mnt / 'f', share.mnt / 'd/another')
        (share.mnt / 'd' / 'l').symlink_to('g')
        os.mkfifo(share.mnt / 'p')
        root, before = share.mnt.stat().st_ino, numbers(share.mnt)
        assert before['f'] == before['d/another'] and len(set(before.values())) == 7
        share.unmount()
        share.mount()
        assert numbers(share.mnt) == before and share.mnt.stat().st_ino == root
        (share.mnt / 'new').touch()
        os.rename(share.mnt / 'f', share.mnt / 'd/e/f')
        assert (share.mnt / 'new').stat().st_ino not in before.values()
        assert (share.mnt / 'd/e/f').stat().st_ino == before['f']


@pytest.fixture
def on_a_disk(tmp_path):
    """on_a_disk(...) is a Share whose store lies on a disk of its own, made as small_disk
    says."""
    def make(*args, **options):
        made = Share(tmp_path, left.enter_context(small_disk(tmp_path, *args, **options)))
        left.callback(lambda: os.path.ismount(made.mnt) and made.unmount())
        return made

    with contextlib.ExitStack() as left:
        yield make


@needs_root
def test_the_space_there_is_is_the_backing_filesystems(on_a_disk):
    share = on_a_disk(64, reserved=5)
    figures = ('f_bsize', 'f_frsize', 'f_blocks', 'f_bfree', 'f_bavail', 'f_files', 'f_ffree',
               'f_favail')

    def told(path):
        os.sync()
        return {name: getattr(os.statvfs(path), name) for name in figures}

    empty = told(share.mnt)
    assert empty == told(share.store)
    assert 0 < empty['f_bavail'] < empty['f_bfree'] < empty['f_blocks']
    assert os.statvfs(share.mnt).f_namemax == 255
    data = os.urandom(8 << 20)
    (share.mnt / 'f').write_bytes(data)
    for i in range(100):
        (share.mnt / f'small{i}').touch()
    full = told(share.mnt)
    assert full == told(share.store)
    assert empty['f_ffree'] - full['f_ffree'] == 101
    taken = (empty['f_bavail'] - full['f_bavail']) * full['f_frsize']
    assert 8 << 20 < taken < 10 << 20
    (share.mnt / 'f').unlink()
    assert told(share.mnt)['f_bavail'] - full['f_bavail'] >= (8 << 20) // full['f_frsize']


@needs_root
def test_a_file_of_more_than_16_tib(on_a_disk):
    """Where the store lies on xfs, whose files may be that long, and has little room."""
    share = on_a_disk(400, make=['mkfs.xfs', '-q'])
    path, places = share.mnt / 'f', [0, (1 << 44) - 2000, 1 << 45, (1 << 52) + 12345]
    pieces = {at: os.urandom(5000) for at in places}

    def check():
        forget_caches()
        with open(path, 'rb', 0) as f:
            assert os.fstat(f.fileno()).st_size == places[-1] + 5000
            for at, piece in pieces.items():
                assert os.pread(f.fileno(), 5000, at) == piece
                assert os.pread(f.fileno(), 5000, at + 100_000_000) in (b'', bytes(5000))
                assert os.lseek(f.fileno(), at, os.SEEK_DATA) == at
            assert os.lseek(f.fileno(), (1 << 44) + 10_000_000, os.SEEK_DATA) \
                == places[2] // 4096 * 4096
        assert path.stat().st_blocks * 512 < 64 << 20

    with open(path, 'w+b', 0) as f:
        for at, piece in pieces.items():
            os.pwrite(f.fileno(), piece, at)
            os.fsync(f.fileno())
    check()
    share.unmount()
    share.mount()
    check()
    os.truncate(path, (1 << 44) + 100)
    assert path.stat().st_size == (1 << 44) + 100
    with open(path, 'rb', 0) as f:
        assert os.pread(f.fileno(), 5000, places[1]) == pieces[places[1]][:2100]
        assert os.pread(f.fileno(), 5000, 0) == pieces[0]


def test_the_mount_gives_no_privilege(mounted):
    options = [line.split()[5].split(',') for line in open('/proc/self/mountinfo')
               if line.split()[4] == str(mounted)]
    if options:
        assert {'nosuid', 'nodev'} <= set(options[0])


def test_the_list_of_differences_is_whole():
    """Each is found by a test, and explained to users; nothing else is."""
    tests = ''.join(path.read_text() for path in pathlib.Path(__file__).parent.glob('test_posix_*.py'))
    assert set(re.findall(r'^def (test_\w+)\(.*\bhere\b.*\):', tests, re.MULTILINE)) == set(DIFFERENCES)
    explained = [row for section in sections('what-differs.md') for row in section.table()]
    assert sorted(explained) == sorted(difference.said for difference in DIFFERENCES.values())
