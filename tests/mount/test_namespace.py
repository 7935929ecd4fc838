"""Does a daemon in a mount namespace of its own mount where everybody sees it, as one
without mounts, and leave nothing behind there nor where it runs?

The test's own namespace is the machine's. The daemon's is made by unshare(1), and receives
what is mounted outside (slave), as systemd has it, or not (private)."""
import os
import pathlib
import signal
import stat
import subprocess
import time

import pytest

from share import Failed, as_user, await_end_of, new_share

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to make namespaces')

HERE = f'/proc/{os.getpid()}/ns/mnt'


@pytest.fixture(scope='module')
def users():
    with new_share('namespace') as made:
        made.unmount()
        # Shared, so that what is mounted in it is propagated.
        subprocess.run(['mount', '--bind', made.folder, made.folder], check=True)
        subprocess.run(['mount', '--make-shared', made.folder], check=True)
        try:
            yield made
        finally:
            subprocess.run(['umount', '-l', made.folder], check=True)


@pytest.fixture
def share(users):
    yield users
    if mounts_seen_by('self', users):
        subprocess.run(['umount', '-l', users.mnt], check=True)


def mount(share, *options, name_space=HERE, propagation='slave', before='true', mountpoint=None,
          wrap=()):
    """Mounts from a new namespace, in which `before` was run; what it said."""
    program = [share.keyfold, 'mount', '--mount-namespace', name_space, share.store,
               mountpoint or share.mnt, *options]
    result = subprocess.run(['unshare', '--mount', '--propagation', propagation, '--', *wrap, 'sh',
                             '-ec', f'{before}; exec "$@"', '-', *map(str, program)],
                            capture_output=True, text=True, cwd='/')
    if result.returncode != 0:
        raise Failed(result)
    return result.stderr


def mounts_seen_by(process, share):
    """The lines of mountinfo about the share, split into words."""
    lines = pathlib.Path(f'/proc/{process}/mountinfo').read_text().splitlines()
    return [line.split() for line in lines if f' - fuse.keyfold {share.store} ' in line]


def space_of(process):
    return os.readlink(f'/proc/{process}/ns/mnt')


def within(seconds, done):
    until = time.monotonic() + seconds
    while not done() and time.monotonic() < until:
        time.sleep(0.05)
    return done()


def in_use(share, path):
    """A process of the CFO's that wrote to the file, did not sync it, and has it open."""
    process = subprocess.Popen(
        [*as_user('kfcfo'), '/usr/bin/python3', '-c',
         "import sys; f = open(sys.argv[1], 'w'); f.write('k' * 100000); f.flush(); "
         "print(flush=True); input()", path],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=share.mnt)
    process.stdout.readline()
    return process


@pytest.mark.parametrize('propagation, copies', [('slave', 1), ('private', 0)])
def test_it_is_mounted_where_everybody_sees_it(share, propagation, copies):
    mount(share, propagation=propagation)
    processes = share.processes()
    assert len(mounts_seen_by('self', share)) == 1
    assert len(mounts_seen_by(processes['files'], share)) == copies
    path = share.mnt / propagation
    share.python('kfcfo', "import sys; open(sys.argv[1], 'w').write('figures')", path)
    path.chmod(0o600)
    assert share.python('kfcfo', 'import sys; print(open(sys.argv[1]).read())', path) == 'figures'
    assert share.attempt('kfaccounts', 'read', path) == 'EACCES'
    share.unmount()
    await_end_of(*processes.values())
    assert not mounts_seen_by('self', share)
    mount(share)
    assert share.python('kfcfo', 'import sys; print(open(sys.argv[1]).read())', path) == 'figures'
    share.unmount()


def test_who_mounts_is_outside_and_nobody_else(share):
    mount(share)
    processes = share.processes()
    outside = {which for which, pid in processes.items() if space_of(pid) == space_of('self')}
    assert outside == {'unmount'}
    ids = {line.split()[0] for line in pathlib.Path('/proc/self/mountinfo').open()}
    for which in ('files', 'keys', 'commands'):
        # A folder that is open leads to all that is above it.
        pid = processes[which]
        for fd in os.listdir(f'/proc/{pid}/fd'):
            if stat.S_ISDIR(os.stat(f'/proc/{pid}/fd/{fd}').st_mode):
                info = pathlib.Path(f'/proc/{pid}/fdinfo/{fd}').read_text().split()
                assert info[info.index('mnt_id:') + 1] not in ids, os.readlink(f'/proc/{pid}/fd/{fd}')
    status = pathlib.Path(f"/proc/{processes['unmount']}/status").read_text().split()
    sys_admin, dac_read_search = 1 << 21, 1 << 2
    assert int(status[status.index('CapPrm:') + 1], 16) == sys_admin | dac_read_search
    share.unmount()


def kernels_view(share):
    """Flags and options as the kernel has them, and its readahead."""
    (line,) = mounts_seen_by('self', share)
    readahead = pathlib.Path(f'/sys/class/bdi/{line[2]}/read_ahead_kb').read_text()
    return line[5], line[line.index('-') + 1:], readahead


