"""Does what packaging/guides says work: moving from other encrypting filesystems, and
sharing with a real Samba server; and is it true that NFS would not?"""
import ctypes
import errno
import os
import pathlib
import re
import shutil
import subprocess
import time

import pytest

from desk import Desk
from documents import GUIDES, blocks, first_line
from likeext4 import forget_caches
from share import new_share, remove_users, run_alone

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to act as several users')

PASSPHRASE = 'correct horse battery staple\n'
BLOCKS = {
    'moving.md': ['before', 'gocryptfs', 'encfs', 'cryfs', 'fscrypt', 'after'],
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


class Mover:
    """The cfo with a home, whose programs ask nobody."""

    def __init__(self, share):
        self.share = share
        os.environ.update(CRYFS_FRONTEND='noninteractive', CRYFS_NO_UPDATE_CHECK='true')
        self.desk = Desk(share.folder, share.keyfold, share.store.parent, share.store)
        self.home = self.desk.home('cfo')
        self.passphrase = share.folder / 'passphrase'
        self.passphrase.write_text(PASSPHRASE)
        for name in ('cipher', 'plain', 'private'):
            (self.home / name).mkdir()
        self.own()

    def own(self):
        subprocess.run(['chown', '-R', 'kfcfo:kfcfo', self.home], check=True)

    def run(self, commands):
        """What the commands show, each of which must succeed."""
        shown = ''
        for command in commands.replace('encfs ~', 'encfs --stdinpass --standard ~').splitlines():
            code, answer = self.desk.run('cfo', command, self.passphrase)
            assert code == 0, (command, answer)
            shown += answer
        return shown


@pytest.fixture(scope='module')
def mover(share):
    made = Mover(share)
    try:
        share.kms('kfcfo', 'create-key', '--alias', 'alias/other', '--administrators',
                  'user:kfcfo', '--users', 'user:kfcfo')
        made.run(block('moving.md', 'before'))
        yield made
    finally:
        made.desk.close()


WRITE = r'''
import os, sys
folder = sys.argv[1]
os.mkdir(folder + '/sub')
open(folder + '/payslip.txt', 'w').write('net pay 4711\n')
open(folder + '/sub/large', 'wb').write(os.urandom(3_000_000))
os.symlink('../payslip.txt', folder + '/sub/link')
'''

MAKE = {
    'gocryptfs': 'gocryptfs -q -init -scryptn 10 ~/cipher',
    'encfs': 'true',
    'cryfs': 'true',
}
OPEN = {
    'gocryptfs': 'gocryptfs -q ~/cipher ~/plain',
    'encfs': 'encfs ~/cipher ~/plain',
    'cryfs': 'cryfs ~/cipher ~/plain',
}
CLOSE = {'gocryptfs': 'fusermount -u ~/plain', 'encfs': 'fusermount -u ~/plain',
         'cryfs': 'cryfs-unmount ~/plain'}


def check_moved(share):
    reports = share.mnt / 'reports'
    found = share.python('kfcfo', 'import os, sys; os.chdir(sys.argv[1]);'
                                  'print(open("sub/link").read().strip(),'
                                  'os.path.getsize("sub/large"))', reports)
    assert found == 'net pay 4711 3000000'
    share.python('kfcfo', 'import shutil, sys, os; [shutil.rmtree(e.path) if e.is_dir() '
                          'else os.unlink(e.path) for e in os.scandir(sys.argv[1])]', reports)


@pytest.mark.parametrize('program', ['gocryptfs', 'encfs', 'cryfs'])
def test_moving(share, mover, program):
    mover.run(MAKE[program])
    mover.run(OPEN[program])
    try:
        share.python('kfcfo', WRITE, mover.home / 'plain')
    finally:
        mover.run(CLOSE[program])
    mover.run(block('moving.md', program))
    mover.run(OPEN[program])
    try:
        out = mover.run(block('moving.md', 'after'))
    finally:
        mover.run(CLOSE[program])
    assert 'Already there: 2 files' in out and 'Looked at 2 files' in out
    check_moved(share)
    shutil.rmtree(mover.home / 'cipher')
    (mover.home / 'cipher').mkdir()
    mover.own()


def test_moving_from_fscrypt(share, mover):
    configuration = pathlib.Path('/etc/fscrypt.conf')
    was_there = configuration.exists()
    if not was_there:
        # It sets up / as well, which in a chroot is no filesystem that it can find.
        subprocess.run(['fscrypt', 'setup', '--quiet', '--time=1ms'], check=False,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        assert configuration.exists()
    image, disk = (mover.home / name for name in ('image', 'disk'))
    disk.mkdir()
    with open(image, 'wb') as f:
        f.truncate(64 << 20)
    subprocess.run(['mkfs.ext4', '-q', '-O', 'encrypt', image], check=True)
    subprocess.run(['mount', '-o', 'loop', image, disk], check=True)
    try:
        subprocess.run(['fscrypt', 'setup', disk, '--quiet', '--all-users'], check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        private = disk / 'private'
        private.mkdir()
        (mover.home / 'key').write_bytes(os.urandom(32))
        mover.own()
        mover.run(f'fscrypt encrypt {private} --source=raw_key --key=$HOME/key --name=test --quiet')
        share.python('kfcfo', WRITE, private)
        mover.run(f'fscrypt lock {private}')
        mover.run(block('moving.md', 'fscrypt').replace('unlock', 'unlock --key=$HOME/key --quiet')
                  .replace('/home/cfo/private', str(private)))
        assert 'payslip.txt' not in os.listdir(private)
        check_moved(share)
    finally:
        subprocess.run(['umount', disk], check=True)
        if not was_there:
            configuration.unlink()


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
    path = folder / 'smb.conf'
    path.write_text(text.replace('[global]\n', '[global]\n' + own, 1))
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

    def client(self, user, command):
        done = subprocess.run(['smbclient', '-s', self.conf, '//127.0.0.1/finance', '-p', '14451',
                               '-U', f'{user}%pw-{user}', '-c', command], cwd=self.folder,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)
        return done.stdout + done.stderr

    def end(self):
        self.process.terminate()
        self.process.wait()


def test_samba(share):
    """Two users of different rights, and one who has them by a group of the machine."""
    subprocess.run(['groupadd', '-f', 'kfteam'], check=True)
    subprocess.run(['usermod', '-a', '-G', 'kfteam', 'kfsysadmin'], check=True)
    samba = None
    try:
        share.kms('kfcfo', 'create-key', '--alias', 'alias/samba', '--administrators',
                  'user:kfcfo', '--users', 'user:kfcfo', 'group:kfteam')
        folder = share.mnt / 'finance'
        share.python('kfcfo', 'import os, sys; os.mkdir(sys.argv[1]); os.chmod(sys.argv[1], 0o777)',
                     folder)
        share.run('kfcfo', 'folder', 'set-key', folder, 'alias/samba')
        share.python('kfcfo', 'import sys; open(sys.argv[1], "w").write("net pay 4711")',
                     folder / 'payslip.txt')
        samba = Samba(share, ['kfcfo', 'kfaccounts', 'kfsysadmin'])
        before = len(share.events())
        get = r'get finance\payslip.txt '
        assert 'NT_STATUS' not in samba.client('kfcfo', get + 'cfo')
        assert (samba.folder / 'cfo').read_text() == 'net pay 4711'
        assert 'NT_STATUS' not in samba.client('kfsysadmin', get + 'team')
        assert (samba.folder / 'team').read_text() == 'net pay 4711'
        assert 'payslip.txt' in samba.client('kfaccounts', r'ls finance\*')
        assert 'NT_STATUS_ACCESS_DENIED opening remote file' in \
            samba.client('kfaccounts', get + 'accounts')
        assert not (samba.folder / 'accounts').exists() or \
            (samba.folder / 'accounts').read_bytes() == b''
        assert 'NT_STATUS_ACCESS_DENIED' in samba.client('kfaccounts', r'put smb.conf finance\mine')
        assert 'NT_STATUS' not in samba.client('kfcfo', r'put smb.conf finance\conf')
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
    finally:
        if samba is not None:
            samba.end()
        subprocess.run(['groupdel', 'kfteam'], check=False)


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
