"""Who may do what, by mode bits: real users, groups, set-id bits, sticky folders."""
import errno
import grp
import os
import stat

from likeext4 import RENAME_EXCHANGE, fallocate, forget_caches, outcome, renameat2


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


def test_sticky_folders_protect_others_files(folder, users):
    folder.chmod(0o1777)
    assert users.run('kftest1', 'touch', folder / 'f').returncode == 0
    assert users.run('kftest2', 'rm', '-f', folder / 'f').returncode != 0
    assert users.run('kftest2', 'mv', folder / 'f', folder / 'g').returncode != 0
    assert users.run('kftest1', 'rm', '-f', folder / 'f').returncode == 0


def test_in_a_sticky_folder_names_are_the_owners_and_the_folders_owners(folder, users):
    folder.chmod(0o1777)
    os.chown(folder, users.uid('kftest3'), -1)

    def make(name):
        os.close(os.open(folder / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))

    for user, names in (('kftest1', ('one', 'mine', 'theirs')), ('kftest2', ('two', 'spare'))):
        for name in names:
            users.do(user, make, name)
    users.do('kftest1', os.mkdir, folder / 'empty')
    # Not over another's, be what replaces it one's own, nor in exchange for it.
    for way in (os.rename, os.replace):
        assert outcome(users.do, 'kftest2', way, folder / 'two', folder / 'one') == 'EPERM'
    assert outcome(users.do, 'kftest2', renameat2, folder / 'two', folder / 'one',
                   RENAME_EXCHANGE) == 'EPERM'
    assert outcome(users.do, 'kftest2', os.rename, folder / 'one', folder / 'new') == 'EPERM'
    assert outcome(users.do, 'kftest2', os.unlink, folder / 'one') == 'EPERM'
    assert outcome(users.do, 'kftest2', os.rmdir, folder / 'empty') == 'EPERM'
    assert sorted(os.listdir(folder)) == ['empty', 'mine', 'one', 'spare', 'theirs', 'two']
    # Over one's own, and the folder's owner over anybody's.
    users.do('kftest1', os.rename, folder / 'mine', folder / 'one')
    users.do('kftest3', os.rename, folder / 'two', folder / 'theirs')
    assert (folder / 'theirs').stat().st_uid == users.uid('kftest2')
    users.do('kftest3', os.unlink, folder / 'spare')
    users.do('kftest3', os.rmdir, folder / 'empty')
    assert sorted(os.listdir(folder)) == ['one', 'theirs']


def test_a_set_group_id_folder_hands_on_its_group_and_its_bit(folder, users):
    shared = folder / 'shared'
    group = grp.getgrnam('kfshared').gr_gid
    shared.mkdir()
    os.chown(shared, -1, group)
    shared.chmod(0o2777)

    def fill(name):
        here = shared / name
        os.mkdir(here)
        os.close(os.open(here / 'file', os.O_CREAT | os.O_WRONLY, 0o664))
        os.mkdir(here / 'sub')
        os.mkfifo(here / 'fifo')
        os.mknod(here / 'node', stat.S_IFREG | 0o600)
        os.symlink('file', here / 'link')
        # A program that runs with the group's rights, for who is in it alone.
        os.close(os.open(here / 'program', os.O_CREAT | os.O_WRONLY, 0o2775))

    for user, in_group in (('kftest1', True), ('kftest3', False)):
        users.do(user, fill, user)
        forget_caches()
        for name in ('.', 'file', 'sub', 'fifo', 'node', 'link', 'program'):
            found = (shared / user / name).lstat()
            assert (found.st_uid, found.st_gid) == (users.uid(user), group), name
            handed_on = stat.S_ISDIR(found.st_mode) or name == 'program' and in_group
            assert bool(found.st_mode & stat.S_ISGID) == handed_on, (user, name)
        # What is moved there keeps its group.
        other = folder / f'of {user}'
        users.do(user, os.mkdir, other)
        users.do(user, os.rename, other, shared / user / 'moved')
        moved = (shared / user / 'moved').stat()
        assert moved.st_gid == users.gid(user) and not moved.st_mode & stat.S_ISGID


def test_changing_neither_owner_nor_group(folder, users, here):
    """Whoever may, clears set-id bits by it, as by any change of owner."""
    path, found = folder / 'program', []
    path.write_text('x')
    os.chown(path, users.uid('kftest1'), users.gid('kftest1'))
    for mode in (0o6755, 0o644):
        for user in ('kftest2', 'kftest1'):
            path.chmod(mode)
            done = outcome(users.do, user, os.chown, path, -1, -1)
            forget_caches()
            found.append((oct(mode), user, done, oct(stat.S_IMODE(path.stat().st_mode))))
    assert found == here([('0o6755', 'kftest2', 'EPERM', '0o6755'),
                          ('0o6755', 'kftest1', 'ok', '0o755'),
                          ('0o644', 'kftest2', 'ok', '0o644'),
                          ('0o644', 'kftest1', 'ok', '0o644')])


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


def test_writing_clears_a_set_group_id_bit_of_a_foreign_group(folder, users):
    """Also without the bit to execute, as kernels do since 6.2; who is in the group keeps it."""
    def write(path):
        with open(path, 'r+b', 0) as f:
            f.write(b'y')

    def truncate(path):
        os.truncate(path, 1)

    def reserve(path):
        with open(path, 'r+b', 0) as f:
            fallocate(f.fileno(), 0, 0, 20000)

    for change in (write, truncate, reserve):
        for group, left in (('kfshared', 0o2644), ('kftest3', 0o644)):
            path = folder / f'{change.__name__} {group}'
            path.write_bytes(b'x' * 100)
            os.chown(path, users.uid('kftest1'), grp.getgrnam(group).gr_gid)
            path.chmod(0o2644)
            users.do('kftest1', change, path)
            forget_caches()
            assert oct(stat.S_IMODE(path.stat().st_mode)) == oct(left), (change.__name__, group)
