"""Does a store open with its token or TPM, with nothing else, and after its root key was
changed, whenever that was cut off?"""
import os
import random
import shutil
import signal
import subprocess
import time

import pytest

from share import KEYFOLD, Failed, Share, new_share

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to act as several users')

MODULE = '/usr/lib/softhsm/libsofthsm2.so'
USAGE, WRONG_CREDENTIAL, BUSY, UNAVAILABLE = 2, 4, 5, 254
KEY = ('--administrators', 'user:kfcfo', '--users', 'user:kfcfo')


class Token:
    """A SoftHSM with one token, of which `pin` holds the PIN."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.tokens, self.pin = folder, folder / 'tokens', folder / 'pin'
        self.tokens.mkdir()
        conf = folder / 'softhsm2.conf'
        conf.write_text(f'directories.tokendir = {self.tokens}\n')
        monkeypatch.setenv('SOFTHSM2_CONF', str(conf))
        subprocess.run(['softhsm2-util', '--init-token', '--free', '--label', 'keyfold', '--pin',
                        '1234', '--so-pin', '5678'], check=True, stdout=subprocess.DEVNULL)
        self.set_pin('1234')
        self.spec = (f'pkcs11:token=keyfold;object=root?module-path={MODULE}'
                     f'&pin-source=file:{self.pin}')

    def set_pin(self, text):
        self.pin.write_text(text)
        self.pin.chmod(0o600)

    def take_away(self):
        self.tokens.rename(self.folder / 'away')

    def put_back(self):
        (self.folder / 'away').rename(self.tokens)


@pytest.fixture
def token(tmp_path, monkeypatch):
    return Token(tmp_path, monkeypatch)


@pytest.fixture
def share():
    with new_share('rootkey') as made:
        made.kms('kfcfo', 'create-key', '--alias', 'alias/reports', *KEY)
        made.python('kfcfo', 'import os, sys; os.mkdir(sys.argv[1])', made.mnt / 'reports')
        made.run('kfcfo', 'folder', 'set-key', made.mnt / 'reports', 'alias/reports')
        made.python('kfcfo', 'import sys; open(sys.argv[1], "w").write("quarterly")',
                    made.mnt / 'reports' / 'file')
        yield made


def read(share):
    return share.python('kfcfo', 'import sys; print(open(sys.argv[1]).read())',
                        share.mnt / 'reports' / 'file')


def change(share, to):
    return share.run(None, 'kms', 'root-key', 'change-provider', '--store', share.store, '--to', to)


def fails(code, share, *args, says=''):
    with pytest.raises(Failed) as info:
        share.run(None, *args)
    assert info.value.code == code, info.value
    assert says in info.value.text, info.value.text


def test_a_store_hangs_on_its_token(share, token):
    share.unmount()
    change(share, token.spec)
    (share.folder / 'root.key').unlink()
    share.mount()
    assert read(share) == 'quarterly'
    assert share.attempt('kfaccounts', 'read', share.mnt / 'reports' / 'file') == 'EACCES'
    assert share.events(eventName='ChangeRootKeyProvider')
    assert share.events(eventName='RootKeyProviderChanged')
    fails(BUSY, share, 'kms', 'root-key', 'rotate', '--store', share.store)
    assert 'present' in share.run(None, 'kms', 'root-key', 'status', '--store', share.store)
    share.unmount()
    token.set_pin('4321')
    fails(WRONG_CREDENTIAL, share, 'mount', share.store, share.mnt, says='PIN')
    token.set_pin('1234')
    token.take_away()
    fails(UNAVAILABLE, share, 'mount', share.store, share.mnt, says='KeyUnavailableException')
    token.put_back()
    fails(USAGE, share, 'mount', share.store, share.mnt, '--root-key', 'passphrase', says='pkcs11')
    share.mount()
    assert read(share) == 'quarterly'
    share.unmount()
    share.run(None, 'kms', 'root-key', 'rotate', '--store', share.store)
    share.mount()
    assert read(share) == 'quarterly'
    assert share.events(eventName='RotateRootKey') and share.events(eventName='RootKeyRotated')
    share.run('kfcfo', 'audit', 'verify')


def test_init_makes_the_key_in_the_token(token, tmp_path):
    store = tmp_path / 'store'
    share = object.__new__(Share)
    share.keyfold, share.mnt = os.path.abspath(KEYFOLD), ''
    fails(USAGE, share, 'init', store, '--root-key',
          f'pkcs11:token=keyfold;object=root?module-path={MODULE}&pin-value=1234',
          says='pin-source')
    fails(USAGE, share, 'init', store, '--root-key',
          f'pkcs11:token=keyfold;object=root?module-path={MODULE}&pin-source=file:{store}/pin',
          says='inside')
    assert not store.exists()
    share.run(None, 'init', store, '--root-key', token.spec)
    listed = subprocess.run(['pkcs11-tool', '--module', MODULE, '--login', '--pin', '1234',
                             '--list-objects'], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert 'never extractable' in listed and 'always sensitive' in listed
    assert 'alias/aws/fs' in share.run(None, 'kms', '--store', store, 'list-aliases')


def test_a_store_hangs_on_its_tpm(share, tmp_path):
    path = tmp_path / 'sock'

    def start(state):
        state.mkdir(exist_ok=True)
        tpm = subprocess.Popen(
            ['swtpm', 'socket', '--tpm2', '--tpmstate', f'dir={state}', '--server',
             f'type=unixio,path={path}', '--ctrl', f'type=unixio,path={path}.ctrl', '--flags',
             'not-need-init,startup-clear'], stderr=subprocess.DEVNULL)
        for _ in range(100):
            if path.exists() and os.path.exists(f'{path}.ctrl'):
                return tpm
            time.sleep(0.05)
        raise AssertionError('swtpm does not start')

    def stop(tpm):
        tpm.terminate()
        tpm.wait()
        for left in (path, tmp_path / 'sock.ctrl'):
            left.unlink(missing_ok=True)

    tpm = start(tmp_path / 'one')
    try:
        share.unmount()
        change(share, f'tpm2:pcrs=sha256:7,tcti=swtpm:path={path}')
        share.mount()
        assert read(share) == 'quarterly'
        share.unmount()
        stop(tpm)
        tpm = start(tmp_path / 'two')
        fails(WRONG_CREDENTIAL, share, 'mount', share.store, share.mnt, says='another TPM')
        stop(tpm)
        fails(UNAVAILABLE, share, 'mount', share.store, share.mnt, says='No TPM answers')
        tpm = start(tmp_path / 'one')
        share.mount()
        assert read(share) == 'quarterly'
        share.unmount()
        subprocess.run(['tpm2_pcrextend', '-T', f'swtpm:path={path}', '7:sha256=' + 'a' * 64],
                       check=True)
        fails(WRONG_CREDENTIAL, share, 'mount', share.store, share.mnt, says='PCR 7 ')
    finally:
        stop(tpm)


def test_who_may_change_the_root_key(share):
    share.unmount()
    shutil.chown(share.folder / 'root.key', 'kfaccounts')
    subprocess.run(['chown', '-R', 'kfaccounts', share.store], check=True)
    for verb in (('rotate',), ('change-provider', '--to', f'file:{share.folder}/root.key')):
        with pytest.raises(Failed) as info:
            share.run('kfaccounts', 'kms', 'root-key', *verb, '--store', share.store)
        assert 'AccessDeniedException' in info.value.text
    shutil.chown(share.folder / 'root.key', 'kfsysadmin')
    subprocess.run(['chown', '-R', 'kfsysadmin', share.store], check=True)
    share.run('kfsysadmin', 'kms', 'root-key', 'rotate', '--store', share.store)  # an administrator
    shutil.chown(share.folder / 'root.key', 'root')
    subprocess.run(['chown', '-R', 'root', share.store], check=True)
    share.mount()
    refusals = [r for r in share.events(eventName='RotateRootKey') if 'errorCode' in r]
    assert [r['userIdentity']['userName'] for r in refusals] == ['kfaccounts']


def test_a_rotation_killed_at_any_time_leaves_a_store_that_mounts(share):
    backup = share.folder / 'a.keys'
    share.run(None, 'kms', 'backup', backup)
    share.unmount()
    command = [share.keyfold, 'kms', 'root-key', 'rotate', '--store', share.store]
    began = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    whole = time.monotonic() - began
    rng = random.Random(int(os.environ.get('KEYFOLD_TEST_SEED', '5')))
    for _ in range(15):
        rotation = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        time.sleep(rng.uniform(0, whole))
        rotation.send_signal(signal.SIGKILL)
        rotation.wait()
        share.mount()
        assert read(share) == 'quarterly'
        share.unmount()
    share.run(None, 'kms', 'root-key', 'rotate', '--store', share.store)
    assert not list(share.store.glob('*rekeyed*'))
    # A backup of before hangs on the root key of before.
    fails(WRONG_CREDENTIAL, share, 'kms', 'restore', '--check', backup, share.store,
          says='another root key')
    share.mount()
    assert read(share) == 'quarterly'
    share.run('kfcfo', 'audit', 'verify')
