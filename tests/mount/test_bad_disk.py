"""When the machine fails the daemon (a disk that can't be read or turns read-only, no
more descriptors, no more memory), do programs get an errno that says so, does the log
tell a person what to do, and does the mount live on?

The store lies on a small ext4 of its own, in a file mounted through a loop device."""
import errno
import os
import subprocess

import pytest

from likeext4 import forget_caches
from share import SANITIZED, Share, extents, small_disk

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to mount a loop device')


class LoggedShare(Share):
    """A Share whose daemon stays in the foreground and logs to a file."""
    prefix = ()

    def mount(self, *options):
        self.log = self.folder / 'log'
        with open(self.log, 'ab') as log:
            self.process = subprocess.Popen(
                [*self.prefix, self.keyfold, 'mount', '-f', self.store, self.mnt, *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for _ in range(1000):
            if os.path.ismount(self.mnt):
                return
            if self.process.poll() is not None:
                break
            try:
                self.process.wait(0.02)
            except subprocess.TimeoutExpired:
                pass
        raise AssertionError(self.log.read_text())

    def end(self):
        """Unmounts even if the store is beyond help."""
        subprocess.run(['umount', '-l', self.mnt], check=False)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path, 64, reserved=0) as made:
        yield made


@pytest.fixture
def share(disk, tmp_path):
    made = LoggedShare(tmp_path, disk)
    yield made
    made.end()


def error_of(action):
    try:
        action()
    except OSError as e:
        return errno.errorcode[e.errno]
    return 'ok'


def test_what_the_disk_lost_is_an_error_and_the_rest_is_there(share, tmp_path):
    files = {}
    for name in 'abcdef':
        path = share.mnt / name
        path.write_bytes(files.setdefault(path, os.urandom(7 << 20)))
    os.sync()
    # The end of the disk goes, and with it some of the file that lies last.
    backing = {path: max(extents(share.backing(path))) for path in files}
    lost = max(files, key=lambda path: backing[path][0])
    start, length = backing[lost]
    forget_caches()
    with open(tmp_path / 'image', 'r+b') as image:
        image.truncate(start + length // 2)
    forget_caches()
    assert error_of(lost.read_bytes) == 'EIO'
    for path in files:
        if path != lost:
            assert path.read_bytes() == files[path]
    assert sorted(p.name for p in share.mnt.iterdir()) == list('abcdef')
    log = share.log.read_text()
    assert log.count('The disk under the store fails') == 1, log
    assert share.process.poll() is None


def test_a_disk_that_turns_read_only_is_told_and_reading_goes_on(share, disk):
    path = share.mnt / 'f'
    data = os.urandom(3 << 20)
    path.write_bytes(data)
    os.sync()
    fd = os.open(path, os.O_RDWR)
    subprocess.run(['mount', '-o', 'remount,abort', disk], check=False,
                   stderr=subprocess.DEVNULL)
    forget_caches()
    assert os.pread(fd, 4 << 20, 0) == data
    assert [p.name for p in share.mnt.iterdir()] == ['f']
    # Nothing that needs a record is done without one.
    assert error_of(path.read_bytes) in ('EROFS', 'EIO')
    assert error_of(lambda: (share.mnt / 'new').write_bytes(b'x')) in ('EROFS', 'EIO')
    assert error_of(lambda: os.mkdir(share.mnt / 'folder')) in ('EROFS', 'EIO')
    os.pwrite(fd, b'lost', 0)
    assert error_of(lambda: os.fsync(fd)) in ('EROFS', 'EIO')
    error_of(lambda: os.close(fd))  # which may tell it again
    assert path.stat().st_size == len(data)
    log = share.log.read_text()
    assert 'is read-only' in log or 'The disk under the store fails' in log, log
    assert share.process.poll() is None


class CrampedShare(LoggedShare):
    """Its daemon may have few descriptors."""
    prefix = ('setpriv', '--bounding-set=-sys_resource', 'prlimit', '--nofile=100:100')


@pytest.fixture
def cramped(tmp_path):
    made = CrampedShare(tmp_path)
    yield made
    made.end()


def test_too_many_open_files_are_refused_and_the_log_says_what_to_raise(cramped):
    for i in range(200):
        (cramped.mnt / str(i)).write_text('x')
    held = []
    try:
        with pytest.raises(OSError) as info:
            for i in range(200):
                held.append(os.open(cramped.mnt / str(i), os.O_RDONLY))
        assert info.value.errno in (errno.EMFILE, errno.ENFILE)
        assert len(held) > 30
    finally:
        for fd in held:
            os.close(fd)
    assert (cramped.mnt / '199').read_text() == 'x'
    log = cramped.log.read_text()
    assert log.count('Raise its limit') == 1, log


def address_space(process):
    """What the process takes, in bytes."""
    with open(f'/proc/{process.pid}/status') as f:
        return next(int(line.split()[1]) << 10 for line in f if line.startswith('VmSize:'))


@pytest.mark.parametrize('spare', [0, 300_000, 1 << 20])
def test_want_of_memory_ends_nothing(share, spare):
    """Many open files and large requests in little more memory than the daemon takes
    at rest: some may fail, with ENOMEM, and the mount lives on."""
    if SANITIZED:
        pytest.skip('a sanitizer takes memory of its own')
    code = '''
import os, sys
data, failed, held = os.urandom(512 << 10), 0, []
for i in range(int(sys.argv[2])):
    path = f'{sys.argv[1]}-{i}'
    try:
        held.append(os.open(path, os.O_CREAT | os.O_RDWR))
        if i < 3:
            os.write(held[-1], data)
            os.fsync(held[-1])
            assert os.pread(held[-1], len(data), 0) == data
    except OSError as e:
        assert e.errno == 12, e
        failed += 1
print(failed)
'''

    def failures(kind, count):
        """How many operations failed in eight programs at once."""
        programs = [subprocess.Popen(
            ['/usr/bin/python3', '-c', code, share.mnt / f'{kind}{n}', str(count)],
            stdout=subprocess.PIPE, text=True) for n in range(8)]
        said = [program.communicate()[0] for program in programs]
        assert [program.returncode for program in programs] == [0] * 8, share.log.read_text()
        return sum(map(int, said))

    # libfuse ends the mount when it cannot start a thread, so all are started.
    assert failures('before', 3) == 0
    limit = address_space(share.process) + spare
    subprocess.run(['prlimit', f'--pid={share.process.pid}', f'--as={limit}:'], check=True)
    failed = failures('during', 300)
    subprocess.run(['prlimit', f'--pid={share.process.pid}', '--as=unlimited:'], check=True)
    assert failures('after', 3) == 0
    assert share.process.poll() is None
    assert spare > 0 or failed > 0
    log = share.log.read_text()
    assert 'no memory left' in log or failed == 0, log
