"""Does memory grow with neither calls nor time? A real daemon and the process with its keys
serve many thousands of calls of all kinds by several users; after a warm-up neither may
hold more than before, beyond what the allocator's noise explains. KEYFOLD_TEST_MEMORY_CALLS
sets how many calls each user makes in a round."""
import json
import os
import subprocess

import pytest

from share import SANITIZED, as_user, new_share

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to act as several users')

if SANITIZED:
    pytest.skip('a sanitizer keeps what is freed', allow_module_level=True)

WARM_UP, ROUNDS = 2, 4
CALLS = int(os.environ.get('KEYFOLD_TEST_MEMORY_CALLS', 2000))  # of each user, a round
FILES = CALLS  # each made, opened anew, looked for in vain and removed
USERS = ('kfcfo', 'kfaccounts', 'kfstranger')
# What a round may add to a process: half of what a leak of one small object of 200 bytes a
# call, or file, would; the allocator's own pieces are larger than what few calls leave.
BYTES_EACH, LEAST = 100, 256 << 10

# One user's round. Contexts, names and connections are new ones each time.
ROUND = r'''
import http.client, json, os, socket, sys
socket_path, folder, seed, calls = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
allowed = os.access(folder, os.W_OK)
def connect():
    made = http.client.HTTPConnection('localhost', timeout=60)
    made.sock = socket.socket(socket.AF_UNIX)
    made.sock.connect(socket_path)
    return made
connection, done, failed = connect(), 0, 0
def call(operation, parameters, service='TrentService'):
    global connection, done, failed
    if done % 20 == 19:
        connection.close()
        connection = connect()
    connection.request('POST', '/', json.dumps(parameters),
                       {'X-Amz-Target': f'{service}.{operation}',
                        'Content-Type': 'application/x-amz-json-1.1'})
    response = connection.getresponse()
    answer = json.loads(response.read())
    done += 1
    failed += response.status != 200
    return answer
KEY = 'alias/cfo'
while done < calls:
    context = {f'name {seed} {done}': 'x' * 40}
    made = call('GenerateDataKey', {'KeyId': KEY, 'KeySpec': 'AES_256',
                                    'EncryptionContext': context})
    blob = made.get('CiphertextBlob', 'AAAA')
    for _ in range(3):
        call('Decrypt', {'CiphertextBlob': blob, 'EncryptionContext': context})
    call('Decrypt', {'CiphertextBlob': blob, 'EncryptionContext': {f'other{done}': 'y'}})
    call('Encrypt', {'KeyId': f'alias/none-{seed}-{done}', 'Plaintext': 'aGk='})
    call('ListKeys', {})
    call('DescribeKey', {'KeyId': KEY})
    call(f'Unknown{seed}{done}', {})
    if done % 500 < 9:  # each reads the whole log
        call('LookupEvents', {'MaxResults': 20}, 'KeyfoldAudit')
    if done % 30 < 9:
        grant = call('CreateGrant', {'KeyId': KEY, 'GranteePrincipal': 'user:kfstranger',
                                     'Operations': ['DescribeKey'],
                                     'Name': f'grant-{seed}-{done}'})
        if 'GrantId' in grant:
            call('RevokeGrant', {'KeyId': KEY, 'GrantId': grant['GrantId']})
for i in range(calls if allowed else 0):
    name = f'{folder}/file-{seed}-{i}'
    with open(name, 'w') as f: f.write('x' * 5000)
    with open(name) as f: f.read()
    os.unlink(name)
    try: open(f'{folder}/none-{seed}-{i}')
    except OSError: pass
print(done, failed)
'''


def anonymous(pid):
    """The process's own memory in bytes: what no file holds."""
    status = open(f'/proc/{pid}/status').read()
    return int(status.split('RssAnon:')[1].split()[0]) * 1024


def test_memory_grows_with_neither_calls_nor_time():
    with new_share('memory') as share:
        share.kms('kfcfo', 'create-key', '--alias', 'alias/cfo', '--administrators',
                  'user:kfcfo', '--users', 'user:kfcfo')
        share.kms('kfcfo', 'create-grant', '--key-id', 'alias/cfo', '--grantee-principal',
                  'user:kfaccounts', '--operations', 'Decrypt', 'GenerateDataKey', 'DescribeKey')
        folder = share.mnt / 'cfo'
        share.python('kfcfo', 'import os, sys; os.mkdir(sys.argv[1])', folder)
        share.run('kfcfo', 'folder', 'set-key', folder, 'alias/cfo')
        status = json.loads(share.run(None, 'status', share.mnt, '--output', 'json'))[0]
        processes = share.processes()
        held = {'files': [], 'keys': []}
        for number in range(WARM_UP + ROUNDS):
            users = [subprocess.Popen(
                [*as_user(user), '/usr/bin/python3', '-c', ROUND,
                 f'/run/keyfold/{status["StoreId"]}.sock', folder, f'{number}', str(CALLS)],
                stdout=subprocess.PIPE, text=True, cwd='/')
                for user in USERS]
            for user in users:
                done, failed = map(int, user.communicate()[0].split())
                assert user.returncode == 0 and done >= CALLS and 0 < failed, (done, failed)
            for which, sizes in held.items():
                sizes.append(anonymous(processes[which]))
        print({which: [size // 1024 for size in sizes] for which, sizes in held.items()})
        # Each round adds what leaks; what an allocator keeps comes with some.
        for which, each in {'files': FILES, 'keys': len(USERS) * CALLS}.items():
            sizes = held[which][WARM_UP - 1:]
            added = min(after - before for before, after in zip(sizes, sizes[1:]))
            assert added < max(LEAST, BYTES_EACH * each), (which, held[which])
        assert share.processes() == processes
