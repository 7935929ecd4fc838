"""A mounted store for the tests of this folder.

The store is made and mounted with the program named by KEYFOLD. KEYFOLD_TEST_MOUNT
names a folder that is mounted already, for trying the tests on another filesystem."""
import os
import pathlib
import pickle
import pwd
import re
import shutil
import subprocess
import tempfile

import pytest

from likeext4 import DIFFERENCES, FAULTS
from share import KEYFOLD, run_alone


def pytest_collection_modifyitems(items):
    for item in items:
        fault = FAULTS.get(getattr(item, 'originalname', None))
        if fault and item.name.endswith('[keyfold]'):
            item.add_marker(pytest.mark.xfail(reason=fault, strict=True))
    if os.geteuid() != 0:
        needs_root = pytest.mark.skip(reason='needs root to act as several users')
        for item in items:
            if 'users' in getattr(item, 'fixturenames', ()):
                item.add_marker(needs_root)


@pytest.fixture(scope='session')
def scratch():
    """A folder on the filesystem that backs the store."""
    folder = tempfile.mkdtemp(prefix='keyfold-mount-test-', dir=os.environ.get('TMPDIR', '/var/tmp'))
    os.chmod(folder, 0o755)
    yield pathlib.Path(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope='session')
def mounted(scratch):
    """The mountpoint."""
    given = os.environ.get('KEYFOLD_TEST_MOUNT')
    if given:
        yield pathlib.Path(given)
        return
    if not os.path.exists('/dev/fuse'):
        pytest.fail('no /dev/fuse: the mount tests cannot run')
    passphrase = scratch / 'passphrase'
    passphrase.write_text('correct horse battery staple\n')
    passphrase.chmod(0o600)
    store, mountpoint = scratch / 'store', scratch / 'mnt'
    mountpoint.mkdir()
    subprocess.run([KEYFOLD, 'init', store, '--root-key', f'passphrase-file:{passphrase}'],
                   check=True)
    subprocess.run([KEYFOLD, 'mount', store, mountpoint], check=True)
    yield mountpoint
    subprocess.run([KEYFOLD, 'unmount', mountpoint], check=True)


def fresh_folder(parent, request):
    """A folder open to all, that is taken away afterwards."""
    path = parent / re.sub(r'\W', '_', request.node.name)[:80]
    path.mkdir()
    path.chmod(0o777)
    yield path
    subprocess.run(['chmod', '-R', 'u+rwx', path], check=False)
    shutil.rmtree(path)


@pytest.fixture(params=['plain', 'keyfold'])
def folder(request):
    """A fresh folder: on the backing filesystem, and in another run on the mount."""
    where = 'scratch' if request.param == 'plain' else 'mounted'
    yield from fresh_folder(request.getfixturevalue(where), request)


@pytest.fixture
def here(request):
    """here(what is found on ext4) is what a test that likeext4.py lists is to find where it
    runs."""
    listed = DIFFERENCES[request.node.originalname]
    asked = []

    def to_be_found(on_ext4):
        assert listed.on_mount != on_ext4, 'that is no difference'
        asked.append(on_ext4)
        return listed.on_mount if request.node.callspec.params['folder'] == 'keyfold' else on_ext4

    yield to_be_found
    assert asked


@pytest.fixture
def mount_folder(mounted, request):
    yield from fresh_folder(mounted, request)


@pytest.fixture
def plain(scratch, request):
    """A folder on the backing filesystem, to compare with."""
    yield from fresh_folder(scratch, request)


class Users:
    """Three real users; kftest1 and kftest2 share the supplementary group kfshared."""

    def run(self, name, *command, clear_groups=False, **options):
        user = pwd.getpwnam(name)
        groups = '--clear-groups' if clear_groups else '--init-groups'
        return subprocess.run(
            ['setpriv', f'--reuid={user.pw_uid}', f'--regid={user.pw_gid}', groups, '--',
             *map(str, command)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)

    def python(self, name, code, *args, **options):
        return self.run(name, '/usr/bin/python3', '-c', code, *args, **options)

    def do(self, name, action, *args, umask=0o022, clear_groups=False, **options):
        """What action(*args) returns or raises in a process of the user."""
        user = pwd.getpwnam(name)
        groups = [] if clear_groups else os.getgrouplist(name, user.pw_gid)
        here, there = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.setgroups(groups)
                os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
                os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
                os.umask(umask)
                result = (action(*args, **options), None)
            except BaseException as e:
                result = (None, e)
            with open(there, 'wb') as out:
                pickle.dump(result, out)
            os._exit(0)
        os.close(there)
        with open(here, 'rb') as f:
            result, error = pickle.load(f)
        os.waitpid(child, 0)
        if error is not None:
            raise error
        return result

    def uid(self, name):
        return pwd.getpwnam(name).pw_uid

    def gid(self, name):
        return pwd.getpwnam(name).pw_gid


@pytest.fixture(scope='session')
def users():
    run_alone(['groupadd', '-f', 'kfshared'], check=True)
    for name in ('kftest1', 'kftest2', 'kftest3'):
        run_alone(['useradd', '-M', '-s', '/bin/sh', name], check=False, stderr=subprocess.DEVNULL)
    for name in ('kftest1', 'kftest2'):
        run_alone(['usermod', '-a', '-G', 'kfshared', name], check=True)
    yield Users()
    for name in ('kftest1', 'kftest2', 'kftest3'):
        run_alone(['userdel', name], check=False, stderr=subprocess.DEVNULL)
    run_alone(['groupdel', 'kfshared'], check=False, stderr=subprocess.DEVNULL)
