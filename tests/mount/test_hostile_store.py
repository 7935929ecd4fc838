"""What somebody who edits the backing store achieves: an error and a record,
never other data."""
import os
import re
import shutil
import subprocess

import pytest

from share import Failed, new_share

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to act as several users')


@pytest.fixture(scope='module')
def mounted():
    with new_share('hostile') as made:
        yield made


@pytest.fixture
def share(mounted, request):
    """The share, with a folder of this test's own as `share.base`: in it folders a
    and b under keys of their own, and in each the files one and two."""
    name = re.sub(r'\W', '-', request.node.name)
    mounted.base = mounted.mnt / name
    mounted.python('kfcfo', 'import os, sys; os.mkdir(sys.argv[1])', mounted.base)
    for folder in ('a', 'b'):
        alias = f'alias/{name}-{folder}'
        mounted.kms('kfcfo', 'create-key', '--alias', alias, '--administrators', 'user:kfcfo',
                    '--users', 'user:kfcfo')
        mounted.python('kfcfo', 'import os, sys; os.mkdir(sys.argv[1])', mounted.base / folder)
        mounted.run('kfcfo', 'folder', 'set-key', mounted.base / folder, alias)
        for file in ('one', 'two'):
            put(mounted, f'{folder}/{file}', f'{folder}/{file} ' * 2000)
    return mounted


def put(share, path, text):
    share.python('kfcfo', 'import sys; open(sys.argv[1], "w").write(sys.argv[2])',
                 share.base / path, text)


def get(share, path, user='kfcfo'):
    """The text, or the errno's name."""
    return share.python(user, r'''
import errno, sys
try:
    print(open(sys.argv[1]).read())
except OSError as e:
    print(errno.errorcode[e.errno])
''', share.base / path)


def edit(share, change, *paths):
    """Unmounts, lets `change` edit the backing objects of `paths`, mounts again."""
    objects = [share.backing(share.base / p) for p in paths]
    share.unmount()
    change(*objects)
    share.mount()


def failures(share):
    """Records of integrity failures in this test's folder."""
    return [r for r in share.events(eventSource='fs.keyfold', errorCode='IntegrityFailure')
            if any(x.get('path', '').startswith(f'/{share.base.name}/') for x in r['resources'])]


def expect_damage(share, *paths):
    for path in paths:
        assert get(share, path) == 'EIO', path
    assert failures(share)
    assert [r for r in share.events(eventSource='alerts.keyfold')
            if r['eventName'] == 'IntegrityFailure']
    # Damage stays local.
    assert get(share, 'b/two') == ('b/two ' * 2000).strip()


def swap(a, b):
    c = a.with_name('.aside')
    os.rename(a, c)
    os.rename(b, a)
    os.rename(c, b)


def overwrite(offset, data):
    def change(path):
        with open(path, 'r+b') as f:
            f.seek(offset)
            f.write(data)
    return change


def test_a_zeroed_block(share):
    edit(share, overwrite(4096, bytes(4096)), 'a/one')
    expect_damage(share, 'a/one')


def test_a_zeroed_block_and_entry(share):
    def change(path):
        overwrite(4096, bytes(4096))(path)
        overwrite(2048, bytes(64))(path)
    edit(share, change, 'a/one')
    expect_damage(share, 'a/one')


def test_a_file_cut_at_a_block(share):
    edit(share, lambda p: os.truncate(p, 4096 + 2 * 4096), 'a/one')
    expect_damage(share, 'a/one')


def test_a_file_cut_to_nothing(share):
    edit(share, lambda p: os.truncate(p, 0), 'a/one')
    expect_damage(share, 'a/one')


def test_two_files_of_a_folder_swapped(share):
    edit(share, swap, 'a/one', 'a/two')
    expect_damage(share, 'a/one', 'a/two')


def test_files_of_two_folders_swapped(share):
    edit(share, swap, 'a/one', 'b/one')
    expect_damage(share, 'a/one', 'b/one')


def test_attributes_of_files_swapped(share):
    for folder in ('a', 'b'):
        share.python('kfcfo', 'import os, sys; os.setxattr(sys.argv[1], "user.mark", sys.argv[2].encode())',
                     share.base / folder / 'one', folder)
    edit(share, swap, 'a/one', 'b/one')
    for call in ('os.getxattr(p, "user.mark")', 'os.listxattr(p)',
                 'os.setxattr(p, "user.mark", b"x")', 'os.removexattr(p, "user.mark")'):
        told = share.python('kfcfo', f"""
import errno, os, sys
p = sys.argv[1]
try:
    print({call})
except OSError as e:
    print(errno.errorcode[e.errno])
""", share.base / 'a/one')
        assert told == 'EIO', call
    assert failures(share)


