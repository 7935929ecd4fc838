"""Does a store open with its token or TPM, with nothing else, and after its root key was
changed, whenever that was cut off?"""
import json
import os
import pty
import random
import select
import shutil
import signal
import subprocess
import time

import pytest

from devices import MODULE, Token, Tpm
from share import KEYFOLD, Failed, Share, as_user, new_share

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to act as several users')

USAGE, WRONG_CREDENTIAL, BUSY, UNAVAILABLE = 2, 4, 5, 254
KEY = ('--administrators', 'user:kfcfo', '--users', 'user:kfcfo')


@pytest.fixture
def tpm(tmp_path):
    made = Tpm(tmp_path)
    made.start()
    yield made
    made.stop()


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
        try:
            yield made
        finally:
            while Holder.programs:
                Holder.programs.pop().kill()


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
    signers = share.folder / 'signers.pem'
    signers.write_text(share.run(None, 'audit', 'public-key'))
    backup = share.folder / 'a.keys'
    share.run(None, 'kms', 'backup', backup)
    share.unmount()
    share.run(None, 'kms', 'restore', backup, share.store)
    told = share.run(None, 'kms', 'root-key', 'rotate', '--store', share.store)
    assert f'{share.store}/keys.db.before-restore-1' in told
    share.mount()
    assert read(share) == 'quarterly'
    assert share.events(eventName='RotateRootKey') and share.events(eventName='RootKeyRotated')
    share.run('kfcfo', 'audit', 'verify')
    # Digests are signed by another key from then on; a copy is verified with both.
    signer = share.run(None, 'audit', 'public-key')
    assert signer != signers.read_text()
    share.unmount()
    copy = ('audit', 'verify', '--copy', share.store / 'audit' / 'audit.log', '--public-key', signers)
    with pytest.raises(Failed):
        share.run(None, *copy)
    signers.write_text(signers.read_text() + signer)
    share.run(None, *copy)


def test_doctor_tells_of_a_token_or_tpm_that_is_away(share, token, tpm):
    def root_key(spec):
        told = subprocess.run([share.keyfold, 'doctor', share.store, '--root-key', spec, '--output', 'json'],
                              stdout=subprocess.PIPE, text=True)
        found, = [one for one in json.loads(told.stdout) if one['what'] == 'root key']
        assert told.returncode == 1 or found['health'] == 'ok'
        return found
    share.unmount()
    for device, spec, named, mend in (
            (token, token.spec, 'token=keyfold', 'plug the token in'),
            (tpm, f'tpm2:tcti={tpm.tcti}', str(tpm.path), 'turn the TPM on in the firmware')):
        change(share, spec)
        assert root_key(spec)['health'] == 'ok'
        device.take_away()
        lost = root_key(spec)
        assert lost['health'] == 'bad' and named in lost['found'], lost
        assert lost['mend'].startswith(mend) and 'change-provider' in lost['mend'], lost
        device.put_back()
        found = root_key(spec)
        assert found['health'] == 'ok' and 'not tried' in found['found'], found


