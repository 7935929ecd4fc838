"""Does keyfold fsck name each kind of damage, and nothing else; does damage to one
object leave the rest readable; does --repair destroy nothing?

The corpus: one store made by a real mount, and a copy of it damaged for each kind."""
import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import stat
import subprocess
import sys
import termios
import time

import pytest

from likeext4 import forget_caches
from share import KEYFOLD, await_end_of, extents, lone_share, small_disk

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to own the files')

LONG = 'l' * 200
CONTENTS = {
    'small': b'a few words\n',
    'empty': b'',
    'big': b''.join(hashlib.sha256(bytes([i, j])).digest() for i in range(256) for j in range(128))
           + b'more ' * 2400,
    'dir/one': b'one ' * 3000,
    'dir/two': b'two ' * 3000,
    'dir/sub/three': b'three ' * 3000,
    'other/four': b'four ' * 3000,
    LONG: b'long ' * 1000,
    'first': b'linked ' * 1000,
    'second': b'linked ' * 1000,
    'sparse': bytes(3 << 20) + b'end',
}
SIZE = len(CONTENTS['big'])


class Corpus:
    """The whole store, and which backing object each path has."""

    def __init__(self, share):
        self.folder, self.key, mnt = share.folder, f'file:{share.folder}/root.key', share.mnt
        self.good = share.store
        for path, data in CONTENTS.items():
            (mnt / path).parent.mkdir(parents=True, exist_ok=True)
            if path == 'second':
                continue  # linked below
            if path == 'sparse':
                with open(mnt / path, 'wb') as f:
                    f.seek(3 << 20)
                    f.write(b'end')
            else:
                (mnt / path).write_bytes(data)
        os.symlink('small', mnt / 'link')
        os.mkfifo(mnt / 'fifo')
        os.setxattr(mnt / 'small', 'user.note', b'a note')
        self.backing = {'': pathlib.Path('tree')}
        inodes = {p.lstat().st_ino: p.relative_to(share.store)
                  for top, folders, files in os.walk(share.store / 'tree')
                  for p in (pathlib.Path(top) / name for name in folders + files)}
        for path in mnt.rglob('*'):
            self.backing[str(path.relative_to(mnt))] = inodes[path.lstat().st_ino]
        os.link(mnt / 'first', mnt / 'second')
        self.backing['second'], = (
            p.relative_to(share.store) for p in (share.store / 'tree').iterdir()
            if p.lstat().st_ino == (mnt / 'first').lstat().st_ino
            and p != share.store / self.backing['first'])
        share.unmount()

    def copy(self, place):
        store = place / 'store'
        subprocess.run(['cp', '-a', self.good, store], check=True)
        return Damaged(self, store, place / 'mnt')


def unmount(mnt):
    subprocess.run([KEYFOLD, 'unmount', mnt], check=True)


def kill(mnt):
    """Ends the daemon as a power cut ends it, but for the disk."""
    daemon = json.loads(subprocess.run([KEYFOLD, 'status', mnt, '--output', 'json'], check=True,
                                       stdout=subprocess.PIPE, text=True).stdout)[0]['Pid']
    os.kill(daemon, signal.SIGKILL)
    subprocess.run(['umount', '-l', mnt], check=True)
    await_end_of(daemon)


class Damaged:
    """A copy of the store, to be damaged."""

    def __init__(self, corpus, store, mnt):
        self.corpus, self.store, self.mnt = corpus, store, mnt
        self.mnt.mkdir()

    def __getitem__(self, path):
        return self.store / self.corpus.backing[path]

    def run(self, *args, **options):
        return subprocess.run([KEYFOLD, *map(str, args), '--root-key', self.corpus.key],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)

    def fsck(self, *args):
        """The exit code, the findings and the summary."""
        result = self.run('fsck', self.store, '--output', 'json', *args)
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        assert lines and 'summary' in lines[-1], result.stderr
        assert lines[-1]['summary']['exitCode'] == result.returncode
        return result.returncode, lines[:-1], lines[-1]['summary']

    @contextlib.contextmanager
    def mounted(self, end=unmount):
        """A mount, and how it ends."""
        result = self.run('mount', self.store, self.mnt)
        assert result.returncode == 0, result.stderr
        try:
            yield self.mnt
        finally:
            end(self.mnt)

    def audit(self, mnt):
        out = subprocess.run([KEYFOLD, 'audit', '--mount', mnt, '--output', 'json'], check=True,
                             stdout=subprocess.PIPE, text=True).stdout
        return [json.loads(line) for line in out.splitlines()]


