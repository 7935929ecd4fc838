"""Do stores that earlier versions made still open, and say the same?

tests/data/store-v1.tar was made once and is never made again: a changed format
needs a new number and a new store beside it. Its files have the account of uid
60001, and its secret is the key file beside it."""
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

from share import KEYFOLD, Failed

DATA = pathlib.Path(__file__).resolve().parents[1] / 'data'

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to act as several users')


def run(*args, user=None, mount=None):
    command = [KEYFOLD, *map(str, args)]
    if user is not None:
        command = ['setpriv', f'--reuid={user}', f'--regid={user}', '--clear-groups', '--'] + command
    environment = dict(os.environ, **({'KEYFOLD_MOUNT': str(mount)} if mount else {}))
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env=environment, cwd='/')
    if result.returncode != 0:
        raise Failed(result)
    return result.stdout


def read_as(user, path):
    return subprocess.run(['setpriv', f'--reuid={user}', f'--regid={user}', '--clear-groups', '--',
                           'cat', str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize('name', ['store-v1'])
def test_an_old_store_still_opens(name):
    folder = pathlib.Path(tempfile.mkdtemp(prefix='keyfold-golden-',
                                           dir=os.environ.get('TMPDIR', '/var/tmp')))
    folder.chmod(0o755)
    mnt = folder / 'mnt'
    mnt.mkdir()
    try:
        subprocess.run(['tar', '--xattrs', '--xattrs-include=user.*', '--same-owner', '-xpf',
                        DATA / f'{name}.tar', '-C', folder], check=True)
        (folder / 'root.key').chmod(0o400)
        run('mount', folder / 'store', mnt, '--root-key', f'file:{folder}/root.key')
        try:
            expected = json.loads((DATA / f'{name}.json').read_text())
            for path, digest in expected['files'].items():
                result = read_as(60001, mnt / path)
                assert result.returncode == 0, (path, result.stderr)
                assert hashlib.sha256(result.stdout).hexdigest() == digest, path
            for path in expected['private']:
                assert b'Permission denied' in read_as(60002, mnt / path).stderr, path
            for path, target in expected['links'].items():
                assert os.readlink(mnt / path) == target
            assert os.getxattr(mnt / expected['attribute'], 'user.note') == b'golden'
            assert run('audit', 'verify', mount=mnt)
        finally:
            run('unmount', mnt)
    finally:
        shutil.rmtree(folder)
