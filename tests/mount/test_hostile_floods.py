"""May one user keep the others from their files, by taking all there is of something?

While kfaccounts floods the daemon, the cfo goes on opening, reading and writing files,
and calling the KMS, within a bounded time; and a right that ends still ends."""
import json
import os
import subprocess
import time

import pytest

from share import SANITIZED, as_user, new_share

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to act as several users')

# A flood and a machine that other work runs on beside; it must not be minutes.
PATIENCE = 5.0
# What one user may make each process grow by.
MOST_MIB = {'files': 700, 'keys': 300}


@pytest.fixture(scope='module')
def share():
    with new_share('flood') as made:
        made.kms('kfcfo', 'create-key', '--alias', 'alias/cfo', '--administrators',
                 'user:kfcfo', '--users', 'user:kfcfo')
        folder = made.mnt / 'cfo'
        made.python('kfcfo', 'import os, sys; os.mkdir(sys.argv[1])', folder)
        made.run('kfcfo', 'folder', 'set-key', folder, 'alias/cfo')
        made.python('kfcfo', 'import sys; open(sys.argv[1], "w").write("x" * 10000)',
                    folder / 'file')
        yield made


FLOOD = r'''
import http.client, json, os, socket, sys, threading, time
path, socket_path, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
def connected():
    connection = http.client.HTTPConnection('localhost', timeout=60)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(socket_path)
    return connection
def call(operation, parameters, connection=None):
    connection = connection or connected()
    connection.request('POST', '/', json.dumps(parameters),
                       {'X-Amz-Target': 'TrentService.' + operation,
                        'Content-Type': 'application/x-amz-json-1.1'})
    response = connection.getresponse()
    return json.loads(response.read()), connection
def post(target, body):
    connection = connected()
    connection.request('POST', '/', body, {'X-Amz-Target': target})
    connection.getresponse().read()
def forever(action):
    def run():
        while True:
            try: action()
            except (OSError, http.client.HTTPException, ValueError): pass
    for _ in range(8): threading.Thread(target=run, daemon=True).start()
'''

FLOODS = {
    # Descriptors that stay open, as many as the user may have, by several processes.
    'handles': r'''
import resource
most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
for _ in range(4):
    if os.fork() == 0:
        held = []
        while True:
            try: held.append(os.open(path + '/mine', os.O_RDWR))
            except OSError: time.sleep(0.01)
''',
    # Refused opens, each of which is a record that is synced within a second.
    'refusals': r'''
def refused():
    os.close(os.open(path + '/../cfo/file', os.O_RDONLY))
forever(refused)
''',
    # Requests as large as they may be, to keys that refuse.
    'requests': r'''
text = 'A' * 900000
forever(lambda: call('Encrypt', {'KeyId': 'alias/cfo', 'Plaintext': text}))
''',
    # Connections that say nothing, or half of something.
    'connections': r'''
held = []
def connect():
    s = socket.socket(socket.AF_UNIX)
    s.connect(socket_path)
    s.send(b'POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n{')
    held.append(s)
    if len(held) > 900: held.pop(0).close()
forever(connect)
''',
    # Answers as large as they come, each from many records of one's own.
    'lookups': r'''
context = {f'name{i}': 'value' * 20 for i in range(60)}
def refused(connection=None):
    for _ in range(100):
        _, connection = call('Encrypt', {'KeyId': 'alias/cfo', 'Plaintext': 'aGk=',
                                         'EncryptionContext': context}, connection)
for _ in range(8): refused()
for _ in range(5): forever(lambda: post('KeyfoldAudit.LookupEvents', '{}'))
''',
    # Documents that take long to read, of somebody who may not apply any.
    'documents': r'''
body = json.dumps({'Document': 'groups: [' + 'a,' * 199000 + 'a]'})
for _ in range(7): forever(lambda: post('KeyfoldIam.ApplyIam', body))
''',
    # Bodies of as many values as there is room for.
    'values': r'''
one = '{"":' * 29 + '{}' + '}' * 29
body = '{"a":[' + ','.join([one] * 6500) + ']}'
for _ in range(7): forever(lambda: post('TrentService.ListKeys', body))
''',
    # Writes that the daemon stages and syncs.
    'writes': r'''
def write():
    with open(f'{path}/big{threading.get_ident()}', 'w+b') as f:
        for at in range(16):
            f.write(b'x' * (1 << 20))
        os.fsync(f.fileno())
forever(write)
''',
}


