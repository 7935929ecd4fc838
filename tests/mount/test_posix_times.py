"""Do times move when, and only when, they should?"""
import ctypes
import errno
import mmap
import os
import struct
import subprocess
import time

from likeext4 import failure, forget_caches, libc


def test_times_to_the_nanosecond(folder):
    path = folder / 'f'
    with open(path, 'wb') as f:
        f.write(b'x' * 5000)
        os.utime(f.fileno(), ns=(1_000_000_001, 2_000_000_002))
    assert path.stat().st_mtime_ns == 2_000_000_002
    assert path.stat().st_atime_ns == 1_000_000_001
    # Not only in the kernel's cache.
    forget_caches()
    assert path.stat().st_mtime_ns == 2_000_000_002
    path.read_bytes()
    forget_caches()
    assert path.stat().st_mtime_ns == 2_000_000_002
    before = path.stat().st_mtime_ns
    path.write_bytes(b'y')
    assert path.stat().st_mtime_ns > before
    (folder / 'l').symlink_to('f')
    os.utime(folder / 'l', ns=(5, 6), follow_symlinks=False)
    assert (folder / 'l').lstat().st_mtime_ns == 6
    os.utime(folder, ns=(7, 8))
    assert folder.stat().st_mtime_ns == 8


def stamps(path):
    st = os.lstat(path)
    return {'a': st.st_atime_ns, 'm': st.st_mtime_ns, 'c': st.st_ctime_ns}


def moved(path, action):
    """Which of the times of `path` the action moves; all are in the past before."""
    before = stamps(path)
    time.sleep(0.02)
    action()
    after = stamps(path)
    assert all(after[t] >= before[t] or t == 'a' for t in after)
    return ''.join(sorted(t for t in after if after[t] != before[t]))


def close_after(fd, action, *args):
    action(fd, *args)
    os.close(fd)


def test_which_change_moves_which_time(folder):
    f = folder / 'f'
    f.write_bytes(b'x' * 100)
    os.link(f, folder / 'other')
    assert moved(f, lambda: f.chmod(0o600)) == 'c'
    assert moved(f, lambda: f.chmod(0o600)) == 'c'
    assert moved(f, lambda: os.chown(f, 0, 0)) == 'c'
    assert moved(f, lambda: os.setxattr(f, 'user.a', b'1')) == 'c'
    assert moved(f, lambda: os.removexattr(f, 'user.a')) == 'c'
    assert moved(f, lambda: os.link(f, folder / 'l')) == 'c'
    assert moved(f, lambda: (folder / 'l').unlink()) == 'c'
    assert moved(f, lambda: os.rename(folder / 'other', folder / 'again')) == 'c'
    assert moved(f, lambda: close_after(os.open(f, os.O_WRONLY), os.write, b'y')) == 'cm'
    assert moved(f, lambda: os.truncate(f, 50)) == 'cm'
    assert moved(f, lambda: close_after(os.open(f, os.O_WRONLY), os.ftruncate, 50)) == 'cm'
    assert moved(f, lambda: os.close(os.open(f, os.O_WRONLY | os.O_TRUNC))) == 'cm'
    assert moved(f, lambda: os.close(os.open(f, os.O_RDWR))) == ''
    changed = stamps(f)['c']
    os.utime(f, ns=(1, 2))
    assert (stamps(f)['a'], stamps(f)['m']) == (1, 2) and stamps(f)['c'] > changed


def test_truncating_by_path_to_the_same_length_moves_times(folder, here):
    (folder / 'f').write_bytes(b'x' * 50)
    assert moved(folder / 'f', lambda: os.truncate(folder / 'f', 50)) == here('cm')


def test_which_change_moves_which_time_of_a_folder(folder):
    d = folder / 'd'
    d.mkdir()
    f = d / 'f'
    assert moved(d, lambda: f.touch()) == 'cm'
    assert moved(d, lambda: f.write_text('x')) == ''
    assert moved(d, lambda: f.chmod(0o600)) == ''
    assert moved(d, lambda: os.link(f, d / 'l')) == 'cm'
    assert moved(d, lambda: os.rename(d / 'l', d / 'm')) == 'cm'
    assert moved(d, lambda: os.rename(d / 'm', folder / 'm')) == 'cm'
    assert moved(folder, lambda: os.rename(folder / 'm', d / 'm')) == 'cm'
    assert moved(d, lambda: (d / 'm').unlink()) == 'cm'
    assert moved(d, lambda: (d / 'sub').mkdir()) == 'cm'
    assert moved(d, lambda: (d / 'sub').rmdir()) == 'cm'
    assert moved(d, lambda: (d / 's').symlink_to('x')) == 'cm'
    assert moved(d, lambda: os.mkfifo(d / 'p')) == 'cm'
    assert moved(d, lambda: d.chmod(0o777)) == 'c'
    assert moved(d, lambda: os.rename(d, folder / 'e') or os.rename(folder / 'e', d)) == 'c'


