"""When the power fails under the filesystem under the store, is what fsync returned for
there, and what the KMS answered, and is all else old or new?

The store lies on an ext4 or xfs of its own, on a disk that records what it is given
(recorded_disk.py). From the record disks are made as a power failure could have left
them; the filesystem replays its journal, and the store is checked and mounted.

KEYFOLD_TEST_SEED repeats a run as far as moments can be repeated; KEYFOLD_TEST_STEPS
sets how many such disks are tried. With KEYFOLD_TEST_EVERY=1 there is one for each moment
at which the disk was told to keep what it has: some hours."""
import contextlib
import json
import os
import pathlib
import random
import subprocess
import time

import pytest

import crash_kms
import crash_names
from crash_model import Folder
from recorded_disk import FILESYSTEMS, Replay, known_to_kernel, mount_disk, recorded_disk
from share import Share

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to mount a loop device')

STEPS = int(os.environ.get('KEYFOLD_TEST_STEPS', 25))
SEED = int(os.environ.get('KEYFOLD_TEST_SEED', time.time_ns() % 10**9))
EVERY = os.environ.get('KEYFOLD_TEST_EVERY') == '1'
HERE = pathlib.Path(__file__).parent
FOLDERS = ('one', 'two')
ROOT_USER = 'arn:aws:iam::000000000000:user/root'


@pytest.fixture(params=FILESYSTEMS)
def filesystem(request):
    if not known_to_kernel(request.param):
        pytest.skip(f'this kernel cannot mount {request.param}: it is not in /proc/filesystems')
    print(f'KEYFOLD_TEST_SEED={SEED} KEYFOLD_TEST_STEPS={STEPS}')
    return request.param


def write_and_sync(path, text):
    with open(path, 'wb') as f:
        f.write(text)
        f.flush()
        os.fsync(f.fileno())


class Writer:
    """A process that changes something, and what it told: (position in the log, line)."""

    def __init__(self, share, log, script, *words):
        self.told = share.folder / f'{pathlib.Path(str(words[0])).name}-{script}.told'
        with open(self.told, 'w') as out:
            self.process = subprocess.Popen(
                ['/usr/bin/python3', HERE / script, *map(str, words), log], stdout=out)

    def end(self):
        self.process.terminate()
        self.process.wait()
        lines = [line.split(' ', 1) for line in self.told.read_text().splitlines()]
        self.lines = [(int(position), line) for position, line in lines]
        assert len(lines) > 20 and 'failed' not in lines[-1][1], lines[-1:]

    def followed_by(self, model, kept, reached):
        """The model, if all up to `kept` was flushed and nothing is there of what came
        after `reached`."""
        for position, line in self.lines:
            if line == 'ok':
                model.line('ok' if position <= kept else 'not known')
            elif position <= reached:
                model.line(line)
            else:
                break
        return model


class Work:
    """Changes files, names and keys for some seconds."""

    def __init__(self, share, rng):
        self.share, self.rng, self.files = share, rng, {}
        self.run = f'run{rng.randrange(10**6)}'
        for folder in FOLDERS:
            (share.mnt / folder).mkdir()
            self.files[folder] = {name: rng.randbytes(rng.randrange(500_000)) for name in 'abcd'}
            for name, text in self.files[folder].items():
                write_and_sync(share.mnt / folder / name, text)
        (share.mnt / 'names').mkdir()
        os.sync()

    def go_on(self, log):
        mnt = self.share.mnt
        self.seeds = {folder: self.rng.randrange(1 << 30) for folder in FOLDERS}
        self.folders = {folder: Writer(self.share, log, 'crash_writer.py', mnt / folder, seed)
                        for folder, seed in self.seeds.items()}
        self.names = Writer(self.share, log, 'crash_names.py', 'change', mnt / 'names',
                            self.rng.randrange(1 << 30))
        self.keys = Writer(self.share, log, 'crash_kms.py', 'change', self.share.socket(),
                           self.run, ROOT_USER)
        time.sleep(8)  # what waits is stored after five seconds
        for writer in (*self.folders.values(), self.names, self.keys):
            writer.end()

    def check(self, kept, reached):
        where = f'at {kept} to {reached}'
        for folder, writer in self.folders.items():
            model = writer.followed_by(Folder(self.seeds[folder], self.files[folder],
                                              at_once=False), kept, reached)
            for file in 'abcd':
                wrong = model.wrong(file, (self.share.mnt / folder / file).read_bytes())
                assert wrong is None, f'{where}: {folder}/{wrong}'
        wrong = self.names_at(kept, reached).wrong(crash_names.show(self.share.mnt / 'names'))
        assert wrong is None, f'{where}: names: {wrong}'
        keys = self.keys.followed_by(crash_kms.Keys(), kept, reached)
        wrong = keys.wrong(crash_kms.show(self.share.socket(), self.run))
        assert wrong is None, f'{where}: keys: {wrong}'
        self.share.run(None, 'audit', 'verify')

    def names_at(self, kept, reached):
        return self.names.followed_by(crash_names.Names(at_once=False), kept, reached)

    def is_clean(self, kept, reached):
        """Nothing is damaged but what was never synced."""
        lost = {f'/names/{path}' for path in self.names_at(kept, reached).never_synced()}
        damage = [f for f in self.share.fsck()[1] if f['gravity'] == 'damage' and
                  not (f['kind'] == 'header' and (f['path'] in lost or f['path'].endswith('.new')))]
        assert damage == [], f'at {kept} to {reached}'