@pytest.fixture(scope='module')
def corpus():
    with lone_share('fsck') as share:
        yield Corpus(share)


@pytest.fixture
def damaged(corpus):
    place = corpus.folder / f'case-{time.monotonic_ns()}'
    place.mkdir()
    yield corpus.copy(place)
    shutil.rmtree(place)


def put(path, offset, data):
    with open(path, 'r+b') as f:
        f.seek(offset)
        f.write(data)


def flip(path, *offsets):
    with open(path, 'r+b') as f:
        for offset in offsets:
            f.seek(offset)
            byte = f.read(1)[0]
            f.seek(offset)
            f.write(bytes([byte ^ 1]))


def both_slots(offset):
    return lambda d: flip(d['dir/one'], offset, 1024 + offset)


def swap(a, b):
    c = a.with_name('aside')
    os.rename(a, c)
    os.rename(b, a)
    os.rename(c, b)


def flip_xattr(path, name, at):
    value = bytearray(os.getxattr(path, name))
    value[at] ^= 1
    os.setxattr(path, name, bytes(value))


def instead(make):
    def change(d):
        d['dir/one'].unlink()
        make(d['dir/one'])
    return change


def alter_symlink(d):
    text = os.readlink(d['link'])
    d['link'].unlink()
    os.symlink(text[:-2] + ('AA' if text[-2:] != 'AA' else 'BA'), d['link'])


def user_xattr(path):
    return next(n for n in os.listxattr(path) if n.startswith('user.kf.'))


def flip_blocks(d):
    flip(d['big'], 4096 + 2 * 4096, 4096 + 5 * 4096, 4096 + 6 * 4096 + 9)


def flip_across_reads(d):
    # Blocks 255 and 256: the two sides of what is read at once. Group 4 holds 224 to 287.
    group = 135168 + 3 * 266240
    flip(d['big'], group + 4096 + 31 * 4096)
    flip(d['big'], group + 4096 + 32 * 4096)


