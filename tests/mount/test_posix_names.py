"""Do names, folders and links behave as on a local filesystem?"""
import errno
import os
import socket
import stat
import subprocess

import pytest

from likeext4 import (RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT, failure,
                      forget_caches, libc, longest, outcome, renameat2)


def test_names_of_every_length(folder):
    names = ['x' * n for n in range(1, 256)] + ['ä' * 127, 'ä' * 127 + 'b', '漢' * 85]
    for name in names:
        (folder / name).write_text(name)
    assert sorted(os.listdir(folder)) == sorted(names)
    for name in names:
        assert (folder / name).read_text() == name
    assert failure(open, folder / ('x' * 256), 'w') == errno.ENAMETOOLONG
    long = folder / names[-1]
    long.rename(folder / ('y' * 255))
    assert (folder / ('y' * 255)).read_text() == names[-1]
    for name in os.listdir(folder):
        (folder / name).unlink()
    assert os.listdir(folder) == []


def test_bytes_that_are_no_utf8(folder):
    name = os.fsencode(folder) + b'/\xff\xfe\n"'
    with open(name, 'wb') as f:
        f.write(b'x')
    assert os.listdir(os.fsencode(folder)) == [b'\xff\xfe\n"']


def test_long_named_folders_links_and_nodes(folder):
    long = 'n' * 250
    (folder / (long + 'd')).mkdir()
    (folder / (long + 'd') / 'f').write_text('x')
    (folder / (long + 's')).symlink_to('target')
    os.mkfifo(folder / (long + 'p'))
    os.link(folder / (long + 'd') / 'f', folder / (long + 'h'))
    assert sorted(os.listdir(folder)) == [long + c for c in 'dhps']
    os.rename(folder / (long + 's'), folder / (long + 't'))
    assert os.readlink(folder / (long + 't')) == 'target'


def test_symbolic_links(folder):
    link = folder / 'l'
    for target in ('a', 'x' * 3000, '../..', '/absolute'):
        link.symlink_to(target)
        assert os.readlink(link) == target
        assert link.lstat().st_size == len(target)
        moved = folder / 'm'
        link.rename(moved)
        assert os.readlink(moved) == target
        moved.unlink()
    (folder / 'f').write_text('through')
    link.symlink_to('f')
    assert link.read_text() == 'through'
    before = link.lstat()
    os.rename(link, folder / 'm')
    after = (folder / 'm').lstat()
    assert (after.st_uid, after.st_mtime_ns) == (before.st_uid, before.st_mtime_ns)
    os.link(folder / 'm', folder / 'n', follow_symlinks=False)
    assert os.readlink(folder / 'n') == 'f'


def test_hard_links(folder):
    a, b = folder / 'a', folder / 'b'
    a.write_text('one')
    os.link(a, b)
    assert a.stat().st_ino == b.stat().st_ino and a.stat().st_nlink == 2
    b.write_text('two')
    assert a.read_text() == 'two'
    a.unlink()
    # Opened without the kernel looking the other name up again.
    assert b.read_text() == 'two' and b.stat().st_nlink == 1
    sub = folder / 'sub'
    sub.mkdir()
    os.link(b, sub / 'c')
    b.rename(folder / 'd')
    assert (sub / 'c').read_text() == 'two'
    (folder / 'd').unlink()
    assert (sub / 'c').read_text() == 'two'
    assert failure(os.link, sub / 'c', sub / 'c') == errno.EEXIST


def test_replacing_one_of_several_links(folder):
    a, b = folder / 'a', folder / 'b'
    a.write_text('old')
    os.link(a, b)
    (folder / 'new').write_text('new')
    os.rename(folder / 'new', a)
    assert a.read_text() == 'new' and b.read_text() == 'old'


