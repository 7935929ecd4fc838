"""Do files get new wraps and new data keys while they are in use, whatever cuts that
off; who may; and what does the former key, or its user, still open?"""
import hashlib
import json
import os
import re
import signal
import subprocess
import time

import pytest

from share import Failed, as_user, new_share

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to act as several users')


@pytest.fixture(scope='module')
def share():
    with new_share('rekey') as made:
        made.state = made.folder / 'state'
        made.state.mkdir()
        made.state.chmod(0o777)
        yield made


def command(share, user, *args):
    """The command and environment of a rekey of `user`."""
    environment = dict(share.environment(), XDG_STATE_HOME=str(share.state))
    return [*share.command_of(user), *map(str, args)], environment


def rekey(share, user, *args, code=0):
    """What `keyfold rekey` printed, and said on standard error."""
    words, environment = command(share, user, 'rekey', *args)
    done = subprocess.run(words, env=environment, capture_output=True, text=True, cwd='/')
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout, done.stderr


def counts(share, user, *args, code=0):
    out, _ = rekey(share, user, *args, '--output', 'json', code=code)
    last = json.loads(out.splitlines()[-1])
    return last.get('summary') or last['wouldBe']


def make_key(share, alias, users='user:kfcfo'):
    share.kms('kfcfo', 'create-key', '--alias', alias, '--administrators', 'user:kfcfo',
              '--users', *users.split())


def write(share, path, data, user='kfcfo', mode=0o644):
    share.python(user, 'import os, sys; open(sys.argv[1], "wb").write(eval(sys.argv[2]));'
                       'os.chmod(sys.argv[1], int(sys.argv[3]))', path, data, mode)


def digest(share, path, user='kfcfo'):
    return share.python(user, 'import hashlib, sys;'
                              'print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())',
                        path)


def shown(share, path, user='kfcfo'):
    return json.loads(share.run(user, 'file', 'show', path, '--output', 'json'))


@pytest.fixture
def tree(share, request):
    """A folder of the cfo's under a key of its own, with three files, one in a folder
    within. Returns (folder, alias)."""
    name = re.sub(r'\W', '-', request.node.name)
    alias = f'alias/{name}'
    make_key(share, alias)
    folder = share.mnt / name
    share.python('kfcfo', 'import os, sys; os.mkdir(sys.argv[1])', folder)
    assert share.run('kfcfo', 'folder', 'set-key', folder, alias) == ''
    share.python('kfcfo', 'import os, sys; os.mkdir(sys.argv[1] + "/sub")', folder)
    write(share, folder / 'one', 'b"one"')
    write(share, folder / 'two', 'bytes(range(256)) * 4000')
    write(share, folder / 'sub/three', 'b""')
    return folder, alias


def test_rotation_rewraps_on_command(share, tree):
    folder, alias = tree
    assert counts(share, 'kfcfo', folder)['wrapped'] == 0
    share.kms('kfcfo', 'rotate-key-on-demand', '--key-id', alias)
    assert shown(share, folder / 'one')['KeyVersion'] == 'old'
    before = {p: p.stat() for p in (folder / 'one', folder / 'two')}
    ids = shown(share, folder / 'one')['DataKeyId']
    assert counts(share, 'kfcfo', folder, '--dry-run')['wrapped'] == 3
    assert shown(share, folder / 'one')['KeyVersion'] == 'old'
    done = counts(share, 'kfcfo', folder)
    assert (done['files'], done['wrapped'], done['reencrypted'], done['refused']) == (3, 3, 0, 0)
    assert shown(share, folder / 'one') == {
        'Path': str(folder / 'one'), 'Key': alias, 'KeyId': shown(share, folder / 'two')['KeyId'],
        'KeyVersion': 'current', 'DataKeyId': ids, 'Reencrypting': False}
    for path, st in before.items():
        assert path.stat().st_mtime_ns == st.st_mtime_ns
    assert digest(share, folder / 'two') == hashlib.sha256(bytes(range(256)) * 4000).hexdigest()
    assert counts(share, 'kfcfo', folder)['wrapped'] == 0
    records = [r for r in share.events(eventName='SetFileKey')
               if any(x.get('path') == f'/{folder.name}/two' for x in r['resources'])]
    assert len(records) == 1


