"""Who may open what, and how soon a right that ends has ended.

Four real users on a real mount; the same rows as examples/finance-share, and the
ways around them."""
import json
import os
import re
import subprocess
import time

import pytest

from share import IAM, as_user, new_share

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to act as several users')

# Holds a file open, and mapped, and tells each second what it sees.
HOLD = r'''
import errno, mmap, os, signal, sys
path = sys.argv[1]
fd = os.open(path, os.O_RDWR if sys.argv[2] == 'rw' else os.O_RDONLY)
area = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
area[0]
os.pread(fd, 10, 0)
print('held', flush=True)
for line in sys.stdin:
    if line == 'read\n':
        try:
            os.pread(fd, 10, 0)
            print('ok', flush=True)
        except OSError as e:
            print(errno.errorcode[e.errno], flush=True)
    elif line == 'map\n':
        pid = os.fork()
        if pid == 0:
            area[0]
            os._exit(0)
        status = os.waitpid(pid, 0)[1]
        print('SIGBUS' if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGBUS
              else 'ok' if status == 0 else str(status), flush=True)
'''


class Holder:
    def __init__(self, user, path, mode='r'):
        self.process = subprocess.Popen(
            [*as_user(user), '/usr/bin/python3', '-c', HOLD, str(path), mode],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd='/')
        assert self.process.stdout.readline() == 'held\n'

    def ask(self, what):
        self.process.stdin.write(what + '\n')
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def until_lost(self, what, seconds=1.0):
        """What `ask` says once it is no longer 'ok'; within `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            answer = self.ask(what)
            if answer != 'ok' or time.monotonic() > deadline:
                return answer
            time.sleep(0.02)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


@pytest.fixture(scope='module')
def share():
    with new_share('enforce') as made:
        yield made


@pytest.fixture
def reports(share, request):
    """A folder of the cfo, under a key of its own, with a file that all may
    read as far as mode bits go. Returns (folder, key alias)."""
    name = re.sub(r'\W', '-', request.node.name)
    alias = 'alias/' + name
    share.kms('kfcfo', 'create-key', '--alias', alias, '--administrators', 'user:kfcfo',
              '--users', 'user:kfcfo', '--tags', 'TagKey=owner,TagValue=cfo')
    folder = share.mnt / name
    share.python('kfcfo', 'import os, sys; os.mkdir(sys.argv[1])', folder)
    share.run('kfcfo', 'folder', 'set-key', folder, alias)
    write(share, folder / 'payslip.pdf', 'net pay 4711')
    return folder, alias


def write(share, path, text, user='kfcfo'):
    share.python(user, 'import os, sys; open(sys.argv[1], "w").write(sys.argv[2]);'
                       'os.chmod(sys.argv[1], 0o644)', path, text)


def test_mode_bits_allow_but_the_key_refuses(share, reports):
    folder, alias = reports
    path = folder / 'payslip.pdf'
    assert path.stat().st_mode & 0o777 == 0o644
    for user in ('kfstranger', 'kfaccounts'):
        for action in ('read', 'map', 'stat', 'list'):
            wanted = 'EACCES' if action in ('read', 'map') else 'ok'
            target = folder if action == 'list' else path
            assert share.attempt(user, action, target) == wanted, (user, action)
    # root has the mode bits, and no key.
    with pytest.raises(PermissionError):
        path.read_bytes()
    with pytest.raises(PermissionError):
        os.truncate(path, 0)
    records = share.events(eventSource='fs.keyfold', errorCode='AccessDeniedException')
    mine = [r for r in records if r['userIdentity']['userName'] == 'kfstranger'
            and any(x.get('path') == f'/{folder.name}/payslip.pdf' for x in r['resources'])]
    assert mine and mine[0]['userIdentity']['executable'].startswith('/usr/bin/python3')
    assert share.attempt('kfcfo', 'read', path) == 'ok'


def test_writing_needs_the_key_too(share, reports):
    folder, alias = reports
    path = folder / 'payslip.pdf'
    share.python('kfcfo', 'import os, sys; os.chmod(sys.argv[1], 0o777); os.chmod(sys.argv[2], 0o666)',
                 folder, path)
    for action in ('write', 'append', 'truncate', 'open_truncate'):
        assert share.attempt('kfaccounts', action, path) == 'EACCES', action
    assert share.attempt('kfaccounts', 'create', folder / 'new') == 'EACCES'
    assert not (folder / 'new').exists()
    assert share.python('kfcfo', 'import sys; print(open(sys.argv[1]).read())', path) == 'net pay 4711'


def test_no_way_around_by_links_and_renames(share, reports):
    folder, alias = reports
    path = folder / 'payslip.pdf'
    share.python('kfcfo', 'import os, sys; os.chmod(sys.argv[1], 0o777); os.chmod(sys.argv[2], 0o666)',
                 folder, path)
    own = share.mnt / (folder.name + '-own')
    share.python('kfaccounts', 'import os, sys; os.mkdir(sys.argv[1])', own)
    # Another key's folder: a link is refused; beside the file it changes nothing.
    assert share.attempt('kfaccounts', 'link_and_read', path, own / 'x') == 'EXDEV'
    assert share.attempt('kfaccounts', 'link_and_read', path, folder / 'y') in ('EACCES', 'EPERM')
    code = 'import errno, os, sys\ntry: os.rename(*sys.argv[1:])\nexcept OSError as e: print(errno.errorcode[e.errno])'
    assert share.python('kfaccounts', code, path, own / 'payslip.pdf') == 'EXDEV'


def test_a_file_may_move_under_the_service_key(share, reports):
    folder, alias = reports
    path = folder / 'payslip.pdf'
    share.run('kfcfo', 'file', 'set-key', path, 'alias/aws/fs')
    assert share.attempt('kfstranger', 'read', path) == 'ok'
    assert 'alias/aws/fs' in share.run('kfcfo', 'file', 'show', path)
    # Only who may use both keys, and owns the file.
    other = folder / 'other'
    write(share, other, 'x')
    with pytest.raises(Exception):
        share.run('kfaccounts', 'file', 'set-key', other, 'alias/aws/fs')
    assert share.attempt('kfstranger', 'read', other) == 'EACCES'


def test_administrators_come_in_through_the_account_statement_and_go(share, reports):
    folder, alias = reports
    path = folder / 'payslip.pdf'
    assert share.attempt('kfsysadmin', 'read', path) == 'ok'
    holder = Holder('kfsysadmin', path)
    share.apply_iam(IAM % 'SystemAdministrator')
    try:
        assert holder.until_lost('read') == 'EACCES'
        assert holder.ask('map') == 'SIGBUS'
        assert share.attempt('kfsysadmin', 'read', path) == 'EACCES'
        assert share.refused('kfsysadmin', 'put-key-policy', '--key-id', alias, '--policy',
                             '{"Statement": [{"Effect": "Allow", "Principal": "*", '
                             '"Action": "kms:*"}]}') == 'AccessDeniedException'
        assert share.attempt('kfcfo', 'read', path) == 'ok'
    finally:
        holder.close()
        share.apply_iam(IAM % 'AdministratorAccess')


@pytest.mark.parametrize('event, back', [
    (['disable-key'], ['enable-key']),
    (['schedule-key-deletion', '--pending-window-in-days', '7'], ['cancel-key-deletion']),
])
def test_a_key_that_goes_closes_open_files_within_a_second(share, reports, event, back):
    folder, alias = reports
    path = folder / 'payslip.pdf'
    holders = [Holder('kfcfo', path, mode) for mode in ('r', 'rw')]
    share.kms('kfcfo', event[0], '--key-id', alias, *event[1:])
    for holder in holders:
        assert holder.until_lost('read') == 'ENOKEY'
        assert holder.until_lost('map') == 'SIGBUS'
    assert share.attempt('kfcfo', 'read', path) == 'ENOKEY'
    assert share.attempt('kfcfo', 'create', folder / 'new') == 'ENOKEY'
    with pytest.raises(OSError):
        path.read_bytes()
    share.kms('kfcfo', back[0], '--key-id', alias)
    if back[0] == 'cancel-key-deletion':
        assert share.attempt('kfcfo', 'read', path) == 'ENOKEY'
        share.kms('kfcfo', 'enable-key', '--key-id', alias)
    assert share.attempt('kfcfo', 'read', path) == 'ok'
    for holder in holders:
        holder.close()


def test_what_was_written_before_a_revocation_is_kept(share, reports):
    folder, alias = reports
    path = folder / 'ledger'
    writer = subprocess.Popen(
        [*as_user('kfcfo'), '/usr/bin/python3', '-c',
         'import os, sys\nfd = os.open(sys.argv[1], os.O_CREAT | os.O_RDWR)\n'
         'os.write(fd, b"a" * 3000000)\nprint("written", flush=True)\nsys.stdin.read()', str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd='/')
    assert writer.stdout.readline() == 'written\n'
    share.kms('kfcfo', 'disable-key', '--key-id', alias)
    time.sleep(1)
    writer.communicate('')
    share.kms('kfcfo', 'enable-key', '--key-id', alias)
    code = 'import sys; d = open(sys.argv[1], "rb").read(); print(len(d), set(d) == {97})'
    assert share.python('kfcfo', code, path) == '3000000 True'


COPY = r'''
import errno, os, sys
files = [os.open(path, os.O_RDWR) for path in sys.argv[1:3]]
def attempt():
    try:
        # Of one to the other, and back.
        a = os.copy_file_range(files[0], files[1], 5, 0, 0)
        b = os.copy_file_range(files[1], files[0], 5, 0, 0)
        os.posix_fallocate(files[0], 0, 100)
        return 'ok' if a == b == 5 else 'short'
    except OSError as e:
        return errno.errorcode[e.errno]
print(attempt(), flush=True)
for line in sys.stdin:
    print(attempt(), flush=True)
'''


@pytest.mark.parametrize('which', ['from', 'to'])
def test_nothing_is_copied_without_the_right_to_both_files(share, reports, which):
    folder, alias = reports
    path, other = folder / 'payslip.pdf', share.mnt / f'copy-{which}'
    write(share, other, 'somewhere else')
    pair = (path, other) if which == 'from' else (other, path)
    copier = subprocess.Popen(
        [*as_user('kfcfo'), '/usr/bin/python3', '-c', COPY, *map(str, pair)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd='/')
    assert copier.stdout.readline() == 'ok\n'
    share.kms('kfcfo', 'disable-key', '--key-id', alias)
    time.sleep(1)
    copier.stdin.write('again\n')
    copier.stdin.flush()
    assert copier.stdout.readline() == 'ENOKEY\n'
    copier.communicate('')


def test_a_grant_opens_and_its_end_closes(share, reports):
    folder, alias = reports
    path = folder / 'payslip.pdf'
    grant = share.kms('kfcfo', 'create-grant', '--key-id', alias, '--grantee-principal',
                      'user:kfaccounts', '--operations', 'Decrypt')['GrantId']
    assert share.attempt('kfaccounts', 'read', path) == 'ok'
    share.python('kfcfo', 'import os, sys; os.chmod(sys.argv[1], 0o666)', path)
    assert share.attempt('kfaccounts', 'write', path) == 'EACCES'
    holder = Holder('kfaccounts', path)
    share.kms('kfcfo', 'revoke-grant', '--key-id', alias, '--grant-id', grant)
    assert holder.until_lost('read') == 'EACCES'
    assert holder.until_lost('map') == 'SIGBUS'
    # The cfo's right stands.
    assert share.attempt('kfcfo', 'read', path) == 'ok'
    assert holder.ask('read') == 'EACCES'
    holder.close()


def test_pages_that_another_user_reads_do_not_reach_a_revoked_handle(share, reports):
    folder, alias = reports
    path = folder / 'payslip.pdf'
    os.link(path, folder / 'second-name')
    grant = share.kms('kfcfo', 'create-grant', '--key-id', alias, '--grantee-principal',
                      'user:kfaccounts', '--operations', 'Decrypt')['GrantId']
    holder = Holder('kfaccounts', path)
    assert share.attempt('kfcfo', 'read', folder / 'second-name') == 'ok'
    share.kms('kfcfo', 'revoke-grant', '--key-id', alias, '--grant-id', grant)
    assert holder.until_lost('read') == 'EACCES'
    for name in ('payslip.pdf', 'second-name'):
        assert share.attempt('kfcfo', 'read', folder / name) == 'ok'
        assert holder.ask('read') == 'EACCES'
        assert holder.ask('map') == 'SIGBUS'
    holder.close()


def test_what_others_write_after_a_revocation_does_not_reach_the_revoked(share, reports):
    folder, alias = reports
    path = folder / 'ledger'
    write(share, path, 'before ' * 2000)
    grant = share.kms('kfcfo', 'create-grant', '--key-id', alias, '--grantee-principal',
                      'user:kfaccounts', '--operations', 'Decrypt')['GrantId']
    reader = Holder('kfaccounts', path)
    writer = subprocess.Popen(
        [*as_user('kfcfo'), '/usr/bin/python3', '-c', """
