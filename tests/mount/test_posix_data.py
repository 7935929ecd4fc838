"""Are contents what was written, however they are read and written?"""
import errno
import mmap
import os
import subprocess

from likeext4 import failure, forget_caches


def test_contents_survive_every_size_around_block_and_group_borders(folder):
    for size in (0, 1, 4095, 4096, 4097, 131071, 131072, 131073, 393216, 393217, 1048577):
        data = os.urandom(size)
        path = folder / f'f{size}'
        path.write_bytes(data)
        assert path.stat().st_size == size
        assert path.read_bytes() == data


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


def test_contents_outlive_the_caches(folder):
    data = os.urandom(3_000_000)
    (folder / 'f').write_bytes(data)
    (folder / 'l').symlink_to('somewhere')
    os.setxattr(folder / 'f', 'user.note', b'value')
    forget_caches()
    assert (folder / 'f').read_bytes() == data
    assert os.readlink(folder / 'l') == 'somewhere'
    assert os.getxattr(folder / 'f', 'user.note') == b'value'


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


def test_appenders_do_not_overwrite_each_other(folder):
    path = folder / 'log'
    code = ('import os,sys\nfd=os.open(sys.argv[1],os.O_WRONLY|os.O_APPEND|os.O_CREAT)\n'
            'for i in range(300): os.write(fd, (sys.argv[2]*50+"\\n").encode())\n')
    writers = [subprocess.Popen(['python3', '-c', code, path, letter]) for letter in 'abcd']
    assert [w.wait() for w in writers] == [0] * 4
    lines = path.read_text().splitlines()
    assert sorted(lines) == sorted(letter * 50 for letter in 'abcd' for _ in range(300))


def test_appending_ignores_the_position(folder):
    fd = os.open(folder / 'f', os.O_RDWR | os.O_APPEND | os.O_CREAT)
    os.write(fd, b'0123')
    os.lseek(fd, 0, os.SEEK_SET)
    os.write(fd, b'45')
    assert os.pwrite(fd, b'67', 0) == 2
    os.ftruncate(fd, 7)
    os.write(fd, b'x')
    assert os.pread(fd, 20, 0) == b'0123456x'
    os.close(fd)


def test_direct_writes_and_cached_ones_see_each_other(folder):
    cached = os.open(folder / 'f', os.O_RDWR | os.O_CREAT)
    direct = os.open(folder / 'f', os.O_RDWR | os.O_DIRECT)
    buffer = mmap.mmap(-1, 8192)
    os.pwrite(cached, b'a' * 20000, 0)
    assert os.preadv(direct, [buffer], 4096) == 8192 and buffer[:] == b'a' * 8192
    buffer[:] = b'b' * 8192
    assert os.pwritev(direct, [buffer], 8192) == 8192
    assert os.pread(cached, 30000, 0) == b'a' * 8192 + b'b' * 8192 + b'a' * 3616
    assert os.pwritev(direct, [buffer], 40960) == 8192
    assert os.fstat(cached).st_size == 49152
    assert os.pread(cached, 8192, 40960) == b'b' * 8192
    assert os.pread(cached, 100, 30000) == bytes(100)
    os.close(direct)
    os.close(cached)


def test_pages_mapped_by_two_processes_are_the_same(folder):
    path = folder / 'f'
    path.write_bytes(bytes(8192))
    with open(path, 'r+b') as f, mmap.mmap(f.fileno(), 0) as ours:
        code = ('import mmap,sys\nf=open(sys.argv[1],"r+b")\nm=mmap.mmap(f.fileno(),0)\n'
                'm[5000:5005]=b"child"\n')
        subprocess.run(['python3', '-c', code, path], check=True)
        assert ours[5000:5005] == b'child'
        os.pwrite(f.fileno(), b'write', 100)
        assert ours[100:105] == b'write'
    assert path.read_bytes()[5000:5005] == b'child'


def test_truncating_to_the_same_length_keeps_contents(folder):
    path = folder / 'f'
    path.write_bytes(b'x' * 5000)
    os.truncate(path, 5000)
    forget_caches()
    assert path.read_bytes() == b'x' * 5000
    assert failure(os.truncate, path, -1) == errno.EINVAL
    assert failure(os.truncate, folder, 0) == errno.EISDIR


def test_wrong_ways_to_read_and_write(folder):
    path = folder / 'f'
    path.write_bytes(b'x')
    fd = os.open(path, os.O_RDONLY)
    assert failure(os.write, fd, b'y') == errno.EBADF
    assert failure(os.pread, fd, 1, -1) == errno.EINVAL
    os.close(fd)
    fd = os.open(path, os.O_WRONLY)
    assert failure(os.read, fd, 1) == errno.EBADF
    os.close(fd)
    assert failure(os.open, folder, os.O_WRONLY) == errno.EISDIR
    assert failure(os.open, folder, os.O_RDWR | os.O_CREAT) == errno.EISDIR
    fd = os.open(folder, os.O_RDONLY)
    assert failure(os.read, fd, 1) == errno.EISDIR
    os.close(fd)
    assert failure(os.open, path, os.O_RDONLY | os.O_DIRECTORY) == errno.ENOTDIR