# What each kind of damage is, and what is expected: findings (kind, path, begin, end);
# exit codes before, of and after --repair; the paths that cannot be read meanwhile.
KINDS = {
    'blocks': (flip_blocks, [('blocks', 'big', 8192, 12288), ('blocks', 'big', 20480, 28672)],
               (4, 4, 4), {'big'}),
    'blocks at the edge of a read': (flip_across_reads, [('blocks', 'big', 255 * 4096, 257 * 4096)],
                                     (4, 4, 4), {'big'}),
    'last block': (lambda d: flip(d['dir/one'], 4096 + 2 * 4096),
                   [('blocks', 'dir/one', 8192, 12000)], (4, 4, 4), {'dir/one'}),
    'entry zeroed': (lambda d: put(d['dir/one'], 2048 + 64, bytes(64)),
                     [('blocks', 'dir/one', 4096, 8192)], (4, 4, 4), {'dir/one'}),
    'hole posing': (lambda d: put(d['dir/one'], 2048 + 28, b'\1\0\0\x80'),
                    [('blocks', 'dir/one', 0, 4096)], (4, 4, 4), {'dir/one'}),
    'blocks under two names': (lambda d: flip(d['first'], 4096),
                               [('blocks', 'first', 0, 4096), ('blocks', 'second', 0, 4096)],
                               (4, 4, 4), {'first', 'second'}),
    'slot A zeroed': (lambda d: put(d['dir/one'], 0, bytes(1024)),
                      [('header-slot', 'dir/one')], (4, 1, 0), set()),
    'slot B altered': (lambda d: flip(d['dir/one'], 1024 + 443),
                       [('header-slot', 'dir/one')], (4, 1, 0), set()),
    'slot A names another key': (lambda d: put(d['dir/one'], 52, b'12345678'),
                                 [('header-slot', 'dir/one')], (4, 1, 0), {'dir/one'}),
    'slot A with another data key': (lambda d: flip(d['dir/one'], 90 + 60),
                                     [('header-slot', 'dir/one')], (4, 1, 0), set()),
    'both slots zeroed': (lambda d: put(d['dir/one'], 0, bytes(2048)),
                          [('header', 'dir/one')], (4, 1, 0), {'dir/one'}),
    'newer format': (both_slots(9), [('newer-format', 'dir/one')], (4, 4, 4), {'dir/one'}),
    'wrapped data key': (both_slots(90 + 60), [('wrapped-key', 'dir/one')],
                         (4, 1, 0), {'dir/one'}),
    'home folder': (both_slots(40), [('wrapped-key', 'dir/one')], (4, 1, 0), {'dir/one'}),
    'commitment': (both_slots(411), [('header', 'dir/one')], (4, 1, 0), {'dir/one'}),
    'length': (both_slots(443), [('header', 'dir/one')], (4, 1, 0), {'dir/one'}),
    'cut at a block': (lambda d: os.truncate(d['big'], 4096 + 3 * 4096),
                       [('cut-short', 'big', 12288, SIZE)], (4, 1, 0), {'big'}),
    'cut to nothing': (lambda d: os.truncate(d['big'], 0), [('header', 'big')],
                       (4, 1, 0), {'big'}),
    'extended': (lambda d: os.truncate(d['dir/one'], 1 << 20), [], (0, 0, 0), set()),
    'files swapped': (lambda d: swap(d['dir/one'], d['dir/two']),
                      [('moved', 'dir/one'), ('moved', 'dir/two')],
                      (4, 1, 0), {'dir/one', 'dir/two'}),
    'moved to another folder': (
        lambda d: os.rename(d['dir/one'], d['other'] / d['dir/one'].name),
        [('name', 'other/')], (4, 1, 0), {'dir/one'}),
    'copied with its attributes': (
        lambda d: subprocess.run(['cp', '--preserve=all', d['dir/two'], d['dir/one']], check=True),
        [('moved', 'dir/one')], (4, 1, 0), {'dir/one'}),
    'contents copied': (lambda d: shutil.copyfile(d['dir/two'], d['dir/one']),
                        [('moved', 'dir/one')], (4, 1, 0), {'dir/one'}),
    'names removed': (lambda d: os.removexattr(d['dir/one'], 'user.keyfold.names'),
                      [('names', 'dir/one')], (4, 1, 0), {'dir/one'}),
    'names cut': (lambda d: os.setxattr(d['dir/one'], 'user.keyfold.names', b'\1short'),
                  [('names', 'dir/one')], (4, 1, 0), {'dir/one'}),
    'spare binding': (lambda d: d['second'].unlink(), [('spare-binding', 'first')],
                      (0, 1, 0), {'second'}),
    'folder without descriptor': (lambda d: os.removexattr(d['dir'], 'user.keyfold.folder'),
                                  [('folder', 'dir')], (4, 1, 0), {'dir/'}),
    'folder altered': (lambda d: flip_xattr(d['dir'], 'user.keyfold.folder', 20),
                       [('folder', 'dir')], (4, 1, 0), {'dir/'}),
    'folders swapped': (lambda d: swap(d['dir'], d['other']),
                        [('moved', 'dir'), ('moved', 'other')], (4, 1, 0), {'dir/', 'other/'}),
    'folder moved': (lambda d: os.rename(d['dir/sub'], d['other'] / d['dir/sub'].name),
                     [('name', 'other/')], (4, 1, 0), {'dir/sub/'}),
    'symlink altered': (alter_symlink, [('symlink', 'link')], (4, 1, 0), {'link'}),
    'sidecar lost': (lambda d: d[LONG].with_name(d[LONG].name + '.name').unlink(),
                     [('long-name', '')], (4, 4, 4), set()),
    'sidecar altered': (lambda d: swap(d[LONG].with_name(d[LONG].name + '.name'), d['link']),
                        [('long-name', ''), ('symlink', 'link')], (4, 5, 4), {'link'}),
    'orphan sidecar': (lambda d: d[LONG].unlink(), [('orphan-sidecar', '')], (0, 1, 0), {LONG}),
    'half made': (lambda d: (d['dir'] / '.keyfold-new-1').mkdir(), [('half-made', 'dir/')],
                  (0, 1, 0), set()),
    'foreign': (lambda d: (d['dir'] / 'lost+found').mkdir(), [('foreign', 'dir/')],
                (4, 1, 0), set()),
    'foreign, not UTF-8': (lambda d: os.mkfifo(os.fsencode(d['dir']) + b'/\xff\x1b[m'),
                           [('foreign', 'dir/')], (4, 1, 0), set()),
    'attribute': (lambda d: flip_xattr(d['small'], user_xattr(d['small']), 20),
                  [('attribute', 'small')], (4, 4, 4), set()),
    'attribute of another': (
        lambda d: os.setxattr(d['dir/one'], user_xattr(d['small']), b'x' * 40),
        [('attribute', 'dir/one')], (4, 4, 4), set()),
    'fifo in its place': (instead(os.mkfifo), [], (0, 0, 0), {'dir/one'}),
    'device in its place': (
        instead(lambda p: os.mknod(p, 0o666 | 0o020000, os.makedev(1, 5))), [], (0, 0, 0),
        {'dir/one'}),
    'folder in its place': (instead(os.mkdir), [('folder', 'dir/one')], (4, 1, 0), {'dir/one'}),
    'symlink in its place': (instead(lambda p: os.symlink('/etc/passwd', p)),
                             [('symlink', 'dir/one')], (4, 1, 0), {'dir/one'}),
}


