"""Does a backup of the key store, made while it is in use, bring the files back; and does a
restore killed at any moment leave the former key store or the new one?"""
import os
import random
import shutil
import subprocess
import time

import pytest

from share import Failed, as_user, new_share

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to act as several users')

USAGE, BUSY, DAMAGED, REFUSED = 2, 5, 6, 254
KEY = ('--administrators', 'user:kfcfo', '--users', 'user:kfcfo')

# Makes keys and uses them until it is ended.
BUSY_USER = r'''
import subprocess, sys
keyfold, mnt = sys.argv[1:]
n = 0
while True:
    n += 1
    made = subprocess.run([keyfold, 'kms', '--mount', mnt, 'create-key', '--alias',
                           f'alias/busy{n}', '--administrators', 'user:kfcfo', '--users',
                           'user:kfcfo'], stdout=subprocess.PIPE)
    used = subprocess.run([keyfold, 'kms', '--mount', mnt, 'generate-data-key', '--key-id',
                           f'alias/busy{n}', '--key-spec', 'AES_256'], stdout=subprocess.PIPE)
    print(made.returncode, used.returncode, flush=True)
'''


@pytest.fixture
def share():
    with new_share('backup') as made:
        yield made


def fails(code, share, *args, says=''):
    with pytest.raises(Failed) as info:
        share.run(None, *args)
    assert info.value.code == code, info.value
    assert says in info.value.text, info.value.text
    return info.value.text


def write_as_cfo(share, name, text):
    share.kms('kfcfo', 'create-key', '--alias', f'alias/{name}', *KEY)
    share.python('kfcfo', 'import os, sys; os.mkdir(sys.argv[1])', share.mnt / name)
    share.run('kfcfo', 'folder', 'set-key', share.mnt / name, f'alias/{name}')
    share.python('kfcfo', 'import sys; open(sys.argv[1], "w").write(sys.argv[2])',
                 share.mnt / name / 'file', text)


def read_as_cfo(share, name):
    return share.python('kfcfo', 'import sys; print(open(sys.argv[1]).read())',
                        share.mnt / name / 'file')


def test_a_backup_made_in_use_brings_the_files_back(share):
    write_as_cfo(share, 'reports', 'quarterly')
    busy = subprocess.Popen([*as_user('kfcfo'), '/usr/bin/python3', '-c', BUSY_USER,
                             str(share.keyfold), str(share.mnt)],
                            stdout=subprocess.PIPE, text=True, cwd='/')
    try:
        assert busy.stdout.readline().split() == ['0', '0']
        for i in range(5):
            said = share.run(None, 'kms', 'backup', share.folder / f'{i}.keys')
            assert 'Backed up' in said
            assert busy.stdout.readline().split() == ['0', '0']
    finally:
        busy.kill()
        busy.wait()
    made = share.folder / '4.keys'
    assert made.stat().st_mode & 0o777 == 0o600
    share.unmount()

    # The disk is lost; a copy of the files is there, the key store is not.
    former = share.folder / 'former'
    share.store.rename(former)
    subprocess.run(['cp', '-a', former, share.store], check=True)
    for name in ('keys.db', 'keys.db-spare', 'keyfold.json'):
        (share.store / name).unlink()
    for i in range(5):
        assert 'good' in share.run(None, 'kms', 'restore', '--check', share.folder / f'{i}.keys',
                                   share.store)
    share.run(None, 'kms', 'restore', made, share.store)
    share.mount()
    assert read_as_cfo(share, 'reports') == 'quarterly'
    assert share.attempt('kfaccounts', 'read', share.mnt / 'reports' / 'file') == 'EACCES'
    keys = share.kms('kfcfo', 'list-aliases')['Aliases']
    assert {'alias/reports', 'alias/busy1', 'alias/busy5'} <= {k['AliasName'] for k in keys}
    share.run('kfcfo', 'audit', 'verify')
    assert share.events(eventName='RestoreKeyStore') and share.events(eventName='KeyStoreRestored')


