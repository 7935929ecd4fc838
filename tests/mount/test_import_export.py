"""Does a tree come into a mount and out of it whole, with all that can be kept, whatever
cuts that off; is what cannot be done named; who gets what was exported?"""
import contextlib
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import stat
import subprocess
import time

import pytest

from share import lone_share, new_share, small_disk

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to act as several users')

PARTIAL = '.keyfold-partial-'


@pytest.fixture(scope='module')
def share():
    with new_share('import') as made:
        made.kms('kfcfo', 'create-key', '--alias', 'alias/cfo', '--administrators', 'user:kfcfo',
                 '--users', 'user:kfcfo', 'user:root')
        yield made


@pytest.fixture
def places(share, request):
    """A folder of the cfo's on the mount under alias/cfo, and two plain ones: to import
    from, and to export to (which is not there yet)."""
    name = re.sub(r'\W', '-', request.node.name)
    folder, plain = share.mnt / name, share.folder / name
    share.python('kfcfo', 'import os, sys; os.mkdir(sys.argv[1])', folder)
    share.run('kfcfo', 'folder', 'set-key', folder, 'alias/cfo')
    plain.mkdir()
    source, out = plain / 'source', plain / 'out'
    source.mkdir()
    for path in (plain, source):
        shutil.chown(path, 'kfcfo', 'kfcfo')
    yield folder, source, out
    subprocess.run(['chmod', '-R', 'u+rwx', folder, plain], check=False)


def run(share, user, *args, code=0):
    """What the command printed, and said on standard error."""
    done = subprocess.run([*share.command_of(user), *map(str, args)], env=share.environment(),
                          capture_output=True, text=True, cwd='/')
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout, done.stderr


def counts(share, user, *args, code=0):
    out, _ = run(share, user, *args, '--output', 'json', code=code)
    last = json.loads(out.splitlines()[-1])
    return last.get('summary') or last['wouldBe']


def lines(share, user, *args, code=0):
    out, _ = run(share, user, *args, '--output', 'json', code=code)
    return [json.loads(line) for line in out.splitlines()[:-1]]


def chown_all(folder, user='kfcfo'):
    for path in [folder, *folder.rglob('*')]:
        shutil.chown(path, user, user, ) if not path.is_symlink() else \
            os.lchown(path, shutil._get_uid(user), shutil._get_gid(user))


def random_tree(folder, seed, files=40):
    """Files of sizes around all edges, in folders within each other."""
    choose = random.Random(seed)
    sizes = [0, 1, 4095, 4096, 4097, 65536, 1 << 20, (1 << 20) + 1, 3_333_333]
    made = [folder]
    for i in range(files):
        if choose.random() < 0.2:
            made.append(choose.choice(made) / f'd{i}')
            made[-1].mkdir()
        path = choose.choice(made) / f'f{i}'
        size = sizes[i] if i < len(sizes) else choose.randrange(100_000)
        path.write_bytes(choose.randbytes(size))
        os.utime(path, ns=(choose.randrange(10**18), choose.randrange(10**18)))


def snapshot(folder, owners=True, times=True, mask=0o7777):
    """All there is to know of a tree; hard links are groups of names."""
    found, groups = {}, {}
    for path in sorted([folder, *folder.rglob('*')]):
        if path == folder:
            continue
        st, name = path.lstat(), str(path.relative_to(folder))
        one = {'kind': stat.S_IFMT(st.st_mode), 'device': st.st_rdev}
        if not stat.S_ISLNK(st.st_mode):
            one['mode'] = stat.S_IMODE(st.st_mode) & mask
            one['attributes'] = {
                key: os.getxattr(path, key, follow_symlinks=False)
                for key in os.listxattr(path, follow_symlinks=False)
                if mask == 0o7777 or key.startswith('user.')}
        if owners:
            one['owner'] = (st.st_uid, st.st_gid)
        if times:
            one['mtime'] = st.st_mtime_ns
        if stat.S_ISLNK(st.st_mode):
            one['text'] = os.readlink(path)
        if stat.S_ISREG(st.st_mode):
            one['contents'] = hashlib.sha256(path.read_bytes()).hexdigest()
            groups.setdefault(st.st_ino, []).append(name)
        found[name] = one
    return found, sorted(group for group in groups.values() if len(group) > 1)


