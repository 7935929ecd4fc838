"""What happens to a mount when one of its two processes is killed?

One process serves the files, the other has the keys. The one that lives must end, with a
word in the log, and nothing that was synced is lost."""
import errno
import fcntl
import os
import signal
import subprocess
import time

import pytest

from crash_load import Load
from share import await_end_of, lone_share, new_share

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to look into daemons')

STEPS = int(os.environ.get('KEYFOLD_TEST_STEPS', 3))
SEED = int(os.environ.get('KEYFOLD_TEST_SEED', time.time_ns() % 10**9))


@pytest.fixture
def share():
    with lone_share('processes') as made:
        made.unmount()
        log = made.folder / 'log'
        daemon = made.mount_in_foreground(log)
        made.log, made.running = log, daemon
        yield made
        if daemon.poll() is None:
            daemon.terminate()
            daemon.wait(30)


def is_locked(store):
    with open(store / 'lock') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return False
        except BlockingIOError:
            return True


def synced(path, data):
    with open(path, 'wb') as f:
        f.write(data)
        os.fsync(f.fileno())


DATA = b'figures' * 10000


def test_a_mount_ends_when_the_process_with_its_keys_is_killed(share):
    synced(share.mnt / 'synced', DATA)
    (share.mnt / 'closed').write_bytes(DATA)
    others = share.processes()
    assert others['files'] == share.running.pid
    os.kill(others['keys'], signal.SIGKILL)
    assert share.running.wait(20) == 1
    await_end_of(*others.values())
    assert not os.path.ismount(share.mnt)
    assert 'The process that holds the keys is gone' in share.log.read_text()
    assert not is_locked(share.store)
    share.mount()
    # The second one was open there, and its data key with it.
    assert (share.mnt / 'synced').read_bytes() == (share.mnt / 'closed').read_bytes() == DATA


def test_a_mount_in_use_ends_too(share):
    synced(share.mnt / 'synced', DATA)
    with open(share.mnt / 'synced', 'rb'):
        os.kill(share.processes()['keys'], signal.SIGKILL)
        assert share.running.wait(20) == 1
    assert not os.path.ismount(share.mnt)
    share.mount()
    assert (share.mnt / 'synced').read_bytes() == DATA


def test_nobody_gets_in_without_the_process_that_decides(share):
    """A mount in use takes a moment to end: nothing is opened meanwhile."""
    synced(share.mnt / 'other', DATA)
    folder = os.open(share.mnt, os.O_PATH)
    with open(share.mnt / 'held', 'w') as f:
        f.write('x')
        f.flush()
        os.kill(share.processes()['keys'], signal.SIGKILL)
        for name, flags in (('other', os.O_RDONLY), ('new', os.O_CREAT | os.O_WRONLY)):
            with pytest.raises(OSError) as refused:
                os.open(name, flags, dir_fd=folder)
            assert refused.value.errno in (errno.ENOKEY, errno.ENOTCONN)
        os.close(folder)
    share.running.wait(20)


def test_the_keys_are_let_go_of_when_who_serves_files_is_killed(share):
    synced(share.mnt / 'synced', DATA)
    processes = share.processes()
    socket = os.getxattr(share.mnt, 'user.keyfold.socket').decode()
    assert os.path.exists(socket) and is_locked(share.store)
    os.kill(processes['files'], signal.SIGKILL)
    share.running.wait(20)
    await_end_of(*processes.values())
    assert not os.path.exists(socket) and not is_locked(share.store)
    subprocess.run(['umount', '-l', share.mnt], check=True)
    share.mount()
    assert (share.mnt / 'synced').read_bytes() == DATA


def test_a_store_that_does_not_open_leaves_no_process(share):
    share.running.terminate()
    assert share.running.wait(30) == 0
    wrong = share.folder / 'wrong.key'
    wrong.write_bytes(os.urandom(32))
    wrong.chmod(0o600)
    refused = subprocess.run([share.keyfold, 'mount', share.store, share.mnt, '--root-key',
                              f'file:{wrong}'], capture_output=True, text=True)
    assert refused.returncode == 4 and refused.stderr.startswith('keyfold: ')
    found = subprocess.run(['pgrep', '-f', str(share.keyfold)], capture_output=True, text=True)
    assert found.stdout == ''
    assert not is_locked(share.store)
    share.mount()


@pytest.mark.parametrize('which', ['files', 'keys'])
def test_nothing_is_lost_when_one_of_them_is_killed_under_load(which):
    print(f'KEYFOLD_TEST_SEED={SEED} KEYFOLD_TEST_STEPS={STEPS}')
    with new_share('one-killed') as share:
        load = Load(share, SEED)

        def kill():
            processes = share.processes()
            os.kill(processes[which], signal.SIGKILL)
            await_end_of(*processes.values())
            # Who served files unmounts when the keys are gone, and not when it is.
            assert os.path.ismount(share.mnt) == (which == 'files')
            if which == 'files':
                subprocess.run(['umount', '-l', share.mnt], check=True)
        for _ in range(STEPS):
            load.during(kill)
            share.is_clean()
            share.mount()
            load.check()