def brief(findings):
    """What is compared of findings; paths without the first slash."""
    return sorted((f['kind'], f['path'][1:], *(f[n] for n in ('begin', 'end') if n in f))
                  for f in findings)


def state_of(path):
    """All of an object that must not change: kind, contents, mode, owner, attributes."""
    st = path.lstat()
    here = [st.st_mode, st.st_uid, st.st_gid, st.st_mtime_ns]
    if path.is_symlink():
        return here + [os.readlink(path)]
    if path.is_dir():
        return here[:-1] + [{p.name: state_of(p) for p in path.iterdir()}, xattrs_of(path)]
    if path.is_file():
        return here + [path.read_bytes(), xattrs_of(path)]
    return here


def xattrs_of(path):
    return {n: os.getxattr(path, n) for n in os.listxattr(path)}


def read(path):
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(fd, 'rb') as f:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError('something else is there')
        return f.read()


def expect_the_rest(damaged, lost):
    """The store mounts, and all that is not damaged reads as it was."""
    def is_lost(path):
        return any(path == p or (p.endswith('/') and path.startswith(p)) for p in lost)
    with damaged.mounted() as mnt:
        for path, data in CONTENTS.items():
            if not is_lost(path):
                assert (mnt / path).read_bytes() == data, path
                continue
            with pytest.raises(OSError):
                read(mnt / path)
        if 'link' not in lost:
            assert os.readlink(mnt / 'link') == 'small'


def in_place(damaged, path):
    return damaged.store / path


def quarantined(store):
    """Manifest lines, each with the object it tells of."""
    for manifest in (store / 'quarantine').glob('*/manifest'):
        for line in manifest.read_text().splitlines():
            line = json.loads(line)
            yield line, store / line['object']


@pytest.mark.parametrize('kind', KINDS)
def test_a_kind_of_damage(damaged, kind):
    change, expected, (before, repairing, after), lost = KINDS[kind]
    change(damaged)
    code, findings, summary = damaged.fsck()
    assert brief(findings) == sorted(expected)
    assert code == before and summary['complete']
    assert all(f['repaired'] is False for f in findings)
    expect_the_rest(damaged, lost)

    objects = {f['backing']: state_of(in_place(damaged, f['backing'])) for f in findings
               if '�' not in f['backing']}
    code, findings, _ = damaged.fsck('--repair')
    assert brief(findings) == sorted(expected) and code == repairing
    moved = [f for f in findings if f['action'].startswith('moved to ')]
    assert len(list(quarantined(damaged.store))) == len(moved)
    for line, place in quarantined(damaged.store):
        assert not os.path.lexists(in_place(damaged, line['was']))
        name = pathlib.Path(line['was']).name
        if line['was'] in objects:
            assert state_of(place / name) == objects[line['was']]
        else:
            assert len(list(place.iterdir())) == 1

    code, findings, _ = damaged.fsck()
    assert code == after
    if after == 0:
        assert findings == []
    healed = {kind for kind, *_ in expected} == {'header-slot'}
    expect_the_rest(damaged, set() if healed else lost)


def test_a_whole_store(damaged):
    code, findings, summary = damaged.fsck('--jobs', '3')
    assert (code, findings) == (0, [])
    assert summary['files'] == len(CONTENTS) and summary['folders'] == 4
    assert summary['links'] == 1 and summary['nodes'] == 1 and summary['damaged'] == 0
    expect_the_rest(damaged, set())


