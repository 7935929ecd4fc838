"""Does the mount behave like a local filesystem?

Where the backing filesystem's own answer says more than a constant would, the
same is done in a plain folder and the two are compared."""
import ctypes
import errno
import grp
import mmap
import os
import random
import socket
import stat
import subprocess

import pytest

RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
libc = ctypes.CDLL(None, use_errno=True)


def renameat2(old, new, flags):
    if libc.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags) != 0:
        raise OSError(ctypes.get_errno(), 'renameat2')


def failure(action, *args):
    """The errno of a call that must fail."""
    with pytest.raises(OSError) as info:
        action(*args)
    return info.value.errno


def test_contents_survive_every_size_around_block_and_group_borders(folder):
    for size in (0, 1, 4095, 4096, 4097, 131071, 131072, 131073, 393216, 393217, 1048577):
        data = os.urandom(size)
        path = folder / f'f{size}'
        path.write_bytes(data)
        assert path.stat().st_size == size
        assert path.read_bytes() == data


def test_random_access_equals_a_plain_file(folder, plain):
    rng = random.Random(7)
    names = (folder / 'f', plain / 'f')
    files = [os.open(p, os.O_RDWR | os.O_CREAT) for p in names]
    for _ in range(300):
        action, at, size = rng.randrange(4), rng.randrange(1 << 20), rng.randrange(70000)
        data = rng.randbytes(size)
        if action == 0:
            for fd in files:
                os.ftruncate(fd, at)
        elif action == 1:
            assert os.pread(files[0], size, at) == os.pread(files[1], size, at)
        else:
            for fd in files:
                os.pwrite(fd, data, at)
    for fd in files:
        os.close(fd)
    assert names[0].read_bytes() == names[1].read_bytes()
    assert names[0].stat().st_size == names[1].stat().st_size


def test_append(folder):
    path = folder / 'log'
    for i in range(50):
        with open(path, 'ab') as out:
            out.write(b'line %d\n' % i)
    assert path.read_bytes() == b''.join(b'line %d\n' % i for i in range(50))
    first = os.open(path, os.O_WRONLY | os.O_APPEND)
    second = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(first, b'A' * 10)
    os.write(second, b'B' * 10)
    os.write(first, b'C' * 10)
    os.close(first)
    os.close(second)
    assert path.read_bytes().endswith(b'A' * 10 + b'B' * 10 + b'C' * 10)


def test_truncate_by_path_and_by_descriptor(folder):
    path = folder / 'f'
    path.write_bytes(b'x' * 10000)
    os.truncate(path, 5000)
    assert path.read_bytes() == b'x' * 5000
    os.truncate(path, 9000)
    assert path.read_bytes() == b'x' * 5000 + bytes(4000)
    with open(path, 'r+b') as f:
        f.truncate(1)
    assert path.read_bytes() == b'x'
    with open(path, 'wb'):
        pass
    assert path.read_bytes() == b''
    with open(path, 'rb') as f:
        assert failure(os.ftruncate, f.fileno(), 1) == errno.EINVAL


def test_a_sparse_file_takes_little_space_and_reads_as_zeros(folder):
    path = folder / 'sparse'
    with open(path, 'wb') as f:
        f.seek(1 << 40)
        f.write(b'end')
    assert path.stat().st_size == (1 << 40) + 3
    assert path.stat().st_blocks * 512 < 1 << 20
    with open(path, 'rb') as f:
        f.seek(1 << 39)
        assert f.read(100000) == bytes(100000)
        f.seek(1 << 40)
        assert f.read() == b'end'


def test_shared_and_private_mappings(folder):
    path = folder / 'f'
    path.write_bytes(bytes(20000))
    with open(path, 'r+b') as f:
        with mmap.mmap(f.fileno(), 0) as shared:
            shared[5000:5005] = b'hello'
            shared.flush()
            assert os.pread(f.fileno(), 5, 5000) == b'hello'
        with mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_COPY) as private:
            private[0:4] = b'mine'
            assert private[5000:5005] == b'hello'
    assert path.read_bytes()[:4] == bytes(4)
    assert path.read_bytes()[5000:5005] == b'hello'


def test_fsync_of_files_and_folders(folder):
    with open(folder / 'f', 'wb') as f:
        f.write(b'x')
        f.flush()
        os.fsync(f.fileno())
        os.fdatasync(f.fileno())
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(fd)
    os.close(fd)


def test_an_unlinked_file_lives_until_it_is_closed(folder):
    path = folder / 'f'
    with open(path, 'w+b') as f:
        f.write(b'before')
        f.flush()
        path.unlink()
        assert not path.exists()
        f.write(b' after')
        f.flush()
        assert os.fstat(f.fileno()).st_nlink == 0
        f.seek(0)
        assert f.read() == b'before after'
        with open(f'/proc/self/fd/{f.fileno()}', 'rb') as again:
            assert again.read() == b'before after'
    assert list(folder.iterdir()) == []


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


