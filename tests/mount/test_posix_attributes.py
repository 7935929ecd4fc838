"""Are extended attributes kept, listed, replaced and refused as on ext4?"""
import errno
import os
import stat

from likeext4 import failure, forget_caches


def test_attributes_are_kept_and_replaced(folder):
    (folder / 'f').touch()
    (folder / 'd').mkdir()
    for path in (folder / 'f', folder / 'd'):
        assert os.listxattr(path) == []
        os.setxattr(path, 'user.a', b'1')
        os.setxattr(path, 'user.b', bytes(range(256)))
        assert failure(os.setxattr, path, 'user.a', b'2', os.XATTR_CREATE) == errno.EEXIST
        assert failure(os.setxattr, path, 'user.c', b'', os.XATTR_REPLACE) == errno.ENODATA
        os.setxattr(path, 'user.a', b'', os.XATTR_REPLACE)
        forget_caches()
        assert sorted(os.listxattr(path)) == ['user.a', 'user.b']
        assert (os.getxattr(path, 'user.a'), os.getxattr(path, 'user.b')) == (b'', bytes(range(256)))
        os.removexattr(path, 'user.a')
        for action in (os.getxattr, os.removexattr):
            assert failure(action, path, 'user.a') == errno.ENODATA
    os.rename(folder / 'f', folder / 'g')
    os.link(folder / 'g', folder / 'h')
    assert os.getxattr(folder / 'h', 'user.b') == bytes(range(256))


def test_attributes_where_they_are_not_allowed(folder):
    (folder / 'l').symlink_to('f')
    os.mkfifo(folder / 'p')
    assert failure(os.setxattr, folder / 'l', 'user.a', b'1', follow_symlinks=False) == errno.EPERM
    assert failure(os.setxattr, folder / 'p', 'user.a', b'1') == errno.EPERM
    (folder / 'f').touch()
    assert failure(os.setxattr, folder / 'f', 'user.', b'1') == errno.EINVAL
    assert failure(os.setxattr, folder / 'f', 'nonsense', b'1') == errno.EOPNOTSUPP
    assert failure(os.setxattr, folder / 'f', 'user.' + 'n' * 251, b'1') == errno.ERANGE
    assert os.listxattr(folder / 'f') == []


def test_who_may_read_and_set_attributes(folder, users):
    path = folder / 'f'
    path.touch()
    path.chmod(0o644)
    os.setxattr(path, 'user.a', b'1')
    assert users.do('kftest1', os.getxattr, path, 'user.a') == b'1'
    assert failure(users.do, 'kftest1', os.setxattr, path, 'user.a', b'2') == errno.EACCES
    assert failure(users.do, 'kftest1', os.removexattr, path, 'user.a') == errno.EACCES
    path.chmod(0o600)
    assert failure(users.do, 'kftest1', os.getxattr, path, 'user.a') == errno.EACCES
    # In a sticky folder only the owner may.
    sticky = folder / 'sticky'
    sticky.mkdir()
    sticky.chmod(0o1777)
    assert failure(users.do, 'kftest1', os.setxattr, sticky, 'user.a', b'2') == errno.EPERM


def test_the_longest_name_of_an_attribute(folder):
    (folder / 'f').touch()
    os.setxattr(folder / 'f', 'user.' + 'n' * 250, b'1')
    assert os.listxattr(folder / 'f') == ['user.' + 'n' * 250]


def test_attributes_of_other_namespaces(folder):
    (folder / 'f').touch()
    os.setxattr(folder / 'f', 'trusted.a', b'1')
    assert os.getxattr(folder / 'f', 'trusted.a') == b'1'


def test_inode_numbers_outlive_the_caches(folder):
    (folder / 'f').touch()
    (folder / 'd').mkdir()
    (folder / 'l').symlink_to('f')
    before = {name: (folder / name).lstat().st_ino for name in 'fdl'}
    with os.scandir(folder) as entries:
        assert {e.name: e.inode() for e in entries} == before
    forget_caches()
    assert {name: (folder / name).lstat().st_ino for name in 'fdl'} == before
    os.rename(folder / 'f', folder / 'd' / 'g')
    assert (folder / 'd' / 'g').stat().st_ino == before['f']


def test_modes_of_all_kinds(folder):
    (folder / 'f').touch()
    (folder / 'd').mkdir()
    for name in 'fd':
        for mode in (0, 0o400, 0o111, 0o1777, 0o2755, 0o4755, 0o7777):
            (folder / name).chmod(mode)
            forget_caches()
            assert stat.S_IMODE((folder / name).stat().st_mode) == mode
    (folder / 'l').symlink_to('f')
    assert stat.S_IMODE((folder / 'l').lstat().st_mode) == 0o777


def test_attributes_that_fill_a_block(folder):
    (folder / 'f').touch()
    for i in range(30):
        os.setxattr(folder / 'f', f'user.{i}', b'x' * 100)
    assert len(os.listxattr(folder / 'f')) == 30
