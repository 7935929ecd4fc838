"""Are extended attributes kept, listed, replaced and refused as on ext4?"""
import errno
import os
import stat
import struct

from likeext4 import failure, forget_caches, longest, outcome


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


def test_the_longest_name_of_an_attribute(folder, here):
    path = folder / 'f'
    path.touch()

    def keep(size):
        os.setxattr(path, 'user.' + 'n' * size, b'1')
        if size != kept[-1]:
            os.removexattr(path, 'user.' + 'n' * size)

    kept = [None]
    size, error = longest(keep, 250)
    assert (size, error) == here((250, 'ERANGE'))
    kept.append(size)
    keep(size)
    assert os.listxattr(path) == ['user.' + 'n' * size]


def test_attributes_of_other_namespaces(folder, here):
    """Programs' capabilities (setcap) are such an attribute."""
    path = folder / 'f'
    path.touch()
    # One capability, in the layout of linux/capability.h.
    values = {'trusted.a': b'1', 'security.a': b'1',
              'security.capability': struct.pack('<5I', 0x02000001, 1 << 10, 0, 0, 0)}
    kept = tuple(outcome(os.setxattr, path, name, value) for name, value in values.items())
    assert kept == here(('ok', 'ok', 'ok'))
    for (name, value), done in zip(values.items(), kept):
        if done == 'ok':
            assert os.getxattr(path, name) == value
        else:
            assert outcome(os.getxattr, path, name) == 'ENODATA'
            assert outcome(os.removexattr, path, name) == 'ENODATA'
    assert (os.listxattr(path) == []) == ('ok' not in kept)


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


def test_attributes_that_fill_a_block(folder, here):
    path, kept = folder / 'f', 0
    path.touch()
    while kept < 30 and (error := outcome(os.setxattr, path, f'user.{kept}', b'x' * 100)) == 'ok':
        kept += 1
    assert error == here('ok')
    forget_caches()
    assert len(os.listxattr(path)) == kept > 10
    assert os.getxattr(path, f'user.{kept - 1}') == b'x' * 100
    os.removexattr(path, 'user.0')
    os.setxattr(path, 'user.z', b'y' * 100)
    assert len(os.listxattr(path)) == kept
