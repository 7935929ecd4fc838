"""What is the daemon confined to, and where are its secrets?

The daemons are real, mounted by root and by an ordinary user; everything is read from
/proc. The memory scans read /proc/PID/mem as root, as a core dump or swap would hold it."""
import base64
import json
import os
import pathlib
import re
import signal
import stat
import subprocess
import time

import pytest

from share import Failed, as_user, lone_share, new_share

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to look into daemons')

CAPABILITIES = ('CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP '
                'LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK '
                'IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN '
                'SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD').split()
SERVING = set('CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID SETGID SETUID SETPCAP '
              'IPC_LOCK SYS_PTRACE MKNOD'.split())


@pytest.fixture(scope='module')
def share():
    with new_share('confinement') as made:
        yield made


def sanitized(share):
    """Whether the program is built with a sanitizer, which has no filter."""
    return b'__asan_init' in pathlib.Path(share.keyfold).read_bytes() or \
        b'__tsan_init' in pathlib.Path(share.keyfold).read_bytes()


def status_of(pid, task=None):
    folder = f'/proc/{pid}' if task is None else f'/proc/{pid}/task/{task}'
    lines = pathlib.Path(folder, 'status').read_text().splitlines()
    return dict(line.split(':\t', 1) for line in lines if ':\t' in line)


def capabilities(mask):
    bits = int(mask, 16)
    return {CAPABILITIES[i] if i < len(CAPABILITIES) else f'number {i}'
            for i in range(64) if bits >> i & 1}


def tasks(pid):
    return os.listdir(f'/proc/{pid}/task')


def outside_of(pid):
    """The daemon's process outside of the confinement: its only child."""
    children = pathlib.Path(f'/proc/{pid}/task/{pid}/children').read_text().split()
    assert len(children) == 1
    return int(children[0])


def test_every_thread_holds_only_what_serving_needs(share):
    pid = share.daemon()
    share.run(None, 'kms', 'list-keys')
    assert len(tasks(pid)) > 5
    for task in tasks(pid):
        status = status_of(pid, task)
        for name in ('CapPrm', 'CapBnd'):
            assert capabilities(status[name]) == SERVING, (status['Name'], name)
        assert capabilities(status['CapEff']) <= SERVING
        assert capabilities(status['CapInh']) == capabilities(status['CapAmb']) == set()


def test_every_thread_is_under_the_filter(share):
    pid = share.daemon()
    for task in tasks(pid):
        status = status_of(pid, task)
        assert status['NoNewPrivs'] == '1'
        if not sanitized(share):
            assert status['Seccomp'] == '2', status['Name']


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
        for task in tasks(pid):
            status = status_of(pid, task)
            assert capabilities(status['CapPrm']) == set()
            assert status['NoNewPrivs'] == '1'
            if not sanitized(share):
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
    pid = share.daemon()
    for process in (pid, outside_of(pid)):
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
    pid = share.daemon()
    with open(share.mnt / 'held', 'w') as f:
        f.write('x')
        f.flush()
        for process in (pid, outside_of(pid)):
            for fd in os.listdir(f'/proc/{process}/fd'):
                info = pathlib.Path(f'/proc/{process}/fdinfo/{fd}').read_text()
                flags = int(re.search(r'flags:\s+(\d+)', info).group(1), 8)
                target = os.readlink(f'/proc/{process}/fd/{fd}')
                assert flags & os.O_CLOEXEC or target == '/dev/null', (fd, target)


def test_the_outside_process_holds_nothing_of_the_daemons(share):
    outside = outside_of(share.daemon())
    targets = sorted(os.readlink(f'/proc/{outside}/fd/{fd}')
                     for fd in os.listdir(f'/proc/{outside}/fd'))
    assert targets[:3] == ['/dev/null'] * 3
    assert len(targets) == 4 and targets[3].startswith('socket:')


def test_without_commands_the_outside_process_only_unmounts(share):
    share.unmount()
    share.mount('--alert-commands', 'no')
    status = status_of(outside_of(share.daemon()))
    assert capabilities(status['CapPrm']) == {'SYS_ADMIN', 'DAC_READ_SEARCH'}
    share.unmount()
    share.mount()