def test_fifos_sockets_and_devices(folder):
    fifo = folder / 'p'
    os.mkfifo(fifo)
    assert stat.S_ISFIFO(fifo.lstat().st_mode)
    reader = subprocess.Popen(['cat', fifo], stdout=subprocess.PIPE)
    fifo.write_text('through the fifo')
    assert reader.communicate(timeout=10)[0] == b'through the fifo'
    # A socket's address has room for a short path only.
    here = os.open(folder, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(f'/proc/self/fd/{here}/s')
        server.listen()
        client.connect(f'/proc/self/fd/{here}/s')
    os.close(here)
    assert stat.S_ISSOCK((folder / 's').lstat().st_mode)
    fifo.rename(folder / 'q')
    os.link(folder / 'q', folder / 'r')
    assert (folder / 'r').lstat().st_nlink == 2


def test_rename_moves_and_replaces(folder):
    a, b = folder / 'a', folder / 'b'
    a.write_text('a')
    b.write_text('b')
    os.rename(a, b)
    assert b.read_text() == 'a' and not a.exists()
    one, two = folder / 'one', folder / 'two'
    one.mkdir()
    two.mkdir()
    (one / 'f').write_text('f')
    assert failure(os.rename, two, one) == errno.ENOTEMPTY
    os.rename(one, two)
    assert (two / 'f').read_text() == 'f'
    assert failure(os.rename, b, two) == errno.EISDIR
    assert failure(os.rename, two, b) == errno.ENOTDIR
    assert failure(os.rename, two, two / 'sub') == errno.EINVAL
    os.rename(b, two / 'g')
    os.rename(two, folder / 'three')
    assert (folder / 'three' / 'g').read_text() == 'a'


def test_rename_noreplace(folder):
    a, b = folder / 'a', folder / 'b'
    a.write_text('a')
    b.write_text('b')
    with pytest.raises(OSError) as info:
        renameat2(a, b, RENAME_NOREPLACE)
    assert info.value.errno == errno.EEXIST
    assert (a.read_text(), b.read_text()) == ('a', 'b')
    renameat2(a, folder / 'c', RENAME_NOREPLACE)
    assert (folder / 'c').read_text() == 'a'


def test_rename_exchange(folder):
    def make(name, kind):
        path = folder / name
        if kind == 'file':
            path.write_text(name)
        elif kind == 'folder':
            path.mkdir()
            (path / 'f').write_text(name)
        else:
            path.symlink_to(name)

    def content(path):
        if path.is_symlink():
            return os.readlink(path)
        return (path / 'f').read_text() if path.is_dir() else path.read_text()

    for i, (left, right) in enumerate([('file', 'file'), ('file', 'folder'),
                                       ('folder', 'folder'), ('link', 'file'),
                                       ('folder', 'link'), ('link', 'link')]):
        a, b = f'a{i}', f'b{i}'
        make(a, left)
        make(b, right)
        renameat2(folder / a, folder / b, RENAME_EXCHANGE)
        assert content(folder / a) == b and content(folder / b) == a
    assert failure(renameat2, folder / 'a0', folder / 'absent', RENAME_EXCHANGE) == errno.ENOENT


def test_a_file_stays_open_across_renames(folder):
    with open(folder / 'a', 'w+b') as f:
        f.write(b'x' * 5000)
        for i in range(20):
            os.rename(folder / ('a' if i == 0 else f'n{i - 1}'), folder / f'n{i}')
            f.write(b'y')
            f.flush()
            assert (folder / f'n{i}').stat().st_size == 5001 + i
    assert (folder / 'n19').read_bytes() == b'x' * 5000 + b'y' * 20


def test_folder_contents_and_removal(folder):
    for i in range(1000):
        (folder / f'entry{i}').touch()
    assert sorted(os.listdir(folder)) == sorted(f'entry{i}' for i in range(1000))
    with os.scandir(folder) as entries:
        assert all(e.is_file() for e in entries)
    sub = folder / 'sub'
    sub.mkdir()
    (sub / 'f').touch()
    assert failure(os.rmdir, sub) == errno.ENOTEMPTY
    assert failure(os.unlink, sub) == errno.EISDIR
    assert failure(os.rmdir, sub / 'f') == errno.ENOTDIR
    assert failure(os.mkdir, sub) == errno.EEXIST
    assert folder.stat().st_nlink == 3
    here = os.open(sub, os.O_RDONLY)
    (sub / 'f').unlink()
    sub.rmdir()
    assert os.listdir(here) == []
    os.close(here)


def test_exclusive_creation(folder):
    fd = os.open(folder / 'f', os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    os.close(fd)
    assert failure(os.open, folder / 'f', os.O_CREAT | os.O_EXCL) == errno.EEXIST
    assert failure(os.open, folder / 'absent', os.O_RDONLY) == errno.ENOENT
    assert failure(os.open, folder / 'f' / 'g', os.O_RDONLY) == errno.ENOTDIR
    (folder / 'loop').symlink_to('loop')
    assert failure(os.open, folder / 'loop', os.O_RDONLY) == errno.ELOOP


def test_a_renamed_symbolic_link_is_the_same_object(folder, here):
    (folder / 'l').symlink_to('target')
    before = (folder / 'l').lstat().st_ino
    os.rename(folder / 'l', folder / 'm')
    assert ((folder / 'm').lstat().st_ino == before) == here(True)
    assert os.listdir(folder) == ['m'] and os.readlink(folder / 'm') == 'target'


def test_two_names_of_a_symbolic_link_are_one_object(folder, here):
    one, other = folder / 'l', folder / 'm'
    one.symlink_to('target')
    os.link(one, other, follow_symlinks=False)
    assert (other.lstat().st_nlink, one.lstat().st_ino == other.lstat().st_ino) == here((2, True))
    one.unlink()
    assert os.readlink(other) == 'target'


def test_the_longest_target_of_a_symbolic_link(folder, here):
    size, error = longest(lambda n: (folder / str(n)).symlink_to('t' * n), 4095)
    assert (size, error) == here((4095, 'ENAMETOOLONG'))
    assert os.readlink(folder / str(size)) == 't' * size
    assert not os.path.lexists(folder / str(size + 1))


def test_a_target_too_long_changes_nothing(folder):
    assert failure(os.symlink, 't' * 4096, folder / 'l') == errno.ENAMETOOLONG
    assert os.listdir(folder) == []


def test_a_file_without_a_name_can_be_made(folder, here):
    def make():
        fd = os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o600)
        os.write(fd, b'x')
        assert libc.linkat(-100, os.fsencode(f'/proc/self/fd/{fd}'), -100,
                           os.fsencode(folder / 'f'), 0x400) == 0
        os.close(fd)

    made = outcome(make)
    assert made == here('ok')
    assert os.listdir(folder) == (['f'] if made == 'ok' else [])


def test_temporary_files_of_programs(folder):
    """Where O_TMPFILE is refused, Python and glibc make a name and remove it at once."""
    code = """
import os, sys, tempfile
with tempfile.TemporaryFile(dir=sys.argv[1]) as f, tempfile.TemporaryFile(dir=sys.argv[1]) as g:
    f.write(b'x' * 100000)
    f.flush()
    assert os.fstat(f.fileno()).st_nlink == 0 and os.fstat(f.fileno()).st_mode & 0o777 == 0o600
    assert os.listdir(sys.argv[1]) == []
    f.seek(0)
    assert f.read() == b'x' * 100000 and g.read() == b''
with tempfile.NamedTemporaryFile(dir=sys.argv[1]) as f:
    assert os.listdir(sys.argv[1]) == [os.path.basename(f.name)]
"""
    subprocess.run(['python3', '-c', code, folder], check=True)
    assert os.listdir(folder) == []


def test_a_rename_may_leave_a_whiteout(folder, here):
    (folder / 'a').write_text('a')
    done = outcome(renameat2, folder / 'a', folder / 'b', RENAME_WHITEOUT)
    assert done == here('ok')
    assert (folder / ('b' if done == 'ok' else 'a')).read_text() == 'a'
    assert sorted(os.listdir(folder)) == (['a', 'b'] if done == 'ok' else ['a'])


def test_flags_of_rename_that_there_are_not(folder):
    (folder / 'a').write_text('a')
    assert failure(renameat2, folder / 'a', folder / 'b', 1 << 9) == errno.EINVAL
    assert failure(renameat2, folder / 'a', folder / 'b',
                   RENAME_NOREPLACE | RENAME_EXCHANGE) == errno.EINVAL
    assert os.listdir(folder) == ['a']


def test_paths_as_long_as_they_may_be(folder):
    # 4095 bytes in all; deeper only step by step.
    here = os.open(folder, os.O_RDONLY)
    path = os.fsencode(folder)
    home = os.getcwd()
    try:
        os.chdir(folder)
        depth = 0
        while len(path) + 201 < 4095 - 50:
            os.mkdir('d' * 200)
            os.chdir('d' * 200)
            path += b'/' + b'd' * 200
            depth += 1
        name = b'f' * (4095 - len(path) - 1)
        with open(path + b'/' + name, 'wb') as f:
            f.write(b'deep')
        assert failure(open, path + b'/' + name + b'f', 'wb') == errno.ENAMETOOLONG
        os.mkdir('e' * 255)
        os.chdir('e' * 255)
        with open('beyond', 'wb') as f:
            f.write(b'deeper')
        with open('beyond', 'rb') as f:
            assert f.read() == b'deeper'
    finally:
        os.chdir(home)
        subprocess.run(['rm', '-rf', 'd' * 200], cwd=folder, check=True)
        os.close(here)
    assert os.listdir(folder) == []


def test_link_counts(folder):
    (folder / 'f').touch()
    for i in range(50):
        os.link(folder / 'f', folder / f'l{i}')
    assert (folder / 'f').stat().st_nlink == 51
    for i in range(50):
        (folder / f'l{i}').unlink()
        assert (folder / 'f').stat().st_nlink == 50 - i
    sub = folder / 'sub'
    sub.mkdir()
    for i in range(5):
        (sub / f'd{i}').mkdir()
    assert sub.stat().st_nlink == 7
    os.rename(sub / 'd0', folder / 'd0')
    assert (sub.stat().st_nlink, folder.stat().st_nlink) == (6, 4)
    (sub / 'd1').rmdir()
    assert sub.stat().st_nlink == 5
    assert failure(os.link, sub, folder / 'no') == errno.EPERM


def test_a_removed_folder_takes_nothing(folder):
    sub = folder / 'sub'
    sub.mkdir()
    fd = os.open(sub, os.O_RDONLY | os.O_DIRECTORY)
    sub.rmdir()
    assert os.fstat(fd).st_nlink == 0
    assert failure(os.open, 'f', os.O_CREAT | os.O_WRONLY, dir_fd=fd) == errno.ENOENT
    assert failure(os.mkdir, 'd', dir_fd=fd) == errno.ENOENT
    assert os.listdir(fd) == []
    os.close(fd)


def test_entries_stay_listed_while_others_are_removed(folder):
    names = {f'entry{i}' for i in range(4000)}
    for name in names:
        (folder / name).touch()
    seen = set()
    with os.scandir(folder) as entries:
        for entry in entries:
            assert entry.name not in seen
            seen.add(entry.name)
            os.unlink(entry)
    assert seen == names and os.listdir(folder) == []


def test_entries_that_stay_are_listed_once_while_others_come_and_go(folder):
    stay = {f'stay{i}' for i in range(1500)}
    for name in stay:
        (folder / name).touch()
    seen = []
    with os.scandir(folder) as entries:
        for count, entry in enumerate(entries):
            seen.append(entry.name)
            (folder / f'new{count}').touch()
            if count >= 3:
                (folder / f'new{count - 3}').unlink()
            if count > 20000:
                break
    assert sorted(name for name in seen if name in stay) == sorted(stay)


def test_positions_in_a_folder_can_be_returned_to(folder):
    for i in range(700):
        (folder / f'entry{i}').touch()
    code = r"""
import ctypes, os, sys
c = ctypes.CDLL(None)
class dirent(ctypes.Structure):
    _fields_ = [('ino', ctypes.c_ulong), ('off', ctypes.c_long), ('len', ctypes.c_ushort),
                ('type', ctypes.c_ubyte), ('name', ctypes.c_char * 256)]
c.opendir.restype = ctypes.c_void_p
c.readdir.restype = ctypes.POINTER(dirent)
c.telldir.restype = ctypes.c_long
for f in (c.readdir, c.telldir, c.rewinddir, c.closedir): f.argtypes = [ctypes.c_void_p]
c.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
d = c.opendir(os.fsencode(sys.argv[1]))
order, place = [], []
while True:
    place.append(c.telldir(d))
    e = c.readdir(d)
    if not e: break
    order.append(e.contents.name)
assert len(order) == 702, len(order)
for i in (0, 1, 350, 699, 13, 701):
    c.seekdir(d, place[i])
    assert c.readdir(d).contents.name == order[i]
c.rewinddir(d)
open(sys.argv[1] + '/one-more', 'w').close()
c.rewinddir(d)
again = []
while True:
    e = c.readdir(d)
    if not e: break
    again.append(e.contents.name)
assert sorted(again) == sorted(order + [b'one-more'])
c.closedir(d)
"""
    subprocess.run(['python3', '-c', code, folder], check=True)


def test_a_thousand_names_of_a_file(folder, here):
    path = folder / 'f'
    path.write_text('x')
    names = 1
    while names <= 1000 and (error := outcome(os.link, path, folder / f'l{names}')) == 'ok':
        names += 1
    # It can't be renamed then either, as both names are its for a moment.
    moved = outcome(os.rename, path, folder / 'g')
    assert (error, moved) == here(('ok', 'ok'))
    path = folder / ('g' if moved == 'ok' else 'f')
    # What did not fit is not there, and the others are as before.
    assert path.stat().st_nlink == names == len(os.listdir(folder)) > 150
    assert (folder / f'l{names - 1}').read_text() == 'x'
    # A name that is removed makes room.
    (folder / 'l1').unlink()
    os.rename(path, folder / 'h')
    os.link(folder / 'h', folder / 'again')
    forget_caches()
    assert (folder / 'again').stat().st_nlink == names
    assert (folder / 'h').read_text() == 'x'
