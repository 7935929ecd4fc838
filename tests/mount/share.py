"""A store with four real users, for the tests of who may what."""
import base64
import contextlib
import fcntl
import json
import os
import pathlib
import pwd
import re
import shutil
import subprocess
import tempfile
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
KEYFOLD = os.environ.get('KEYFOLD', str(ROOT / 'build/release/keyfold'))
# A sanitizer has memory of its own, keeps what is freed, and takes the place of the filter
# of system calls.
SANITIZED = any(runtime in pathlib.Path(KEYFOLD).read_bytes()
                for runtime in (b'__asan_init', b'__tsan_init'))
USERS = ('kfcfo', 'kfaccounts', 'kfsysadmin', 'kfstranger')

IAM = """
users:
  kfcfo: {groups: [finance]}
  kfaccounts: {policies: [FilesFullAccess, ConsoleReadOnlyAccess]}
  kfsysadmin: {groups: [administrators]}
groups:
  finance: {policies: [FilesFullAccess, ConsoleReadOnlyAccess]}
  administrators: {policies: [%s]}
"""


class Failed(Exception):
    """A command that was refused: code and what it said."""

    def __init__(self, result):
        super().__init__(f'{result.args}: exit {result.returncode}: {result.stderr}')
        self.code, self.text = result.returncode, result.stderr


USERS_LOCK = '/run/lock/keyfold-tests-users'


def run_alone(command, **how):
    """A command that changes the machine's users, not beside another test's."""
    with open(USERS_LOCK, 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run(command, **how)


def make_users(names=USERS):
    for name in names:
        run_alone(['useradd', '-M', '-U', '-s', '/bin/sh', name], check=True)


def remove_users(names=USERS):
    for name in names:
        run_alone(['userdel', name], check=False, stderr=subprocess.DEVNULL)
        run_alone(['groupdel', name], check=False, stderr=subprocess.DEVNULL)


def children(pid):
    return [int(child) for child in
            pathlib.Path(f'/proc/{pid}/task/{pid}/children').read_text().split()]


def await_end_of(*pids):
    """Waits until none of the processes does anything any more."""
    for _ in range(200):
        if not any(os.path.exists(f'/proc/{pid}/cmdline') and
                   pathlib.Path(f'/proc/{pid}/cmdline').read_bytes() for pid in pids):
            return
        time.sleep(0.05)
    raise AssertionError(f'{pids} do not end')


def as_user(name):
    user = pwd.getpwnam(name)
    return ['setpriv', f'--reuid={user.pw_uid}', f'--regid={user.pw_gid}', '--init-groups', '--']


@contextlib.contextmanager
def lone_share(kind, disk=None):
    """A Share that nobody uses yet; it is removed afterwards. Its store lies in
    `disk`, if that is given."""
    if not os.path.exists('/dev/fuse'):
        pytest.fail('no /dev/fuse: the mount tests cannot run')
    folder = tempfile.mkdtemp(prefix=f'keyfold-{kind}-', dir=os.environ.get('TMPDIR', '/var/tmp'))
    os.chmod(folder, 0o755)
    made = None
    try:
        made = Share(folder, disk)
        yield made
    finally:
        if made is not None and os.path.ismount(made.mnt):
            made.unmount()
        shutil.rmtree(folder)


@contextlib.contextmanager
def new_share(kind, disk=None):
    """A Share with its users and the account's IAM; all is removed afterwards."""
    try:
        remove_users()
        make_users()
        with lone_share(kind, disk) as made:
            made.apply_iam(IAM % 'AdministratorAccess')
            os.chmod(made.mnt, 0o1777)
            yield made
    finally:
        remove_users()


def make_certificate(certificate, key, name, *more):
    """A certificate for TLS, for two days, and its key."""
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt',
                    'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', f'/CN={name}',
                    *more, '-keyout', key, '-out', certificate],
                   check=True, stderr=subprocess.DEVNULL)