def at_terminal(command, answers):
    """Runs a command on a terminal of its own and types each answer at its prompt; returns
    the exit code and all that was shown."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(command[0], [str(word) for word in command])
    seen, deadline = '', time.monotonic() + 60
    for prompt, typed in answers:
        start = len(seen)
        while prompt not in seen[start:]:
            assert time.monotonic() < deadline, seen
            if select.select([terminal], [], [], 0.2)[0]:
                seen += os.read(terminal, 4096).decode(errors='replace')
        os.write(terminal, typed.encode() + b'\n')
    try:
        while select.select([terminal], [], [], max(0, deadline - time.monotonic()))[0]:
            seen += os.read(terminal, 4096).decode(errors='replace')
    except OSError:  # nobody has the terminal any more
        pass
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(terminal)
    return code, seen


def test_a_pin_and_a_passphrase_are_asked_for_on_a_terminal(share, token):
    share.unmount()
    asking = token.spec.partition('&pin-source')[0]
    to = (str(share.keyfold), 'kms', 'root-key', 'change-provider', '--store', share.store, '--to')
    mount = (str(share.keyfold), 'mount', share.store, share.mnt)
    code, seen = at_terminal([*to, asking], [('PIN: ', '1234')])
    assert code == 0, seen
    assert '1234' not in seen.replace(str(share.folder), ''), 'what is typed is not shown'
    (share.folder / 'root.key').unlink()
    # Nobody can be asked here.
    fails(USAGE, share, 'mount', share.store, share.mnt, says='no terminal')
    code, seen = at_terminal(mount, [('PIN: ', '4321')])
    assert code == WRONG_CREDENTIAL and 'tried once' in seen, seen
    code, seen = at_terminal(mount, [('PIN: ', '1234')])
    assert code == 0, seen
    assert read(share) == 'quarterly'
    share.unmount()
    # From the token to a passphrase: both are asked for.
    words = 'correct horse'
    code, seen = at_terminal([*to, 'passphrase'], [('PIN: ', '1234'), ('Passphrase: ', words),
                                                   ('The same again: ', words)])
    assert code == 0 and words not in seen, seen
    code, seen = at_terminal(mount, [('Passphrase: ', 'wrong horse')])
    assert code == WRONG_CREDENTIAL, seen
    code, seen = at_terminal(mount, [('Passphrase: ', words)])
    assert code == 0 and words not in seen, seen
    assert read(share) == 'quarterly'


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


def test_a_store_hangs_on_its_tpm(share, tpm, monkeypatch):
    share.unmount()
    change(share, f'tpm2:pcrs=sha256:7,tcti={tpm.tcti}')
    # A store may not choose whom to trust as the TPM, whoever mounts it may.
    mount = ('mount', share.store, share.mnt)
    fails(USAGE, share, *mount, says='--root-key')
    assert '--root-key' in share.run(None, 'kms', 'root-key', 'status', '--store', share.store)
    named = ('--root-key', f'tpm2:tcti={tpm.tcti}')
    share.mount(*named)
    assert read(share) == 'quarterly'
    share.unmount()
    tpm.stop()
    tpm.start('two')
    fails(WRONG_CREDENTIAL, share, *mount, *named, says='another TPM')
    tpm.stop()
    fails(UNAVAILABLE, share, *mount, *named, says='No TPM answers')
    tpm.start()
    monkeypatch.setenv('KEYFOLD_TPM2_TCTI', tpm.tcti)
    share.mount()
    assert read(share) == 'quarterly'
    share.unmount()
    subprocess.run(['tpm2_pcrextend', '-T', tpm.tcti, '7:sha256=' + 'a' * 64], check=True)
    fails(WRONG_CREDENTIAL, share, *mount, *named, says='PCR 7 ')


HOLDER = r'''
import errno, mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
print('open', flush=True)
for line in sys.stdin:
    try:
        if line == 'read\n':
            os.pread(fd, 1, 0)
        else:
            os.pwrite(fd, line.strip().encode(), 0)
        print('ok', flush=True)
    except OSError as e:
        print(errno.errorcode[e.errno], flush=True)
'''


class Holder:
    """A program of kfcfo's that has a file open, and reads it or writes to it."""

    programs = []  # that the next test must not meet

    def __init__(self, path):
        self.program = subprocess.Popen(
            [*as_user('kfcfo'), '/usr/bin/python3', '-c', HOLDER, path], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, cwd='/')
        self.programs.append(self.program)
        assert self.program.stdout.readline() == 'open\n'

    def does(self, what):
        """'ok' or the errno's name of 'read', or of writing anything else."""
        print(what, file=self.program.stdin, flush=True)
        return self.program.stdout.readline().strip()

    def close(self):
        self.program.stdin.close()
        self.program.wait()


def within(seconds, wanted, ask):
    end = time.monotonic() + seconds
    while (answer := ask()) != wanted:
        assert time.monotonic() < end, f'{answer} instead of {wanted} after {seconds} s'
        time.sleep(0.2)


def cached(path):
    """How many bytes of the file are in the kernel's cache."""
    return int(subprocess.run([*as_user('kfcfo'), 'fincore', '-b', '-n', '-o', 'RES', path],
                              stdout=subprocess.PIPE, text=True, check=True).stdout)


