"""Do git, SQLite, PostgreSQL, rsync, tar and an office program work on the mount, and
is what they wrote still right after the store was mounted anew?

The programs are those of examples/programs, which check what they do as they go."""
import os
import pathlib
import pwd
import shutil
import sqlite3
import subprocess
import tempfile

import pytest

from share import KEYFOLD, ROOT

RUN = ROOT / 'examples/programs/run'


def output(*command, **options):
    """What a command prints; failing is an error that shows all it said."""
    result = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, **options)
    assert result.returncode == 0, f'{command}: exit {result.returncode}\n{result.stdout}'
    return result.stdout


class Mount:
    def __init__(self, folder):
        self.folder, self.mnt = folder, folder / 'mnt'
        self.mnt.mkdir()
        output(KEYFOLD, 'init', folder / 'store', '--root-key', f'file:{folder}/root.key')
        output(KEYFOLD, 'mount', folder / 'store', self.mnt)

    def remount(self):
        output(KEYFOLD, 'unmount', self.mnt)
        output(KEYFOLD, 'mount', self.folder / 'store', self.mnt)


@pytest.fixture(scope='module')
def mount():
    if not os.path.exists('/dev/fuse'):
        pytest.fail('no /dev/fuse: the mount tests cannot run')
    folder = pathlib.Path(
        tempfile.mkdtemp(prefix='keyfold-programs-', dir=os.environ.get('TMPDIR', '/var/tmp')))
    folder.chmod(0o755)
    made = None
    try:
        made = Mount(folder)
        yield made
    finally:
        if made is not None:
            output(KEYFOLD, 'unmount', made.mnt)
        shutil.rmtree(folder)


@pytest.fixture
def results(mount, request):
    """Runs one program and mounts anew; yields the folder it left. Taking the mount
    away fails if the program left anything running there."""
    name = request.param
    log = output(RUN, '--on', mount.mnt, '--keep', name)
    assert '1 of 1 programs worked' in log, log
    mount.remount()
    yield mount.mnt / name
    shutil.rmtree(mount.mnt / name)


def program(name):
    return pytest.mark.parametrize('results', [name], indirect=True)


@program('git')
def test_git_repositories_are_whole(results):
    for name in ('origin', 'linked', 'copied'):
        git = ['git', '-c', 'safe.directory=*', '-C', results / name]
        output(*git, 'fsck', '--strict', '--no-progress')
        assert output(*git, 'status', '--porcelain') == ''
        assert output(*git, 'rev-list', '--count', 'HEAD') == '13\n'


@program('sqlite')
def test_sqlite_databases_are_whole(results):
    for journal in ('delete', 'wal'):
        with sqlite3.connect(results / f'{journal}.db') as database:
            assert database.execute('PRAGMA journal_mode').fetchone() == (journal,)
            assert database.execute('PRAGMA integrity_check').fetchall() == [('ok',)]
            assert database.execute(
                'SELECT writer, count(*) FROM t GROUP BY writer ORDER BY writer'
            ).fetchall() == [(1, 25), (2, 25), (3, 25), (4, 25)]
        database.close()


@program('postgresql')
def test_postgresql_cluster_is_whole(results):
    data = results / 'data'
    tools = sorted(pathlib.Path('/usr/lib/postgresql').glob('*/bin'))[-1]
    control = output(tools / 'pg_controldata', data)
    assert 'cluster state:               shut down\n' in control
    checked = output(tools / 'pg_checksums', '-D', data, '--check')
    assert 'Bad checksums:  0\n' in checked and 'Checksum operation completed' in checked
    # The server's user was made by the script and is gone.
    with pytest.raises(KeyError):
        pwd.getpwuid(data.stat().st_uid)


@program('rsync')
def test_rsync_copy_stays_the_same(results, tmp_path):
    again = ['rsync', '-aHXS', '--modify-window=-1', '-c', '--delete', '--itemize-changes']
    output(*again, f'{results}/copy/', f'{tmp_path}/copy/')
    assert output(*again, '--dry-run', f'{results}/copy/', f'{tmp_path}/copy/') == ''
    odd = tmp_path / 'copy/modes/odd size'
    times = odd.stat()
    with odd.open('r+b') as file:
        file.seek(4_000_000)
        byte = file.read(1)
        file.seek(4_000_000)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(odd, ns=(times.st_atime_ns, times.st_mtime_ns))
    left = output(*again, '--dry-run', f'{results}/copy/', f'{tmp_path}/copy/')
    assert left.split() == ['>fc........', 'modes/odd', 'size']


@program('tar')
def test_tar_archive_is_what_was_unpacked(results):
    archive = results / 'again.tar.gz'
    assert output('tar', '--compare', '-f', archive, '-C', results / 'once') == ''
    with (results / 'once/modes/odd size').open('r+b') as file:
        file.write(b'changed')
    differs = subprocess.run(['tar', '--compare', '-f', archive, '-C', results / 'once'],
                             stdout=subprocess.PIPE, text=True, check=False)
    assert differs.returncode == 1
    assert 'Contents differ' in differs.stdout


@program('office')
def test_office_documents_are_the_last_saved(results):
    document, = results.glob('*.odt')
    backup, = results.glob('*.bak')
    assert document.read_bytes().startswith(b'version 41\n')
    assert backup.read_bytes().startswith(b'version 40\n')
    assert document.stat().st_mode & 0o7777 == 0o640
    assert len(os.listdir(results)) == 2


@pytest.mark.parametrize('name', ['git', 'sqlite', 'postgresql', 'rsync', 'tar', 'office'])
def test_a_program_that_fails_is_reported(name, tmp_path):
    """On a filesystem of a few pages nothing can work."""
    place = tmp_path / 'place'
    place.mkdir()
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', place], check=True)
    try:
        result = subprocess.run([RUN, '--on', place, name], stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, check=False)
        assert result.returncode == 1, result.stdout
        assert f'FAILED: {name}' in result.stdout
        assert os.listdir(place) == []
    finally:
        subprocess.run(['umount', place], check=True)
