"""Does a store of an older format become one of the newest, whatever kills that; and is
a store that is too new refused by every command, untouched?

KEYFOLD_TEST_SEED repeats a run as far as moments can be repeated; KEYFOLD_TEST_STEPS
sets how many upgrades are killed."""
import json
import os
import random
import shutil
import struct
import subprocess
import time

import pytest

from golden import STORES, golden
from share import KEYFOLD, lone_share

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to act as several users')

STEPS = int(os.environ.get('KEYFOLD_TEST_STEPS', 25))
SEED = int(os.environ.get('KEYFOLD_TEST_SEED', time.time_ns() % 10**9))
NEWEST = 2  # that an upgrade makes
NEWEST_KNOWN = {'keyfold.json': 2, 'keys.db': 3}
OLD = [name for name in STORES if '-v1' in name]
BACKUP_MAGIC = b'KFBACKUP'
USER_VERSION = 60  # in the header of an SQLite file


def format_of(store):
    return json.loads((store / 'keyfold.json').read_text())['format']


def key_store_format(path):
    return struct.unpack_from('>I', path.read_bytes(), USER_VERSION)[0]


def set_format(store, number):
    path = store / 'keyfold.json'
    config = json.loads(path.read_text())
    config['format'] = number
    path.write_text(json.dumps(config, indent=2) + '\n')


def set_key_store_format(store, number):
    with open(store / 'keys.db', 'r+b') as f:
        f.seek(USER_VERSION)
        f.write(struct.pack('>I', number))


@pytest.mark.parametrize('name', OLD)
def test_an_older_store_is_upgraded(name):
    with golden(name) as old:
        with old.mounted() as told:
            assert 'of format 1' in told and 'keyfold upgrade' in told
            assert 'in use' in old.run('upgrade', old.store, *old.key, code=5)
        before = old.tree()
        told = old.run('upgrade', old.store, '--dry-run')
        assert 'would be upgraded' in told and 'format 1 to 2' in told
        assert old.tree() == before
        told = old.run('upgrade', old.store, *old.key)
        assert 'was upgraded' in told
        assert format_of(old.store) == key_store_format(old.store / 'keys.db') == NEWEST
        kept = [old.store / f'{name}.before-upgrade-1' for name in ('keyfold.json', 'keys.db')]
        assert all(str(path) in told for path in kept)
        assert json.loads(kept[0].read_text())['format'] == key_store_format(kept[1]) == 1
        assert all(path.stat().st_mode & 0o777 == 0o600 for path in kept)
        again = old.tree()
        assert 'Nothing was changed' in old.run('upgrade', old.store)
        assert old.tree() == again
        old.run('fsck', old.store, *old.key)
        with old.mounted() as told:
            assert told == ''
            old.check()
            events = [json.loads(line) for line in
                      old.run('audit', '--output', 'json').splitlines()]
            assert [e['requestParameters'] for e in events if e['eventName'] == 'UpgradeStore'] == [
                {'from': 1, 'to': 2}]


