"""The frozen stores of tests/data, and what is in them.

Their files have the account of uid 60001, and the secret is the key file beside."""
import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import stat
import subprocess
import tempfile

from share import KEYFOLD, Failed

DATA = pathlib.Path(__file__).resolve().parents[1] / 'data'
STORES = ('store-v1', 'store-v1-last', 'store-v2', 'store-v2-keys-v3')
OWNER, OTHER = 60001, 60002


class Golden:
    """One of them in a scratch folder."""

    def __init__(self, name, folder):
        self.folder, self.store, self.mnt = folder, folder / 'store', folder / 'mnt'
        self.expected = json.loads((DATA / f'{name}.json').read_text())
        self.mnt.mkdir()
        subprocess.run(['tar', '--xattrs', '--xattrs-include=user.*', '--same-owner', '-xpf',
                        DATA / f'{name}.tar', '-C', folder], check=True)
        (folder / 'root.key').chmod(0o400)
        self.key = ('--root-key', f'file:{folder}/root.key')

    def run(self, *args, code=0):
        """Runs keyfold, expects the exit code, and returns what it printed."""
        result = subprocess.run([KEYFOLD, *map(str, args)], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, cwd='/',
                                env=dict(os.environ, KEYFOLD_MOUNT=str(self.mnt)))
        if result.returncode != code:
            raise Failed(result)
        return result.stdout + result.stderr

    @contextlib.contextmanager
    def mounted(self):
        told = self.run('mount', self.store, self.mnt, *self.key)
        try:
            yield told
        finally:
            self.run('unmount', self.mnt)

    def read_as(self, user, path):
        return subprocess.run(['setpriv', f'--reuid={user}', f'--regid={user}', '--clear-groups',
                               '--', 'cat', str(self.mnt / path)],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def check(self):
        """All is there, while it is mounted."""
        for path, digest in self.expected['files'].items():
            result = self.read_as(OWNER, path)
            assert result.returncode == 0, (path, result.stderr)
            assert hashlib.sha256(result.stdout).hexdigest() == digest, path
        for path in self.expected['private']:
            assert b'Permission denied' in self.read_as(OTHER, path).stderr, path
        for path, target in self.expected['links'].items():
            assert os.readlink(self.mnt / path) == target
        assert os.getxattr(self.mnt / self.expected['attribute'], 'user.note') == b'golden'
        assert self.run('audit', 'verify')

    def tree(self, without=('lock',)):
        """All of the store: names, modes, owners, sizes, links, contents, attributes."""
        found = {}
        # rglob follows links, of which some are too long to follow.
        paths = [pathlib.Path(folder, name) for folder, folders, files in os.walk(self.store)
                 for name in folders + files if name not in without]
        for path in [self.store, *paths]:
            st = path.lstat()
            text = (os.readlink(path) if stat.S_ISLNK(st.st_mode) else
                    hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(st.st_mode) else '')
            attributes = {name: os.getxattr(path, name, follow_symlinks=False)
                          for name in os.listxattr(path, follow_symlinks=False)}
            found[str(path)] = (st.st_mode, st.st_uid, st.st_size, st.st_nlink, text, attributes)
        return found


@contextlib.contextmanager
def golden(name):
    folder = pathlib.Path(tempfile.mkdtemp(prefix='keyfold-golden-',
                                           dir=os.environ.get('TMPDIR', '/var/tmp')))
    folder.chmod(0o755)
    try:
        yield Golden(name, folder)
    finally:
        shutil.rmtree(folder)
