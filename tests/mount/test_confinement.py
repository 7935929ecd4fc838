"""What are the daemon's processes confined to, and where are its secrets?

One process serves the files, the other has the keys. The daemons are real, mounted by
root and by an ordinary user; everything is read from /proc."""
import base64
import contextlib
import json
import os
import pathlib
import re
import signal
import stat
import subprocess
import time

import pytest

from process_memory import kept_from_swap_and_dumps, mappings, scan
from share import SANITIZED, Failed, as_user, await_end_of, children, lone_share, new_share
from store_keys import derived, root_key

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to look into daemons')

CAPABILITIES = ('CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP '
                'LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK '
                'IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN '
                'SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD').split()
KEPT = {
    'files': set('CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID SETGID SETUID SETPCAP '
                 'IPC_LOCK MKNOD'.split()),
    # Nothing of the disk but what is its own, as the store is root's.
    'keys': {'SYS_PTRACE', 'IPC_LOCK'},
}


@pytest.fixture(scope='module')
def share():
    with new_share('confinement') as made:
        yield made


def status_of(pid, task=None):
    folder = f'/proc/{pid}' if task is None else f'/proc/{pid}/task/{task}'
    lines = pathlib.Path(folder, 'status').read_text().splitlines()
    return dict(line.split(':\t', 1) for line in lines if ':\t' in line)


def capabilities(mask):
    bits = int(mask, 16)
    return {CAPABILITIES[i] if i < len(CAPABILITIES) else f'number {i}'
            for i in range(64) if bits >> i & 1}


def statuses(pid):
    """Of each thread that is there; those of connections come and go."""
    found = []
    for task in os.listdir(f'/proc/{pid}/task'):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found.append(status_of(pid, task))
    return found


@pytest.mark.parametrize('which', KEPT)
def test_every_thread_holds_only_what_its_work_needs(share, which):
    pid = share.processes()[which]
    share.run(None, 'kms', 'list-keys')
    assert len(statuses(pid)) > 5
    for status in statuses(pid):
        for name in ('CapPrm', 'CapBnd'):
            assert capabilities(status[name]) == KEPT[which], (status['Name'], name)
        assert capabilities(status['CapEff']) <= KEPT[which]
        assert capabilities(status['CapInh']) == capabilities(status['CapAmb']) == set()


@pytest.mark.parametrize('which', KEPT)
def test_every_thread_is_under_the_filter(share, which):
    pid = share.processes()[which]
    for status in statuses(pid):
        assert status['NoNewPrivs'] == '1'
        if not SANITIZED:
            assert status['Seccomp'] == '2', status['Name']


def test_what_they_make_is_for_themselves_alone(share):
    processes = share.processes()
    assert {which: {status['Umask'] for status in statuses(pid)}
            for which, pid in processes.items()} == {
        'keys': {'0077'}, 'unmount': {'0077'}, 'commands': {'0077'},
        # Those of its threads that serve make files as their callers ask, umask and all.
        'files': {'0000', '0077'}}


def test_who_serves_files_has_nothing_of_the_keys_open(share):
    pid = share.processes()['files']
    targets = [os.readlink(f'/proc/{pid}/fd/{fd}') for fd in os.listdir(f'/proc/{pid}/fd')]
    tree = str(share.store / 'tree')
    assert all(target.startswith((tree, 'socket:', '/dev/fuse', '/dev/null', 'anon_inode:'))
               for target in targets), targets
    # Pairs, but for the one to the system's log: none is listened on.
    listening = subprocess.run(['ss', '-xlp'], capture_output=True, text=True).stdout
    assert f'pid={pid},' not in listening


def test_who_has_the_keys_has_nothing_of_the_mount_open(share):
    pid = share.processes()['keys']
    targets = [os.readlink(f'/proc/{pid}/fd/{fd}') for fd in os.listdir(f'/proc/{pid}/fd')]
    tree = str(share.store / 'tree')
    assert not any(target.startswith((tree, '/dev/fuse')) for target in targets), targets