class Flood:
    def __init__(self, share, kind, count=0):
        self.folder = share.mnt / ('flood-' + kind)
        share.python('kfaccounts', 'import os, sys; os.mkdir(sys.argv[1]);'
                                   'open(sys.argv[1] + "/mine", "w").write("x")', self.folder)
        status = json.loads(share.run(None, 'status', share.mnt, '--output', 'json'))[0]
        code = FLOOD + FLOODS[kind] + '\nprint("flooding", flush=True)\nsys.stdin.read()'
        self.process = subprocess.Popen(
            [*as_user('kfaccounts'), '/usr/bin/python3', '-c', code, self.folder,
             f'/run/keyfold/{status["StoreId"]}.sock', str(count)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd='/',
            start_new_session=True)
        assert self.process.stdout.readline() == 'flooding\n'

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.killpg(self.process.pid, 9)
        self.process.wait()


def timed(action):
    start = time.monotonic()
    action()
    return time.monotonic() - start


@pytest.mark.parametrize('kind', sorted(FLOODS))
def test_others_go_on_while_one_user_floods(share, kind):
    path = share.mnt / 'cfo/file'
    processes = share.processes()

    def resident(which, figure='VmRSS:'):
        status = open(f'/proc/{processes[which]}/status').read()
        return int(status.split(figure)[1].split()[0]) // 1024
    before = {which: resident(which) for which in MOST_MIB}
    with Flood(share, kind):
        time.sleep(1)
        for _ in range(5):
            for action in 'read', 'write':
                taken = timed(lambda: share.attempt('kfcfo', action, path))
                assert taken < PATIENCE, (action, taken)
                assert share.attempt('kfcfo', action, path) == 'ok'
            assert timed(lambda: share.kms('kfcfo', 'encrypt', '--key-id', 'alias/cfo',
                                           '--plaintext', 'c2Vj')) < PATIENCE
        # A right that ends, ends in time all the same.
        start = time.monotonic()
        grant = share.kms('kfcfo', 'create-grant', '--key-id', 'alias/cfo',
                          '--grantee-principal', 'user:kfstranger', '--operations',
                          'Decrypt')['GrantId']
        assert time.monotonic() - start < PATIENCE
        code = ('import errno, os, sys, time\nfd = os.open(sys.argv[1], os.O_RDONLY)\n'
                'print("open", flush=True)\nsys.stdin.readline()\ntime.sleep(1)\n'
                'try: os.pread(fd, 10, 0); print("read")\n'
                'except OSError as e: print(errno.errorcode[e.errno])')
        share.python('kfcfo', 'import os, sys; os.chmod(sys.argv[1], 0o644)', path)
        reader = subprocess.Popen([*as_user('kfstranger'), '/usr/bin/python3', '-c', code, path],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                  cwd='/')
        assert reader.stdout.readline() == 'open\n'
        assert timed(lambda: share.kms('kfcfo', 'revoke-grant', '--key-id', 'alias/cfo',
                                       '--grant-id', grant)) < PATIENCE
        out, _ = reader.communicate('now\n')
        assert out in ('EACCES\n', 'ESTALE\n')
        # A thread of 128 KiB or a request of 1 MiB each, not more and more.
        for which, most in () if SANITIZED else MOST_MIB.items():
            assert resident(which) < before[which] + most, which
    assert share.attempt('kfcfo', 'read', path) == 'ok'
    share.run('kfcfo', 'audit', 'verify')


def test_aliases_of_a_key_are_limited_as_on_aws(share):
    share.kms('kfcfo', 'create-key', '--alias', 'alias/many0', '--administrators',
              'user:kfcfo', '--users', 'user:kfcfo')
    for i in range(1, 50):
        share.kms('kfcfo', 'create-alias', '--alias-name', f'alias/many{i}',
                  '--target-key-id', 'alias/many0')
    assert share.refused('kfcfo', 'create-alias', '--alias-name', 'alias/many50',
                         '--target-key-id', 'alias/many0') == 'LimitExceededException'
    # Nor by moving one there.
    share.kms('kfcfo', 'create-alias', '--alias-name', 'alias/other', '--target-key-id',
              'alias/cfo')
    assert share.refused('kfcfo', 'update-alias', '--alias-name', 'alias/other',
                         '--target-key-id', 'alias/many0') == 'LimitExceededException'
    # One that is there already may be set again.
    share.kms('kfcfo', 'update-alias', '--alias-name', 'alias/many7', '--target-key-id',
              'alias/many0')


def test_a_flood_of_keys_and_grants_keeps_nobody_waiting(share):
    """Who may make keys and grants may make many; others go on meanwhile."""
    code = FLOOD + r'''
connection = None
for i in range(count):
    answer, connection = call('CreateKey', {}, connection)
    key = answer['KeyMetadata']['KeyId']
    for j in range(3):
        call('CreateGrant', {'KeyId': key, 'GranteePrincipal': 'user:kfaccounts',
                             'Operations': ['Decrypt']}, connection)
'''
    status = json.loads(share.run(None, 'status', share.mnt, '--output', 'json'))[0]
    flood = subprocess.Popen(
        [*as_user('kfaccounts'), '/usr/bin/python3', '-c', code, '/',
         f'/run/keyfold/{status["StoreId"]}.sock', '300'], cwd='/')
    path, slowest = share.mnt / 'cfo/file', 0
    while flood.poll() is None:
        slowest = max(slowest, timed(lambda: share.attempt('kfcfo', 'write', path)))
    assert flood.wait() == 0
    assert slowest < PATIENCE
    status = json.loads(share.run(None, 'status', share.mnt, '--output', 'json'))[0]
    assert status['Keys']['Enabled'] >= 300 and status['Grants'] >= 900