def partials(*folders):
    return [path for folder in folders for path in folder.rglob(PARTIAL + '*')]


def all_kinds(folder, as_root):
    """One object of each kind, with all that can be kept of it."""
    (folder / 'plain').write_bytes(b'plain\n')
    (folder / 'empty').write_bytes(b'')
    with open(folder / 'sparse', 'wb') as f:
        f.write(b'begin')
        f.seek(40 << 20)
        f.write(b'middle')
        f.truncate((80 << 20) + 123)
    (folder / 'zeros').write_bytes(bytes(3 << 20))
    (folder / 'unreadable-to-others').write_bytes(b'x' * 5000)
    (folder / 'unreadable-to-others').chmod(0o400)
    (folder / 'program').write_bytes(b'#!/bin/sh\n')
    (folder / 'program').chmod(0o4755 if as_root else 0o755)
    (folder / 'sub/deep/er').mkdir(parents=True)
    (folder / 'sub/deep/er/leaf').write_bytes(b'leaf')
    os.link(folder / 'plain', folder / 'sub/plain-again')
    os.link(folder / 'plain', folder / 'aplain')
    (folder / 'link').symlink_to('plain')
    (folder / 'dangling').symlink_to('/nowhere/ä ö\n')
    os.mkfifo(folder / 'fifo', 0o640)
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(folder / 'socket'))
    (folder / 'ä name with \n and \\').write_bytes(b'odd')
    (folder / ('n' * 255)).write_bytes(b'long')
    os.setxattr(folder / 'plain', 'user.note', b'\0any bytes\xff')
    os.setxattr(folder / 'sub', 'user.note', b'of a folder')
    subprocess.run(['setfacl', '-m', 'u:kfaccounts:r', folder / 'empty'], check=True)
    subprocess.run(['setfacl', '-d', '-m', 'g:kfaccounts:rx', folder / 'sub/deep'], check=True)
    if as_root:
        os.mknod(folder / 'device', 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        os.chown(folder / 'plain', 4711, 4712)
        os.lchown(folder / 'link', 4711, 4712)
        os.chown(folder / 'sub', 4711, 4712)
    else:
        chown_all(folder)
    for number, path in enumerate(sorted(folder.rglob('*'), reverse=True)):
        os.utime(path, ns=(1_000_000_000_123_456_789 + number, 1_100_000_000_987_654_321 + number),
                 follow_symlinks=False)
    (folder / 'sub/deep').chmod(0o2555 if as_root else 0o555)
    os.utime(folder / 'sub/deep', ns=(5, 7_000_000_007))
    os.utime(folder / 'sub', ns=(5, 8_000_000_008))


@pytest.mark.parametrize('user', ['kfcfo', 'root'])
def test_all_kinds_in_and_out(share, places, user):
    folder, source, out = places
    who = None if user == 'root' else user
    all_kinds(source, as_root=who is None)
    before = snapshot(source)
    done = counts(share, who, 'import', source, folder)
    assert snapshot(source) == before
    assert snapshot(folder) == before
    # Three of the names are one file, of which the others are links.
    regular = sum(one['kind'] == stat.S_IFREG for one in before[0].values())
    assert (done['files'], done['hardLinks'], done['failed'], done['conflicts']) == \
        (regular - 2, 2, 0, 0)
    assert (folder / 'sparse').stat().st_blocks * 512 < 2 << 20
    assert not partials(folder)
    again = counts(share, who, 'import', source, folder)
    assert (again['files'], again['there'], again['hardLinks']) == (0, regular - 2, 2)
    assert snapshot(folder) == before

    run(share, who, 'export', folder, out, '--keep-modes')
    assert snapshot(out) == before
    assert (out / 'sparse').stat().st_blocks * 512 < 2 << 20
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    narrow = out.parent / 'narrow'
    run(share, who, 'export', folder, narrow)
    assert snapshot(narrow, mask=0o700) == snapshot(source, mask=0o700)
    for path in narrow.rglob('*'):
        assert path.is_symlink() or path.stat().st_mode & 0o7077 == 0, path


def test_the_access_times_of_the_source_stay(share, places):
    folder, source, _ = places
    random_tree(source, 1, files=5)
    chown_all(source)
    times = {path: path.stat().st_atime_ns for path in [source, *source.rglob('*')]}
    run(share, 'kfcfo', 'import', source, folder)
    assert {path: path.stat().st_atime_ns for path in times} == times


def test_owners_a_user_cannot_give(share, places):
    folder, source, _ = places
    (source / 'theirs').write_bytes(b'theirs')
    (source / 'program').write_bytes(b'program')
    os.chown(source / 'theirs', 4711, 4711)
    shutil.chown(source / 'program', 'kfaccounts')
    (source / 'program').chmod(0o4755)
    out, said = run(share, 'kfcfo', 'import', source, folder)
    assert 'Not kept: owner, of 2 objects' in out
    assert 'Not kept: set-user-id bit, of 1 object, such as' in out
    assert stat.S_IMODE((folder / 'program').stat().st_mode) == 0o755
    assert (folder / 'theirs').owner() == 'kfcfo'
    out, _ = run(share, 'kfcfo', 'import', source, folder, '--no-owner')
    assert 'Not kept' not in out
    told = lines(share, None, 'import', source, folder, '--no-owner', '--overwrite')
    assert told == []


def test_dry_run_changes_nothing(share, places):
    folder, source, out = places
    random_tree(source, 2)
    chown_all(source)
    would = counts(share, 'kfcfo', 'import', source, folder, '--dry-run')
    assert list(folder.iterdir()) == []
    done = counts(share, 'kfcfo', 'import', source, folder)
    assert (would['files'], would['bytes'], would['folders']) == \
        (done['files'], done['bytes'], done['folders'])
    assert counts(share, 'kfcfo', 'export', folder, out, '--dry-run')['files'] == done['files']
    assert not out.exists()


def test_dry_run_says_what_is_in_the_way(share, places):
    folder, source, _ = places
    for name in ('one', 'two', 'shut'):
        (source / name).write_text(name)
    chown_all(source)
    os.chmod(source / 'shut', 0)
    _, said = run(share, 'kfcfo', 'import', source, folder, '--dry-run', code=7)
    assert said.count('shut') == 1 and 'Permission denied' in said
    assert counts(share, 'kfcfo', 'import', source, folder, '--dry-run', code=7)['files'] == 2
    # Whose key refuses.
    os.chmod(folder, 0o777)
    _, said = run(share, 'kfaccounts', 'import', source, folder, '--dry-run', code=7)
    assert f'{folder}: kfaccounts may not kms:GenerateDataKey' in said
    # The reason once, not with each file.
    os.chmod(source / 'shut', 0o644)
    _, said = run(share, 'kfaccounts', 'import', source, folder, code=7)
    assert said.count('kfaccounts may not') == 1 and said.count('refused as before') == 2
    share.kms('kfcfo', 'disable-key', '--key-id', 'alias/cfo')
    try:
        _, said = run(share, 'kfcfo', 'import', source, folder, '--dry-run', code=254)
        assert 'is Disabled' in said
    finally:
        share.kms('kfcfo', 'enable-key', '--key-id', 'alias/cfo')


def test_what_could_not_be_written_is_told_as_that(share, places):
    folder, source, _ = places
    with open(source / 'holes', 'wb') as f:  # more than a file can have
        for i in range(30):
            f.seek(i * (3 << 30))
            f.write(b'x')
    chown_all(source)
    _, said = run(share, 'kfcfo', 'import', source, folder, code=1)
    assert 'File too large' in said and 'fsck' not in said
    assert list(folder.iterdir()) == []


def test_conflicts_are_named_and_stay(share, places):
    folder, source, _ = places
    for name in ('longer', 'newer', 'contents', 'kind', 'link', 'same'):
        (source / name).write_bytes(b'source')
    (source / 'link').unlink()
    (source / 'link').symlink_to('here')
    (source / 'folder').mkdir()
    (source / 'folder/file').write_bytes(b'source')
    chown_all(source)
    run(share, 'kfcfo', 'import', source / 'same', folder)
    (folder / 'longer').write_bytes(b'longer than that')
    (folder / 'newer').write_bytes(b'theirs')
    (folder / 'contents').write_bytes(b'theirs')
    st = (source / 'contents').stat()
    os.utime(folder / 'contents', ns=(st.st_atime_ns, st.st_mtime_ns))
    (folder / 'kind').mkdir()
    (folder / 'link').symlink_to('elsewhere')
    (folder / 'folder').write_bytes(b'no folder')
    chown_all(folder)
    before = snapshot(folder)
    named = {pathlib.Path(line['path']).name: line['why']
             for line in lines(share, 'kfcfo', 'import', source, folder, '--compare', code=1)}
    assert sorted(named) == ['contents', 'folder', 'kind', 'link', 'longer', 'newer']
    assert named['contents'].endswith('in contents')
    assert named['folder'].endswith('it is no folder')
    assert snapshot(folder) == before
    # Without --compare the one with the same size and time is believed.
    done = counts(share, 'kfcfo', 'import', source, folder, code=1)
    assert (done['conflicts'], done['there'], done['files']) == (5, 2, 0)
    # Folders are never replaced, nor by one.
    done = counts(share, 'kfcfo', 'import', source, folder, '--overwrite', '--compare', code=1)
    assert (done['conflicts'], done['files'], done['there']) == (2, 3, 1)
    assert (folder / 'contents').read_bytes() == b'source'
    assert os.readlink(folder / 'link') == 'here'
    assert (folder / 'folder').read_bytes() == b'no folder'


def kill_after(words, environment, seconds):
    """False if it ended by itself before."""
    process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, cwd='/')
    try:
        assert process.wait(seconds) == 0
        return False
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True