def test_quick_leaves_contents_out(damaged):
    flip_blocks(damaged)
    assert damaged.fsck('--quick')[0] == 0
    put(damaged['dir/one'], 0, bytes(2048))
    code, findings, _ = damaged.fsck('--quick')
    assert code == 4 and brief(findings) == [('header', 'dir/one')]


def test_what_was_moved_aside_can_be_put_back(damaged):
    before = state_of(damaged.store / 'tree')
    swap(damaged['dir/one'], damaged['dir/two'])
    assert damaged.fsck('--repair')[0] == 1
    for line, place in list(quarantined(damaged.store)):
        for thing in place.iterdir():
            os.rename(thing, in_place(damaged, line['was']).with_name(thing.name))
    swap(damaged['dir/one'], damaged['dir/two'])
    assert state_of(damaged.store / 'tree') == before
    assert damaged.fsck()[:2] == (0, [])


def test_a_long_name_goes_with_its_sidecar(damaged):
    put(damaged[LONG], 0, bytes(2048))
    assert damaged.fsck('--repair')[0] == 1
    (line, place), = quarantined(damaged.store)
    assert sorted(p.name for p in place.iterdir()) == sorted(
        [damaged[LONG].name, damaged[LONG].name + '.name'])
    assert damaged.fsck()[:2] == (0, [])


def test_what_is_not_damaged_of_a_file_can_be_read(damaged):
    flip_blocks(damaged)
    with damaged.mounted() as mnt, open(mnt / 'big', 'rb', buffering=0) as f:
        for begin, end in ((0, 8192), (12288, 20480), (28672, SIZE)):
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            got = b''.join(os.pread(f.fileno(), 4096, at) for at in range(begin, end, 4096))
            assert got == CONTENTS['big'][begin:end]
        with pytest.raises(OSError):
            os.pread(f.fileno(), 4096, 8192)


def test_a_file_killed_while_it_was_written(damaged):
    with damaged.mounted(kill) as mnt:
        fd = os.open(mnt / 'dir/one', os.O_RDWR)
        for at in range(0, 12000, 100):
            os.pwrite(fd, b'new', at)
        os.fsync(fd)
        os.pwrite(fd, b'later' * 10000, 12000)
    with contextlib.suppress(OSError):
        os.close(fd)
    before = state_of(damaged['dir/one'])
    code, findings, _ = damaged.fsck()
    assert code == 0 and {f['gravity'] for f in findings} <= {'note'}
    assert state_of(damaged['dir/one']) == before  # looked at, not opened
    with damaged.mounted() as mnt:
        assert (mnt / 'dir/one').read_bytes()[:3] == b'new'


# What the disk may lose of what was not synced: how, and where the file ends then.
LOST = {
    'a block': (lambda path: flip(path, 4096 + 5 * 4096), 5 * 4096),
    'the end': (lambda path: os.truncate(path, 4096 + 4 * 4096), 4 * 4096),
}


@pytest.mark.parametrize('lost', LOST)
def test_an_end_that_was_never_synced(damaged, lost):
    lose, end = LOST[lost]
    with damaged.mounted(kill) as mnt, open(mnt / 'dir/one', 'r+b', buffering=0) as f:
        os.fsync(f.fileno())
        f.seek(12000)
        f.write(b'later' * 8000)
    assert damaged.fsck()[:2] == (0, [])
    lose(damaged['dir/one'])
    expected = [('unsynced-end', 'dir/one', end, 52000)]
    for options in ([], ['--repair']):
        code, findings, summary = damaged.fsck(*options)
        assert code == 0 and brief(findings) == expected
        assert {f['gravity'] for f in findings} == {'note'} and summary['notes'] == 1
    with damaged.mounted() as mnt:
        assert (mnt / 'dir/one').read_bytes() == (CONTENTS['dir/one'] + b'later' * 8000)[:end]
    assert damaged.fsck()[:2] == (0, [])