@pytest.mark.parametrize('name', OLD)
def test_an_upgrade_that_is_killed_is_gone_on_with(name, tmp_path):
    print(f'KEYFOLD_TEST_SEED={SEED} KEYFOLD_TEST_STEPS={STEPS}')
    rng = random.Random(SEED)
    with golden(name) as old:
        subprocess.run(['cp', '-a', old.store, tmp_path / 'pristine'], check=True)
        start = time.monotonic()
        old.run('upgrade', old.store, *old.key)
        takes = time.monotonic() - start
        states = set()
        for step in range(STEPS):
            shutil.rmtree(old.store)
            subprocess.run(['cp', '-a', tmp_path / 'pristine', old.store], check=True)
            for _ in range(rng.randrange(1, 3)):
                upgrade = subprocess.Popen([KEYFOLD, 'upgrade', str(old.store), *old.key],
                                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                time.sleep(rng.uniform(0, takes))
                upgrade.kill()
                upgrade.wait()
            states.add((format_of(old.store), key_store_format(old.store / 'keys.db')))
            if step % 5 == 0:  # as it was left
                with old.mounted():
                    old.check()
            old.run('upgrade', old.store, *old.key)
            assert format_of(old.store) == key_store_format(old.store / 'keys.db') == NEWEST
            assert len(list(old.store.glob('*.before-upgrade-*'))) == 2
            assert not list(old.store.glob('*.upgrading')) + list(old.store.glob('*.new'))
            if step % 5 == 0:
                with old.mounted():
                    old.check()
        print('left as', states)
        old.run('fsck', old.store, *old.key)


# All commands that take a store, and their exit code for one that is too new.
COMMANDS = {
    'mount': 3, 'mount --foreground': 3, 'upgrade': 3, 'upgrade --dry-run': 3,
    'fsck': 8, 'fsck --repair': 8, 'fsck --resume': 8,
    'kms list-keys --store': 3, 'kms create-key --store': 3, 'kms root-key rotate --store': 3,
    'kms root-key change-provider --to file:FOLDER/other.key --store': 3,
    'kms root-key status --store': 3, 'kms backup FOLDER/new --store': 3,
    'kms restore FOLDER/backup': 3, 'kms restore --check FOLDER/backup': 3,
    'kms restore --new-audit-log FOLDER/backup': 3,
    'iam show --store': 3, 'audit --store': 3, 'audit verify --store': 3,
}


@pytest.mark.parametrize('part', ['keyfold.json', 'keys.db'])
def test_a_store_that_is_too_new_is_refused_by_all_and_untouched(part):
    with golden('store-v2') as new:
        new.run('kms', 'backup', new.folder / 'backup', '--store', new.store, *new.key)
        set_number = {'keyfold.json': set_format, 'keys.db': set_key_store_format}[part]
        too_new = NEWEST_KNOWN[part] + 1
        set_number(new.store, too_new)
        before = new.tree()
        for command, code in COMMANDS.items():
            words = command.replace('FOLDER', str(new.folder)).split()
            words.append(new.store)
            if words[0] == 'mount':
                words.append(new.mnt)
            if part == 'keys.db' and words[:3] == ['kms', 'root-key', 'status']:
                continue  # does not open it
            if words[0] != 'upgrade' or '--dry-run' not in words:
                words += new.key
            told = new.run(*words, code=code)
            assert f'format {too_new}' in told and 'up to' in told, (command, told)
            assert 'newer Keyfold' in told, (command, told)
            assert len(told.strip().splitlines()) == 1, (command, told)
            assert new.tree() == before, command
        # The number is all that differs.
        set_number(new.store, too_new - 1)
        with new.mounted():
            new.check()


def backup_format(path):
    """The number behind its magic, and nothing else, is for programs of before."""
    data = path.read_bytes()
    assert data.startswith(BACKUP_MAGIC)
    return struct.unpack_from('<H', data, len(BACKUP_MAGIC))[0]


@pytest.mark.parametrize('name, number', [('store-v1', 1), ('store-v2', 1), ('store-v2-keys-v3', 2)])
def test_a_backup_says_whether_older_programs_know_all_of_it(name, number):
    with golden(name) as old:
        backup = old.folder / 'backup'
        old.run('kms', 'backup', backup, '--store', old.store, *old.key)
        assert backup_format(backup) == number
        restored = max(NEWEST, key_store_format(old.store / 'keys.db'))
        old.run('kms', 'restore', backup, old.store, *old.key)
        assert key_store_format(old.store / 'keys.db') == restored
        # Without one there that would tell.
        (old.store / 'keys.db').unlink()
        old.run('kms', 'restore', backup, old.store, *old.key)
        assert key_store_format(old.store / 'keys.db') == restored
        with old.mounted():
            old.check()


def test_a_key_store_that_went_ahead_stays_as_it_is():
    with golden('store-v2-keys-v3') as store:
        told = store.run('upgrade', store.store)
        assert 'format 3 by itself' in told and 'Nothing was changed' in told
        set_format(store.store, 1)
        before = (store.store / 'keys.db').read_bytes()
        told = store.run('upgrade', store.store, '--dry-run')
        assert 'keyfold.json: format 1 to 2' in told and 'keys.db: format 3, as it is' in told
        assert 'programs that know format 1 only' in told
        told = store.run('upgrade', store.store, *store.key)
        assert 'keyfold.json.before-upgrade-1' in told
        assert not list(store.store.glob('keys.db.before-upgrade-*'))
        assert format_of(store.store) == 2 and key_store_format(store.store / 'keys.db') == 3
        assert len(before) == (store.store / 'keys.db').stat().st_size
        with store.mounted() as told:
            assert told == ''
            store.check()


def test_a_file_of_a_newer_format_is_told_from_a_damaged_one():
    with lone_share('newer') as share:
        for name in ('newer', 'other'):
            (share.mnt / name).write_text(name)
        backing = share.backing(share.mnt / 'newer')
        share.unmount()
        with open(backing, 'r+b') as f:
            for slot in (0, 1024):
                f.seek(slot + 8)
                f.write(struct.pack('<H', 9))
        share.mount()
        try:
            with pytest.raises(OSError, match='not supported'):
                (share.mnt / 'newer').read_bytes()
            with pytest.raises(OSError, match='not supported'):
                (share.mnt / 'newer').write_bytes(b'x')
            assert (share.mnt / 'other').read_text() == 'other'
            events = [json.loads(line) for line in
                      share.run(None, 'audit', '--output', 'json').splitlines()]
            told = [e['errorMessage'] for e in events if e.get('errorCode') == 'NewerFormat']
            assert any('newer Keyfold' in text for text in told), told
            # Anyone who can write the store can make a file seem newer.
            assert [e for e in events if e['eventName'] == 'IntegrityFailure']
        finally:
            share.unmount()
        key = ('--root-key', f'file:{share.folder}/root.key')
        found = subprocess.run([KEYFOLD, 'fsck', str(share.store), *key], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
        assert found.returncode == 4 and 'newer' in found.stdout, found.stdout
        with open(backing, 'r+b') as f:
            for slot in (0, 1024):
                f.seek(slot + 8)
                f.write(struct.pack('<H', 2))
        share.mount()
        assert (share.mnt / 'newer').read_text() == 'newer'
