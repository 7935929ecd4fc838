"""What happens between folders of two keys? A name can't move from one to the other, as its
file would stay under the key it has; who wants that copies, and gets a file of the new key."""
import errno
import os
import subprocess

import pytest

from likeext4 import (RENAME_EXCHANGE, RENAME_NOREPLACE, failure, forget_caches, outcome,
                      renameat2)
from share import lone_share

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to read the backing store')


@pytest.fixture(scope='module')
def share():
    with lone_share('two-keys') as made:
        yield made


@pytest.fixture
def folders(share, request):
    """Two folders, each under a key of its own."""
    made = []
    for name in ('one', 'other'):
        key = share.kms(None, 'create-key', '--administrators', 'user:root', '--users',
                        'user:root')['KeyMetadata']['KeyId']
        made.append(share.mnt / f'{request.node.name}-{name}')
        made[-1].mkdir()
        share.run(None, 'folder', 'set-key', made[-1], key)
    return made


def key_of(path):
    return os.getxattr(path, 'user.keyfold.key-id').decode()


def listed(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*'))


def test_names_stay_where_their_key_is(folders):
    one, other = folders
    for folder in folders:
        (folder / 'file').write_text(folder.name)
        (folder / 'sub').mkdir()
        (folder / 'sub' / 'inner').write_text('inner')
        (folder / 'link').symlink_to('file')
        os.mkfifo(folder / 'fifo')
    before = listed(one)
    for name in ('file', 'sub', 'sub/inner', 'link', 'fifo'):
        assert failure(os.rename, one / name, other / 'new') == errno.EXDEV, name
        assert failure(renameat2, one / name, other / 'new', RENAME_NOREPLACE) == errno.EXDEV
        for way in (os.rename, lambda a, b: renameat2(a, b, RENAME_EXCHANGE)):
            assert failure(way, one / name, other / name) == errno.EXDEV, name
    assert failure(os.link, one / 'file', other / 'new') == errno.EXDEV
    assert failure(renameat2, one / 'file', other / 'sub', RENAME_EXCHANGE) == errno.EXDEV
    assert listed(one) == listed(other) == before
    forget_caches()
    for folder in folders:
        assert (folder / 'file').read_text() == folder.name
        assert (folder / 'sub' / 'inner').read_text() == 'inner'
    # A folder that has a key of its own moves with it, but not into another's.
    assert outcome(os.rename, one, one.with_name(one.name + '-moved')) == 'ok'
    assert failure(os.rename, other, one.with_name(one.name + '-moved') / 'sub' / 'x') == errno.EXDEV


def test_mv_copies_then(folders):
    one, other = folders
    data = os.urandom(300_000)
    (one / 'sub').mkdir()
    (one / 'sub' / 'inner').write_bytes(data)
    (one / 'sub' / 'inner').chmod(0o640)
    os.utime(one / 'sub' / 'inner', ns=(1_000_000_001, 2_000_000_002))
    (one / 'sub' / 'link').symlink_to('inner')
    old = key_of(one / 'sub' / 'inner')
    subprocess.run(['mv', one / 'sub', other / 'moved'], check=True)
    assert listed(one) == [] and listed(other) == ['moved', 'moved/inner', 'moved/link']
    forget_caches()
    moved = other / 'moved' / 'inner'
    assert moved.read_bytes() == data and os.readlink(other / 'moved' / 'link') == 'inner'
    assert (moved.stat().st_mode & 0o777, moved.stat().st_mtime_ns) == (0o640, 2_000_000_002)
    assert key_of(moved) == key_of(other / 'moved') == key_of(other) != old


def test_contents_are_copied_from_key_to_key(folders):
    one, other = folders
    data = os.urandom(3_000_000)
    (one / 'f').write_bytes(data)
    with open(one / 'f', 'rb') as source, open(other / 'f', 'w+b') as target:
        done = 0
        while done < len(data):
            copied = os.copy_file_range(source.fileno(), target.fileno(), len(data) - done,
                                        done, done + 777)
            assert copied > 0
            done += copied
        assert os.copy_file_range(source.fileno(), target.fileno(), 10, len(data), 0) == 0
        assert target.read() == bytes(777) + data
        os.fsync(target.fileno())
    forget_caches()
    assert (other / 'f').read_bytes() == bytes(777) + data
    assert (one / 'f').read_bytes() == data
    assert key_of(other / 'f') == key_of(other) != key_of(one)