def test_contents_copied_from_another_file(share):
    edit(share, lambda a, b: shutil.copyfile(b, a), 'a/one', 'a/two')
    expect_damage(share, 'a/one')


def test_a_whole_file_copied_with_its_attributes(share):
    def change(a, b):
        subprocess.run(['cp', '--preserve=all', b, a], check=True)
    edit(share, change, 'a/one', 'b/one')
    expect_damage(share, 'a/one')


def test_a_file_hard_linked_into_another_folder(share):
    def change(a, b):
        name = b.name
        b.unlink()
        os.link(a, b.with_name(name))
    edit(share, change, 'a/one', 'b/one')
    expect_damage(share, 'b/one')
    assert get(share, 'a/one').startswith('a/one')


def test_two_folders_swapped(share):
    edit(share, swap, 'a', 'b')
    for path in ('a/one', 'b/one'):
        assert get(share, path) == 'EIO'
    assert failures(share)


def test_a_folder_bound_to_another_key(share):
    def change(path):
        value = os.getxattr(path, 'user.keyfold.folder')
        other = value[:17] + bytes(c ^ 1 for c in value[17:18]) + value[18:]
        os.setxattr(path, 'user.keyfold.folder', other)
    edit(share, change, 'a')
    expect_damage(share, 'a/one')


def test_a_folder_with_another_folders_descriptor(share):
    def change(a, b):
        os.setxattr(a, 'user.keyfold.folder', os.getxattr(b, 'user.keyfold.folder'))
    edit(share, change, 'a', 'b')
    expect_damage(share, 'a/one')


def test_a_files_names_removed(share):
    edit(share, lambda p: os.removexattr(p, 'user.keyfold.names'), 'a/one')
    expect_damage(share, 'a/one')


@pytest.mark.parametrize('plant', ['symlink', 'fifo', 'device', 'directory'])
def test_something_else_in_a_files_place(share, plant):
    def change(path):
        path.unlink()
        if plant == 'symlink':
            os.symlink('/etc/passwd', path)
        elif plant == 'fifo':
            os.mkfifo(path, 0o666)
        elif plant == 'device':
            os.mknod(path, 0o666 | 0o020000, os.makedev(1, 5))
        else:
            path.mkdir()
    edit(share, change, 'a/one')
    text = share.python('kfcfo', r'''
import errno, os, sys
try:
    fd = os.open(sys.argv[1], os.O_RDONLY | os.O_NONBLOCK)
    print(os.read(fd, 100))
except OSError as e:
    print(errno.errorcode[e.errno])
''', share.base / 'a/one')
    assert 'root' not in text and '\\x00' not in text
    assert get(share, 'b/two') == ('b/two ' * 2000).strip()


def test_while_mounted_too(share):
    one, two = share.backing(share.base / 'a/one'), share.backing(share.base / 'a/two')
    swap(one, two)
    open('/proc/sys/vm/drop_caches', 'w').write('3\n')
    assert get(share, 'a/one') in ('EIO', ('a/one ' * 2000).strip())
    assert get(share, 'a/two') in ('EIO', ('a/two ' * 2000).strip())


def test_an_edited_key_store_is_refused(share):
    share.unmount()
    shutil.copy(share.store / 'keys.db', share.folder / 'good.db')
    subprocess.run(['sqlite3', share.store / 'keys.db',
                    "UPDATE keys SET body = replace(body, '\"enabled\":true', '\"enabled\":false')"],
                   check=True)
    with pytest.raises(Failed) as info:
        share.mount()
    assert info.value.code == 6
    shutil.copy(share.folder / 'good.db', share.store / 'keys.db')
    share.mount()


def test_an_edited_audit_log_is_named(share):
    share.unmount()
    log = share.store / 'audit' / 'audit.log'
    lines = log.read_text().splitlines(keepends=True)
    lines[4] = lines[4].replace('"readOnly"', '"readonly"')
    log.write_text(''.join(lines))
    share.mount()
    with pytest.raises(Failed) as info:
        share.run('kfcfo', 'audit', 'verify')
    assert 'record 5' in info.value.text and info.value.code == 6
