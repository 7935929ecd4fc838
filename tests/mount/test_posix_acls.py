"""Are access control lists enforced, inherited and changed as on ext4?

setfacl and getfacl do the asking, as the users who would."""
import errno
import grp
import os
import stat
import struct
import subprocess

from likeext4 import failure


def setfacl(*args):
    subprocess.run(['setfacl', *map(str, args)], check=True)


def getfacl(path):
    """The entries of the list, without comments."""
    out = subprocess.run(['getfacl', '-cEn', '--absolute-names', path], check=True,
                         stdout=subprocess.PIPE, text=True).stdout
    return out.split()


def read(path):
    with open(path, 'rb') as f:
        return f.read()


def write(path):
    with open(path, 'r+b') as f:
        f.write(b'y')


def make(path, mode=0o666):
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))


def test_a_named_user_gets_what_the_list_says(folder, users):
    path = folder / 'f'
    path.write_text('x')
    path.chmod(0o600)
    os.chown(path, users.uid('kftest1'), users.gid('kftest1'))
    for name in ('kftest2', 'kftest3'):
        assert failure(users.do, name, read, path) == errno.EACCES
    users.do('kftest1', setfacl, '-m', 'u:kftest2:r', path)
    assert users.do('kftest2', read, path) == b'x'
    assert failure(users.do, 'kftest2', write, path) == errno.EACCES
    assert failure(users.do, 'kftest3', read, path) == errno.EACCES
    users.do('kftest1', setfacl, '-m', 'u:kftest2:rw', path)
    users.do('kftest2', write, path)
    users.do('kftest1', setfacl, '-x', 'u:kftest2', path)
    assert failure(users.do, 'kftest2', read, path) == errno.EACCES


def test_a_named_group_and_a_refusal_by_name(folder, users):
    path = folder / 'f'
    path.write_text('x')
    path.chmod(0o644)
    setfacl('-m', 'g:kfshared:rw', path)
    users.do('kftest1', write, path)
    assert failure(users.do, 'kftest1', write, path, clear_groups=True) == errno.EACCES
    setfacl('-m', 'u:kftest2:-', path)
    assert failure(users.do, 'kftest2', read, path) == errno.EACCES
    users.do('kftest1', write, path)