@pytest.mark.parametrize('lost', ['part', 'all'])
def test_what_the_disk_cannot_read(tmp_path, lost):
    """A disk that lost its end, and with it some of the file that lies last."""
    with small_disk(tmp_path, 64, reserved=0) as disk, lone_share('fsck', disk) as share:
        backing = {}
        for name in 'abcdef':
            (share.mnt / name).write_bytes(os.urandom(7 << 20))
            backing[name] = share.backing(share.mnt / name)
        share.unmount()
        os.sync()
        if lost == 'part':
            start, length = max(max(extents(path)) for path in backing.values())
            cut = start + length // 2
        else:
            cut = max(extents(path)[0][0] for path in backing.values())
        gone = {name for name, path in backing.items()
                if any(start + length > cut for start, length in extents(path))}
        headless = {name for name, path in backing.items() if extents(path)[0][0] >= cut}
        assert 0 < len(gone) < len(backing) and bool(headless) == (lost == 'all')
        with open(tmp_path / 'image', 'r+b') as image:
            image.truncate(cut)
        for options in ([], ['--repair']):
            forget_caches()
            code, findings = share.fsck(*options)
            assert code == 4 and {f['kind'] for f in findings} == {'unreadable'}, findings
            assert {f['path'] for f in findings} == {f'/{name}' for name in gone}
            assert all('Input/output error' in f['why'] for f in findings)
            # Of a file of which the header cannot be read nothing else can be told.
            assert {f['path'] for f in findings if 'begin' not in f} == \
                {f'/{name}' for name in headless}
            assert not (share.store / 'quarantine').exists()


def test_another_filesystem_in_the_tree(damaged):
    subprocess.run(['mount', '-t', 'tmpfs', 'none', damaged['other']], check=True)
    try:
        code, findings, _ = damaged.fsck('--repair')
    finally:
        subprocess.run(['umount', damaged['other']], check=True)
    assert code == 4 and brief(findings) == [('mounted-into', 'other')]
    assert damaged.fsck()[:2] == (0, [])


def test_the_root_folder(damaged):
    value = os.getxattr(damaged.store / 'tree', 'user.keyfold.folder')
    os.setxattr(damaged.store / 'tree', 'user.keyfold.folder', value[:-1] + b'?')
    code, findings, _ = damaged.fsck('--repair')
    assert code == 4 and brief(findings) == [('folder', '')]
    assert not (damaged.store / 'quarantine').exists()


def sql(store, text):
    subprocess.run(['sqlite3', store / 'keys.db', text], check=True)


def edit_log(change):
    def edit(store):
        log = store / 'audit' / 'audit.log'
        log.write_text(''.join(change(log.read_text().splitlines(keepends=True))))
    return edit


STORE_KINDS = {
    'a row of the key store': (
        lambda s: sql(s, "UPDATE keys SET body = replace(body, 'true', 'false')"),
        'key-store', 12),
    'a row removed': (lambda s: sql(s, 'DELETE FROM key_versions'), 'key-store', 12),
    'the key store overwritten': (lambda s: put(s / 'keys.db', 4096, b'?' * 4096), 'key-store', 12),
    'no key store': (lambda s: (s / 'keys.db').unlink(), 'key-store', 12),
    'a record changed': (
        edit_log(lambda lines: lines[:2] + [lines[2].replace('readOnly', 'readonly')] + lines[3:]),
        'audit-log', 4),
    'a record missing': (edit_log(lambda lines: lines[:2] + lines[3:]), 'audit-log', 4),
    'the end of the log cut off': (edit_log(lambda lines: lines[:-3]), 'audit-log', 12),
    'no log': (lambda s: (s / 'audit' / 'audit.log').unlink(), 'audit-log', 12),
    'no configuration': (lambda s: (s / 'keyfold.json').unlink(), 'configuration', 12),
    'configuration of garbage': (lambda s: (s / 'keyfold.json').write_text('{}'),
                                 'configuration', 12),
    'another metadata key': (
        lambda s: (s / 'keyfold.json').write_text(re.sub(
            r'("metadataKey": ".{80})(.)', lambda m: m[1] + ('A' if m[2] != 'A' else 'B'),
            (s / 'keyfold.json').read_text())), 'configuration', 12),
}


@pytest.mark.parametrize('kind', STORE_KINDS)
def test_damage_to_the_store_itself(damaged, kind):
    change, name, expected = STORE_KINDS[kind]
    change(damaged.store)
    code, findings, summary = damaged.fsck('--repair')
    assert [f['kind'] for f in findings] == [name], findings
    assert code == expected and summary['complete'] is (expected == 4)
    assert not (damaged.store / 'quarantine').exists()
    if expected == 4:
        expect_the_rest(damaged, set())