import errno, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
print('open', flush=True)
sys.stdin.readline()
try:
    print(os.pwrite(fd, b'secret  ' * 512, 0), flush=True)
except OSError as e:
    print(errno.errorcode[e.errno], flush=True)
sys.stdin.readline()
""", str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd='/')
    assert writer.stdout.readline() == 'open\n'
    share.kms('kfcfo', 'revoke-grant', '--key-id', alias, '--grant-id', grant)
    assert reader.until_lost('read') == 'EACCES'
    writer.stdin.write('now\n')
    writer.stdin.flush()
    # The writer is told, rather than told at fsync that nothing was kept.
    assert writer.stdout.readline() == 'ESTALE\n'
    assert reader.ask('read') == 'EACCES'
    assert reader.ask('map') == 'SIGBUS'
    writer.communicate('done\n')
    reader.close()
    assert share.attempt('kfcfo', 'write', path) == 'ok'


def test_supplementary_groups_carry_policies(share, reports):
    folder, alias = reports
    path = folder / 'payslip.pdf'
    subprocess.run(['groupadd', 'kfpayroll'], check=True)
    try:
        policy = json.loads(share.kms('kfcfo', 'get-key-policy', '--key-id', alias)['Policy'])
        share.apply_iam(IAM % 'AdministratorAccess' + '  kfpayroll: {policies: []}\n')
        policy['Statement'].append({
            'Sid': 'payroll', 'Effect': 'Allow', 'Action': 'kms:Decrypt', 'Resource': '*',
            'Principal': {'AWS': 'arn:aws:iam::000000000000:group/kfpayroll'}})
        share.kms('kfcfo', 'put-key-policy', '--key-id', alias, '--policy', json.dumps(policy))
        assert share.attempt('kfstranger', 'read', path) == 'EACCES'
        subprocess.run(['usermod', '-a', '-G', 'kfpayroll', 'kfstranger'], check=True)
        assert share.attempt('kfstranger', 'read', path) == 'ok'
    finally:
        subprocess.run(['gpasswd', '-d', 'kfstranger', 'kfpayroll'], check=False,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        subprocess.run(['groupdel', 'kfpayroll'], check=True)
        share.apply_iam(IAM % 'AdministratorAccess')


def test_every_call_is_on_record_and_the_chain_holds(share, reports):
    folder, alias = reports
    share.refused('kfaccounts', 'disable-key', '--key-id', alias)
    share.kms('kfcfo', 'disable-key', '--key-id', alias)
    share.kms('kfcfo', 'enable-key', '--key-id', alias)
    key = share.kms('kfcfo', 'describe-key', '--key-id', alias)['KeyMetadata']['Arn']
    records = [r for r in share.events(eventName='DisableKey')
               if r['resources'] and r['resources'][0]['ARN'] == key]
    assert [(r['userIdentity']['userName'], r.get('errorCode')) for r in records] == [
        ('kfaccounts', 'AccessDeniedException'), ('kfcfo', None)]
    for record in records:
        assert record['userIdentity']['pid'] > 0
        assert record['userIdentity']['executable'].endswith('/keyfold')
    alerts = [r for r in share.events(eventSource='alerts.keyfold', eventName='KeyDisabled')
              if r['resources'][0]['ARN'] == key]
    assert len(alerts) == 1
    share.run('kfcfo', 'audit', 'verify')
    # People see who, what, how it ended, on which key and file.
    share.attempt('kfstranger', 'read', folder / 'payslip.pdf')
    line = share.run('kfcfo', 'audit', '--limit', '3', '--user', 'kfstranger').splitlines()[-1]
    for word in ('kfstranger', 'OpenFile', 'AccessDeniedException', alias,
                 f'/{folder.name}/payslip.pdf'):
        assert word in line, line


def test_revocations_are_fast_while_files_are_busy(share, reports):
    folder, alias = reports
    path = folder / 'payslip.pdf'
    for i in range(30):
        write(share, folder / f'f{i}', 'x' * 100000)
    busy = subprocess.Popen(
        [*as_user('kfcfo'), '/usr/bin/python3', '-c',
         'import os, sys\nfolder = sys.argv[1]\nwhile True:\n'
         ' for n in os.listdir(folder):\n'
         '  try:\n   with open(os.path.join(folder, n), "r+b") as f: f.write(f.read())\n'
         '  except OSError: pass', str(folder)], cwd='/')
    try:
        slowest = 0
        for _ in range(5):
            holder = Holder('kfcfo', path)
            share.kms('kfcfo', 'disable-key', '--key-id', alias)
            start = time.monotonic()
            assert holder.until_lost('read') in ('ENOKEY', 'ESTALE')
            slowest = max(slowest, time.monotonic() - start)
            holder.close()
            share.kms('kfcfo', 'enable-key', '--key-id', alias)
        assert slowest < 1
    finally:
        busy.kill()
        busy.wait()