GRACE = 10  # seconds


def lose_and_recover(share, device, *named):
    """The device goes while a file is open and comes back, twice: into the running daemon,
    and into the next one."""
    file, other = share.mnt / 'reports' / 'file', share.mnt / 'reports' / 'other'
    share.python('kfcfo', 'import sys; open(sys.argv[1], "w").write("x" * 9000)', other)
    share.attempt('kfcfo', 'read', other)
    assert cached(other) > 0
    holder = Holder(file)
    assert holder.does('before---') == 'ok'
    encrypt = ('encrypt', '--key-id', 'alias/reports', '--plaintext', 'AAAA')
    describe = ('describe-key', '--key-id', 'alias/reports')

    device.take_away()
    gone = time.monotonic()
    within(15, 'ENOKEY', lambda: share.attempt('kfcfo', 'read', other))
    # What is open goes on for its time; what needs no key goes on.
    assert holder.does('read') == 'ok' and holder.does('during---') == 'ok'
    assert share.attempt('kfcfo', 'create', share.mnt / 'reports' / 'new') == 'ENOKEY'
    assert share.attempt('kfcfo', 'truncate', other) == 'ENOKEY'
    assert share.attempt('kfcfo', 'list', share.mnt / 'reports') == 'ok'
    assert share.attempt('kfcfo', 'stat', file) == 'ok'
    assert share.attempt('kfaccounts', 'read', other) == 'EACCES'
    assert share.refused('kfcfo', *encrypt) == 'KeyUnavailableException'
    assert share.kms('kfcfo', *describe)['KeyMetadata']['KeyState'] == 'Unavailable'
    assert 'still in memory' in share.run(None, 'status', share.mnt)
    assert holder.does('read') == 'ok'
    # Then it ends.
    within(GRACE + 15, 'ENOKEY', lambda: holder.does('read'))
    assert time.monotonic() - gone > GRACE
    assert holder.does('after----') in ('ENOKEY', 'ESTALE')
    assert 'wiped from memory' in share.run(None, 'status', share.mnt)
    assert share.kms('kfcfo', *describe)['KeyMetadata']['KeyState'] == 'Unavailable'
    share.kms('kfcfo', 'update-key-description', '--key-id', 'alias/reports', '--description', 'x')

    device.put_back()
    within(15, 'ok', lambda: share.attempt('kfcfo', 'open_only', other))
    assert cached(other) == 0  # pages of files that nobody had open went too
    assert read(share) == 'during---'
    assert share.attempt('kfcfo', 'read', other) == 'ok'
    share.kms('kfcfo', *encrypt)
    assert share.kms('kfcfo', *describe)['KeyMetadata']['KeyState'] == 'Enabled'
    assert 'Available' in share.run(None, 'status', share.mnt)
    assert holder.does('read') == 'ENOKEY'  # it has to open the file again
    holder.close()
    for event in ('RootKeyUnavailable', 'WipeRootKey', 'RootKeyAvailable', 'RootKeyLost'):
        assert len(share.events(eventName=event)) == 1, event
    share.run('kfcfo', 'audit', 'verify')

    # A store is unmounted without its device, and nothing that was written is lost.
    holder = Holder(file)
    device.take_away()
    within(15, 'ENOKEY', lambda: share.attempt('kfcfo', 'read', other))
    assert holder.does('without--') == 'ok'
    holder.close()
    share.unmount()
    fails(UNAVAILABLE, share, 'mount', share.store, share.mnt, *named,
          says='KeyUnavailableException')
    device.put_back()
    share.mount(*named)
    assert read(share) == 'without--'
    share.run('kfcfo', 'audit', 'verify')


def test_losing_the_token_of_a_mounted_store(share, token):
    share.unmount()
    change(share, token.spec)
    share.mount('-o', f'root-key-grace={GRACE}')
    lose_and_recover(share, token)


def test_losing_the_tpm_of_a_mounted_store(share, tpm):
    share.unmount()
    named = ('--root-key', f'tpm2:tcti={tpm.tcti}')
    change(share, named[1])
    share.mount('-o', f'root-key-grace={GRACE}', *named)
    lose_and_recover(share, tpm, *named)


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