@pytest.mark.parametrize('way', ['import', 'export'])
def test_killed_again_and_again(share, places, way):
    folder, source, out = places
    seed = int(os.environ.get('KEYFOLD_TEST_SEED', random.randrange(10**6)))
    print('KEYFOLD_TEST_SEED =', seed)
    random_tree(source, seed, files=120)
    os.link(source / 'f0' if (source / 'f0').exists() else next(source.rglob('f0')),
            source / 'linked')
    (source / 'symbolic').symlink_to('linked')
    chown_all(source)
    expected = snapshot(source, mask=0o700)
    if way == 'import':
        words, target = ['import', source, folder], folder
    else:
        run(share, 'kfcfo', 'import', source, folder)
        words, target = ['export', folder, out], out
    words = [*share.command_of('kfcfo'), *map(str, words), '--rate-limit', '4M']
    choose = random.Random(seed)
    killed = 0
    for _ in range(40):
        if not kill_after(words, share.environment(), choose.uniform(0.05, 0.6)):
            break
        killed += 1
        # What has its name is whole.
        for name, one in snapshot(target, mask=0o700)[0].items():
            if PARTIAL not in name and one['kind'] == stat.S_IFREG:
                assert one == expected[0][name], name
    assert killed >= 3
    words = words[:-2]
    assert subprocess.run(words, env=share.environment(), cwd='/').returncode == 0
    assert snapshot(target, mask=0o700) == expected
    assert not partials(target)


