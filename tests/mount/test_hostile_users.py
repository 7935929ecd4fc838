"""By which ways may bytes reach a user whose right has ended, or come from one?

ways.c tries each way the kernel has to come to an open file's bytes; here it is given
the file by name, over a socket, through exec, set-uid programs and /proc. After a
revocation and the promised second no way may give a byte, whether written before it
or after. ways_in.c tries each way to bring bytes in, of which none may reach the file."""
import ctypes
import json
import os
import re
import socket
import subprocess
import threading
import time

import pytest

from share import as_user, new_share

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to act as several users')

PROMISED = 1.0
SIZE = 16384
TRIES = int(os.environ.get('KEYFOLD_TEST_STEPS', 4))
# What shows that a way gave nothing.
NOTHING = {'EACCES', 'ENOKEY', 'ESTALE', 'EFAULT', 'SIGBUS', 'EIO', 'EAGAIN', 'EXDEV',
           'EOPNOTSUPP'}
libc = ctypes.CDLL(None, use_errno=True)


@pytest.fixture(scope='module')
def share():
    with new_share('hostile') as made:
        for program in ('ways', 'ways_in'):
            source = os.path.join(os.path.dirname(__file__), program + '.c')
            subprocess.run(['gcc', '-O1', '-o', made.folder / program, source], check=True)
        yield made


def put(share, user, path, word, flags='w'):
    """A file of SIZE bytes of `word`, through a new open."""
    share.python(user, 'import os, sys; f = open(sys.argv[1], sys.argv[3]);'
                       f'f.write(sys.argv[2] * ({SIZE} // len(sys.argv[2]))); f.close();'
                       'os.chmod(sys.argv[1], 0o666)', path, word, flags)


@pytest.fixture
def secret(share, request):
    """A file that only the cfo may use. Returns (path, alias)."""
    name = re.sub(r'\W', '-', request.node.name)
    alias = 'alias/' + name
    share.kms('kfcfo', 'create-key', '--alias', alias, '--administrators', 'user:kfcfo',
              '--users', 'user:kfcfo')
    folder = share.mnt / name
    share.python('kfcfo', 'import os, sys; os.mkdir(sys.argv[1])', folder)
    share.run('kfcfo', 'folder', 'set-key', folder, alias)
    put(share, 'kfcfo', folder / 'secret', 'OLD!')
    put(share, 'kfaccounts', share.mnt / (name + '-scratch'), '....')
    return folder / 'secret', alias


