"""May a user get at what the mount keeps for itself, by the names of files and
attributes?"""
import os

import pytest

from share import new_share

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to act as several users')


@pytest.fixture(scope='module')
def share():
    with new_share('names') as made:
        yield made


TRY = r'''
import errno, os, sys
def attempt(action):
    try:
        action()
        return 'ok'
    except OSError as e:
        return errno.errorcode[e.errno]
os.chdir(sys.argv[1])
'''


def run(share, code, *args, user='kfaccounts'):
    return share.python(user, TRY + code, *args).splitlines()


@pytest.fixture
def folder(share, request):
    path = share.mnt / request.node.name
    share.python('kfaccounts', 'import os, sys; os.mkdir(sys.argv[1])', path)
    return path


def test_the_mounts_own_attributes_cannot_be_set_or_removed(share, folder):
    code = r'''
open('file', 'w').write('x')
for name in ('key-id', 'folder-id', 'key-state', 'data-key-id', 'socket', 'names', 'x'):
    full = 'user.keyfold.' + name
    for at in ('file', '.'):
        print(full, at, attempt(lambda: os.setxattr(at, full, b'0' * 36)),
              attempt(lambda: os.removexattr(at, full)))
for name in ('trusted.keyfold.names', 'trusted.x', 'security.x', 'system.x', 'keyfold.x'):
    print(name, 'file', attempt(lambda: os.setxattr('file', name, b'x')), '-')
print(os.listxattr('file'), open('file').read())
'''
    lines = run(share, code, folder)
    assert lines[-1] == '[] x'
    for line in lines[:-1]:
        name, at, *outcomes = line.split()
        assert all(o in ('EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENODATA', '-') for o in outcomes), line
    # What the mount answers is what it was.
    assert os.getxattr(folder / 'file', 'user.keyfold.key-id') \
        == os.getxattr(folder, 'user.keyfold.key-id')
    # Others bind nothing to another key.
    assert run(share, "print(attempt(lambda: os.setxattr('.', 'user.keyfold.key', b'alias/x')))",
               folder, user='kfstranger')[0] in ('EPERM', 'EACCES')


def test_attributes_that_look_like_the_stores_are_the_users_own(share, folder):
    """The store keeps a user's attributes encrypted, under names of its own."""
    backing = os.listxattr(share.backing(folder))
    code = r'''
open('file', 'w').write('x')
for name in sys.argv[2:] + ['user.keyfold', 'user.keyfoldx', 'user.KEYFOLD.key-id', 'user.' + 'a' * 60]:
    if name.startswith('user.'):
        print(attempt(lambda: os.setxattr('file', name, b'mine')), os.getxattr('file', name))
print(open('file').read())
'''
    own = [name for name in backing if name.startswith('user.') and
           not name.startswith('user.keyfold.')]
    lines = run(share, code, folder, *own)
    assert lines[-1] == 'x' and len(lines) >= 5
    assert set(lines[:-1]) == {"ok b'mine'"}


def test_names_that_look_like_the_stores_name_files_of_the_users(share, folder):
    """Encrypted names, sidecars of long names, descriptors of folders."""
    long = 'l' * 255
    (folder / 'plain').touch()
    (folder / long).touch()
    taken = [name for name in os.listdir(share.backing(folder))]
    assert len(taken) >= 3
    code = r'''
for name in sys.argv[2:]:
    with open(name, 'x') as f: f.write(name)
for name in sys.argv[2:]:
    os.rename(name, name[:200] + '-2'); os.rename(name[:200] + '-2', name)
print(all(open(name).read() == name for name in sys.argv[2:]))
for name in sys.argv[2:]: os.unlink(name)
print(sorted(os.listdir('.')) == sorted(['plain', 'l' * 255]))
'''
    os.chmod(folder, 0o777)
    assert run(share, code, folder, *taken) == ['True', 'True']
    assert sorted(os.listdir(share.backing(folder))) == sorted(taken)
    assert (folder / long).read_text() == (folder / 'plain').read_text() == ''


def test_names_that_lead_out_or_are_too_long_are_refused(share, folder):
    code = r'''
for name in ('x' * 256, '\u20ac' * 86, '', '..', '.', '../' * 40 + 'etc/passwd/x', 'a/../../b/c/x'):
    print(attempt(lambda: os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY))),
          attempt(lambda: os.mkdir(name)), attempt(lambda: os.symlink('x', name)))
os.symlink('../' * 50 + 'etc/passwd', 'out')
print(attempt(lambda: os.stat('out')))
'''
    before = sorted(os.listdir(share.store / 'tree'))
    lines = run(share, code, folder)
    for line in lines[:-1]:
        assert set(line.split()) <= {'ENAMETOOLONG', 'ENOENT', 'EISDIR', 'EEXIST', 'ENOTDIR',
                                     'EACCES', 'EBUSY'}, line
    # A link leads where it says on the machine, as on any filesystem, never into the store.
    assert lines[-1] == 'ok' and sorted(os.listdir(share.store / 'tree')) == before
    assert (folder / 'out').read_text() == open('/etc/passwd').read()


def test_bytes_that_are_no_text_are_names_like_others(share, folder):
    code = r'''
names = [bytes([b]) * 3 for b in range(1, 256) if b not in (0x2f, 0x2e)] + [b'\xff' * 255, b'\n\t\x1b[2J']
for name in names: os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
print(sorted(os.listdir(b'.')) == sorted(names), len(names))
'''
    assert run(share, code, folder)[0].startswith('True')
    # They are one line each in the log, and the chain holds.
    share.run('kfcfo', 'audit', 'verify')