@pytest.mark.parametrize('options', ['rw', 'ro,noatime,noexec', 'suid,dev,dirsync', 'sync,noatime'])
def test_its_options_are_those_of_a_mount_without(share, options):
    share.mount('-o', options)
    without = kernels_view(share)
    share.unmount()
    mount(share, '-o', options)
    assert kernels_view(share) == without
    share.unmount()


@pytest.mark.parametrize('used', [False, True])
def test_a_signal_unmounts_there_and_keeps_what_was_written(share, used):
    mount(share)
    processes = share.processes()
    path = share.mnt / 'kept'
    writer = in_use(share, path)
    if not used:
        writer.communicate(b'\n')
    os.kill(processes['files'], signal.SIGTERM)
    assert within(20, lambda: not mounts_seen_by('self', share))
    await_end_of(*processes.values())
    writer.kill()
    writer.wait()
    mount(share)
    assert path.read_text() == 'k' * 100000
    share.unmount()


def test_a_killed_daemon_leaves_no_process_and_a_mount_that_can_be_taken_away(share):
    mount(share)
    processes = share.processes()
    os.kill(processes['files'], signal.SIGKILL)
    await_end_of(*processes.values())
    with pytest.raises(Failed) as info:
        mount(share)
    assert info.value.code == 5 and 'keyfold unmount' in info.value.text
    share.unmount()
    assert not mounts_seen_by('self', share)
    mount(share)
    share.unmount()


def test_so_does_one_whose_process_with_the_keys_was_killed(share):
    mount(share)
    processes = share.processes()
    os.kill(processes['keys'], signal.SIGKILL)
    await_end_of(*processes.values())
    assert not mounts_seen_by('self', share)


def test_an_idle_mount_goes_from_there_by_itself(share):
    share.mnt.chmod(0o755)
    said = mount(share, '--idle-timeout', '2s')
    assert f'chmod a-w {share.mnt}' in said
    processes = share.processes()
    assert within(20, lambda: not mounts_seen_by('self', share))
    await_end_of(*processes.values())


def test_the_mountpoint_is_the_one_there(share):
    """In the daemon's namespace there is neither the folder nor the link to it."""
    place = share.folder / 'place'
    (place / 'real').mkdir(parents=True)
    (place / 'link').symlink_to('real')
    mount(share, before=f'mount -t tmpfs none {place}', mountpoint=place / 'link')
    assert mounts_seen_by('self', share)[0][4] == str(place / 'real')
    share.run(None, 'unmount', place / 'real')


@pytest.mark.parametrize('makes, before, said', [
    ('point/something', 'mount -t tmpfs none {0}/point', 'is not empty'),
    ('hidden', 'mount -t tmpfs none {0}/hidden; mkdir {0}/hidden/point', 'does not exist')])
def test_it_is_checked_there(share, makes, before, said):
    """In the daemon's namespace it would do."""
    (share.folder / makes).mkdir(parents=True)
    point = share.folder / ('point' if said == 'is not empty' else 'hidden/point')
    with pytest.raises(Failed) as info:
        mount(share, mountpoint=point, before=before.format(share.folder))
    assert info.value.code == 2 and f'{point} {said}' in info.value.text


def test_a_mount_that_is_there_is_seen(share):
    mount(share, propagation='private')
    with pytest.raises(Failed) as info:
        mount(share, propagation='private')
    assert info.value.code == 5 and 'is a Keyfold mount already' in info.value.text
    share.unmount()


@pytest.mark.parametrize('wrong', ['/proc/self/ns/net', '/dev/null', '/etc/passwd', '/etc'])
def test_a_file_that_is_no_mount_namespace_is_named(share, wrong):
    with pytest.raises(Failed) as info:
        mount(share, name_space=wrong)
    assert info.value.code == 2 and f'{wrong} is no mount namespace' in info.value.text
    assert not mounts_seen_by('self', share)


def test_a_file_that_is_not_there_is_named(share):
    with pytest.raises(Failed) as info:
        mount(share, name_space='/proc/1/ns/none')
    assert '/proc/1/ns/none: No such file' in info.value.text


def test_a_mere_user_is_refused(share):
    own = share.folder / 'own'
    own.mkdir()
    subprocess.run(['chown', 'kfcfo:kfcfo', own], check=True)
    share.run('kfcfo', 'init', own / 'store', '--root-key', f'file:{own}/root.key')
    (own / 'mnt').mkdir()
    with pytest.raises(Failed) as info:
        share.run('kfcfo', 'mount', own / 'store', own / 'mnt', '--mount-namespace', HERE)
    assert 'Only root may mount in another mount namespace' in info.value.text


@pytest.mark.parametrize('without', ['sys_admin', 'sys_chroot'])
def test_so_is_a_root_without_the_rights(share, without):
    with pytest.raises(Failed) as info:
        mount(share, wrap=['setpriv', f'--bounding-set=-{without}', f'--inh-caps=-{without}', '--'])
    assert 'may not enter the mount namespace' in info.value.text
    assert not mounts_seen_by('self', share)


def test_unmounting_by_libfuse_does_not_go_with_it(share):
    with pytest.raises(Failed) as info:
        mount(share, '-o', 'auto_unmount')
    assert info.value.code == 2 and 'auto_unmount' in info.value.text