def begun(share, source, folder, *more, **streams):
    """An import that has begun to write a file."""
    process = subprocess.Popen([*share.command_of('kfcfo'), 'import', source, folder, *more],
                               env=share.environment(), text=True, cwd='/', **streams)
    while not partials(folder):
        time.sleep(0.01)
    return process


def test_an_interrupt_leaves_nothing_half_made(share, places):
    folder, source, _ = places
    (source / 'large').write_bytes(os.urandom(20 << 20))
    (source / 'small').write_bytes(b'small')
    chown_all(source)
    process = begun(share, source, folder, '--rate-limit', '4M', '--output', 'json',
                    stdout=subprocess.PIPE)
    process.send_signal(2)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert not json.loads(out.splitlines()[-1])['summary']['complete']
    assert not partials(folder) and not (folder / 'large').exists()
    run(share, 'kfcfo', 'import', source, folder)
    assert (folder / 'large').read_bytes() == (source / 'large').read_bytes()


def test_two_at_once_do_not_sweep_each_other(share, places):
    folder, source, _ = places
    (source / 'large').write_bytes(os.urandom(12 << 20))
    chown_all(source)
    first = begun(share, source, folder, '--rate-limit', '6M', stdout=subprocess.DEVNULL)
    other = folder.parent / f'{source.parent.name}-empty'
    share.python('kfcfo', 'import os, sys; os.mkdir(sys.argv[1])', other)
    run(share, 'kfcfo', 'import', other, folder)
    assert partials(folder)
    assert first.wait() == 0
    assert (folder / 'large').read_bytes() == (source / 'large').read_bytes()