def test_a_store_that_root_restored_is_its_owners_still(share):
    home = share.folder / 'home'
    home.mkdir()
    shutil.chown(home, 'kfcfo', 'kfcfo')
    store, backup = home / 'store', home / 'a.keys'
    share.run('kfcfo', 'init', store, '--root-key', f'file:{home}/key')
    share.run('kfcfo', 'kms', '--store', store, 'create-key', '--alias', 'alias/own')
    share.run('kfcfo', 'kms', 'backup', backup, '--store', store)
    copy = shutil.copy(home / 'key', share.folder / 'copy.key')
    os.chmod(copy, 0o400)
    for word in (), ('--new-audit-log',):
        if word:
            shutil.rmtree(store / 'audit')
        share.run(None, 'kms', 'restore', *word, backup, store, '--root-key', f'file:{copy}')
        owners = {p.name: p.owner() for p in (store, *store.iterdir(), *(store / 'audit').iterdir())
                  if p.name != 'lock'}
        assert set(owners.values()) == {'kfcfo'}, owners
        assert 'alias/own' in share.run('kfcfo', 'kms', '--store', store, 'list-aliases')


def test_who_may_back_up_and_where_to(share):
    backup = share.folder / 'a.keys'
    for user in ('kfcfo', 'kfaccounts', 'kfstranger'):
        with pytest.raises(Failed) as info:
            share.run(user, 'kms', 'backup', '/tmp/keyfold-refused.keys')
        assert 'AccessDeniedException' in info.value.text and info.value.code == REFUSED
        assert not os.path.exists('/tmp/keyfold-refused.keys')
    share.run(None, 'kms', 'backup', backup)
    first = backup.read_bytes()
    fails(USAGE, share, 'kms', 'backup', backup, says='--replace')
    assert backup.read_bytes() == first
    share.run(None, 'kms', 'backup', '--replace', backup)
    assert backup.read_bytes() != first
    fails(USAGE, share, 'kms', 'backup', share.mnt / 'a.keys', says='elsewhere')
    fails(USAGE, share, 'kms', 'backup', share.store / 'a.keys', says='elsewhere')
    fails(1, share, 'kms', 'backup', share.folder / 'no' / 'a.keys')
    fails(BUSY, share, 'kms', 'restore', backup, share.store)
    assert sorted(p.name for p in share.folder.glob('*.keys*')) == ['a.keys']


def snapshot(store):
    return {p.name: p.read_bytes() for p in (*store.iterdir(), *(store / 'audit').iterdir())
            if p.is_file() and p.name != 'lock'}


def test_what_is_no_whole_backup_of_this_store_changes_nothing(share):
    backup = share.folder / 'a.keys'
    share.run(None, 'kms', 'backup', backup)
    share.unmount()
    # Offline, by the account's root user.
    share.run(None, 'kms', 'backup', '--store', share.store, share.folder / 'b.keys')
    good, before = backup.read_bytes(), snapshot(share.store)
    bad = share.folder / 'bad.keys'
    rng = random.Random(7)
    for at in sorted(rng.sample(range(len(good)), 20)):
        bad.write_bytes(good[:at] + bytes([good[at] ^ 0x20]) + good[at + 1:])
        with pytest.raises(Failed):
            share.run(None, 'kms', 'restore', bad, share.store)
    for size in (0, 1, 13, 200, len(good) - 1):
        bad.write_bytes(good[:size])
        with pytest.raises(Failed):
            share.run(None, 'kms', 'restore', bad, share.store)
    other = share.folder / 'other'
    share.run(None, 'init', other, '--root-key', f'file:{share.folder}/root.key')
    fails(USAGE, share, 'kms', 'restore', backup, other, says="another store's")
    fails(USAGE, share, 'kms', 'restore', backup, share.folder, says='not a Keyfold store')
    fails(USAGE, share, 'kms', 'restore', backup, share.folder / 'nowhere')
    assert snapshot(share.store) == before
    share.mount()