def test_modes_and_umask(folder):
    old = os.umask(0o027)
    try:
        (folder / 'f').write_text('x')
        (folder / 'd').mkdir()
    finally:
        os.umask(old)
    assert stat.S_IMODE((folder / 'f').stat().st_mode) == 0o640
    assert stat.S_IMODE((folder / 'd').stat().st_mode) == 0o750
    for mode in (0, 0o400, 0o1777, 0o2755, 0o4755, 0o7777):
        (folder / 'f').chmod(mode)
        assert stat.S_IMODE((folder / 'f').stat().st_mode) == mode


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


def forget_caches():
    os.sync()
    try:
        with open('/proc/sys/vm/drop_caches', 'w') as f:
            f.write('3\n')
    except PermissionError:
        pass


def test_contents_outlive_the_caches(folder):
    data = os.urandom(3_000_000)
    (folder / 'f').write_bytes(data)
    (folder / 'l').symlink_to('somewhere')
    os.setxattr(folder / 'f', 'user.note', b'value')
    forget_caches()
    assert (folder / 'f').read_bytes() == data
    assert os.readlink(folder / 'l') == 'somewhere'
    assert os.getxattr(folder / 'f', 'user.note') == b'value'


def test_extended_attributes(folder):
    for path in (folder / 'f', folder / 'd'):
        path.mkdir() if path.name == 'd' else path.write_text('x')
        assert os.listxattr(path) == []
        os.setxattr(path, 'user.a', b'1')
        os.setxattr(path, 'user.' + 'n' * 169, bytes(range(256)))
        assert sorted(os.listxattr(path)) == ['user.a', 'user.' + 'n' * 169]
        assert os.getxattr(path, 'user.' + 'n' * 169) == bytes(range(256))
        assert failure(os.setxattr, path, 'user.a', b'2', os.XATTR_CREATE) == errno.EEXIST
        os.setxattr(path, 'user.a', b'', os.XATTR_REPLACE)
        assert os.getxattr(path, 'user.a') == b''
        os.removexattr(path, 'user.a')
        assert failure(os.getxattr, path, 'user.a') == errno.ENODATA
        assert failure(os.removexattr, path, 'user.a') == errno.ENODATA
        assert failure(os.setxattr, path, 'user.b', b'', os.XATTR_REPLACE) == errno.ENODATA
        assert failure(os.setxattr, path, 'user.' + 'n' * 170, b'') == errno.ERANGE
        assert failure(os.setxattr, path, 'user.keyfold.names', b'x') == errno.EPERM
        assert failure(os.getxattr, path, 'user.keyfold.names') == errno.ENODATA
    os.rename(folder / 'f', folder / 'g')
    assert os.listxattr(folder / 'g') == ['user.' + 'n' * 169]


def test_statfs(folder, plain):
    ours, theirs = os.statvfs(folder), os.statvfs(plain)
    assert ours.f_namemax == 255
    assert (ours.f_blocks, ours.f_bsize) == (theirs.f_blocks, theirs.f_bsize)


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


def test_a_read_only_creation_can_be_written(folder):
    fd = os.open(folder / 'f', os.O_CREAT | os.O_RDWR, 0o400)
    os.write(fd, b'x')
    os.close(fd)
    assert (folder / 'f').read_bytes() == b'x'


def test_direct_io(folder):
    data = os.urandom(1 << 20)
    (folder / 'f').write_bytes(data)
    fd = os.open(folder / 'f', os.O_RDONLY | os.O_DIRECT)
    buffer = mmap.mmap(-1, 1 << 20)
    assert os.preadv(fd, [buffer], 0) == 1 << 20
    assert buffer[:] == data
    os.close(fd)


def test_locks_between_processes(folder):
    (folder / 'f').touch()
    code = ('import fcntl,sys\nf=open(sys.argv[1],"r+")\n'
            'try: fcntl.lockf(f, fcntl.LOCK_EX|fcntl.LOCK_NB)\n'
            'except OSError: sys.exit(3)\n')
    import fcntl
    with open(folder / 'f', 'r+') as f:
        fcntl.lockf(f, fcntl.LOCK_EX)
        assert subprocess.run(['python3', '-c', code, folder / 'f']).returncode == 3
        fcntl.lockf(f, fcntl.LOCK_UN)
        assert subprocess.run(['python3', '-c', code, folder / 'f']).returncode == 0


# Users.

