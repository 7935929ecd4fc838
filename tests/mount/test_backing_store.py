"""Is what fsync confirmed there after the daemon is killed, and is damage in the
backing store an error with a record, never wrong data?"""
import errno
import json
import os
import subprocess
import time

import pytest

from conftest import KEYFOLD
from likeext4 import forget_caches

needs_program = pytest.mark.skipif('KEYFOLD_TEST_MOUNT' in os.environ,
                                   reason='needs a store of its own')
pytestmark = needs_program


class Store:
    """A store whose daemon runs in the foreground, so that it can be killed."""

    def __init__(self, base):
        self.path, self.mnt = base / 'store', base / 'mnt'
        self.mnt.mkdir()
        secret = base / 'passphrase'
        secret.write_text('another passphrase\n')
        secret.chmod(0o600)
        self.root_key = ['--root-key', f'passphrase-file:{secret}']
        subprocess.run([KEYFOLD, 'init', self.path, *self.root_key], check=True,
                       stdout=subprocess.DEVNULL)
        self.start()

    def start(self):
        self.daemon = subprocess.Popen([KEYFOLD, 'mount', '-f', self.path, self.mnt,
                                        *self.root_key])
        deadline = time.monotonic() + 30
        while not os.path.ismount(self.mnt):
            assert time.monotonic() < deadline and self.daemon.poll() is None
            time.sleep(0.02)

    def kill(self):
        self.daemon.kill()
        self.daemon.wait()
        subprocess.run(['umount', '-l', self.mnt], check=True)

    def stop(self):
        # It waits for the daemon to be gone, so that has to be reaped meanwhile.
        unmount = subprocess.Popen([KEYFOLD, 'unmount', self.mnt])
        self.daemon.wait(timeout=30)
        assert unmount.wait(timeout=30) == 0

    def backing(self, name):
        """Where the file lies: the mount shows the backing inode's number."""
        wanted = (self.mnt / name).stat().st_ino
        for top, _, names in os.walk(self.path / 'tree'):
            for entry in names:
                path = os.path.join(top, entry)
                if os.lstat(path).st_ino == wanted:
                    return path
        raise AssertionError(name)

    def events(self):
        out = subprocess.run([KEYFOLD, 'audit', '--mount', self.mnt, '--output', 'json'],
                             check=True, stdout=subprocess.PIPE, text=True).stdout
        return [json.loads(line) for line in out.splitlines() if line.startswith('{')]

    def failures(self, name):
        return [e for e in self.events() if e['eventName'] == name and e.get('errorCode')]


@pytest.fixture
def store(scratch, request):
    base = scratch / request.node.name[:60]
    base.mkdir()
    store = Store(base)
    yield store
    if os.path.ismount(store.mnt):
        store.stop()


def error_of_reading(path):
    with pytest.raises(OSError) as info:
        path.read_bytes()
    return info.value.errno


def test_what_fsync_confirmed_survives_a_kill(store):
    confirmed = {}
    for round_ in range(4):
        unsynced = []
        for i in range(20):
            name = f'{round_}-{i}' + 'n' * (200 if i % 5 == 0 else 0)
            data = os.urandom(1 + i * 7919)
            f = open(store.mnt / name, 'wb')
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
            confirmed[name] = data
            unsynced.append(f)
        for f in unsynced:
            f.write(os.urandom(300_000))
        store.kill()
        for f in unsynced:
            try:
                f.close()
            except OSError:
                pass
        store.start()
        for name, data in confirmed.items():
            assert (store.mnt / name).read_bytes()[:len(data)] == data, name
        assert sorted(os.listdir(store.mnt)) == sorted(confirmed)


def test_a_zeroed_block_is_an_error_with_a_record(store):
    (store.mnt / 'f').write_bytes(os.urandom(300_000))
    (store.mnt / 'other').write_bytes(b'fine')
    forget_caches()
    with open(store.backing('f'), 'r+b') as raw:
        raw.seek(8192)
        raw.write(bytes(4096))
    assert error_of_reading(store.mnt / 'f') == errno.EIO
    assert store.failures('ReadFile')
    assert (store.mnt / 'other').read_bytes() == b'fine'


def test_swapped_files_are_an_error_with_a_record(store):
    for name in 'ab':
        (store.mnt / name).write_text(name)
    a, b = store.backing('a'), store.backing('b')
    forget_caches()
    os.rename(a, a + '.tmp')
    os.rename(b, a)
    os.rename(a + '.tmp', b)
    for name in 'ab':
        assert error_of_reading(store.mnt / name) == errno.EIO
    assert store.failures('OpenFile') or store.failures('LookupFile')


def test_a_folder_swapped_in_is_an_error_with_a_record(store):
    for name in 'ab':
        (store.mnt / name).mkdir()
        (store.mnt / name / 'f').write_text(name)
    store.stop()
    first, second = (entry.path for entry in os.scandir(store.path / 'tree'))
    os.rename(first, first + '.tmp')
    os.rename(second, first)
    os.rename(first + '.tmp', second)
    store.start()
    for name in 'ab':
        with pytest.raises(OSError) as info:
            os.stat(store.mnt / name)
        assert info.value.errno == errno.EIO
    assert len(store.failures('LookupFile')) >= 2


def test_a_file_cut_or_extended_while_unmounted(store):
    data = os.urandom(50_000)
    for name in ('cut', 'extended'):
        (store.mnt / name).write_bytes(data)
    cut, extended = store.backing('cut'), store.backing('extended')
    store.stop()
    os.truncate(cut, 4096 + 8192)
    os.truncate(extended, 200_000)
    store.start()
    assert error_of_reading(store.mnt / 'cut') == errno.EIO
    assert store.failures('OpenFile')
    # The mount believed the size in the store until the file was opened.
    assert (store.mnt / 'extended').stat().st_size > len(data)
    assert (store.mnt / 'extended').read_bytes() == data
    assert (store.mnt / 'extended').stat().st_size == len(data)


def test_an_altered_link_or_attribute_is_an_error_with_a_record(store):
    (store.mnt / 'l').symlink_to('target')
    backing = os.path.join(store.path / 'tree', os.listdir(store.path / 'tree')[0])
    (store.mnt / 'f').write_text('x')
    os.setxattr(store.mnt / 'f', 'user.note', b'value')
    forget_caches()
    os.unlink(backing)
    os.symlink('/etc/passwd', backing)
    with pytest.raises(OSError) as info:
        os.readlink(store.mnt / 'l')
    assert info.value.errno == errno.EIO and store.failures('ReadLink')
    raw = store.backing('f')
    name = next(n for n in os.listxattr(raw) if n.startswith('user.kf.'))
    os.setxattr(raw, name, os.urandom(40))
    with pytest.raises(OSError) as info:
        os.getxattr(store.mnt / 'f', 'user.note')
    assert info.value.errno == errno.EIO and store.failures('GetXattr')