def test_opening_for_writing_rewraps_and_reading_does_not(share, tree):
    folder, alias = tree
    path = folder / 'one'
    share.kms('kfcfo', 'rotate-key-on-demand', '--key-id', alias)
    raw = share.backing(path)
    before = raw.read_bytes()
    assert share.attempt('kfcfo', 'read', path) == 'ok'
    assert shown(share, path)['KeyVersion'] == 'old'
    assert raw.read_bytes() == before
    assert share.attempt('kfcfo', 'append', path) == 'ok'
    assert shown(share, path)['KeyVersion'] == 'current'
    share.unmount()
    share.mount()
    assert shown(share, path)['KeyVersion'] == 'current'
    assert share.python('kfcfo', 'import sys; print(open(sys.argv[1]).read())', path) == 'onex'


def test_another_key_and_the_former_is_deleted(share, tree):
    folder, alias = tree
    make_key(share, alias + '-new')
    out = share.run('kfcfo', 'folder', 'set-key', folder, alias + '-new')
    assert '3 files (1000.0 KiB) and 1 folder below it stay under their keys' in out
    assert f'keyfold rekey {folder} --key {alias}-new\n' in out
    assert len(re.findall(r'about \d+:\d\d', out)) == 2
    assert not [p for p in folder.iterdir() if p.name.startswith('.')]
    done = counts(share, 'kfcfo', folder, '--key', alias + '-new')
    assert (done['wrapped'], done['foldersBound'], done['refused']) == (3, 1, 0)
    assert share.run('kfcfo', 'folder', 'set-key', folder, alias + '-new') == ''
    share.kms('kfcfo', 'schedule-key-deletion', '--key-id', alias)
    for name in ('one', 'two', 'sub/three'):
        assert share.attempt('kfcfo', 'read', folder / name) == 'ok'
    assert shown(share, folder / 'sub/three')['Key'] == alias + '-new'


def test_folder_set_key_at_once(share, tree):
    folder, alias = tree
    make_key(share, alias + '-new')
    out = share.run('kfcfo', 'folder', 'set-key', folder, alias + '-new', '--rekey')
    assert 'Data key wrapped anew: 3 files.' in out and 'Bound to the key: 1 folder.' in out


def test_new_data_keys(share, tree):
    folder, alias = tree
    path = folder / 'two'
    share.python('kfcfo', 'import os, sys; os.link(sys.argv[1], sys.argv[1] + "-linked");'
                          'os.setxattr(sys.argv[1], "user.note", b"kept")', path)
    raw = share.backing(path)
    share.unmount()
    before = raw.read_bytes()
    share.mount()
    st, shows = path.stat(), shown(share, path)
    done = counts(share, 'kfcfo', folder, '--reencrypt')
    assert (done['files'], done['reencrypted'], done['refused']) == (3, 3, 0)
    now = path.stat()
    assert (now.st_ino, now.st_mtime_ns, now.st_nlink, now.st_mode, now.st_uid, now.st_size) == \
        (st.st_ino, st.st_mtime_ns, 2, st.st_mode, st.st_uid, st.st_size)
    assert shown(share, path)['DataKeyId'] != shows['DataKeyId']
    assert share.python('kfcfo', 'import os, sys; print(os.getxattr(sys.argv[1], "user.note"))',
                        path) == "b'kept'"
    assert digest(share, folder / 'two-linked') == \
        hashlib.sha256(bytes(range(256)) * 4000).hexdigest()
    assert not list(share.state.glob('keyfold/*'))
    # The former header, put back, opens no block.
    share.unmount()
    after = raw.read_bytes()
    assert after[4096:8192] != before[4096:8192]
    with open(raw, 'r+b') as f:
        f.write(before[:2048])
    share.mount()
    assert share.attempt('kfcfo', 'read', path) == 'EIO'
    share.unmount()
    with open(raw, 'r+b') as f:
        f.write(after[:2048])
    share.mount()
    assert share.attempt('kfcfo', 'read', path) == 'ok'