def test_what_is_created_belongs_to_who_creates_it(folder, users):
    code = ('import os,sys\nos.chdir(sys.argv[1])\nopen("f","w").close()\nos.mkdir("d")\n'
            'os.symlink("t","l")\nos.mkfifo("p")\nos.mknod("n")\n')
    assert users.python('kftest1', code, folder).returncode == 0
    for name in 'fdlpn':
        st = (folder / name).lstat()
        assert (st.st_uid, st.st_gid) == (users.uid('kftest1'), users.gid('kftest1')), name


def test_mode_bits_refuse(folder, users):
    secret = folder / 'secret'
    secret.write_text('x')
    secret.chmod(0o600)
    os.chown(secret, users.uid('kftest1'), -1)
    assert users.run('kftest1', 'cat', secret).stdout == 'x'
    assert 'Permission denied' in users.run('kftest2', 'cat', secret).stderr
    assert users.run('kftest2', 'chmod', '666', secret).returncode != 0
    assert users.run('kftest2', 'chown', 'kftest2', secret).returncode != 0
    folder.chmod(0o755)
    assert users.run('kftest1', 'touch', folder / 'new').returncode != 0
    assert users.run('kftest1', 'rm', '-f', secret).returncode != 0


def test_supplementary_groups_count(folder, users):
    shared = folder / 'shared'
    shared.mkdir()
    os.chown(shared, 0, grp.getgrnam('kfshared').gr_gid)
    shared.chmod(0o770)
    for name in ('kftest1', 'kftest2'):
        assert users.run(name, 'sh', '-c', f'echo {name} > {shared}/{name}').returncode == 0
        assert (shared / name).stat().st_uid == users.uid(name)
        assert users.run(name, 'mkdir', shared / f'{name}-d').returncode == 0
        assert users.run(name, 'ln', '-s', 'x', shared / f'{name}-l').returncode == 0
    assert users.run('kftest3', 'ls', shared).returncode != 0
    assert users.run('kftest3', 'touch', shared / 'f').returncode != 0
    assert users.run('kftest1', 'touch', shared / 'g', clear_groups=True).returncode != 0


def test_set_group_id_folders_pass_their_group_on(folder, plain, users):
    gid = grp.getgrnam('kfshared').gr_gid
    seen = []
    for where in (folder, plain):
        top = where / 'team'
        top.mkdir()
        os.chown(top, 0, gid)
        top.chmod(0o2777)
        code = ('import os,sys\nos.umask(0)\nos.chdir(sys.argv[1])\nos.mkdir("d")\n'
                'for m in (0o644, 0o2755): os.close(os.open("f%o" % m, os.O_CREAT, m))\n')
        for name in ('kftest1', 'kftest3'):
            (top / name).mkdir()
            os.chown(top / name, users.uid(name), gid)
            (top / name).chmod(0o2777)
            assert users.python(name, code, top / name).returncode == 0
            for entry in ('d', 'f644', 'f2755'):
                st = (top / name / entry).stat()
                seen.append((where == folder, name, entry, oct(st.st_mode), st.st_gid))
    ours = [s[1:] for s in seen if s[0]]
    assert ours == [s[1:] for s in seen if not s[0]]
    assert all(s[-1] == gid for s in ours)


def test_sticky_folders_protect_others_files(folder, users):
    folder.chmod(0o1777)
    assert users.run('kftest1', 'touch', folder / 'f').returncode == 0
    assert users.run('kftest2', 'rm', '-f', folder / 'f').returncode != 0
    assert users.run('kftest2', 'mv', folder / 'f', folder / 'g').returncode != 0
    assert users.run('kftest1', 'rm', '-f', folder / 'f').returncode == 0


def test_writing_clears_set_id_bits(folder, users):
    for change in ('open(sys.argv[1],"r+").write("y")', 'os.truncate(sys.argv[1],0)'):
        path = folder / 'program'
        path.write_text('x')
        os.chown(path, users.uid('kftest1'), users.gid('kftest1'))
        path.chmod(0o6777)
        assert users.python('kftest2', 'import os,sys\n' + change, path).returncode == 0
        forget_caches()
        assert stat.S_IMODE(path.stat().st_mode) == 0o777, change
        path.chmod(0o6777)
        os.chown(path, users.uid('kftest3'), -1)
        assert stat.S_IMODE(path.stat().st_mode) == 0o777


def test_times_may_be_touched_by_who_may_write(folder, users):
    path = folder / 'f'
    path.write_text('x')
    path.chmod(0o666)
    assert users.run('kftest1', 'touch', path).returncode == 0
    assert users.run('kftest1', 'touch', '-d', '2001-01-01', path).returncode != 0


def test_the_mount_gives_no_privilege(mounted):
    options = [line.split()[5].split(',') for line in open('/proc/self/mountinfo')
               if line.split()[4] == str(mounted)]
    if options:
        assert {'nosuid', 'nodev'} <= set(options[0])