def test_a_destroyed_use_does_not_come_back(share):
    write_as_cfo(share, 'reports', 'quarterly')
    write_as_cfo(share, 'gone', 'secret')
    backup = share.folder / 'a.keys'
    share.run(None, 'kms', 'backup', backup)
    key = share.kms('kfcfo', 'describe-key', '--key-id', 'alias/gone')['KeyMetadata']['KeyId']
    share.kms('kfcfo', 'schedule-key-deletion', '--key-id', key)
    share.unmount()
    said = share.run(None, 'kms', 'restore', backup, share.store)
    assert 'ScheduleKeyDeletion by kfcfo, key ' + key in said
    share.mount()
    assert read_as_cfo(share, 'reports') == 'quarterly'
    assert share.attempt('kfcfo', 'read', share.mnt / 'gone' / 'file') == 'ENOKEY'
    share.unmount()
    # The same by hand: only the former key store is put back.
    shutil.copy(share.store / 'keys.db.before-restore-1', share.store / 'keys.db')
    fails(DAMAGED, share, 'mount', share.store, share.mnt, says='older')
    share.run(None, 'kms', 'restore', backup, share.store)
    share.mount()


def test_a_lost_log_needs_a_word(share):
    write_as_cfo(share, 'reports', 'quarterly')
    backup = share.folder / 'a.keys'
    share.run(None, 'kms', 'backup', backup)
    share.unmount()
    fails(USAGE, share, 'kms', 'restore', '--new-audit-log', backup, share.store, says='whole')
    shutil.rmtree(share.store / 'audit')
    fails(DAMAGED, share, 'kms', 'restore', backup, share.store, says='--new-audit-log')
    said = share.run(None, 'kms', 'restore', '--new-audit-log', backup, share.store)
    assert 'Nothing tells' in said
    share.mount()
    assert read_as_cfo(share, 'reports') == 'quarterly'
    assert 'auditLogLost' in share.events(eventName='RestoreKeyStore')[0]['additionalEventData']
    share.run('kfcfo', 'audit', 'verify')


def test_a_killed_restore_leaves_the_former_or_the_new(share):
    backup = share.folder / 'a.keys'
    share.run(None, 'kms', 'backup', backup)
    share.kms('kfcfo', 'create-key', '--alias', 'alias/late', *KEY)
    share.unmount()
    template = share.folder / 'template'
    subprocess.run(['cp', '-a', share.store, template], check=True)

    def restore(**options):
        return subprocess.Popen([share.keyfold, 'kms', 'restore', backup, share.store],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)

    def is_former():
        said = share.run(None, 'kms', '--store', share.store, 'list-aliases')
        return 'alias/late' in said

    started = time.monotonic()
    assert restore().wait() == 0
    duration = time.monotonic() - started
    assert not is_former()
    seed = int(os.environ.get('KEYFOLD_TEST_SEED', random.randrange(1 << 30)))
    print('seed', seed)
    rng = random.Random(seed)
    seen = {True: 0, False: 0}
    for _ in range(int(os.environ.get('KEYFOLD_TEST_STEPS', 40))):
        shutil.rmtree(share.store)
        subprocess.run(['cp', '-a', template, share.store], check=True)
        # More than once, as somebody would who is not let finish.
        for _ in range(2):
            process = restore()
            time.sleep(rng.uniform(0.2, 1.1) * duration)
            process.kill()
            process.wait()
        seen[is_former()] += 1
        assert restore().wait() == 0
        assert not is_former()
        left = sorted(p.name for p in share.store.iterdir() if 'restoring' in p.name)
        assert left == []
    print('former, new:', seen[True], seen[False])
    assert seen[True], seen
    share.mount()
    share.run('kfcfo', 'audit', 'verify')
