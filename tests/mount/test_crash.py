"""Does SIGKILL of the daemon lose anything that fsync returned for, or leave what nobody
wrote?

KEYFOLD_TEST_SEED repeats a run (the seed is printed), as far as moments can be repeated;
KEYFOLD_TEST_STEPS sets how often the daemon is killed under changes of all kinds."""
import os
import random
import subprocess
import threading
import time

import pytest

from crash_load import FILES, USERS, Load
from share import as_user, new_share

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to act as several users')

STEPS = int(os.environ.get('KEYFOLD_TEST_STEPS', 14))
SEED = int(os.environ.get('KEYFOLD_TEST_SEED', time.time_ns() % 10**9))

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
    print(f'KEYFOLD_TEST_SEED={SEED}')
    rng = random.Random(SEED)
    for user in ('kfcfo', 'kfaccounts'):
        share.python(user, 'import os, sys; os.mkdir(sys.argv[1])', share.mnt / user)
    for round_ in range(5):
        confirmed, writers = {}, []
        for user in ('kfcfo', 'kfaccounts'):
            process = subprocess.Popen(
                [*as_user(user), '/usr/bin/python3', '-c', WRITER, str(share.mnt / user),
                 str(SEED + round_)], stdout=subprocess.PIPE, text=True, cwd='/')

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
        share.is_clean()
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


def kill_while_opening(share, rng):
    """Opening the files again puts right what was cut off; that is cut off, too."""
    share.mount()
    readers = [subprocess.Popen([*as_user(user), 'cat', share.mnt / user / name], cwd='/',
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
               for user in USERS for name in FILES]
    time.sleep(rng.uniform(0, 0.1))
    share.kill()
    for reader in readers:
        reader.communicate()


def test_killing_the_daemon_leaves_all_old_or_new(share):
    print(f'KEYFOLD_TEST_SEED={SEED} KEYFOLD_TEST_STEPS={STEPS}')
    rng, load = random.Random(SEED), Load(share, SEED)
    for _ in range(STEPS):
        load.during(share.kill)
        share.is_clean()
        if rng.randrange(3) == 0:
            kill_while_opening(share, rng)
            share.is_clean()
        share.mount()
        load.check()


def test_a_killed_kms_keeps_what_it_answered(share):
    keys = []
    for i in range(10):
        made = share.kms('kfcfo', 'create-key', '--alias', f'alias/k{i}', '--administrators',
                         'user:kfcfo', '--users', 'user:kfcfo')
        keys.append(made['KeyMetadata']['KeyId'])
    share.kms('kfcfo', 'disable-key', '--key-id', keys[3])
    share.kill()
    share.is_clean()
    share.mount()
    for i, key in enumerate(keys):
        state = share.kms('kfcfo', 'describe-key', '--key-id', f'alias/k{i}')['KeyMetadata']
        assert state['KeyId'] == key
        assert state['KeyState'] == ('Disabled' if i == 3 else 'Enabled')
    share.run('kfcfo', 'audit', 'verify')
