"""Does keyfold fsck, on a mount in use, name what is damaged beneath it and nothing that
is not, and look only at what its caller may open?"""
import json
import os
import re
import signal
import subprocess
import time

import pytest

from share import as_user, new_share

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to act as several users')

BLOCK = 4096
LARGE = 70 << 20  # read in two parts


@pytest.fixture(scope='module')
def share():
    with new_share('fsck-mounted') as made:
        for user, alias in (('kfcfo', 'alias/cfo'), ('kfaccounts', 'alias/accounts')):
            made.kms(user, 'create-key', '--alias', alias, '--administrators', f'user:{user}',
                     '--users', f'user:{user}')
            folder = made.mnt / user
            made.python(user, 'import os, sys; os.mkdir(sys.argv[1])', folder)
            made.run(user, 'folder', 'set-key', folder, alias)
        made.python('kfcfo', '''
import os, sys
os.chdir(sys.argv[1])
for i in range(20):
    with open(f'file-{i}', 'wb') as f: f.write(b'words ' * 5000)
with open('large', 'wb') as f: f.write(os.urandom(1 << 20) * 70 + b'end')
os.mkdir('sub')
os.symlink('file-0', 'sub/link')
os.link('file-0', 'sub/second')
os.setxattr('file-1', 'user.note', b'a note')
os.sync()
''', made.mnt / 'kfcfo')
        made.python('kfaccounts', '''
import os, sys
with open(sys.argv[1], 'wb') as f: f.write(b'sums ' * 5000)
os.sync()
''', made.mnt / 'kfaccounts/sums')
        yield made


def fsck(share, user, path, *args):
    """The exit code, the findings and the summary of a check as `user`."""
    result = subprocess.run([*share.command_of(user), 'fsck', path, '--output', 'json', *args],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd='/')
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert lines and 'summary' in lines[-1], result.stderr
    assert lines[-1]['summary']['exitCode'] == result.returncode
    return result.returncode, lines[:-1], lines[-1]['summary']


def place_of(block):
    """Where a block lies in the backing file: FORMAT.md."""
    if block < 32:
        return BLOCK * (1 + block)
    group, rest = divmod(block - 32, 64)
    return 135168 + group * 266240 + BLOCK * (1 + rest)


class Flipped:
    """Blocks of a backing file with a wrong byte, until the end."""

    def __init__(self, share, path, *offsets):
        self.path, self.offsets = share.backing(path), offsets

    def flip(self):
        with open(self.path, 'r+b') as f:
            for offset in self.offsets:
                f.seek(offset)
                byte = f.read(1)[0]
                f.seek(offset)
                f.write(bytes([byte ^ 1]))

    def __enter__(self):
        self.flip()

    def __exit__(self, *_):
        self.flip()


def test_a_whole_tree(share):
    code, found, summary = fsck(share, 'kfcfo', share.mnt / 'kfcfo')
    assert (code, found) == (0, [])
    assert (summary['files'], summary['folders'], summary['links']) == (21, 2, 1)
    assert summary['bytes'] == 20 * 30000 + LARGE + 3 and summary['complete']


def test_how_far_it_is_in_a_sparse_file(share):
    folder = share.mnt / 'kfcfo/holes'
    share.python('kfcfo', '''
import os, sys
os.mkdir(sys.argv[1])
with open(sys.argv[1] + '/sparse', 'wb') as f:
    f.truncate(8 << 20)
    f.seek(4 << 20)
    f.write(bytes(range(256)))
''', folder)
    said = subprocess.run([*share.command_of('kfcfo'), 'fsck', folder, '--progress'], cwd='/', check=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True).stderr
    share.python('kfcfo', 'import shutil, sys; shutil.rmtree(sys.argv[1])', folder)
    assert re.search(r'^1 file, 8.0 MiB of 8.0 MiB, .*/s, 0:00 left$', said, re.M), said


def test_damage_beneath_the_mount(share):
    blocks = (3, 4, 40, 17000, 17919)
    with Flipped(share, share.mnt / 'kfcfo/large', *map(place_of, blocks)):
        code, found, _ = fsck(share, 'kfcfo', share.mnt / 'kfcfo')
        assert code == 4
        path = str(share.mnt / 'kfcfo/large')
        assert sorted((f['path'], f['kind'], f['begin'], f['end']) for f in found) == [
            (path, 'blocks', 3 * BLOCK, 5 * BLOCK), (path, 'blocks', 40 * BLOCK, 41 * BLOCK),
            (path, 'blocks', 17000 * BLOCK, 17001 * BLOCK),
            (path, 'blocks', 17919 * BLOCK, 17920 * BLOCK)]
        # What is only opened tells nothing of that.
        assert fsck(share, 'kfcfo', share.mnt / 'kfcfo', '--quick')[0] == 0
        text = subprocess.run([*share.command_of('kfcfo'), 'fsck', path], cwd='/',
                              stdout=subprocess.PIPE, text=True).stdout
        assert f'{path}: bytes 12288 to 20479: these bytes do not authenticate' in text
    assert fsck(share, 'kfcfo', share.mnt / 'kfcfo')[0] == 0


def test_a_header_and_an_attribute(share):
    with Flipped(share, share.mnt / 'kfcfo/file-3', 200, 1224):
        code, found, _ = fsck(share, 'kfcfo', share.mnt / 'kfcfo', '--quick')
        assert code == 4 and [(f['path'], f['kind']) for f in found] == [
            (str(share.mnt / 'kfcfo/file-3'), 'header')]
    backing = share.backing(share.mnt / 'kfcfo/file-1')
    name, = (n for n in os.listxattr(backing) if n.startswith('user.kf.'))
    value = os.getxattr(backing, name)
    os.setxattr(backing, name, value[:-1] + bytes([value[-1] ^ 1]))
    try:
        code, found, _ = fsck(share, 'kfcfo', share.mnt / 'kfcfo/file-1')
        assert code == 4 and [f['kind'] for f in found] == ['attribute']
    finally:
        os.setxattr(backing, name, value)


