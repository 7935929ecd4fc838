"""The filesystems that are measured: each on a new disk, as it comes, but for key
derivation, which is kept short where it can be: it is no part of any workload."""
import json
import os
import pathlib
import pwd
import subprocess
import time

from disk import is_mounted, patiently

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get('KEYFOLD_BUILD', ROOT / 'build/release'))
MARK = 'Keyfold benchmark'


class Filesystem:
    """A folder to work in, for as long as `with` lasts. Subclasses mount something on it.
    What it stores lies on `disk`, secrets and logs in the folder `work`."""
    serves_users = True  # others than the one who mounted may use it

    @staticmethod
    def available():
        return True

    def __init__(self, work, disk):
        self.work, self.disk = work, disk
        self.folder, self.store = disk.folder / 'mnt', disk.folder / 'store'
        self.daemon = None

    def __enter__(self):
        self.work.mkdir()
        self.folder.mkdir()
        try:
            self.create()
            self.mount()
        except BaseException:
            self.unmount()
            raise
        return self

    def __exit__(self, *_):
        self.unmount()

    def create(self):
        """Makes the store."""

    def command(self):
        """What mounts and stays in the foreground; None if nothing needs to."""

    def mount(self, seconds=60):
        command = self.command()
        if command is None:
            return
        environment = dict(os.environ, CRYFS_FRONTEND='noninteractive',
                           CRYFS_NO_UPDATE_CHECK='true',
                           CRYFS_LOCAL_STATE_DIR=str(self.work / 'state'))
        with open(self.work / 'log', 'ab') as log, open(self.work / 'secret', 'rb') as secret:
            self.daemon = subprocess.Popen([str(part) for part in command], stdin=secret,
                                           stdout=log, stderr=log, env=environment)
        for _ in range(seconds * 100):
            if os.path.ismount(self.folder):
                return
            if self.daemon.poll() is not None:
                break
            time.sleep(0.01)
        raise RuntimeError(f'{command[0]} did not mount: '
                           + (self.work / 'log').read_text(errors='replace')[-500:])

    def unmount(self):
        """Returns when the daemon has ended, and so written all it had."""
        if self.daemon is None:
            return
        os.sync()
        if is_mounted(self.folder):
            patiently('fusermount3', '-u', self.folder)
        else:
            self.daemon.terminate()
        self.daemon.wait(timeout=120)
        self.daemon = None

    def cool(self):
        """Empties every cache, the daemon's own and the kernel's, by mounting anew."""
        self.unmount()
        self.disk.cool()
        self.mount()
        os.stat(self.folder)

    def secret(self):
        path = self.work / 'secret'
        path.write_text(os.urandom(24).hex() + '\n')
        path.chmod(0o600)
        return path

    def run(self, *command, **options):
        return subprocess.run([str(part) for part in command], check=True, text=True,
                              stdout=subprocess.PIPE, **options).stdout

    def folder_of(self, user):
        """A folder that this user fills, under a key of his where there are keys."""
        path = self.folder / user
        path.mkdir()
        os.chown(path, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
        return path


class Ext4(Filesystem):
    pass


class Passthrough(Filesystem):
    def create(self):
        self.store.mkdir()
        self.secret()

    def command(self):
        return [BUILD / 'tests/bench/passthrough', self.store, self.folder]


class PassthroughLl(Passthrough):
    """libfuse's own example, as it comes; some systems leave out the package's examples."""
    program = BUILD / 'tests/bench/passthrough_ll'

    @staticmethod
    def available():
        return PassthroughLl.program.exists()

    def command(self):
        return [self.program, '-f', '-o',
                f'allow_other,default_permissions,source={self.store}', self.folder]


class Keyfold(Filesystem):
    def create(self):
        self.keyfold = BUILD / 'keyfold'
        self.secret()
        self.run(self.keyfold, 'init', self.store, '--root-key',
                 f'file:{self.work}/root.key')

    def command(self):
        return [self.keyfold, 'mount', '--foreground', self.store, self.folder]

    def folder_of(self, user):
        path = super().folder_of(user)
        self.folder.chmod(0o755)
        iam = self.work / 'iam.yaml'
        users = json.loads(iam.read_text())['users'] if iam.exists() else {}
        users[user] = {'policies': ['FilesFullAccess', 'ConsoleReadOnlyAccess']}
        iam.write_text(json.dumps({'users': users}))
        environment = dict(os.environ, KEYFOLD_MOUNT=str(self.folder))
        self.run(self.keyfold, 'iam', 'apply', iam, env=environment)
        # The user may not be able to reach the build folder.
        as_user = ['setpriv', f'--reuid={user}', f'--regid={user}', '--init-groups', '--']
        program = self.work / 'keyfold'
        if not program.exists():
            self.run('cp', self.keyfold, program)
        key = self.run(*as_user, program, 'kms', 'create-key', '--administrators', f'user:{user}',
                       '--users', f'user:{user}', '--query', 'KeyMetadata.KeyId',
                       '--output', 'text', env=environment).strip()
        self.run(*as_user, program, 'folder', 'set-key', path, key, env=environment)
        return path


class Gocryptfs(Filesystem):
    serves_users = False

    def create(self):
        self.store.mkdir()
        self.run('gocryptfs', '-q', '-init', '-scryptn', '10', '-passfile', self.secret(), self.store)

    def command(self):
        return ['gocryptfs', '-q', '-fg', '-passfile', self.work / 'secret', self.store, self.folder]


class Securefs(Filesystem):
    serves_users = False

    def create(self):
        self.store.mkdir()
        self.run('securefs', 'create', '--keyfile', self.secret(), self.store,
                 stderr=subprocess.STDOUT)

    def command(self):
        return ['securefs', 'mount', '--keyfile', self.work / 'secret', self.store, self.folder]


class Encfs(Filesystem):
    serves_users = False

    def create(self):
        self.store.mkdir()
        self.secret()

    def command(self):
        return ['encfs', '-f', '--standard', '--stdinpass', self.store, self.folder]


class Cryfs(Filesystem):
    serves_users = False

    def create(self):
        self.store.mkdir()
        self.secret()

    def mount(self, seconds=180):  # its key derivation takes seconds of a core
        super().mount(seconds)

    def command(self):
        return ['cryfs', '-f', self.store, self.folder]


KINDS = {'ext4': Ext4, 'passthrough': Passthrough, 'passthrough_ll': PassthroughLl, 'keyfold': Keyfold,
         'gocryptfs': Gocryptfs, 'securefs': Securefs, 'encfs': Encfs, 'cryfs': Cryfs}


class Users:
    """Unix users for a run, removed with it, and with the next one if it was killed."""

    def __init__(self, count):
        self.names = [f'kfbench{number}' for number in range(1, count + 1)]

    def __enter__(self):
        self.remove()
        for name in self.names:
            subprocess.run(['useradd', '-M', '-U', '-d', '/', '-s', '/usr/sbin/nologin',
                            '-c', MARK, name], check=True)
        return self.names

    def __exit__(self, *_):
        self.remove()

    def remove(self):
        for user in pwd.getpwall():
            if user.pw_gecos == MARK:
                subprocess.run(['userdel', user.pw_name], check=False)
