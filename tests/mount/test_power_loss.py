"""When the power fails under the filesystem under the store, is what fsync returned for
there, and is all else old or new?

The store lies on an ext4 or xfs of its own, on a disk that records what it is given
(recorded_disk.py). From the record disks are made as a power failure could have left
them; the filesystem replays its journal, and the store is mounted.

KEYFOLD_TEST_SEED repeats a run as far as moments can be repeated; KEYFOLD_TEST_STEPS
sets how many such disks are tried."""
import os
import pathlib
import random
import subprocess
import time

import pytest

from crash_model import Folder
from recorded_disk import FILESYSTEMS, Replay, known_to_kernel, mount_disk, recorded_disk
from share import Share

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to mount a loop device')

STEPS = int(os.environ.get('KEYFOLD_TEST_STEPS', 25))
SEED = int(os.environ.get('KEYFOLD_TEST_SEED', time.time_ns() % 10**9))
WRITER = pathlib.Path(__file__).parent / 'crash_writer.py'
FOLDERS = ('one', 'two')


def write_and_sync(path, text):
    with open(path, 'wb') as f:
        f.write(text)
        f.flush()
        os.fsync(f.fileno())


def change(share, log, rng):
    """Changes the files of each folder for some seconds; returns for each the seed of its
    writer and (position in the log, line) of what it told."""
    seeds = {folder: rng.randrange(1 << 30) for folder in FOLDERS}
    told = {folder: share.folder / f'{folder}.told' for folder in FOLDERS}
    running = []
    for folder, seed in seeds.items():
        with open(told[folder], 'w') as out:
            running.append(subprocess.Popen(
                ['/usr/bin/python3', WRITER, share.mnt / folder, str(seed), log], stdout=out))
    time.sleep(8)  # what waits is stored after five seconds
    for process in running:
        process.terminate()
    for process in running:
        process.wait()
    lines = {folder: [line.split(' ', 1) for line in path.read_text().splitlines()]
             for folder, path in told.items()}
    return {folder: (seeds[folder], [(int(position), line) for position, line in lines[folder]])
            for folder in FOLDERS}


def folder_at(seed, files, lines, kept, reached):
    """What a folder may hold if all up to `kept` was flushed and nothing is there of what
    came after `reached`."""
    folder = Folder(seed, files, at_once=False)
    for position, line in lines:
        if line == 'ok':
            folder.line('ok' if position <= kept else 'not known')
        elif position <= reached:
            folder.line(line)
        else:
            break
    return folder


@pytest.mark.parametrize('filesystem', FILESYSTEMS)
def test_what_was_synced_is_there_after_a_power_failure(tmp_path, filesystem):
    if not known_to_kernel(filesystem):
        pytest.skip(f'this kernel cannot mount {filesystem}: it is not in /proc/filesystems')
    print(f'KEYFOLD_TEST_SEED={SEED} KEYFOLD_TEST_STEPS={STEPS}')
    rng = random.Random(SEED)
    with recorded_disk(tmp_path, filesystem) as (disk, log):
        share = Share(tmp_path, disk)
        files = {}
        try:
            for folder in FOLDERS:
                (share.mnt / folder).mkdir()
                files[folder] = {name: rng.randbytes(rng.randrange(500_000)) for name in 'abcd'}
                for name, text in files[folder].items():
                    write_and_sync(share.mnt / folder / name, text)
            start = os.stat(log).st_size
            told = change(share, log, rng)
            end = os.stat(log).st_size
        finally:
            share.unmount()
    replay = Replay(tmp_path / 'before', log)
    share.store = disk / 'store'
    for position in sorted(rng.randrange(start, end) for _ in range(STEPS)):
        replay.go_on(position)
        if replay.flushed < start:
            continue
        reached = replay.crashed(tmp_path / 'crashed', rng)
        mount_disk(filesystem, tmp_path / 'crashed', disk)
        try:
            share.mount()
            try:
                for name, (seed, lines) in told.items():
                    folder = folder_at(seed, files[name], lines, replay.flushed, reached)
                    for file in 'abcd':
                        wrong = folder.wrong(file, (share.mnt / name / file).read_bytes())
                        assert wrong is None, f'at {replay.flushed} to {reached}: {name}/{wrong}'
            finally:
                share.unmount()
        finally:
            subprocess.run(['umount', disk], check=True)
