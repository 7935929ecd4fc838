"""What the mount does that no local filesystem does, or does in a way of its own."""
import errno
import os

from likeext4 import failure


def test_extended_attributes(mount_folder):
    for path in (mount_folder / 'f', mount_folder / 'd'):
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
    os.rename(mount_folder / 'f', mount_folder / 'g')
    assert os.listxattr(mount_folder / 'g') == ['user.' + 'n' * 169]


def test_statfs(mount_folder, plain):
    ours, theirs = os.statvfs(mount_folder), os.statvfs(plain)
    assert ours.f_namemax == 255
    assert (ours.f_blocks, ours.f_bsize) == (theirs.f_blocks, theirs.f_bsize)


def test_the_mount_gives_no_privilege(mounted):
    options = [line.split()[5].split(',') for line in open('/proc/self/mountinfo')
               if line.split()[4] == str(mounted)]
    if options:
        assert {'nosuid', 'nodev'} <= set(options[0])