@pytest.mark.parametrize('reads_back', [True, False])
def test_reading_back_catches_a_flipped_byte(share, places, reads_back):
    folder, source, _ = places
    (source / 'file').write_bytes(os.urandom(8 << 20))
    chown_all(source)
    words = [*share.command_of('kfcfo'), 'import', source, folder, '--rate-limit', '4M']
    process = subprocess.Popen(words + ([] if reads_back else ['--no-read-back']),
                               env=share.environment(), stderr=subprocess.PIPE, text=True, cwd='/')
    while not (made := [path for path in partials(folder) if path.stat().st_size > 1 << 20]):
        time.sleep(0.01)
    with open(made[0], 'r+b') as f:
        byte = f.read(1)
        f.seek(0)
        f.write(bytes([byte[0] ^ 1]))
    _, said = process.communicate()
    if not reads_back:
        assert process.returncode == 0
        assert (folder / 'file').read_bytes()[0] == byte[0] ^ 1
        return
    assert process.returncode == 6
    assert f'{folder / "file"}: what was read back is not what was written' in said
    assert list(folder.iterdir()) == []
    run(share, 'kfcfo', 'import', source, folder)
    assert (folder / 'file').read_bytes() == (source / 'file').read_bytes()


def test_a_source_that_changes_is_named(share, places):
    folder, source, _ = places
    (source / 'file').write_bytes(os.urandom(4 << 20))
    chown_all(source)
    process = begun(share, source, folder, '--rate-limit', '4M', stderr=subprocess.PIPE)
    with open(source / 'file', 'r+b') as f:
        f.write(b'changed')
    _, said = process.communicate()
    assert process.returncode == 1
    assert f'{source / "file"}: it changed while it was read' in said
    assert list(folder.iterdir()) == []


def test_keys_that_refuse_are_named(share, places):
    folder, source, out = places
    random_tree(source, 3, files=5)
    chown_all(source)
    share.python('kfcfo', 'import os, sys; os.chmod(sys.argv[1], 0o777)', folder)
    # Mode bits let the accounts team write there and read it all, but the key does not.
    source.chmod(0o755)
    for path in source.rglob('*'):
        path.chmod(0o755)
    _, said = run(share, 'kfaccounts', 'import', source, folder, '--no-owner', code=7)
    assert 'kfaccounts may not kms:GenerateDataKey' in said
    assert not [path for path in folder.rglob('*') if not path.is_dir()]
    for path in folder.iterdir():
        shutil.rmtree(path)
    run(share, 'kfcfo', 'import', source, folder)
    before = len(share.events(eventName='OpenFile'))
    theirs = share.folder / 'theirs'
    theirs.mkdir()
    shutil.chown(theirs, 'kfaccounts')
    printed, said = run(share, 'kfaccounts', 'export', folder, theirs / 'out', code=7)
    files = [path for path in folder.rglob('*') if path.is_file()]
    for path in files:
        assert f'keyfold: {path}: kfaccounts may not kms:Decrypt' in said or \
            f'keyfold: {path}: refused as before, by the key' in said
    assert said.count('may not kms:Decrypt') == 1
    assert f'Not done: {len(files)}' in printed
    assert not [path for path in theirs.rglob('*') if path.is_file()]
    # Each refusal is on record, with who and which file.
    refused = [record for record in share.events(eventName='OpenFile')[before:]
               if record.get('errorCode') == 'AccessDeniedException']
    assert {record['userIdentity']['userName'] for record in refused} == {'kfaccounts'}
    assert {path for record in refused for r in record['resources'] if (path := r.get('path'))} \
        == {f'/{path.relative_to(share.mnt)}' for path in files}
    shutil.rmtree(theirs)