def test_the_outside_process_ends_with_the_daemon(share):
    pid = share.daemon()
    outside = outside_of(pid)
    os.kill(outside, signal.SIGTERM)
    share.unmount()
    for _ in range(100):
        if not os.path.exists(f'/proc/{outside}'):
            break
        time.sleep(0.05)
    assert not os.path.exists(f'/proc/{outside}')
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
    status = status_of(share.daemon())
    assert (status['Seccomp'], status['NoNewPrivs']) == ('0', '1')
    share.unmount()
    with pytest.raises(Failed):
        share.mount('-o', 'confine=perhaps')
    share.mount()


def mappings(pid):
    """(start, end, name, flags) of each mapping."""
    found = []
    for line in pathlib.Path(f'/proc/{pid}/smaps').read_text().splitlines():
        head = re.match(r'([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \S+\s*(.*)', line)
        if head:
            place = [int(head.group(1), 16), int(head.group(2), 16), head.group(3)]
        elif line.startswith('VmFlags:'):
            found.append((*place, set(line.split()[1:])))
    return found


def scan(pid, needles):
    """Where the needles are in the process's memory: needle -> [(name, flags)]."""
    found = {needle: [] for needle in needles}
    with open(f'/proc/{pid}/mem', 'rb', buffering=0) as memory:
        for start, end, name, flags in mappings(pid):
            if 'rd' not in flags or name in ('[vvar]', '[vsyscall]', '[vvar_vclock]'):
                continue
            memory.seek(start)
            data = b''
            while len(data) < end - start:
                try:
                    part = memory.read(end - start - len(data))
                except OSError:
                    break
                if not part:
                    break
                data += part
            for needle in needles:
                if needle in data:
                    found[needle].append((name, flags))
    return found


MARKER = 'the quarterly figures nobody may see '
SECRET_PASSPHRASE = 'an unusual passphrase for this test alone'


def use_everything(share):
    """Keys with material that the test knows, and files; returns the material."""
    material = os.urandom(32)
    key = share.kms('kfcfo', 'create-key', '--origin', 'EXTERNAL')['KeyMetadata']['KeyId']
    wanted = share.kms('kfcfo', 'get-parameters-for-import', '--key-id', key,
                       '--wrapping-algorithm', 'RSAES_OAEP_SHA_256',
                       '--wrapping-key-spec', 'RSA_2048')
    files = {name: share.folder / name for name in ('public', 'token', 'material', 'wrapped')}
    files['public'].write_bytes(base64.b64decode(wanted['PublicKey']))
    files['token'].write_bytes(base64.b64decode(wanted['ImportToken']))
    files['material'].write_bytes(material)
    subprocess.run(['openssl', 'pkeyutl', '-encrypt', '-pubin', '-inkey', files['public'],
                    '-keyform', 'DER', '-pkeyopt', 'rsa_padding_mode:oaep', '-pkeyopt',
                    'rsa_oaep_md:sha256', '-pkeyopt', 'rsa_mgf1_md:sha256', '-in',
                    files['material'], '-out', files['wrapped']], check=True)
    for name in files:
        os.chmod(files[name], 0o644)
    share.kms('kfcfo', 'import-key-material', '--key-id', key,
              '--encrypted-key-material', f"fileb://{files['wrapped']}",
              '--import-token', f"fileb://{files['token']}",
              '--expiration-model', 'KEY_MATERIAL_DOES_NOT_EXPIRE')
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


def kept_from_swap_and_dumps(flags):
    return {'lo', 'dd'} <= flags


def test_secrets_are_only_in_locked_memory(share):
    share.unmount()
    share.mount()
    secrets = use_everything(share)
    secrets['root key'] = (share.folder / 'root.key').read_bytes()
    drop_caches(share)
    pid = share.daemon()
    assert int(status_of(pid)['VmLck'].split()[0]) > 0
    found = scan(pid, list(secrets.values()))
    for name, secret in secrets.items():
        for place, flags in found[secret]:
            assert kept_from_swap_and_dumps(flags), (name, place, flags)
    # Nothing else that is written may be swapped either.
    for start, _, name, flags in mappings(pid):
        if 'wr' in flags and name in ('', '[heap]'):
            assert 'lo' in flags, (hex(start), name, flags)


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
        pid = share.daemon()
        for process in (pid, outside_of(pid)):
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
