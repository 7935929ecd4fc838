"""Who may do what, by mode bits: real users, groups, set-id bits, sticky folders."""
import errno
import grp
import os
import stat

from likeext4 import failure, forget_caches


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