def test_an_export_is_on_record(share, places):
    folder, source, out = places
    random_tree(source, 4, files=5)
    chown_all(source)
    run(share, 'kfcfo', 'import', source, folder)
    before = len(share.events())
    _, said = run(share, 'kfcfo', 'export', folder, out)
    assert 'What is exported is plaintext.' in said
    opened = [record for record in share.events()[before:] if record['eventName'] == 'OpenFile']
    assert {record['userIdentity']['userName'] for record in opened} == {'kfcfo'}
    assert sorted(r['path'] for record in opened for r in record['resources'] if 'path' in r) == \
        sorted(f'/{path.relative_to(share.mnt)}' for path in folder.rglob('*') if path.is_file())


def test_a_key_that_is_disabled_in_the_middle(share, places):
    folder, source, _ = places
    share.kms('kfcfo', 'create-key', '--alias', 'alias/middle', '--administrators', 'user:kfcfo',
              '--users', 'user:kfcfo', 'user:root')
    share.run('kfcfo', 'folder', 'set-key', folder, 'alias/middle')
    for number in range(30):
        (source / f'{number:02}').write_bytes(os.urandom(200_000))
    chown_all(source)
    words = [*share.command_of('kfcfo'), 'import', source, folder, '--rate-limit', '2M',
             '--output', 'json']
    process = subprocess.Popen(words, env=share.environment(), stdout=subprocess.PIPE, text=True,
                               cwd='/')
    while not any(PARTIAL not in path.name for path in folder.iterdir()):
        time.sleep(0.01)
    share.kms('kfcfo', 'disable-key', '--key-id', 'alias/middle')
    out, _ = process.communicate()
    assert process.returncode != 0
    told = [json.loads(line) for line in out.splitlines()]
    done = told.pop()['summary']
    failed = [line for line in told if 'error' in line]
    assert done['files'] > 0 and done['failed'] == len(failed) == 30 - done['files']
    assert not partials(folder)
    for line in failed:
        assert line['error'] in ('KMSInvalidStateException', 'DisabledException') or \
            'not available' in line['why'] or 'Permission denied' in line['why'], line
    share.kms('kfcfo', 'enable-key', '--key-id', 'alias/middle')
    again = counts(share, 'kfcfo', 'import', source, folder)
    assert (again['files'], again['there']) == (30 - done['files'], done['files'])
    assert snapshot(folder) == snapshot(source)


def test_the_destination_of_an_export_is_for_its_user_alone(share, places):
    folder, source, out = places
    (source / 'file').write_bytes(b'x')
    chown_all(source)
    run(share, 'kfcfo', 'import', source, folder)
    out.mkdir()
    shutil.chown(out, 'kfcfo')
    out.chmod(0o755)
    _, said = run(share, 'kfcfo', 'export', folder, out, code=2)
    assert f'chmod 700 {out}' in said
    out.chmod(0o700)
    shutil.chown(out, 'kfaccounts')
    _, said = run(share, None, 'export', folder, out, code=2)
    assert 'belongs to another user' in said
    _, said = run(share, 'kfcfo', 'export', folder, share.mnt / 'elsewhere', code=2)
    assert 'same mount' in said and not (share.mnt / 'elsewhere').exists()
    _, said = run(share, 'kfcfo', 'export', folder, folder / 'within', '--force', code=2)
    assert 'itself' in said
    _, said = run(share, None, 'export', folder, share.store / 'tree/out', '--force', code=2)
    assert 'lies in a store' in said
    run(share, None, 'export', folder, out, '--force')
    assert (out / 'file').read_bytes() == b'x'


def test_where_an_import_cannot_begin(share, places):
    folder, source, _ = places
    assert 'does not exist. Make it' in run(share, 'kfcfo', 'import', source, folder / 'no',
                                            code=2)[1]
    assert 'not on a Keyfold mount' in run(share, 'kfcfo', 'import', source, source, code=2)[1]
    assert 'lies in a store' in run(share, None, 'import', share.store / 'tree', folder,
                                    code=2)[1]
    assert 'itself' in run(share, 'kfcfo', 'import', share.mnt, folder, code=2)[1]
    assert '--rate-limit' in run(share, 'kfcfo', 'import', source, folder, '--rate-limit', '1',
                                 code=2)[1]
    run(share, 'kfcfo', 'import', source / 'missing', folder, code=1)


