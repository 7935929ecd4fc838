"""Does unmounting wait for those who use a mount, and say for whom; does an idle mount go by
itself, and one in use never?"""
import os
import signal
import socket
import subprocess
import time

import pytest

from share import Failed, as_user, await_end_of, new_share

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to act as several users')


@pytest.fixture(scope='module')
def users():
    with new_share('unmount') as made:
        yield made


@pytest.fixture
def share(users):
    """Mounted when a test begins, however the one before left it."""
    if not os.path.ismount(users.mnt):
        users.mount()
        os.chmod(users.mnt, 0o1777)
    yield users


def holding(share, path, mode='w', user='kfcfo'):
    """A process of the user's that has the file open, until it is told to write its last."""
    code = ("import os,sys; f = open(sys.argv[1], sys.argv[2]); print(flush=True); input(); "
            "sys.argv[2] == 'w' and f.write('last'); f.close()")
    process = subprocess.Popen([*as_user(user), '/usr/bin/python3', '-c', code, path, mode],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd='/')
    process.stdout.readline()
    return process


def unmounting(share, *options):
    return subprocess.Popen([share.keyfold, 'unmount', share.mnt, *options], stderr=subprocess.PIPE,
                            text=True, cwd='/')


def test_it_waits_for_who_writes_and_says_for_whom(share):
    path = share.mnt / 'plan'
    writer = holding(share, path)
    unmount = unmounting(share, '--timeout', '60s')
    said = unmount.stderr.readline()
    assert f'waiting, as {share.mnt} is in use by {writer.pid} (python3) of kfcfo: writes {path}' in said
    assert os.path.ismount(share.mnt) and unmount.poll() is None
    # Others work on meanwhile.
    share.python('kfcfo', "import sys; open(sys.argv[1], 'w').write('x')", share.mnt / 'other')
    writer.communicate(b'\n')
    assert unmount.wait(30) == 0 and not os.path.ismount(share.mnt)
    share.mount()
    assert path.read_text() == 'last'


def test_who_sees_all_is_told_of_a_use_without_a_process_and_of_no_hidden_one(share):
    inner = share.mnt / 'inner'
    inner.mkdir()
    subprocess.run(['mount', '--bind', share.folder, inner], check=True)
    try:
        _, said = unmounting(share, '--timeout', '1s').communicate(timeout=30)
        assert said.count('waiting') == 1, said
        assert 'in use by no process (another mount' in said and "another user's" not in said
    finally:
        subprocess.run(['umount', inner], check=True)


def test_it_says_so_when_others_are_waited_for(share):
    one = holding(share, share.mnt / 'one')
    unmount = unmounting(share, '--timeout', '60s')
    assert str(one.pid) in unmount.stderr.readline()
    other = holding(share, share.mnt / 'one', 'r', 'root')
    said = unmount.stderr.readline()
    assert f'{one.pid} (python3) of kfcfo' in said
    assert f'{other.pid} (python3) of root: reads {share.mnt}/one' in said
    one.communicate(b'\n')
    other.communicate(b'\n')
    assert unmount.wait(30) == 0


def test_it_gives_up_in_time_with_a_word_and_leaves_the_mount(share):
    writer = holding(share, share.mnt / 'plan')
    began = time.monotonic()
    unmount = unmounting(share, '--timeout', '2s')
    _, said = unmount.communicate(timeout=30)
    assert unmount.returncode == 5 and 2 <= time.monotonic() - began < 15
    assert 'Gave up after 2 seconds' in said and f'{writer.pid} (python3) of kfcfo' in said
    writer.communicate(b'\n')
    assert (share.mnt / 'plan').read_text() == 'last'


def test_it_tries_once_where_it_is_not_to_wait(share):
    writer = holding(share, share.mnt / 'plan')
    with pytest.raises(Failed) as info:
        share.run(None, 'unmount', share.mnt, '--timeout', '0s')
    assert info.value.code == 5 and 'waiting' not in info.value.text
    writer.communicate(b'\n')


def test_a_folder_that_someone_is_in_is_use(share):
    sleeper = subprocess.Popen(['sleep', '60'], cwd=share.mnt)
    with pytest.raises(Failed) as info:
        share.run(None, 'unmount', share.mnt, '--timeout', '0s')
    assert info.value.code == 5 and f'{sleeper.pid} (sleep) of root' in info.value.text
    sleeper.kill()
    sleeper.wait()


def test_a_signal_ends_the_wait_and_leaves_the_mount(share):
    writer = holding(share, share.mnt / 'plan')
    unmount = unmounting(share, '--timeout', '60s')
    unmount.stderr.readline()
    unmount.send_signal(signal.SIGINT)
    _, said = unmount.communicate(timeout=30)
    assert unmount.returncode == 5 and 'Cut off' in said and os.path.ismount(share.mnt)
    writer.communicate(b'\n')