def test_the_check_is_on_record(damaged):
    flip_blocks(damaged)
    swap(damaged['dir/one'], damaged['dir/two'])
    damaged.fsck('--repair')
    with damaged.mounted() as mnt:
        records = [r for r in damaged.audit(mnt) if r['eventSource'] == 'store.keyfold']
        alerts = [r for r in damaged.audit(mnt) if r['eventName'] == 'IntegrityFailure']
    named = {}
    for record in records:
        named.setdefault(record['eventName'], []).append(record)
    assert named['CheckStore'][0]['requestParameters']['repair'] == 'true'
    assert named['CheckStore'][0]['userIdentity']['userName'] == 'root'
    assert len(named['CheckFilesOfKey']) == 1  # all files hang on one
    assert [r['requestParameters']['bytes'] for r in named['CheckFile']
            if r['resources'][0]['path'] == '/big'] == ['8192-12287', '20480-28671']
    assert {r['errorCode'] for r in named['CheckFile']} == {'IntegrityFailure'}
    assert {r['resources'][0]['path'] for r in named['RepairStore']} == {'/dir/one', '/dir/two'}
    assert named['EndCheckStore'][0]['requestParameters']['damaged'] == '2'
    assert len(alerts) >= 4


def test_files_whose_key_cannot_be_used(damaged):
    with damaged.mounted() as mnt:
        def kms(*args):
            return subprocess.run([KEYFOLD, 'kms', *args, '--mount', mnt], check=True,
                                  stdout=subprocess.PIPE, text=True).stdout
        kms('create-key', '--alias', 'alias/mine', '--administrators', 'user:root',
            '--users', 'user:root')
        subprocess.run([KEYFOLD, 'file', 'set-key', mnt / 'dir/one', 'alias/mine'],
                       check=True)
        kms('disable-key', '--key-id', 'alias/mine')
    flip(damaged['dir/one'], 4096)
    code, findings, summary = damaged.fsck('--repair')
    assert brief(findings) == [('key-unavailable', 'dir/one')]
    assert code == 0 and summary['notChecked'] == 1 and summary['damaged'] == 0
    with damaged.mounted() as mnt:
        subprocess.run([KEYFOLD, 'kms', 'enable-key', '--key-id', 'alias/mine', '--mount', mnt],
                       check=True)
    assert brief(damaged.fsck()[1]) == [('blocks', 'dir/one', 0, 4096)]


PLANTED = {f'planted-{i}' for i in range(200)}


def plant(damaged):
    """More findings than fit a pipe."""
    for name in PLANTED:
        (damaged.store / 'tree' / name).touch()


class HeldUp:
    """An fsck that cannot print any more until somebody reads on."""

    def __init__(self, damaged, *options):
        self.out, into = os.pipe()
        fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, 4096)
        self.process = subprocess.Popen(
            [KEYFOLD, 'fsck', damaged.store, '--output', 'json', '--root-key',
             damaged.corpus.key, *options], stdout=into, stderr=subprocess.PIPE)
        os.close(into)
        self.text = b''
        waiting = bytearray(4)
        for _ in range(300):
            fcntl.ioctl(self.out, termios.FIONREAD, waiting)
            if int.from_bytes(waiting, sys.byteorder) > 3000:
                break
            time.sleep(0.1)
        time.sleep(0.2)

    def read_some(self):
        self.text += os.read(self.out, 1000)

    def end(self, signal_number):
        """Its exit code, and the lines it printed; half a line counts for nothing."""
        self.process.send_signal(signal_number)
        time.sleep(1)
        with open(self.out, 'rb') as f:
            self.text += f.read()
        code = self.process.wait()
        self.process.stderr.close()
        whole = self.text[:self.text.rfind(b'\n') + 1].decode()
        return code, [json.loads(line) for line in whole.splitlines()]


def cut_off(damaged):
    """Runs fsck until it cannot print any more, and interrupts it there. Returns its
    findings."""
    code, lines = HeldUp(damaged).end(signal.SIGINT)
    assert code == 32 | 4 and not lines[-1]['summary']['complete']
    return lines[:-1]


def planted_in(findings):
    return {pathlib.Path(f['backing']).name for f in findings}