def test_who_may_not_open_a_file_does_not_check_it(share):
    for user in ('kfaccounts', None):
        code, found, summary = fsck(share, user, share.mnt)
        mine = 1 if user else 0
        assert code == 0 and summary['notChecked'] >= 21 + (1 - mine)
        assert {f['kind'] for f in found} == {'no-right'}
        assert summary['bytes'] == 25000 * mine
    refused = [e for e in share.events(eventName='OpenFile', errorCode='AccessDeniedException')
               if e['userIdentity']['userName'] == 'root']
    assert refused


def test_keys_that_cannot_be_used(share):
    share.kms('kfaccounts', 'disable-key', '--key-id', 'alias/accounts')
    try:
        code, found, summary = fsck(share, 'kfaccounts', share.mnt / 'kfaccounts')
        assert code == 0 and [f['kind'] for f in found] == ['key-unavailable']
        assert summary['notChecked'] == 1
    finally:
        share.kms('kfaccounts', 'enable-key', '--key-id', 'alias/accounts')


WORK = r'''
import os, random, sys, time
os.chdir(sys.argv[1])
rng, end, names = random.Random(7), time.monotonic() + 8, [f'busy-{i}' for i in range(8)]
print('working', flush=True)
while time.monotonic() < end:
    name = rng.choice(names)
    what = rng.randrange(5)
    with open(name, 'ab+' if what else 'wb+') as f:
        if what == 1: os.truncate(name, rng.randrange(200000))
        elif what == 2: os.pwrite(f.fileno(), os.urandom(9000), rng.randrange(100000))
        else: f.write(os.urandom(rng.randrange(300000)))
        if what == 4: os.fsync(f.fileno())
    if what == 3: os.rename(name, rng.choice(names))
'''


def test_what_is_being_written_is_no_damage(share):
    writer = subprocess.Popen([*as_user('kfcfo'), '/usr/bin/python3', '-c', WORK,
                               str(share.mnt / 'kfcfo/sub')], stdout=subprocess.PIPE, text=True)
    assert writer.stdout.readline() == 'working\n'
    checks = 0
    while writer.poll() is None:
        code, found, _ = fsck(share, 'kfcfo', share.mnt / 'kfcfo/sub')
        assert (code, found) == (0, [])
        checks += 1
    assert writer.returncode == 0 and checks > 3


def test_the_audit_log_is_verified(share):
    code, found, _ = fsck(share, 'kfcfo', share.mnt / 'kfaccounts')
    assert code == 0 and [f['kind'] for f in found] == ['no-right']
    log = os.open(share.store / 'audit/audit.log', os.O_RDWR)
    byte = os.pread(log, 1, 400)
    os.pwrite(log, bytes([byte[0] ^ 1]), 400)
    try:
        code, found, _ = fsck(share, 'kfcfo', share.mnt / 'kfcfo/sub')
        assert code == 4 and [f['kind'] for f in found] == ['audit-log']
    finally:
        os.pwrite(log, byte, 400)
        os.close(log)


def test_words_for_a_store_that_is_not_mounted(share):
    for words in (['--repair'], ['--resume']):
        result = subprocess.run([*share.command_of('kfcfo'), 'fsck', share.mnt, *words], cwd='/',
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert result.returncode == 8 and str(share.store) in result.stderr
    result = subprocess.run([*share.command_of(None), 'fsck', share.store], cwd='/',
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert result.returncode == 8 and 'mountpoint' in result.stderr


def test_it_can_be_cut_off(share):
    for attempt in range(1, 40):
        process = subprocess.Popen([*share.command_of('kfcfo'), 'fsck', share.mnt / 'kfcfo'],
                                   cwd='/', stdout=subprocess.PIPE, text=True)
        time.sleep(0.02 * attempt)
        process.send_signal(signal.SIGINT)
        text = process.communicate()[0]
        if process.returncode in (0, -signal.SIGINT):
            continue  # it was at its end, or had not begun
        assert process.returncode == 32 and 'It was cut off.' in text
        assert '--resume' not in text
        return
    pytest.fail('no signal came while it was under way')


def test_a_right_that_ends_meanwhile_is_no_damage(share):
    # All who have the file open must open it again then, the check too.
    path = share.mnt / 'kfcfo/large'
    for _ in range(5):
        grant = share.kms('kfcfo', 'create-grant', '--key-id', 'alias/cfo', '--grantee-principal',
                          'user:kfaccounts', '--operations', 'Decrypt')['GrantId']
        holder = subprocess.Popen([*as_user('kfaccounts'), '/usr/bin/python3', '-c',
                                   'import sys; f = open(sys.argv[1], "rb"); f.read(9); '
                                   'print("held", flush=True); sys.stdin.read()', path],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert holder.stdout.readline() == 'held\n'
        check = subprocess.Popen([*share.command_of('kfcfo'), 'fsck', path, '--output', 'json'],
                                 stdout=subprocess.PIPE, text=True, cwd='/')
        share.kms('kfcfo', 'revoke-grant', '--key-id', 'alias/cfo', '--grant-id', grant)
        lines = [json.loads(line) for line in check.communicate()[0].splitlines()]
        holder.communicate('')
        assert check.returncode == 0 and lines[-1]['summary']['damaged'] == 0, lines
        assert {one['kind'] for one in lines[:-1]} <= {'not-reached', 'no-right'}