def test_now_takes_it_away_from_who_uses_it_and_keeps_what_was_written(share):
    path = share.mnt / 'kept'
    daemon = share.daemon()
    code = ("import os,sys,time; f = open(sys.argv[1], 'w'); f.write('written'); f.flush(); "
            "print(flush=True); input()\ntry: os.read(os.open(sys.argv[1], os.O_RDONLY), 1)\n"
            "except OSError as e: print(e.errno, flush=True)\ninput()")
    writer = subprocess.Popen([*as_user('kfcfo'), '/usr/bin/python3', '-c', code, path],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd='/')
    writer.stdout.readline()
    unmount = unmounting(share, '--now')
    _, said = unmount.communicate(timeout=60)
    assert unmount.returncode == 0 and f'taken from {writer.pid} (python3) of kfcfo' in said
    assert not os.path.ismount(share.mnt)
    await_end_of(daemon)
    writer.kill()
    writer.wait()
    share.mount()
    assert path.read_text() == 'written'


WRITER = """
import os, sys, time
fd = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY | os.O_APPEND)
print(flush=True)
try:
    while True:
        os.write(fd, b'%20.6f' % time.monotonic())
        time.sleep(0.002)
except OSError:
    pass
"""


def test_now_keeps_what_is_written_in_the_time_that_is_left(share):
    path = share.mnt / 'going-on'
    daemon = share.daemon()
    writer = subprocess.Popen([*as_user('kfcfo'), '/usr/bin/python3', '-c', WRITER, path],
                              stdout=subprocess.PIPE, text=True, cwd='/')
    writer.stdout.readline()
    begun = time.monotonic()
    share.run(None, 'unmount', share.mnt, '--now')
    await_end_of(daemon)
    writer.kill()
    writer.wait()
    share.mount()
    kept = path.read_bytes()
    assert float(kept[-20:]) > begun + 2


def test_now_and_a_timeout_do_not_go_together(share):
    with pytest.raises(Failed) as info:
        share.run(None, 'unmount', share.mnt, '--now', '--timeout', '3s')
    assert info.value.code == 2 and os.path.ismount(share.mnt)


@pytest.mark.parametrize('wrong', ['soon', '5', '-3s'])
def test_a_timeout_that_is_none_is_named(share, wrong):
    with pytest.raises(Failed) as info:
        share.run(None, 'unmount', share.mnt, f'--timeout={wrong}')
    assert info.value.code == 2 and '--timeout expects a time' in info.value.text


def mount_idle(share, span='3s', *options):
    if os.path.ismount(share.mnt):
        share.unmount()
    share.mount('--idle-timeout', span, *options)


def gone(share, within):
    until = time.monotonic() + within
    while time.monotonic() < until:
        if not os.path.ismount(share.mnt):
            return True
        time.sleep(0.1)
    return False


def test_an_idle_mount_goes_by_itself(share):
    mount_idle(share)
    processes = share.processes()
    began = time.monotonic()
    assert gone(share, 20) and time.monotonic() - began > 2
    await_end_of(*processes.values())
    share.mount()  # its store is let go of


@pytest.mark.parametrize('mode, told', [(0o755, True), (0o555, False)])
def test_what_an_idle_mount_leaves_behind_is_told_of(share, mode, told):
    if os.path.ismount(share.mnt):
        share.unmount()
    before = share.mnt.stat().st_mode
    share.mnt.chmod(mode)
    try:
        said = subprocess.run([share.keyfold, 'mount', share.store, share.mnt, '--idle-timeout', '3s'],
                              check=True, stderr=subprocess.PIPE, text=True).stderr
        assert ('chmod a-w' in said) == told
    finally:
        share.unmount()
        share.mnt.chmod(before & 0o7777)
        share.mount()


def test_a_mount_with_an_open_file_is_not_idle(share):
    mount_idle(share)
    writer = holding(share, share.mnt / 'held')
    assert not gone(share, 8)
    writer.communicate(b'\n')
    assert gone(share, 20)
    share.mount()
    assert (share.mnt / 'held').read_text() == 'last'


def test_a_mount_whose_files_or_keys_are_asked_for_is_not_idle(share):
    mount_idle(share)
    for i in range(8):
        (share.mnt / f'asked{i}').write_text('x')
        time.sleep(1)
    assert os.path.ismount(share.mnt)
    kms = os.getxattr(share.mnt, 'user.keyfold.socket').decode()
    for _ in range(8):  # of the KMS alone, past the mount
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(kms)
            connection.sendall(b'POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: KeyfoldIam.WhoAmI\r\n'
                               b'Content-Length: 2\r\n\r\n{}')
            assert connection.recv(4096).startswith(b'HTTP/1.1 200')
        time.sleep(1)
    assert os.path.ismount(share.mnt)
    assert gone(share, 20)


def test_a_mount_whose_free_space_alone_is_asked_for_is_idle(share):
    mount_idle(share)
    until = time.monotonic() + 20
    while os.path.ismount(share.mnt) and time.monotonic() < until:
        os.statvfs(share.mnt)
        time.sleep(0.5)
    assert not os.path.ismount(share.mnt)


def test_a_mount_that_someone_is_in_stays_until_they_leave(share):
    mount_idle(share)
    sleeper = subprocess.Popen(['sleep', '60'], cwd=share.mnt)
    assert not gone(share, 8)
    sleeper.kill()
    sleeper.wait()
    assert gone(share, 20)


@pytest.mark.parametrize('wrong', ['soon', '0s', '10'])
def test_an_idle_time_that_is_none_is_named(share, wrong):
    share.unmount()
    with pytest.raises(Failed) as info:
        share.mount('-o', f'idle-timeout={wrong}')
    assert info.value.code == 2 and '--idle-timeout expects a time' in info.value.text
