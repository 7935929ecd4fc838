"""Is every mistake answered with one line, the documented code, and no change?"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'mount'))
from share import KEYFOLD, Share  # noqa: E402

USAGE, NOT_A_STORE, CREDENTIAL, BUSY, DAMAGED = 2, 3, 4, 5, 6


@pytest.fixture
def folder():
    path = pathlib.Path(tempfile.mkdtemp(prefix='keyfold-cli-',
                                         dir=os.environ.get('TMPDIR', '/var/tmp')))
    (path / 'pass').write_text('secret words\n')
    (path / 'pass').chmod(0o600)
    (path / 'wrong').write_text('other words\n')
    (path / 'wrong').chmod(0o600)
    (path / 'mnt').mkdir()
    yield path
    shutil.rmtree(path)


def run(*args):
    return subprocess.run([KEYFOLD, *map(str, args)], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)


def fails(code, *args, says=''):
    result = run(*args)
    assert result.returncode == code, (args, result.returncode, result.stderr)
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith('keyfold: ') and says in lines[0], lines[0]
    assert 'secret words' not in result.stderr
    return lines[0]


def init(folder, name='store'):
    result = run('init', folder / name, '--root-key', f'passphrase-file:{folder}/pass')
    assert result.returncode == 0, result.stderr
    return folder / name


def snapshot(path):
    # The lock names its last holder.
    return {p.relative_to(path): p.read_bytes() for p in path.rglob('*')
            if p.is_file() and p.name != 'lock'}


def test_unknown_words(folder):
    fails(USAGE, '--no-such-option')
    fails(USAGE, 'mont', says='mount')
    fails(USAGE, 'mount')
    fails(USAGE, 'init', folder / 'x', '--root-keys', 'passphrase')
    fails(USAGE, 'init', folder / 'x', '--root-key', 'carrier-pigeon')
    assert not (folder / 'x').exists()


def test_help_is_everywhere():
    for words in ([], ['init'], ['mount'], ['unmount'], ['status'], ['kms'], ['kms', 'create-key'],
                  ['iam'], ['iam', 'apply'], ['iam', 'simulate'], ['folder'], ['file', 'set-key'],
                  ['audit'], ['audit', 'verify'], ['whoami']):
        result = run(*words, '--help')
        assert result.returncode == 0 and len(result.stdout) > 100, words
    assert run('--version').stdout.strip()


def test_init_wants_a_new_or_empty_folder(folder):
    store = init(folder)
    before = snapshot(store)
    fails(USAGE, 'init', store, '--root-key', f'passphrase-file:{folder}/pass')
    assert snapshot(store) == before
    fails(1, 'init', folder / 'no/such/place', '--root-key', f'passphrase-file:{folder}/pass')


def test_secret_files_must_be_private_and_there(folder):
    (folder / 'open').write_text('x')
    (folder / 'open').chmod(0o644)
    fails(USAGE, 'init', folder / 's', '--root-key', f'passphrase-file:{folder}/open', says='chmod')
    fails(1, 'init', folder / 's', '--root-key', f'passphrase-file:{folder}/none', says='No such file')
    assert not (folder / 's').exists()


def test_mounting_what_is_no_store(folder):
    (folder / 'empty').mkdir()
    fails(NOT_A_STORE, 'mount', folder / 'empty', folder / 'mnt')
    fails(NOT_A_STORE, 'mount', folder / 'nowhere', folder / 'mnt')


def test_a_newer_store_is_refused(folder):
    store = init(folder)
    config = json.loads((store / 'keyfold.json').read_text())
    config['format'] += 1
    (store / 'keyfold.json').write_text(json.dumps(config))
    fails(NOT_A_STORE, 'mount', store, folder / 'mnt', says='newer')


def test_mountpoints(folder):
    store = init(folder)
    fails(USAGE, 'mount', store, folder / 'nowhere', says='mkdir')
    (folder / 'file').write_text('')
    fails(USAGE, 'mount', store, folder / 'file')
    (folder / 'mnt' / 'something').write_text('')
    fails(USAGE, 'mount', store, folder / 'mnt', says='nonempty')
    fails(USAGE, 'mount', store, store / 'tree')


def test_a_wrong_passphrase_changes_nothing(folder):
    store = init(folder)
    before = snapshot(store)
    fails(CREDENTIAL, 'mount', store, folder / 'mnt', '--root-key', f'passphrase-file:{folder}/wrong')
    assert snapshot(store) == before
    assert not os.path.ismount(folder / 'mnt')


def test_a_lost_key_file(folder):
    result = run('init', folder / 's', '--root-key', f'file:{folder}/key')
    assert result.returncode == 0, result.stderr
    (folder / 'key').rename(folder / 'key2')
    fails(1, 'mount', folder / 's', folder / 'mnt', says='key')
    (folder / 'key').write_bytes(os.urandom(32))
    (folder / 'key').chmod(0o400)
    fails(CREDENTIAL, 'mount', folder / 's', folder / 'mnt')


def test_damaged_stores(folder):
    store = init(folder)
    good = snapshot(store)
    for name, damage in (('keys.db', b'\0' * 4096), ('keys.db', b''), ('keyfold.json', b'{'),
                         ('keyfold.json', b'{}'), ('audit/audit.log', b'')):
        (store / name).write_bytes(damage)
        result = run('mount', store, folder / 'mnt')
        assert result.returncode in (NOT_A_STORE, DAMAGED), (name, result.stderr)
        assert len(result.stderr.strip().splitlines()) == 1
        (store / name).write_bytes(good[pathlib.Path(name)])


def test_a_store_in_use(folder):
    if not os.path.exists('/dev/fuse'):
        pytest.fail('no /dev/fuse: the mount tests cannot run')
    made = Share(folder / 'mnt')
    try:
        (folder / 'other').mkdir()
        fails(BUSY, 'mount', made.store, folder / 'other')
        fails(BUSY, 'mount', made.store, made.mnt)
        bad = folder / 'bad.yaml'
        bad.write_text('users:\n  cfo: {groups: [finance]}\n')
        result = run('iam', 'apply', bad, '--mount', made.mnt)
        assert result.returncode != 0 and 'bad.yaml:2' in result.stderr
        policy = folder / 'policy.json'
        policy.write_text('{"Statement": [{"Effect": "Alow"}]}')
        result = run('kms', 'create-key', '--policy', f'file://{policy}', '--mount', made.mnt)
        assert result.returncode == 254
        assert 'MalformedPolicyDocumentException' in result.stderr and ':1:' in result.stderr
    finally:
        made.unmount()