def test_who_may_not_is_named(share, tree):
    folder, alias = tree
    share.python('kfcfo', 'import os, sys; os.chmod(sys.argv[1], 0o777)', folder)
    out, said = rekey(share, 'kfaccounts', folder, '--reencrypt', code=7)
    for name in ('one', 'two'):
        assert f'{folder / name}: ' in said
    assert 'Not done: 3' in out
    # A file of theirs among the cfo's: the rest is done.
    make_key(share, alias + '-both', 'user:kfcfo user:kfaccounts')
    share.run('kfcfo', 'folder', 'set-key', folder, alias + '-both')
    write(share, folder / 'theirs', 'b"theirs"', 'kfaccounts', 0o666)
    out, said = rekey(share, 'kfcfo', folder, '--reencrypt', code=7)
    assert f'{folder / "theirs"} belongs to another user' in said
    assert 'Not done: 1' in out and 'encrypted anew: 3 files' in out
    refused = [r for r in share.events(eventName='ReencryptFile')
               if r.get('errorCode') == 'AccessDeniedException']
    assert refused[-1]['userIdentity']['userName'] == 'kfcfo'
    # It was not cut off: another run is another one, and gives all new data keys.
    share.python('kfaccounts', 'import os, sys; os.remove(sys.argv[1])', folder / 'theirs')
    assert counts(share, 'kfcfo', folder, '--reencrypt')['reencrypted'] == 3


WRITER = r'''
import os, random, sys
path, seed = sys.argv[1], int(sys.argv[2])
choose = random.Random(seed)
fd = os.open(path, os.O_RDWR)
size = os.fstat(fd).st_size
model = bytearray(os.pread(fd, size, 0))
print('begun', flush=True)
os.set_blocking(0, False)
while True:
    at, length = choose.randrange(size - 20000), choose.randrange(1, 20000)
    data = choose.randbytes(length)
    assert os.pwrite(fd, data, at) == length
    model[at:at + length] = data
    if choose.random() < 0.05: os.fsync(fd)
    if sys.stdin.buffer.read(1): break
    at = choose.randrange(size - 20000)
    assert os.pread(fd, 20000, at) == model[at:at + 20000], at
os.fsync(fd)
assert os.pread(fd, size, 0) == model
import hashlib
print(hashlib.sha256(model).hexdigest(), flush=True)
'''


def test_writers_meanwhile_lose_nothing(share, tree):
    folder, alias = tree
    make_key(share, alias + '-both', 'user:kfcfo user:kfaccounts')
    share.run('kfcfo', 'folder', 'set-key', folder, alias + '-both')
    path = folder / 'shared'
    write(share, path, 'os.urandom(12 << 20)', mode=0o666)
    share.python('kfcfo', 'import os, sys; os.chmod(sys.argv[1], 0o777)', folder)
    writer = subprocess.Popen([*as_user('kfaccounts'), '/usr/bin/python3', '-c', WRITER, path, '1'],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd='/')
    assert writer.stdout.readline() == 'begun\n'
    for _ in range(2):
        assert counts(share, 'kfcfo', path, '--reencrypt')['reencrypted'] == 1
    writer.stdin.write('x')
    writer.stdin.flush()
    expected = writer.stdout.readline().strip()
    assert writer.wait() == 0 and expected
    assert digest(share, path, 'kfaccounts') == expected
    share.unmount()
    share.mount()
    assert digest(share, path, 'kfaccounts') == expected