def test_going_on_where_it_was_cut_off(damaged):
    plant(damaged)
    first = cut_off(damaged)
    assert 0 < len(first) < len(PLANTED)
    state = (damaged.store / 'fsck.state').read_bytes()
    code, rest, summary = damaged.fsck('--resume')
    assert len(first + rest) == len(PLANTED) and planted_in(first + rest) == PLANTED  # each once
    assert code == 4 and summary['complete'] and summary['damaged'] == len(PLANTED)
    assert summary['files'] == len(CONTENTS) and summary['folders'] == 4
    # What is over is over, whoever puts the state back.
    (damaged.store / 'fsck.state').write_bytes(state)
    result = damaged.run('fsck', damaged.store, '--resume')
    assert result.returncode == 8 and 'Begin one without --resume' in result.stderr


def test_going_on_where_it_was_killed(damaged):
    plant(damaged)
    # Killed before it saved how far it was, it has to begin anew.
    HeldUp(damaged).end(signal.SIGKILL)
    result = damaged.run('fsck', damaged.store, '--resume')
    assert result.returncode == 8 and 'Begin one without --resume' in result.stderr
    # It saves that once a minute, which passes for a process that is stopped, too.
    running, state = HeldUp(damaged), damaged.store / 'fsck.state'
    running.process.send_signal(signal.SIGSTOP)
    time.sleep(61)
    running.process.send_signal(signal.SIGCONT)
    while not state.exists():
        running.read_some()
        time.sleep(0.3)
    code, first = running.end(signal.SIGKILL)
    assert code == -signal.SIGKILL and 0 < len(first) < len(PLANTED)
    # And killed again: the state of before goes on to count.
    saved = state.read_bytes()
    code, second = HeldUp(damaged, '--resume').end(signal.SIGKILL)
    assert code == -signal.SIGKILL and state.read_bytes() == saved
    code, rest, summary = damaged.fsck('--resume')
    assert code == 4 and summary['complete'] and len(rest) < len(PLANTED)
    assert planted_in(first + rest) == PLANTED and planted_in(second) <= planted_in(rest)
    assert summary['files'] == len(CONTENTS) and summary['folders'] == 4


def test_a_made_up_state_hides_nothing(damaged):
    plant(damaged)
    cut_off(damaged)
    path = damaged.store / 'fsck.state'
    state = json.loads(path.read_text())
    path.write_text(json.dumps(dict(state, through=['enp6'])))
    result = damaged.run('fsck', damaged.store, '--resume')
    assert result.returncode == 8 and 'Begin one without --resume' in result.stderr
    path.unlink()
    os.mkfifo(path)
    assert damaged.run('fsck', damaged.store, '--resume').returncode == 8
    assert damaged.fsck()[0] == 4


def test_a_mounted_store_is_left_alone(damaged):
    with damaged.mounted() as mnt:
        result = damaged.run('fsck', damaged.store, '--repair')
        assert result.returncode == 8 and 'unmount it first' in result.stderr
        assert (mnt / 'dir/one').read_bytes() == CONTENTS['dir/one']


def test_what_people_see(damaged):
    flip_blocks(damaged)
    os.mkfifo(os.fsencode(damaged['dir']) + b'/\xff\x1b[m')
    result = damaged.run('fsck', damaged.store, '--progress', errors='surrogateescape')
    assert '/big: bytes 8192 to 12287: these bytes do not authenticate [blocks]' in result.stdout
    assert 'Damage left: 3.' in result.stdout and '\x1b' not in result.stdout
    assert re.search(r'^\d+ files, .* of .*, .*/s, \d+:\d\d left$', result.stderr, re.M), \
        result.stderr


@pytest.mark.parametrize('words', [[], ['STORE', '--no-such-option'], ['STORE', '--jobs', '0']])
def test_wrong_words(words):
    result = subprocess.run([KEYFOLD, 'fsck', *words], stderr=subprocess.PIPE, text=True)
    assert result.returncode == 16 and result.stderr.startswith('keyfold: ')


def test_a_wrong_root_key_or_no_store(damaged, tmp_path):
    (tmp_path / 'key').write_bytes(os.urandom(32))
    os.chmod(tmp_path / 'key', 0o600)
    for words in ([damaged.store, '--root-key', f'file:{tmp_path}/key'], [tmp_path]):
        result = subprocess.run([KEYFOLD, 'fsck', *map(str, words)], stderr=subprocess.PIPE)
        assert result.returncode == 8