def test_a_write_through_a_map_moves_the_time(folder):
    path = folder / 'f'
    path.write_bytes(bytes(4096))
    os.utime(path, ns=(1, 2))
    with open(path, 'r+b') as f, mmap.mmap(f.fileno(), 0) as shared:
        shared[0] = 1
        shared.flush()
    forget_caches()
    assert path.stat().st_mtime_ns > 2


def test_relative_access_times(folder):
    """As mounted by default: reading counts once after each change, and once a day."""
    path = folder / 'f'
    path.write_bytes(b'x' * 100)
    forget_caches()
    assert moved(path, lambda: os.close(os.open(path, os.O_RDONLY))) == ''
    assert moved(path, lambda: path.read_bytes()) == 'a'
    forget_caches()
    assert moved(path, lambda: path.read_bytes()) == ''
    path.chmod(0o600)
    forget_caches()
    assert moved(path, lambda: path.read_bytes()) == 'a'
    yesterday = time.time_ns() - 25 * 3600 * 10**9
    os.utime(path, ns=(yesterday, yesterday - 10**9))
    time.sleep(0.02)
    forget_caches()
    assert moved(path, lambda: path.read_bytes()) == 'a'


def test_listing_a_folder_is_an_access(folder):
    d = folder / 'd'
    d.mkdir()
    (d / 'f').touch()
    assert moved(d, lambda: os.listdir(d)) == 'a'


def test_a_cached_read_is_an_access(folder, here):
    path = folder / 'f'
    path.write_bytes(b'x')
    assert moved(path, lambda: path.read_bytes()) == here('a')


def test_special_values_of_utimensat(folder, users):
    path = folder / 'f'
    path.write_bytes(b'x')
    path.chmod(0o666)
    now, omit = (1 << 30) - 1, (1 << 30) - 2

    def utimens(a, m):
        times = struct.pack('qqqq', 0, a, 0, m)
        if libc.utimensat(-100, os.fsencode(path), times, 0) != 0:
            raise OSError(ctypes.get_errno(), 'utimensat')

    os.utime(path, ns=(5, 6))
    utimens(omit, omit)
    assert (stamps(path)['a'], stamps(path)['m']) == (5, 6)
    utimens(omit, now)
    assert stamps(path)['a'] == 5 and stamps(path)['m'] > 10**18
    os.utime(path, ns=(5, 6))
    utimens(now, omit)
    assert stamps(path)['m'] == 6 and stamps(path)['a'] > 10**18
    # Who may write may set both times to now, and nothing else.
    users.do('kftest1', utimens, now, now)
    assert stamps(path)['m'] > 10**18
    users.do('kftest1', utimens, omit, omit)
    for a, m in ((now, omit), (omit, now), (7, 8), (7, now)):
        assert failure(users.do, 'kftest1', utimens, a, m) == errno.EPERM, (a, m)
    path.chmod(0o644)
    assert failure(users.do, 'kftest1', utimens, now, now) == errno.EACCES
    assert failure(os.utime, folder / 'absent') == errno.ENOENT


def test_times_outlive_the_caches(folder):
    path = folder / 'f'
    for ns in (0, 1, 999_999_999, 2**31 * 10**9 + 123_456_789, 2**33 * 10**9 + 7,
               -1 * 10**9 + 5):
        path.write_bytes(b'x')
        os.utime(path, ns=(ns, ns))
        forget_caches()
        assert (stamps(path)['a'], stamps(path)['m']) == (ns, ns)


def test_the_time_of_modification_outlives_the_caches(folder):
    """Of files that are made and written at once: git and make look at it."""
    files = [folder / str(i) for i in range(20)]
    for path in files:
        path.write_bytes(b'x')
    before = [path.stat().st_mtime_ns for path in files]
    forget_caches()
    assert [path.stat().st_mtime_ns for path in files] == before


def test_the_time_of_change_outlives_the_caches(folder, here):
    path = folder / 'f'
    path.write_bytes(b'x')
    time.sleep(0.02)
    with open(path, 'r+b', 0) as f:
        f.write(b'y')
        time.sleep(0.02)  # what was written is stored when it is closed
    before = stamps(path)
    forget_caches()
    after = stamps(path)
    assert ''.join(t for t in after if after[t] != before[t]) == here('')
    assert abs(after['c'] - before['c']) < 500_000_000


def test_the_time_of_birth(folder, here):
    (folder / 'f').touch()
    out = subprocess.run(['stat', '-c', '%W', folder / 'f'], stdout=subprocess.PIPE, text=True,
                         check=True)
    assert (int(out.stdout) > 0) == here(True)