def test_a_users_daemon_is_confined_too(share):
    folder = share.folder / 'own'
    folder.mkdir()
    subprocess.run(['chown', 'kfcfo:kfcfo', folder], check=True)
    os.chmod('/dev/fuse', 0o666)
    store, mnt = folder / 'store', folder / 'mnt'
    share.run('kfcfo', 'init', store, '--root-key', f'file:{folder}/root.key')
    subprocess.run([*as_user('kfcfo'), 'mkdir', mnt], check=True)
    share.run('kfcfo', 'mount', store, mnt)
    try:
        pid = json.loads(share.run('kfcfo', 'status', mnt, '--output', 'json'))[0]['Pid']
        both = [pid, *(child for child in children(pid) if
                       status_of(child)['Name'] == 'keyfold-kms')]
        assert len(both) == 2
        for process in both:
            for status in statuses(process):
                assert capabilities(status['CapPrm']) == set()
                assert status['NoNewPrivs'] == '1'
                if not SANITIZED:
                    assert status['Seccomp'] == '2'
        # Unmounting needs fusermount3, which the daemon itself can no longer run.
        os.kill(pid, signal.SIGTERM)
        for _ in range(200):
            if not os.path.exists(f'/proc/{pid}'):
                break
            time.sleep(0.05)
        assert not os.path.ismount(mnt)
    finally:
        if os.path.ismount(mnt):
            subprocess.run(['umount', '-l', mnt], check=True)


def test_nobody_else_reaches_into_the_daemon(share):
    for process in share.processes().values():
        # What isn't dumpable belongs to root in /proc, whoever runs it.
        assert os.stat(f'/proc/{process}/mem').st_uid == 0
        core = re.search(r'Max core file size\s+(\d+)\s+(\d+)',
                         pathlib.Path(f'/proc/{process}/limits').read_text())
        assert core.groups() == ('0', '0')
        code = f"open('/proc/{process}/mem', 'rb')"
        refused = subprocess.run([*as_user('kfcfo'), '/usr/bin/python3', '-c', code],
                                 capture_output=True, text=True)
        assert 'PermissionError' in refused.stderr


def test_descriptors_are_closed_on_exec(share):
    with open(share.mnt / 'held', 'w') as f:
        f.write('x')
        f.flush()
        for process in share.processes().values():
            for fd in os.listdir(f'/proc/{process}/fd'):
                try:
                    info = pathlib.Path(f'/proc/{process}/fdinfo/{fd}').read_text()
                    target = os.readlink(f'/proc/{process}/fd/{fd}')
                except FileNotFoundError:
                    continue  # it was of a call that has ended
                flags = int(re.search(r'flags:\s+(\d+)', info).group(1), 8)
                assert flags & os.O_CLOEXEC or target == '/dev/null', (fd, target)


@pytest.mark.parametrize('which', ['unmount', 'commands'])
def test_the_outside_processes_hold_nothing_of_the_daemons(share, which):
    outside = share.processes()[which]
    targets = sorted(os.readlink(f'/proc/{outside}/fd/{fd}')
                     for fd in os.listdir(f'/proc/{outside}/fd'))
    assert targets[:3] == ['/dev/null'] * 3
    assert len(targets) == 4 and targets[3].startswith('socket:')


def test_the_process_that_unmounts_does_nothing_else(share):
    status = status_of(share.processes()['unmount'])
    assert capabilities(status['CapPrm']) == {'SYS_ADMIN', 'DAC_READ_SEARCH'}


def test_without_commands_there_is_no_process_that_runs_them(share):
    share.unmount()
    share.mount('--alert-commands', 'no')
    assert sorted(share.processes()) == ['files', 'keys', 'unmount']
    share.unmount()
    share.mount()


def test_the_other_processes_end_with_the_daemon(share):
    processes = share.processes()
    assert sorted(processes) == ['commands', 'files', 'keys', 'unmount']
    # And not before.
    for which in ('keys', 'unmount', 'commands'):
        os.kill(processes[which], signal.SIGTERM)
    share.run(None, 'kms', 'list-keys')
    share.unmount()
    await_end_of(*processes.values())
    share.mount()


def test_files_and_sockets_are_private(share):
    socket = os.getxattr(share.mnt, 'user.keyfold.socket').decode()
    mode = os.stat(socket)
    # All may connect: who they are, the kernel tells, and policies decide.
    assert stat.S_ISSOCK(mode.st_mode) and mode.st_uid == 0
    assert stat.S_IMODE(os.stat(os.path.dirname(socket)).st_mode) & 0o022 == 0
    for name in ('keyfold.json', 'audit.log'):
        found = list(share.store.rglob(name))
        assert found and all(stat.S_IMODE(os.stat(f).st_mode) & 0o077 == 0 for f in found)