def test_links_in_the_way_are_not_followed(share, places):
    """A user who may write to the destination of root's import leads it nowhere."""
    folder, source, _ = places
    (source / 'sub').mkdir()
    (source / 'sub/file').write_bytes(b'x')
    outside = source.parent / 'outside'
    outside.mkdir()
    (folder / 'sub').symlink_to(outside)
    said = run(share, None, 'import', source, folder, code=1)[1]
    assert 'it is no folder' in said
    run(share, None, 'import', source, folder, '--overwrite', code=1)
    assert list(outside.iterdir()) == []


def test_other_filesystems_below_the_source(share, places):
    folder, source, _ = places
    (source / 'other').mkdir()
    subprocess.run(['mount', '-t', 'tmpfs', 'tmpfs', source / 'other'], check=True)
    try:
        (source / 'other/file').write_bytes(b'x')
        said = run(share, None, 'import', source, folder, code=8)[1]
        assert f'{source / "other"} is left out' in said
        assert not (folder / 'other').exists()
        run(share, None, 'import', source, folder, '--cross-filesystems')
        assert (folder / 'other/file').read_bytes() == b'x'
    finally:
        subprocess.run(['umount', source / 'other'], check=True)


def test_a_second_interrupt_waits_for_no_filesystem(share, places):
    folder, source, _ = places
    with gocryptfs(source) as plain:
        (plain / 'file').write_bytes(os.urandom(20 << 20))
        chown_all(plain)
        served = subprocess.run(['pgrep', '-f', str(plain)], capture_output=True, text=True,
                                check=True).stdout.split()
        process = begun(share, plain, folder, '--rate-limit', '8M', stdout=subprocess.PIPE)
        for pid in served:
            os.kill(int(pid), signal.SIGSTOP)
        try:
            time.sleep(2)  # until it waits for what comes no more
            process.send_signal(signal.SIGINT)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(2)
            process.send_signal(signal.SIGINT)
            time.sleep(1)
        finally:
            for pid in served:
                os.kill(int(pid), signal.SIGCONT)
        # The kernel itself may wait for the filesystem once more, as with any kill; the
        # program has ended, and sums nothing up.
        out, _ = process.communicate(timeout=20)
        assert process.returncode == 1 and out == ''


def test_hard_links_between_folders_of_two_keys_become_copies(share, places):
    folder, source, _ = places
    (source / 'one').mkdir()
    (source / 'two').mkdir()
    (source / 'one/file').write_bytes(b'linked')
    os.link(source / 'one/file', source / 'two/file')
    chown_all(source)
    share.kms('kfcfo', 'create-key', '--alias', 'alias/two', '--administrators', 'user:kfcfo',
              '--users', 'user:kfcfo', 'user:root')
    share.python('kfcfo', 'import os, sys; os.mkdir(sys.argv[1] + "/two")', folder)
    share.run('kfcfo', 'folder', 'set-key', folder / 'two', 'alias/two')
    out, _ = run(share, 'kfcfo', 'import', source, folder)
    assert 'Not kept: hard link, of 1 object' in out
    assert (folder / 'two/file').read_bytes() == b'linked'
    assert (folder / 'two/file').stat().st_ino != (folder / 'one/file').stat().st_ino
    assert counts(share, 'kfcfo', 'import', source, folder)['files'] == 0


def test_a_full_disk(share, places):
    """Exported to a disk that is too small: nothing half there, and the rest later."""
    folder, source, _ = places
    for number in range(12):
        (source / f'{number:02}').write_bytes(os.urandom(2 << 20))
    chown_all(source)
    run(share, 'kfcfo', 'import', source, folder)
    with small_disk(source.parent, 16, 0) as disk:
        out = disk / 'out'
        _, said = run(share, None, 'export', folder, out, code=1)
        assert said.count('No space left on device') == 1
        whole = [path for path in out.iterdir()]
        assert 0 < len(whole) < 12
        for path in whole:
            assert path.read_bytes() == (source / path.name).read_bytes()
        for path in whole[:-1]:
            path.unlink()
        assert not partials(out)