class Ways:
    """A process that tries all ways to a file."""

    def __init__(self, share, file, scratch, user='kfaccounts', program=None,
                 inherits=False, **options):
        words = [program or share.folder / 'ways', file, scratch]
        if inherits:
            # The file is opened before the program is executed.
            code = ('import os, sys; os.dup2(os.open(sys.argv[2], os.O_RDONLY), 9);'
                    'os.execv(sys.argv[1], [sys.argv[1], "fd:9", sys.argv[3]])')
            words = ['/usr/bin/python3', '-c', code, *words]
        self.process = subprocess.Popen(
            [*as_user(user), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, cwd='/', **options)
        assert self.process.stdout.readline() == 'ready\n'

    def all(self, what='all'):
        self.process.stdin.write(what + '\n')
        self.process.stdin.flush()
        found = {}
        while (line := self.process.stdout.readline().strip()) != 'end':
            way, outcome = line.split()
            found[way] = outcome
        return found

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def grant(share, alias, *more, user='kfaccounts'):
    return share.kms('kfcfo', 'create-grant', '--key-id', alias, '--grantee-principal',
                     f'user:{user}', '--operations', 'Decrypt', *more)['GrantId']


def revoke(share, alias, how, granted):
    if how == 'grant':
        share.kms('kfcfo', 'revoke-grant', '--key-id', alias, '--grant-id', granted)
    elif how == 'disable':
        share.kms('kfcfo', 'disable-key', '--key-id', alias)
    else:
        policy = json.loads(share.kms('kfcfo', 'get-key-policy', '--key-id', alias)['Policy'])
        policy['Statement'].append({
            'Effect': 'Deny', 'Action': 'kms:*', 'Resource': '*',
            'Principal': {'AWS': 'arn:aws:iam::000000000000:user/kfaccounts'}})
        share.kms('kfcfo', 'put-key-policy', '--key-id', alias, '--policy', json.dumps(policy))


def tried(found):
    """What the kernel lets be tried."""
    available = {w: o for w, o in found.items() if not o.startswith('unavailable:')}
    for way, outcome in found.items():
        if way not in available:
            print(f'SKIPPED {way}: the kernel refuses it ({outcome.split(":")[1]})')
    return available


def check_nothing(found):
    left = {w: o for w, o in tried(found).items() if o not in NOTHING}
    assert not left, left


@pytest.mark.parametrize('how', ['grant', 'policy', 'disable'])
def test_no_way_leads_to_a_byte_after_a_revocation(share, secret, how):
    path, alias = secret
    scratch = share.mnt / (path.parent.name + '-scratch')
    granted = grant(share, alias)
    ways = Ways(share, path, scratch)
    try:
        before = tried(ways.all())
        assert set(before.values()) <= {'old', 'empty', 'EXDEV', 'EOPNOTSUPP'}, before
        assert sum(outcome == 'old' for outcome in before.values()) >= 10
        revoke(share, alias, how, granted)
        time.sleep(PROMISED)
        check_nothing(ways.all())
        if how == 'disable':
            share.kms('kfcfo', 'enable-key', '--key-id', alias)
            share.kms('kfcfo', 'revoke-grant', '--key-id', alias, '--grant-id', granted)
        put(share, 'kfcfo', path, 'NEW!', 'r+')
        check_nothing(ways.all())
        # What was taken into a pipe while the right was there stays what it was.
        assert set(ways.all('pipes').values()) <= {'old'}
    finally:
        ways.close()


BLOCK, BLOCKS = 4096, 16


def fill(share, path, word):
    """The whole file, of 16 blocks, by who has the right."""
    share.python('kfcfo', 'import sys; f = open(sys.argv[1], "r+");'
                          'f.write(sys.argv[2] * int(sys.argv[3])); f.close()',
                 path, word, BLOCKS * BLOCK // 4)


def blocks_of(share, path):
    """What each block holds: a word, zeros as '', or '?'."""
    text = bytes.fromhex(share.python('kfcfo', 'import sys; f = open(sys.argv[1], "rb");'
                                               'print(f.read().hex())', path))
    assert len(text) % BLOCK == 0
    blocks = [text[at:at + BLOCK] for at in range(0, len(text), BLOCK)]
    return ['' if not any(block) else block[:4].decode() if block == block[:4] * (BLOCK // 4)
            else '?' for block in blocks]


def is_refused(outcomes):
    """Nothing was taken that could be lost silently: fsync may have nothing to do."""
    check_nothing({way: outcome for way, outcome in outcomes.items() if way != 'fsync'})


@pytest.mark.parametrize('how', ['grant', 'policy', 'disable'])
def test_no_way_leads_a_byte_in_after_a_revocation(share, secret, how):
    path, alias = secret
    scratch = share.mnt / (path.parent.name + '-scratch')
    granted = grant(share, alias, 'GenerateDataKey')
    fill(share, path, 'OLD!')
    ways = Ways(share, path, scratch, program=share.folder / 'ways_in')
    try:
        # While the right is there they lead in, so that what follows tells something.
        before = ways.all('HIS!')
        blocks = dict(zip(before, blocks_of(share, path)))
        assert before['truncate'] == 'ok' and 'truncate' not in blocks
        assert (blocks.pop('punch'), blocks.pop('zero'), blocks.pop('pwrite_part')) == ('', '', '?')
        assert {way for way, block in blocks.items() if block == 'HIS!'} == \
            {way for way in blocks if before[way] == 'ok'}, (before, blocks)
        assert sum(block == 'HIS!' for block in blocks.values()) >= 8, before
        fill(share, path, 'OLD!')
        revoke(share, alias, how, granted)
        time.sleep(PROMISED)
        after = ways.all('BAD!')
        is_refused(after)
        if how == 'disable':
            share.kms('kfcfo', 'enable-key', '--key-id', alias)
            share.kms('kfcfo', 'revoke-grant', '--key-id', alias, '--grant-id', granted)
        assert blocks_of(share, path) == ['OLD!'] * BLOCKS, after
        fill(share, path, 'NEW!')
        after = ways.all('BAD!')
        is_refused(after)
        assert blocks_of(share, path) == ['NEW!'] * BLOCKS, after
    finally:
        ways.close()
    # Nor is it on its way: what the kernel still held is gone with the mount.
    share.unmount()
    share.mount()
    assert blocks_of(share, path) == ['NEW!'] * BLOCKS


@pytest.mark.parametrize('how', ['grant', 'policy', 'disable'])
def test_reading_by_all_ways_while_the_right_ends(share, secret, how):
    """Threads of tries race the revocation itself, again and again."""
    path, alias = secret
    scratch = share.mnt / (path.parent.name + '-scratch')
    policy = share.kms('kfcfo', 'get-key-policy', '--key-id', alias)['Policy']
    for _ in range(TRIES):
        granted = grant(share, alias)
        put(share, 'kfcfo', path, 'OLD!', 'r+')
        several = [Ways(share, path, scratch) for _ in range(4)]
        until, late = [float('inf')], []

        def race(ways):
            while time.monotonic() < until[0] + 0.5:
                start = time.monotonic()
                found = ways.all()
                if start > until[0]:
                    late.append({w: o for w, o in found.items() if o not in NOTHING
                                 and not o.startswith('unavailable')})
                late.extend(o for o in found.values() if o == 'new')
        threads = [threading.Thread(target=race, args=(ways,)) for ways in several]
        for thread in threads:
            thread.start()
        time.sleep(0.1)
        revoke(share, alias, how, granted)
        until[0] = time.monotonic() + PROMISED
        if how != 'disable':
            # At once, before the promised second is over.
            put(share, 'kfcfo', path, 'NEW!', 'r+')
        for thread in threads:
            thread.join()
        for ways in several:
            ways.close()
        assert any(isinstance(found, dict) for found in late)
        assert not [found for found in late if found], late
        if how == 'disable':
            share.kms('kfcfo', 'enable-key', '--key-id', alias)
            share.kms('kfcfo', 'revoke-grant', '--key-id', alias, '--grant-id', granted)
        share.kms('kfcfo', 'put-key-policy', '--key-id', alias, '--policy', policy)


def hand_over(share, path, sender):
    """A descriptor of `path` that `sender` opened, as it comes over a socket."""
    here, there = socket.socketpair()
    code = ('import os, socket, sys; s = socket.socket(fileno=int(sys.argv[2]));'
            'socket.send_fds(s, [b"x"], [os.open(sys.argv[1], os.O_RDONLY)])')
    subprocess.run([*as_user(sender), '/usr/bin/python3', '-c', code, path, str(there.fileno())],
                   pass_fds=[there.fileno()], check=True, cwd='/')
    _, fds, _, _ = socket.recv_fds(here, 1, 1)
    here.close()
    there.close()
    return fds[0]


def reopenings(found):
    return {found.pop('reopen'), found.pop('reopen_path')}


@pytest.mark.parametrize('through', ['socket', 'set-uid'])
def test_a_descriptor_that_was_handed_on_ends_with_the_right_of_who_opened_it(
        share, secret, through):
    path, alias = secret
    granted = grant(share, alias)
    scratch = share.mnt / (path.parent.name + '-stranger')
    put(share, 'kfstranger', scratch, '....')
    if through == 'socket':
        fd = hand_over(share, path, 'kfaccounts')
        ways = Ways(share, f'fd:{fd}', scratch, 'kfstranger', pass_fds=[fd])
        os.close(fd)
    else:
        program = share.folder / 'ways-of-stranger'
        subprocess.run(['cp', share.folder / 'ways', program], check=True)
        subprocess.run(['chown', 'kfstranger', program], check=True)
        program.chmod(0o4755)
        ways = Ways(share, path, scratch, program=program, inherits=True)
    try:
        found = ways.all()
        # Opening again is an open of its own, by who does it.
        assert reopenings(found) == {'EACCES'}
        assert 'old' in found.values()
        revoke(share, alias, 'grant', granted)
        time.sleep(PROMISED)
        put(share, 'kfcfo', path, 'NEW!', 'r+')
        check_nothing(ways.all())
    finally:
        ways.close()


def attempt(user, code, *args):
    """What a Python expression of `user` prints; the errno's name if it fails."""
    program = ('import ctypes, errno, os, sys\n'
               'libc = ctypes.CDLL(None, use_errno=True)\n'
               'def call(*args):\n'
               '    if libc.syscall(*args) < 0: raise OSError(ctypes.get_errno(), "call")\n'
               f'try: print({code})\n'
               'except OSError as e: print(errno.errorcode[e.errno])')
    result = subprocess.run([*as_user(user), '/usr/bin/python3', '-c', program, *map(str, args)],
                            stdout=subprocess.PIPE, text=True, cwd='/')
    return result.stdout.strip()


def test_another_user_reaches_no_descriptor_or_memory_of_a_process(share, secret):
    path, alias = secret
    granted = grant(share, alias)
    ways = Ways(share, path, share.mnt / (path.parent.name + '-scratch'))
    pid = ways.process.pid
    try:
        fd = next(f for f in os.listdir(f'/proc/{pid}/fd')
                  if os.path.realpath(f'/proc/{pid}/fd/{f}') == str(path))
        for code, outcome in {
                'open(f"/proc/{sys.argv[1]}/fd/{sys.argv[2]}").read()': 'EACCES',
                'open(f"/proc/{sys.argv[1]}/mem", "rb").read(1)': 'EACCES',
                'call(101, 16, int(sys.argv[1]), 0, 0)': 'EPERM',  # PTRACE_ATTACH
                'call(438, os.pidfd_open(int(sys.argv[1])), int(sys.argv[2]), 0)': 'EPERM',
        }.items():
            assert attempt('kfstranger', code, pid, fd) == outcome, code
        # Root may take the descriptor, as SECURITY.md says; it ends like the user's own.
        pidfd = os.pidfd_open(pid)
        taken = libc.syscall(438, pidfd, int(fd), 0)
        os.close(pidfd)
        assert taken >= 0
        assert os.pread(taken, 4, 0) == b'OLD!'
        revoke(share, alias, 'grant', granted)
        time.sleep(PROMISED)
        with pytest.raises(OSError):
            os.pread(taken, 4, 0)
        # And opening it again is root's own open, of an inode that is no more.
        with pytest.raises(OSError):
            open(f'/proc/self/fd/{taken}', 'rb').close()
        os.close(taken)
    finally:
        ways.close()


OPENERS = r'''
import os, random, sys, threading
folders, text = sys.argv[1].split(':'), sys.argv[2].encode()
bad, stop = [], False
def work(seed):
    rng = random.Random(seed)
    while not stop:
        try:
            fd = os.open(rng.choice(folders) + '/secret', rng.choice((os.O_RDONLY, os.O_RDWR)))
        except OSError:
            continue
        try:
            data = os.pread(fd, 4096, rng.randrange(4) * 4096)
            if data != text * 1024:
                bad.append(data[:40])
        except OSError:
            pass
        finally:
            try: os.close(fd)
            except OSError: pass
threads = [threading.Thread(target=work, args=(i,)) for i in range(16)]
for t in threads: t.start()
print('working', flush=True)
sys.stdin.readline()
stop = True
for t in threads: t.join()
print(len(bad), bad[:3], flush=True)
'''


def test_many_threads_open_and_close_while_keys_come_and_go(share):
    folders = []
    for i in range(6):
        alias = f'alias/cycle{i}'
        share.kms('kfcfo', 'create-key', '--alias', alias, '--administrators', 'user:kfcfo',
                  '--users', 'user:kfcfo')
        folders.append(share.mnt / f'cycle{i}')
        share.python('kfcfo', 'import os, sys; os.mkdir(sys.argv[1])', folders[-1])
        share.run('kfcfo', 'folder', 'set-key', folders[-1], alias)
        put(share, 'kfcfo', folders[-1] / 'secret', 'OLD!')
    before = len(os.listdir(f'/proc/{share.daemon()}/fd'))
    workers = [subprocess.Popen(
        [*as_user('kfcfo'), '/usr/bin/python3', '-c', OPENERS, ':'.join(map(str, folders)), 'OLD!'],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd='/') for _ in range(2)]
    for worker in workers:
        assert worker.stdout.readline() == 'working\n'
    for cycle in range(6 * TRIES):
        for what in 'disable-key', 'enable-key':
            share.kms('kfcfo', what, '--key-id', f'alias/cycle{cycle % 6}')
    for worker in workers:
        out, _ = worker.communicate('stop\n', timeout=60)
        assert out == '0 []\n'
    for folder in folders:
        assert share.attempt('kfcfo', 'read', folder / 'secret') == 'ok'
    assert len(os.listdir(f'/proc/{share.daemon()}/fd')) <= before + 20
    share.run('kfcfo', 'audit', 'verify')