@contextlib.contextmanager
def small_disk(folder, mib, reserved=0, make=None):
    """A mounted ext4 of `mib` MiB, `reserved` percent of it kept for root, or what the
    command `make` makes, in a file below `folder`; needs root and a loop device."""
    image, disk = folder / 'image', folder / 'disk'
    disk.mkdir()
    with open(image, 'wb') as f:
        f.truncate(mib << 20)
    subprocess.run([*(make or ['mkfs.ext4', '-q', '-m', str(reserved)]), image], check=True)
    subprocess.run(['mount', '-o', 'loop', image, disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(['umount', disk], check=True)


def extents(path):
    """(physical start, length) of a file's extents on its disk, in bytes."""
    out = subprocess.run(['filefrag', '-v', '-b4096', path], check=True, text=True,
                         stdout=subprocess.PIPE).stdout
    return [(int(m[1]) * 4096, int(m[2]) * 4096)
            for m in re.finditer(r'^\s*\d+:\s*\d+\.\.\s*\d+:\s*(\d+)\.\.\s*\d+:\s*(\d+):', out,
                                 re.MULTILINE)]


class Share:
    """One store and its mount. `folder` is a scratch folder on the backing disk."""

    def __init__(self, folder, disk=None):
        self.folder = pathlib.Path(folder)
        self.store, self.mnt = pathlib.Path(disk or folder) / 'store', self.folder / 'mnt'
        # Users may not be able to reach the build folder.
        self.keyfold = self.folder / 'keyfold'
        subprocess.run(['cp', KEYFOLD, self.keyfold], check=True)
        self.mnt.mkdir()
        # A key file spares each mount the work of a passphrase.
        self.run(None, 'init', self.store, '--root-key', f'file:{self.folder}/root.key')
        self.mount()

    def mount(self, *options):
        self.run(None, 'mount', self.store, self.mnt, *options)

    def mount_in_foreground(self, log):
        """The daemon's process, once it serves; what it says goes to the file `log`."""
        with open(log, 'w') as err:
            daemon = subprocess.Popen([self.keyfold, 'mount', '-f', self.store, self.mnt],
                                      stderr=err)
        for _ in range(200):
            if os.path.ismount(self.mnt):
                break
            time.sleep(0.05)
        return daemon

    def unmount(self):
        self.run(None, 'unmount', self.mnt)

    def daemon(self):
        """The process id of the mounted daemon."""
        return json.loads(self.run(None, 'status', self.mnt, '--output', 'json'))[0]['Pid']

    def processes(self):
        """The process ids of the mounted daemon, by what each does: files, keys, and those
        outside of the confinement, unmount and commands (if there is one)."""
        found = {'files': self.daemon()}
        for child in children(found['files']):
            name = pathlib.Path(f'/proc/{child}/comm').read_text().strip()
            found['keys' if name == 'keyfold-kms' else 'unmount'] = child
        for child in children(found['keys']):
            found['commands'] = child
        return found

    def socket(self):
        """Where the KMS of the mount listens."""
        return os.getxattr(self.mnt, 'user.keyfold.socket').decode()

    def fsck(self, *options):
        """The exit code and findings of a check of the store, which is not mounted."""
        done = subprocess.run([self.keyfold, 'fsck', self.store, '--output', 'json', *options],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert lines and lines[-1]['summary']['complete'], done.stderr
        return done.returncode, lines[:-1]

    def is_clean(self):
        """Expects no damage in the store. What a call that was cut off left does no harm."""
        code, found = self.fsck()
        assert code == 0, found

    def kill(self):
        """Ends the daemon as a power cut ends it, but for the disk."""
        processes = self.processes()
        for which in ('files', 'keys'):
            os.kill(processes[which], 9)
        self.await_end(processes['files'])

    def await_end(self, pid):
        """Clears away after a daemon that was killed."""
        subprocess.run(['umount', '-l', self.mnt], check=True)
        for _ in range(100):
            if not os.path.exists(f'/proc/{pid}'):
                return
            time.sleep(0.05)

    def command_of(self, user):
        """The command keyfold as `user` (None: root), without its arguments."""
        return ([] if user is None else as_user(user)) + [str(self.keyfold)]

    def environment(self):
        return dict(os.environ, KEYFOLD_MOUNT=str(self.mnt))

    def run(self, user, *args, **options):
        """Runs keyfold as `user` (None: root) and returns what it printed."""
        result = subprocess.run([*self.command_of(user), *map(str, args)],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                env=self.environment(), cwd='/', **options)
        if result.returncode != 0:
            raise Failed(result)
        return result.stdout

    def kms(self, user, *args):
        out = self.run(user, 'kms', *args)
        return json.loads(out) if out.strip() else {}

    def import_material(self, user, key, material, *options):
        """Imports `material` into a key of origin EXTERNAL, wrapped by openssl."""
        wanted = self.kms(user, 'get-parameters-for-import', '--key-id', key, '--wrapping-algorithm',
                          'RSAES_OAEP_SHA_256', '--wrapping-key-spec', 'RSA_2048')
        files = {name: self.folder / name for name in ('public', 'token', 'material', 'wrapped')}
        files['public'].write_bytes(base64.b64decode(wanted['PublicKey']))
        files['token'].write_bytes(base64.b64decode(wanted['ImportToken']))
        files['material'].write_bytes(material)
        subprocess.run(['openssl', 'pkeyutl', '-encrypt', '-pubin', '-inkey', files['public'],
                        '-keyform', 'DER', '-pkeyopt', 'rsa_padding_mode:oaep', '-pkeyopt',
                        'rsa_oaep_md:sha256', '-pkeyopt', 'rsa_mgf1_md:sha256', '-in',
                        files['material'], '-out', files['wrapped']], check=True)
        for file in files.values():
            file.chmod(0o644)
        self.kms(user, 'import-key-material', '--key-id', key, '--encrypted-key-material',
                 f"fileb://{files['wrapped']}", '--import-token', f"fileb://{files['token']}", *options)

    def refused(self, user, *args):
        """The error name of a kms call that must fail."""
        with pytest.raises(Failed) as info:
            self.kms(user, *args)
        assert info.value.code == 254
        return info.value.text.split('(')[1].split(')')[0]

    def apply_iam(self, text):
        path = self.folder / 'iam.yaml'
        path.write_text(text)
        self.run(None, 'iam', 'apply', path)

    def python(self, user, code, *args):
        """Runs a Python program as `user`; its last line is the result."""
        result = subprocess.run([*as_user(user), '/usr/bin/python3', '-c', code, *map(str, args)],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd='/')
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    def attempt(self, user, action, path, *args):
        """'ok', or the name of the errno, of one file operation as `user`."""
        return self.python(user, ATTEMPT, action, path, *args)

    def events(self, **wanted):
        """Audit records; keyword arguments are members that must be equal."""
        out = self.run('kfcfo', 'audit', '--output', 'json')
        records = [json.loads(line) for line in out.splitlines()]
        return [r for r in records if all(r.get(k) == v for k, v in wanted.items())]

    def backing(self, path):
        """The backing object of a path on the mount: the one with its inode."""
        inode = os.lstat(path).st_ino
        for found in (self.store / 'tree').rglob('*'):
            if found.lstat().st_ino == inode:
                return found
        raise AssertionError(f'{path} has no backing object')


class LoggedShare(Share):
    """A Share whose daemon stays in the foreground and logs to a file."""
    prefix = ()

    def mount(self, *options):
        self.log = self.folder / 'log'
        with open(self.log, 'ab') as log:
            self.process = subprocess.Popen(
                [*self.prefix, self.keyfold, 'mount', '-f', self.store, self.mnt, *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for _ in range(1000):
            if os.path.ismount(self.mnt):
                return
            if self.process.poll() is not None:
                break
            try:
                self.process.wait(0.02)
            except subprocess.TimeoutExpired:
                pass
        raise AssertionError(self.log.read_text())

    def end(self):
        """Unmounts even if the store is beyond help."""
        subprocess.run(['umount', '-l', self.mnt], check=False)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


ATTEMPT = r'''
import errno, mmap, os, sys
action, path, *args = sys.argv[1:]
def read():
    with open(path, 'rb') as f: f.read()
def write():
    with open(path, 'r+b') as f: f.write(b'x')
def append():
    with open(path, 'ab') as f: f.write(b'x')
def create():
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
def truncate(): os.truncate(path, 0)
def open_truncate(): os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))
def map():
    fd = os.open(path, os.O_RDONLY)
    mmap.mmap(fd, 0, prot=mmap.PROT_READ)[0]
def link_and_read():
    os.link(path, args[0])
    with open(args[0], 'rb') as f: f.read()
def open_only(): os.close(os.open(path, os.O_RDONLY))
def list(): os.listdir(path)
def stat(): os.stat(path)
try:
    globals()[action]()
    print('ok')
except OSError as e:
    print(errno.errorcode[e.errno])
'''
