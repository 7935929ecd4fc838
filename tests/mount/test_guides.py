"""Does what packaging/guides says work: sharing with a real Samba server; and is it true that
NFS would not?"""
import ctypes
import errno
import os
import re
import subprocess
import time

import pytest

from documents import GUIDES, blocks, first_line
from likeext4 import forget_caches
from share import new_share, remove_users, run_alone

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to act as several users')

BLOCKS = {
    'samba.md': ['[global]', 'users'],
    'nfs.md': [],
}


def block(guide, wanted):
    """The block of a guide that begins so, or with that comment, which is left out."""
    assert wanted in BLOCKS[guide]
    found = {first_line(one): one.text for one in blocks((GUIDES / guide).read_text())}
    return found[wanted].removeprefix(f'# {wanted}\n')


@pytest.mark.parametrize('guide', BLOCKS)
def test_each_block_is_used(guide):
    assert [first_line(found) for found in blocks((GUIDES / guide).read_text())] == BLOCKS[guide]


@pytest.fixture(scope='module')
def share():
    with new_share('guides') as made:
        yield made


def smb_configuration(folder, mnt):
    """The guide's, on a port of its own and with all it keeps in `folder`."""
    text = block('samba.md', '[global]').replace('/srv/finance', str(mnt))
    places = {'passdb backend': f'tdbsam:{folder}/passdb.tdb', 'log file': f'{folder}/log'}
    for name in ('private dir', 'pid directory', 'lock directory', 'cache directory',
                 'state directory', 'ncalrpc dir'):
        places[name] = folder / name.replace(' ', '-')
        places[name].mkdir()
    own = ''.join(f'  {name} = {value}\n' for name, value in places.items())
    own += '  interfaces = lo\n  bind interfaces only = yes\n  smb ports = 14451\n' \
           '  load printers = no\n  disable spoolss = yes\n'
    # What the guide warns of.
    common = f'[common]\n  path = {mnt}\n  read only = no\n  force user = kfcfo\n'
    path = folder / 'smb.conf'
    path.write_text(text.replace('[global]\n', '[global]\n' + own, 1) + common)
    return path