def test_the_filter_can_be_left_out(share):
    share.unmount()
    share.mount('-o', 'confine=off')
    for which in KEPT:
        status = status_of(share.processes()[which])
        assert (status['Seccomp'], status['NoNewPrivs']) == ('0', '1')
    share.unmount()
    with pytest.raises(Failed):
        share.mount('-o', 'confine=perhaps')
    share.mount()


MARKER = 'the quarterly figures nobody may see '
SECRET_PASSPHRASE = 'an unusual passphrase for this test alone'


def use_everything(share):
    """Keys with material that the test knows, and files; returns the material."""
    material = os.urandom(32)
    key = share.kms('kfcfo', 'create-key', '--origin', 'EXTERNAL')['KeyMetadata']['KeyId']
    share.import_material('kfcfo', key, material, '--expiration-model', 'KEY_MATERIAL_DOES_NOT_EXPIRE')
    made = share.kms('kfcfo', 'generate-data-key', '--key-id', key, '--key-spec', 'AES_256')
    share.kms('kfcfo', 'decrypt', '--ciphertext-blob', made['CiphertextBlob'])
    write = f"open({str(share.mnt / 'figures')!r}, 'w').write({MARKER!r} * 40000)"
    read = f"open({str(share.mnt / 'figures')!r}).read()"
    for code in (write, read):
        share.python('kfcfo', f'{code}\nprint()')
    return {'material': material, 'data key': base64.b64decode(made['Plaintext'])}


def drop_caches(share):
    subprocess.run(['sync', '-f', share.mnt], check=True)
    pathlib.Path('/proc/sys/vm/drop_caches').write_text('3')


def test_secrets_are_only_in_locked_memory_of_who_has_the_keys(share):
    share.unmount()
    share.mount()
    secrets = use_everything(share)
    root = root_key(share)
    keys = {'file': (share.folder / 'root.key').read_bytes(), 'root key': root, **derived(root),
            **secrets}
    drop_caches(share)
    processes = share.processes()
    for which in KEPT:
        pid = processes[which]
        assert int(status_of(pid)['VmLck'].split()[0]) > 0
        found = scan(pid, list(keys.values()))
        for name, secret in keys.items():
            assert which == 'keys' or not found[secret], name
            for place, flags in found[secret]:
                assert kept_from_swap_and_dumps(flags), (name, place, flags)
        # Nothing else that is written may be swapped either.
        for start, _, name, flags in mappings(pid):
            if 'wr' in flags and name in ('', '[heap]'):
                assert 'lo' in flags, (hex(start), name, flags)
        # The scan sees what is there: these are in use while the store is mounted.
        if which == 'keys':
            for name in ('root rows', 'root audit', 'root material', 'root sessions'):
                assert found[keys[name]], name
    for which in ('unmount', 'commands'):
        assert not any(scan(processes[which], list(keys.values())).values())


def test_contents_leave_memory_when_they_were_served(share):
    use_everything(share)
    drop_caches(share)
    assert scan(share.daemon(), [MARKER.encode()])[MARKER.encode()] == []


def test_a_passphrase_is_nowhere():
    with lone_share('passphrase') as share:
        share.unmount()
        words = share.folder / 'words'
        words.write_text(SECRET_PASSPHRASE + '\n')
        words.chmod(0o600)
        store = share.folder / 'store2'
        spec = f'passphrase-file:{words}'
        share.run(None, 'init', store, '--root-key', spec)
        share.run(None, 'mount', store, share.mnt)
        for process in share.processes().values():
            assert scan(process, [SECRET_PASSPHRASE.encode()])[SECRET_PASSPHRASE.encode()] == []


def test_the_scan_finds_what_is_there():
    """Else the tests above could not fail."""
    code = f'import time; held = ({SECRET_PASSPHRASE!r} + "!" * 3).encode(); print(flush=True); time.sleep(60)'
    with subprocess.Popen(['/usr/bin/python3', '-c', code], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        needle = (SECRET_PASSPHRASE + '!!!').encode()
        places = scan(process.pid, [needle])[needle]
        process.kill()
    assert places and not any(kept_from_swap_and_dumps(flags) for _, flags in places)
