"""When the disk is full: is that told to who writes, is nothing lost, and can a
right still be revoked?

The store lies on a small ext4 of its own, in a file mounted through a loop device."""
import json
import os
import subprocess

import pytest

from share import Failed, new_share, small_disk

botocore = pytest.importorskip('botocore.exceptions')

FILL = r'''
import errno, os, sys
fd = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY | os.O_EXCL)
written = 0
try:
    while True:
        written += os.write(fd, os.urandom(1 << 20))
        os.fsync(fd)
except OSError as e:
    print(errno.errorcode[e.errno])
'''

READ_UNTIL_REFUSED = r'''
import errno, os, sys
for _ in range(10000):
    try:
        os.close(os.open(sys.argv[1], os.O_RDONLY))
    except OSError as e:
        print(errno.errorcode[e.errno])
        break
'''


@pytest.fixture
def share(tmp_path_factory):
    """A Share whose backing filesystem has room for some 40 MB, 5 % of them kept
    for root."""
    if os.geteuid() != 0:
        pytest.skip('needs root to mount a loop device')
    base = tmp_path_factory.mktemp('disk')
    with small_disk(base, 48, reserved=5) as disk, new_share('full-disk', disk) as made:
        yield made


def fill_for_root(folder):
    """Takes all that is left, the reserve too; returns what to remove again."""
    path = folder / 'ballast'
    with open(path, 'wb') as f:
        for size in (1 << 20, 4096):
            try:
                while True:
                    f.write(bytes(size))
                    f.flush()
            except OSError:
                pass
    return path


def test_users_leave_the_reserve_alone(share):
    os.chmod(share.mnt, 0o777)
    kept = share.mnt / 'kept'
    kept.write_bytes(b'before')
    assert share.python('kfcfo', FILL, share.mnt / 'big') == 'ENOSPC'
    space = os.statvfs(share.store)
    assert space.f_bavail * space.f_frsize < 2 << 20
    assert space.f_bfree * space.f_frsize > 2 << 20
    # Reading and the records it makes go on.
    os.chmod(kept, 0o644)
    assert share.attempt('kfcfo', 'read', kept) == 'ok'
    share.kms(None, 'create-key')
    (share.mnt / 'big').unlink()
    assert kept.read_bytes() == b'before'
    assert share.attempt('kfcfo', 'create', share.mnt / 'again') == 'ok'


def test_a_right_can_be_revoked_when_nothing_is_left(share):
    os.chmod(share.mnt, 0o777)
    key = share.kms('kfsysadmin', 'create-key')['KeyMetadata']['KeyId']
    file = share.mnt / 'file'
    assert share.attempt('kfcfo', 'create', file) == 'ok'
    ballast = fill_for_root(share.store.parent)
    # Uses stop when they can't be recorded any more, with a word of why ...
    assert share.python('kfcfo', READ_UNTIL_REFUSED, file) == 'ENOSPC'
    with pytest.raises(Failed) as refused:
        for _ in range(10):  # a shorter record may find room where a longer one did not
            share.kms('kfsysadmin', 'describe-key', '--key-id', key)
    assert 'audit log cannot be written (make room' in refused.value.text
    # ... and changes do not, one after the other.
    for change in ('disable-key', 'enable-key') * 10 + ('disable-key',):
        share.kms('kfsysadmin', change, '--key-id', key)
    ballast.unlink()
    assert share.kms('kfsysadmin', 'describe-key',
                     '--key-id', key)['KeyMetadata']['KeyState'] == 'Disabled'
    assert share.attempt('kfcfo', 'read', file) == 'ok'
    share.run('kfcfo', 'audit', 'verify')
    share.unmount()
    share.mount()
    assert share.kms('kfsysadmin', 'describe-key',
                     '--key-id', key)['KeyMetadata']['KeyState'] == 'Disabled'


def test_doctor_says_so(share):
    def room():
        told = subprocess.run([share.keyfold, 'doctor', share.store, '--output', 'json'],
                              stdout=subprocess.PIPE, text=True)
        found, = [one for one in json.loads(told.stdout) if one['what'] == 'room']
        assert told.returncode == 1 or found['health'] != 'bad'
        return found
    assert room()['health'] == 'ok'
    ballast = fill_for_root(share.store.parent)
    full = room()
    assert full['health'] == 'bad' and full['found'] == '0 bytes left on the disk'
    assert full['mend'].startswith('make room')
    ballast.unlink()
    assert room()['health'] == 'ok'


def test_aws_clients_are_told_why(share):
    import boto3
    from botocore.config import Config
    share.unmount()
    share.mount('--kms-listen', '127.0.0.1:0')
    status = json.loads(share.run(None, 'status', share.mnt, '--output', 'json'))[0]
    key = json.loads(share.run('kfsysadmin', 'iam', 'create-access-key', '--output',
                               'json'))['AccessKey']
    kms = boto3.client('kms', endpoint_url=status['KmsEndpoint'], region_name='local-1',
                       aws_access_key_id=key['AccessKeyId'],
                       aws_secret_access_key=key['SecretAccessKey'],
                       config=Config(retries={'total_max_attempts': 1}))
    kms.list_keys()
    ballast = fill_for_root(share.store.parent)
    with pytest.raises(botocore.ClientError) as refused:
        for _ in range(10000):
            kms.list_keys()
    assert refused.value.response['ResponseMetadata']['HTTPStatusCode'] == 500
    assert 'audit log cannot be written (make room' in refused.value.response['Error']['Message']
    ballast.unlink()
    kms.list_keys()
