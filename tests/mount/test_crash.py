"""Does SIGKILL of the daemon lose anything that fsync returned for, or leave what nobody
wrote?

KEYFOLD_TEST_SEED repeats a run (the seed is printed), as far as moments can be repeated;
KEYFOLD_TEST_STEPS sets how often the daemon is killed under changes of all kinds."""
import os
import pathlib
import random
import subprocess
import threading
import time

import pytest

from crash_model import Folder
from share import as_user, new_share

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to act as several users')

STEPS = int(os.environ.get('KEYFOLD_TEST_STEPS', 14))
SEED = int(os.environ.get('KEYFOLD_TEST_SEED', time.time_ns() % 10**9))
CHANGER = (pathlib.Path(__file__).parent / 'crash_writer.py').read_text()
CHANGERS = ('kfcfo', 'kfaccounts', 'kfstranger')

# Writes files and blocks at random, and tells what fsync has confirmed.
WRITER = r'''
import os, random, sys
folder, seed = sys.argv[1], int(sys.argv[2])
rng = random.Random(seed)
n = 0
while True:
    n += 1
    name = f'{folder}/{seed}-{rng.randrange(20)}'
    size = rng.choice([1, 100, 4096, 5000, 131072, 200000])
    letter = chr(97 + n % 26)
    try:
        fd = os.open(name + '.new', os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
        os.write(fd, letter.encode() * size)
        os.fsync(fd)
        os.close(fd)
        os.rename(name + '.new', name)
        d = os.open(folder, os.O_RDONLY)
        os.fsync(d)
        os.close(d)
    except OSError:
        break
    print(name, letter, size, flush=True)
'''


@pytest.fixture
def share():
    with new_share('crash') as made:
        yield made


def test_killing_the_daemon_under_load(share):
    seed = random.randrange(1 << 30)
    print('seed', seed)
    rng = random.Random(seed)
    for user in ('kfcfo', 'kfaccounts'):
        share.python(user, 'import os, sys; os.mkdir(sys.argv[1])', share.mnt / user)
    for round_ in range(5):
        confirmed, writers = {}, []
        for user in ('kfcfo', 'kfaccounts'):
            process = subprocess.Popen(
                [*as_user(user), '/usr/bin/python3', '-c', WRITER, str(share.mnt / user),
                 str(seed + round_)], stdout=subprocess.PIPE, text=True, cwd='/')

            def collect(stream=process.stdout):
                for line in stream:
                    name, letter, size = line.split()
                    confirmed[name] = (letter, int(size))
            reader = threading.Thread(target=collect)
            reader.start()
            writers.append((process, reader))
        threading.Event().wait(rng.uniform(0.3, 1.2))
        try:
            share.kill()
        finally:
            for process, reader in writers:
                process.kill()
                process.wait()
                reader.join()
        share.mount()
        assert confirmed
        for name, (letter, size) in confirmed.items():
            owner = 'kfcfo' if '/kfcfo/' in name else 'kfaccounts'
            text = share.python(owner, 'import sys; d = open(sys.argv[1]).read();'
                                       'print(d[:1], len(d), len(set(d)))', name)
            first, length, kinds = text.split()
            # A rename that was not confirmed may have happened too.
            assert kinds == '1', name
            if (first, int(length)) != (letter, size):
                assert int(length) in (1, 100, 4096, 5000, 131072, 200000), name
    share.run('kfcfo', 'audit', 'verify')


def begin(user, *command):
    return subprocess.Popen([*as_user(user), *command], stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, cwd='/')


def contents(share, user, name):
    return subprocess.run([*as_user(user), 'cat', share.mnt / user / name], check=True,
                          stdout=subprocess.PIPE, cwd='/').stdout


def change_until_killed(share, rng, files):
    """Lets each user change the files of their folder, and kills the daemon meanwhile;
    returns what each folder may hold then."""
    folders, running = {}, []
    for user in CHANGERS:
        seed = rng.randrange(1 << 30)
        folder = folders[user] = Folder(seed, files[user])
        process = begin(user, '/usr/bin/python3', '-c', CHANGER, str(share.mnt / user), str(seed))

        def follow(stream=process.stdout, folder=folder):
            for line in stream:
                folder.line(line.decode().strip())
        reader = threading.Thread(target=follow)
        reader.start()
        running.append((process, reader))
    # What waits is stored after five seconds.
    time.sleep(rng.uniform(5, 7) if rng.randrange(5) == 0 else rng.uniform(0.3, 1.5))
    try:
        share.kill()
    finally:
        for process, reader in running:
            process.kill()
            process.wait()
            reader.join()
    assert all(folder.steps for folder in folders.values())
    return folders


def kill_while_opening(share, rng):
    """Opening the files again puts right what was cut off; that is cut off, too."""
    share.mount()
    readers = [begin(user, 'cat', share.mnt / user / name) for user in CHANGERS for name in 'abcd']
    time.sleep(rng.uniform(0, 0.1))
    share.kill()
    for reader in readers:
        reader.communicate()


def test_killing_the_daemon_leaves_each_block_old_or_new(share):
    print(f'KEYFOLD_TEST_SEED={SEED} KEYFOLD_TEST_STEPS={STEPS}')
    rng = random.Random(SEED)
    files = {}
    for user in CHANGERS:
        share.kms('kfcfo', 'create-key', '--alias', f'alias/{user}', '--administrators',
                  'user:kfcfo', '--users', *{'user:kfcfo', f'user:{user}'})
        share.python('kfcfo', 'import os, sys; os.mkdir(sys.argv[1]); os.chmod(sys.argv[1], 0o777)',
                     share.mnt / user)
        share.run('kfcfo', 'folder', 'set-key', share.mnt / user, f'alias/{user}')
        files[user] = {name: rng.randbytes(rng.randrange(500_000)) for name in 'abcd'}
        for name, text in files[user].items():
            subprocess.run([*as_user(user), 'tee', share.mnt / user / name], input=text,
                           check=True, stdout=subprocess.DEVNULL, cwd='/')
    os.sync()
    for count in range(STEPS):
        folders = change_until_killed(share, rng, files)
        if rng.randrange(3) == 0:
            kill_while_opening(share, rng)
        share.mount()
        for user, folder in folders.items():
            for name in 'abcd':
                text = files[user][name] = contents(share, user, name)
                wrong = folder.wrong(name, text)
                assert wrong is None, f'kill {count}: {user}/{wrong}'
            subprocess.run([*as_user(user), 'find', share.mnt / user, '-name', '*.new', '-delete'],
                           check=True, cwd='/')
    share.run('kfcfo', 'audit', 'verify')


def test_a_killed_kms_keeps_what_it_answered(share):
    keys = []
    for i in range(10):
        made = share.kms('kfcfo', 'create-key', '--alias', f'alias/k{i}', '--administrators',
                         'user:kfcfo', '--users', 'user:kfcfo')
        keys.append(made['KeyMetadata']['KeyId'])
    share.kms('kfcfo', 'disable-key', '--key-id', keys[3])
    share.kill()
    share.mount()
    for i, key in enumerate(keys):
        state = share.kms('kfcfo', 'describe-key', '--key-id', f'alias/k{i}')['KeyMetadata']
        assert state['KeyId'] == key
        assert state['KeyState'] == ('Disabled' if i == 3 else 'Enabled')
    share.run('kfcfo', 'audit', 'verify')