class Samba:
    def __init__(self, share, users):
        self.folder = share.folder / 'samba'
        self.folder.mkdir()
        self.conf = smb_configuration(self.folder, share.mnt)
        for user in users:
            self.add(user, '')
        # It signals its whole process group when it ends.
        self.process = subprocess.Popen(
            ['smbd', '-F', '--no-process-group', '-s', self.conf], start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(100):
            if 'finance' in self.client(users[0], 'ls'):
                break
            time.sleep(0.1)

    def add(self, user, made_by):
        """A user of Samba's, whose account `made_by` makes, or is there."""
        command = made_by or f'smbpasswd -a {user}'
        run_alone(['bash', '-euc', command.replace('-a', f'-c {self.conf} -s -a')], check=True,
                  input=f'pw-{user}\npw-{user}\n', text=True, stdout=subprocess.DEVNULL)

    def words(self, user, command, *options, of='finance'):
        return ['smbclient', '-s', self.conf, f'//127.0.0.1/{of}', '-p', '14451',
                '-U', f'{user}%pw-{user}', *options, '-c', command]

    def client(self, user, command, *options, of='finance'):
        done = subprocess.run(self.words(user, command, *options, of=of), cwd=self.folder,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)
        return done.stdout + done.stderr

    def reading(self, user, path):
        """A client that holds the file open, and goes on as fast as its output is taken."""
        return subprocess.Popen(self.words(user, f'get {path} -'), cwd=self.folder,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT)

    def end(self):
        self.process.terminate()
        self.process.wait()


@pytest.fixture(scope='module')
def samba(share):
    """A server for two users of different rights, and one in a group of the machine."""
    run_alone(['groupadd', '-f', 'kfteam'], check=True)
    run_alone(['usermod', '-a', '-G', 'kfteam', 'kfsysadmin'], check=True)
    made = None
    try:
        made = Samba(share, ['kfcfo', 'kfaccounts', 'kfsysadmin'])
        yield made
    finally:
        if made is not None:
            made.end()
        run_alone(['groupdel', 'kfteam'], check=False)


def folder_with(share, name, contents, *users):
    """A folder that all may write to, under a key of the cfo's, with a file in it."""
    share.kms('kfcfo', 'create-key', '--alias', f'alias/{name}', '--administrators', 'user:kfcfo',
              '--users', 'user:kfcfo', *users)
    folder = share.mnt / name
    share.python('kfcfo', 'import os, sys; os.mkdir(sys.argv[1]); os.chmod(sys.argv[1], 0o777)',
                 folder)
    share.run('kfcfo', 'folder', 'set-key', folder, f'alias/{name}')
    share.python('kfcfo', 'import sys; open(sys.argv[1], "w").write(eval(sys.argv[2]))',
                 folder / 'payslip.txt', contents)
    return folder


def test_samba(share, samba):
    folder = folder_with(share, 'samba', '"net pay 4711"', 'group:kfteam')
    before = len(share.events())
    get = r'get samba\payslip.txt '
    assert 'NT_STATUS' not in samba.client('kfcfo', get + 'cfo')
    assert (samba.folder / 'cfo').read_text() == 'net pay 4711'
    assert 'NT_STATUS' not in samba.client('kfsysadmin', get + 'team')
    assert (samba.folder / 'team').read_text() == 'net pay 4711'
    assert 'payslip.txt' in samba.client('kfaccounts', r'ls samba\*')
    assert 'NT_STATUS_ACCESS_DENIED opening remote file' in \
        samba.client('kfaccounts', get + 'accounts')
    assert not (samba.folder / 'accounts').exists() or \
        (samba.folder / 'accounts').read_bytes() == b''
    assert 'NT_STATUS_ACCESS_DENIED' in samba.client('kfaccounts', r'put smb.conf samba\mine')
    assert 'NT_STATUS' not in samba.client('kfcfo', r'put smb.conf samba\conf')
    assert (folder / 'conf').owner() == 'kfcfo'
    opened = [(r['userIdentity']['userName'], r['eventName'], r.get('errorCode', 'ok'))
              for r in share.events()[before:] if r['eventName'] in ('OpenFile', 'CreateFile')]
    assert ('kfcfo', 'OpenFile', 'ok') in opened
    assert ('kfsysadmin', 'OpenFile', 'ok') in opened
    assert ('kfaccounts', 'OpenFile', 'AccessDeniedException') in opened
    assert ('kfaccounts', 'CreateFile', 'AccessDeniedException') in opened
    assert ('kfcfo', 'CreateFile', 'ok') in opened
    assert {who for who, _, _ in opened} == {'kfcfo', 'kfaccounts', 'kfsysadmin'}
    # Another user, made as the guide says.
    remove_users(['kfstranger'])
    samba.add('kfstranger', re.sub(r'\bcfo\b', 'kfstranger', block('samba.md', 'users')))
    assert 'NT_STATUS_ACCESS_DENIED' in samba.client('kfstranger', get + 'stranger')
    # A key that is disabled is gone here too.
    share.kms('kfcfo', 'disable-key', '--key-id', 'alias/samba')
    assert 'NT_STATUS_' in samba.client('kfcfo', get + 'again')


LARGE = 64 << 20


def test_what_a_client_holds_open_ends_with_the_right(share, samba):
    folder_with(share, 'held', f'"k" * {LARGE}')
    grant = share.kms('kfcfo', 'create-grant', '--key-id', 'alias/held', '--grantee-principal',
                      'user:kfaccounts', '--operations', 'Decrypt')['GrantId']
    get = r'held\payslip.txt'
    with samba.reading('kfaccounts', get) as whole:
        assert whole.stdout.read().count(b'k') >= LARGE
    with samba.reading('kfaccounts', get) as client:
        first = client.stdout.read(1 << 16)
        share.kms('kfcfo', 'revoke-grant', '--key-id', 'alias/held', '--grant-id', grant)
        time.sleep(1.5)
        rest = client.stdout.read()
    # What was on its way: buffers of pipe and sockets, and what the client asks for ahead.
    assert first.count(b'k') + rest.count(b'k') < LARGE / 2
    assert b'NT_STATUS_' in rest and client.returncode != 0
    assert 'NT_STATUS_ACCESS_DENIED' in samba.client('kfaccounts', f'get {get} accounts-again')
    # smbd opens the object that it found by name, so it does not get the new one before the
    # machine has looked the name up again.
    os.stat(share.mnt / 'held/payslip.txt')
    with samba.reading('kfcfo', get) as other:
        assert other.stdout.read().count(b'k') >= LARGE


def test_clients_that_do_not_encrypt_are_refused(samba):
    assert 'NT_STATUS' not in samba.client('kfcfo', 'ls', '-m', 'SMB3_11')
    assert 'NT_STATUS_ACCESS_DENIED' in samba.client('kfcfo', 'ls', '-m', 'SMB2_10')


@pytest.mark.parametrize('name', ['oplocks', 'smb2 leases'])
def test_samba_promises_clients_no_copies(samba, name):
    done = subprocess.run(['testparm', '-s', '--section-name',
                           'global' if name.startswith('smb2') else 'finance',
                           '--parameter-name', name, samba.conf],
                          capture_output=True, text=True, check=True)
    assert done.stdout.strip() == 'No' and 'Unknown parameter' not in done.stderr


def test_windows_lists_are_not_kept(share):
    path = share.mnt / 'list'
    path.write_bytes(b'x')
    with pytest.raises(OSError) as info:
        os.setxattr(path, 'security.NTACL', b'x')
    assert info.value.errno == errno.EOPNOTSUPP


def test_a_common_user_is_one_user_to_keyfold(share, samba):
    folder_with(share, 'common', '"net pay 4711"')
    get = r'get common\payslip.txt by-accounts'
    assert 'NT_STATUS_ACCESS_DENIED' in samba.client('kfaccounts', get)
    before = len(share.events())
    assert 'NT_STATUS' not in samba.client('kfaccounts', get, of='common')
    assert (samba.folder / 'by-accounts').read_text() == 'net pay 4711'
    assert {record['userIdentity']['userName'] for record in share.events()[before:]
            if record['eventName'] == 'OpenFile'} == {'kfcfo'}


class Handle(ctypes.Structure):
    _fields_ = [('bytes', ctypes.c_uint), ('type', ctypes.c_int), ('handle', ctypes.c_ubyte * 128)]


def test_a_forgotten_file_has_no_handle(share):
    """What the kernel's NFS server does with a client's handle."""
    libc = ctypes.CDLL(None, use_errno=True)
    path = share.mnt / 'handle'
    path.write_bytes(b'x')
    handle, mount_id = Handle(bytes=128), ctypes.c_int()
    assert libc.name_to_handle_at(-100, os.fsencode(path), ctypes.byref(handle),
                                  ctypes.byref(mount_id), 0) == 0, ctypes.get_errno()
    mount = os.open(share.mnt, os.O_RDONLY)
    try:
        fd = libc.open_by_handle_at(mount, ctypes.byref(handle), os.O_PATH)
        assert fd >= 0, ctypes.get_errno()
        os.close(fd)
        forget_caches()
        assert libc.open_by_handle_at(mount, ctypes.byref(handle), os.O_PATH) == -1
        assert ctypes.get_errno() == errno.ESTALE
    finally:
        os.close(mount)