def test_a_full_store(tmp_path_factory):
    place = tmp_path_factory.mktemp('full')
    with small_disk(place, 64, 0) as disk, lone_share('full', disk) as share:
        source, folder = place / 'source', share.mnt / 'folder'
        source.mkdir()
        folder.mkdir()
        for number in range(40):
            (source / f'{number:02}').write_bytes(os.urandom(2 << 20))
        _, said = run(share, None, 'import', source, folder, code=1)
        assert said.count('No space left on device') == 1
        whole = [path for path in folder.iterdir()]
        assert not partials(folder)
        assert 0 < len(whole) < 40
        for path in whole:
            assert path.read_bytes() == (source / path.name).read_bytes()
            (source / path.name).unlink()
            path.unlink()
        for path in sorted(source.iterdir())[5:]:
            path.unlink()
        os.sync()
        run(share, None, 'import', source, folder)
        assert snapshot(folder) == snapshot(source)


@contextlib.contextmanager
def gocryptfs(folder):
    """A mounted gocryptfs, as another program made it."""
    cipher, plain, secret = folder / 'cipher', folder / 'plain', folder / 'passphrase'
    cipher.mkdir()
    plain.mkdir()
    secret.write_text('correct horse battery staple\n')
    quiet = {'check': True, 'stdout': subprocess.DEVNULL}
    subprocess.run(['gocryptfs', '-q', '-init', '-scryptn', '10', '-passfile', secret, cipher],
                   **quiet)
    subprocess.run(['gocryptfs', '-q', '-allow_other', '-acl', '-passfile', secret, cipher, plain],
                   **quiet)
    try:
        yield plain
    finally:
        subprocess.run(['umount', plain], check=True)


def test_from_a_gocryptfs(share, places):
    folder, source, _ = places
    with gocryptfs(source) as plain:
        random_tree(plain, 5)
        (plain / 'link').symlink_to('f1')
        os.link(next(plain.rglob('f2')), plain / 'linked')
        os.setxattr(next(plain.rglob('f3')), 'user.note', b'note')
        os.mkfifo(plain / 'fifo')
        chown_all(plain)
        before = snapshot(plain)
        assert counts(share, 'kfcfo', 'import', plain, folder, '--dry-run')['files'] == 40
        done = counts(share, 'kfcfo', 'import', plain, folder)
        assert (done['files'], done['hardLinks'], done['failed']) == (40, 1, 0)
        assert snapshot(folder) == before == snapshot(plain)


def test_from_one_mount_to_another_folder(share, places):
    folder, source, _ = places
    random_tree(source, 6, files=8)
    chown_all(source)
    run(share, 'kfcfo', 'import', source, folder)
    other = folder.parent / f'{folder.name}-other'
    share.python('kfcfo', 'import os, sys; os.mkdir(sys.argv[1])', other)
    run(share, 'kfcfo', 'import', folder, other)
    assert snapshot(other) == snapshot(source)


def test_it_says_which_key_locks_the_folder_and_how_far_it_is(share, places):
    folder, source, _ = places
    random_tree(source, 7, files=9)
    chown_all(source)
    said = run(share, 'kfcfo', 'import', source, folder, '--progress', '--rate-limit', '4M')[1]
    assert said.startswith(f'keyfold: {folder} is locked by alias/cfo.\n')
    assert re.search(r'\d files? of 9, .* of 5.3 MiB, .*/s, 0:0\d left\n', said)
    said = run(share, None, 'import', source, share.mnt, '--dry-run')[1]
    assert 'alias/aws/fs, so its modes alone decide' in said


def test_a_single_file(share, places):
    folder, source, out = places
    (source / 'file').write_bytes(b'one')
    chown_all(source)
    run(share, 'kfcfo', 'import', source / 'file', folder)
    run(share, 'kfcfo', 'export', folder / 'file', out)
    assert (out / 'file').read_bytes() == b'one'
    assert [path.name for path in out.iterdir()] == ['file']