def moments(replay, rng, start, end, steps):
    """Where in the log the power fails: half of them by what is written, and half by
    how often the disk is told to keep it."""
    flushes = replay.flushes(start, end)
    if EVERY:
        return flushes
    return sorted([*(rng.randrange(start, end) for _ in range(steps - steps // 2)),
                   *rng.choices(flushes, k=steps // 2)])


@contextlib.contextmanager
def crashed_disk(replay, rng, filesystem, disk):
    """A disk of that moment, mounted. Yields up to where the log may be in it."""
    image = disk.parent / 'crashed'
    # A loop device of the former one may linger, and must not be found for this one.
    image.unlink(missing_ok=True)
    reached = replay.crashed(image, rng)
    mount_disk(filesystem, image, disk)
    try:
        yield reached
    finally:
        subprocess.run(['umount', disk], check=True)


@contextlib.contextmanager
def mounted(share):
    share.mount()
    try:
        yield
    finally:
        share.unmount()


def test_what_was_synced_is_there_after_a_power_failure(tmp_path, filesystem):
    rng = random.Random(SEED)
    with recorded_disk(tmp_path, filesystem) as (disk, log):
        share = Share(tmp_path, disk)
        try:
            work = Work(share, rng)
            start = os.stat(log).st_size
            work.go_on(log)
            end = os.stat(log).st_size
        finally:
            share.unmount()
    replay = Replay(tmp_path / 'before', log)
    for position in moments(replay, rng, start, end, STEPS):
        replay.go_on(position)
        if replay.flushed < start:
            continue
        with crashed_disk(replay, rng, filesystem, disk) as reached:
            # A mount and a check each find the store as the power left it.
            first_checked = rng.randrange(2)
            if first_checked:
                work.is_clean(replay.flushed, reached)
            with mounted(share):
                work.check(replay.flushed, reached)
            if not first_checked:
                work.is_clean(replay.flushed, reached)


REKEYED = {'one': 3 << 20, 'two': 100_000, 'three': 2 << 20, 'four': 1 << 20}


def rekey(share, *options):
    """The command; what it notes lies on the disk of the store, so that it too is of the
    moment at which the power fails."""
    return subprocess.Popen([share.keyfold, 'rekey', share.mnt / 'files', '--reencrypt', *options],
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                            env=dict(share.environment(),
                                     XDG_STATE_HOME=str(share.store.parent / 'state')))


def data_keys(share):
    shown = {name: json.loads(share.run(None, 'file', 'show', share.mnt / 'files' / name,
                                        '--output', 'json')) for name in REKEYED}
    return {name: (file['DataKeyId'], file['Reencrypting']) for name, file in shown.items()}


def test_files_that_get_new_data_keys_outlive_a_power_failure(tmp_path, filesystem):
    rng = random.Random(SEED)
    files = {name: rng.randbytes(size) for name, size in REKEYED.items()}
    with recorded_disk(tmp_path, filesystem) as (disk, log):
        share = Share(tmp_path, disk)
        try:
            (disk / 'state').mkdir()
            (share.mnt / 'files').mkdir()
            for name, text in files.items():
                write_and_sync(share.mnt / 'files' / name, text)
            before = data_keys(share)
            start = os.stat(log).st_size
            running = rekey(share, '--rate-limit', '2M')
            assert running.communicate(timeout=60) and running.returncode == 0
            end = os.stat(log).st_size
            assert all(data_keys(share)[name][0] != before[name][0] for name in files)
        finally:
            share.unmount()
    replay, found = Replay(tmp_path / 'before', log), set()
    for position in moments(replay, rng, start, end, STEPS // 2):
        replay.go_on(position)
        if replay.flushed < start:
            continue
        with crashed_disk(replay, rng, filesystem, disk):
            share.is_clean()
            with mounted(share):
                for name, text in files.items():
                    assert (share.mnt / 'files' / name).read_bytes() == text, name
                keys = data_keys(share)
                found |= {(keys[name][0] != before[name][0], keys[name][1]) for name in files}
                # The same command does what is left.
                running = rekey(share)
                said = running.communicate(timeout=60)[1]
                assert running.returncode == 0, said
                for name, (key, unfinished) in data_keys(share).items():
                    assert key != before[name][0] and not unfinished, name
                    assert (share.mnt / 'files' / name).read_bytes() == files[name], name
            share.is_clean()
    # Some were not begun, some half done, some done.
    assert len(found) == 3, found