def test_killed_again_and_again(share, tree):
    folder, alias = tree
    write(share, folder / 'big', 'os.urandom(9 << 20)')
    paths = [folder / name for name in ('big', 'one', 'sub/three', 'two')]
    before = {p: (digest(share, p), shown(share, p)['DataKeyId']) for p in paths}
    words, environment = command(share, 'kfcfo', 'rekey', folder, '--reencrypt',
                                 '--rate-limit', '4M')
    entries = sorted(p.name for p in folder.iterdir())
    for kill in range(6):
        running = subprocess.Popen(words, env=environment, cwd='/', stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        time.sleep(0.15 * (kill + 1))
        running.send_signal(signal.SIGKILL)
        running.wait()
        if kill % 2:  # and the daemon with it
            share.kill()
            share.mount()
        for path in paths:
            assert digest(share, path) == before[path][0]
    ids = {p: shown(share, p)['DataKeyId'] for p in paths}
    done = {p for p in paths if ids[p] != before[p][1]}
    assert done
    _, said = rekey(share, 'kfcfo', folder, '--reencrypt')
    assert 'Going on with a run that was not finished' in said
    for path in paths:
        now = shown(share, path)
        assert digest(share, path) == before[path][0] and not now['Reencrypting']
        if path in done:
            assert now['DataKeyId'] == ids[path], 'it was done again'
        else:
            assert now['DataKeyId'] != before[path][1]
    assert sorted(p.name for p in folder.iterdir()) == entries
    assert not list(share.state.glob('keyfold/*'))


def test_half_done_outlives_the_former_cmk(share, tree):
    folder, alias = tree
    make_key(share, alias + '-new')
    path = folder / 'big'
    write(share, path, 'os.urandom(9 << 20)')
    expected = digest(share, path)
    words, environment = command(share, 'kfcfo', 'file', 'set-key', path, alias + '-new',
                                 '--reencrypt', '--rate-limit', '2M')
    running = subprocess.Popen(words, env=environment, cwd='/')
    time.sleep(1)
    running.kill()
    running.wait()
    assert shown(share, path)['Reencrypting']
    share.kms('kfcfo', 'schedule-key-deletion', '--key-id', alias)
    share.unmount()
    share.mount()
    assert digest(share, path) == expected
    # Any rekey goes on with it.
    assert counts(share, 'kfcfo', path, '--key', alias + '-new')['reencrypted'] == 1
    assert not shown(share, path)['Reencrypting']
    assert digest(share, path) == expected


def test_how_far_it_is_and_how_long_it_takes(share, tree):
    folder, _ = tree
    write(share, folder / 'big', 'os.urandom(6 << 20)')
    share.python('kfcfo', 'import sys; open(sys.argv[1], "wb").truncate(2 << 20)', folder / 'sparse')
    _, said = rekey(share, 'kfcfo', folder, '--reencrypt', '--progress', '--rate-limit', '3M')
    lines = said.splitlines()
    assert len(lines) < 4  # one each two seconds
    for line in lines:
        assert re.fullmatch(r'\d files? of 5, .* of 9.0 MiB, .*/s(, 0:0\d left)?', line), said
    assert lines[-1].endswith(' left') and '2.0 MiB/s' < lines[-1].split(', ')[2] < '4.0 MiB/s', said
    share.kms('kfcfo', 'rotate-key-on-demand', '--key-id', shown(share, folder / 'one')['Key'])
    _, said = rekey(share, 'kfcfo', folder, '--progress')
    assert re.fullmatch(r'1 file of 5, \d+ files/s, 0:0\d left\n', said), said


def test_mistakes_are_told(share, tree):
    folder, alias = tree
    for words in ([folder, '--rate-limit', 'x'], [folder, '--rate-limit', '1'], ['/etc'],
                  [folder / 'none']):
        with pytest.raises(Failed) as info:
            share.run('kfcfo', 'rekey', *words)
        assert info.value.text.startswith('keyfold: ') and info.value.text.count('\n') == 1
    with pytest.raises(Failed) as info:
        share.run('kfcfo', 'rekey', folder, '--key', 'alias/none')
    assert 'alias/none' in info.value.text