def test_the_mask_limits_and_chmod_changes_it(folder, users):
    path = folder / 'f'
    path.write_text('x')
    path.chmod(0o640)
    setfacl('-m', 'u:kftest1:rw', path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    users.do('kftest1', write, path)
    path.chmod(0o640)
    assert 'mask::r--' in getfacl(path)
    assert failure(users.do, 'kftest1', write, path) == errno.EACCES
    assert users.do('kftest1', read, path)
    path.chmod(0o600)
    assert failure(users.do, 'kftest1', read, path) == errno.EACCES
    path.chmod(0o660)
    users.do('kftest1', write, path)
    setfacl('-b', path)
    assert failure(users.do, 'kftest1', read, path) == errno.EACCES
    assert getfacl(path) == ['user::rw-', 'group::r--', 'other::---']


def test_only_the_owner_sets_a_list(folder, users):
    path = folder / 'f'
    path.write_text('x')
    path.chmod(0o666)
    entries = struct.pack('<I', 2) + b''.join(
        struct.pack('<HHI', tag, perm, who) for tag, perm, who in
        ((1, 6, 2**32 - 1), (2, 7, users.uid('kftest2')), (4, 6, 2**32 - 1),
         (16, 7, 2**32 - 1), (32, 6, 2**32 - 1)))
    name = 'system.posix_acl_access'
    assert failure(users.do, 'kftest1', os.setxattr, path, name, entries) == errno.EPERM
    os.chown(path, users.uid('kftest1'), -1)
    users.do('kftest1', os.setxattr, path, name, entries)
    assert os.getxattr(path, name) == entries and name in os.listxattr(path)
    assert failure(os.setxattr, path, name, b'nonsense') == errno.EOPNOTSUPP
    assert failure(os.setxattr, path, 'system.posix_acl_default', entries) == errno.EACCES
    assert failure(users.do, 'kftest2', os.removexattr, path, name) == errno.EPERM
    os.removexattr(path, name)
    assert failure(os.getxattr, path, name) == errno.ENODATA


def test_a_folders_default_list_is_inherited_in_place_of_the_umask(folder, users):
    setfacl('-d', '-m', 'u::rwx,u:kftest2:rwx,g::r-x,o::---', folder)

    def fill():
        os.chdir(folder)
        make('file')
        make('private', 0o600)
        os.mkdir('sub')
        os.mkfifo('fifo', 0o666)
        os.mknod('node', 0o666 | stat.S_IFREG)
        make('sub/inner')
        os.symlink('file', 'link')

    users.do('kftest1', fill, umask=0o077)
    mode = {name: stat.S_IMODE((folder / name).lstat().st_mode)
            for name in ('file', 'private', 'sub', 'fifo', 'node', 'sub/inner')}
    assert mode == {'file': 0o660, 'private': 0o600, 'sub': 0o770, 'fifo': 0o660,
                    'node': 0o660, 'sub/inner': 0o660}
    assert getfacl(folder / 'file') == [
        'user::rw-', f"user:{users.uid('kftest2')}:rwx", 'group::r-x', 'mask::rw-', 'other::---']
    assert f"default:user:{users.uid('kftest2')}:rwx" in getfacl(folder / 'sub')
    users.do('kftest2', write, folder / 'sub' / 'inner')
    assert failure(users.do, 'kftest2', read, folder / 'private') == errno.EACCES
    assert failure(users.do, 'kftest3', read, folder / 'file') == errno.EACCES


def test_without_a_default_list_the_umask_counts(folder, users):
    for umask in (0, 0o022, 0o077, 0o777):
        here = folder / oct(umask)
        here.mkdir()
        here.chmod(0o777)

        def fill():
            os.chdir(here)
            make('file')
            os.mkdir('sub')
            os.mkfifo('fifo', 0o666)

        users.do('kftest1', fill, umask=umask)
        assert [stat.S_IMODE((here / name).stat().st_mode) for name in ('file', 'sub', 'fifo')] \
            == [0o666 & ~umask, 0o777 & ~umask, 0o666 & ~umask]


def test_a_default_list_opens_a_folder_to_a_team(folder, users):
    team = folder / 'team'
    team.mkdir()
    team.chmod(0o700)
    setfacl('-m', 'g:kfshared:rwx', '-d', '-m', 'g:kfshared:rwx', team)
    users.do('kftest1', make, team / 'f')
    users.do('kftest2', write, team / 'f')
    users.do('kftest2', os.mkdir, team / 'sub')
    users.do('kftest1', make, team / 'sub' / 'g')
    assert failure(users.do, 'kftest3', os.listdir, team) == errno.EACCES
    assert failure(users.do, 'kftest3', make, team / 'sub' / 'h') == errno.EACCES


def test_setting_a_list_clears_the_set_group_id_bit_of_a_foreign_group(folder, users):
    for group, kept in (('kfshared', True), ('kftest3', False)):
        path = folder / group
        path.write_text('x')
        os.chown(path, users.uid('kftest1'), grp.getgrnam(group).gr_gid)
        path.chmod(0o2755)
        users.do('kftest1', setfacl, '-m', 'u:kftest2:r', path)
        assert bool(path.stat().st_mode & stat.S_ISGID) == kept, group


def test_lists_move_with_renames_and_stay_with_links(folder, users):
    path = folder / 'f'
    path.write_text('x')
    path.chmod(0o600)
    setfacl('-m', 'u:kftest1:rw', path)
    os.link(path, folder / 'l')
    os.rename(path, folder / 'g')
    for name in ('g', 'l'):
        users.do('kftest1', write, folder / name)
    subprocess.run(['cp', '-p', folder / 'g', folder / 'copy'], check=True)
    assert getfacl(folder / 'copy') == getfacl(folder / 'g')
