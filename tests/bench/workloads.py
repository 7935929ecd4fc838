"""The workloads, and what Keyfold is to reach in each."""
import dataclasses
import json
import mmap
import os
import pathlib
import pwd
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]

MIB = 1 << 20
# Of the mixed workload: enough to keep a compiler busy, and soon done.
BUILD_TARGETS = ('kms_base', 'fs_format')
# What one user writes and reads alone, and all together share among them.
USER_FILES, USER_FILE_SIZE = 1600, 64 * 1024
# Of the cached reads, which are soon done: how often the file is read, at least.
PASSES, PASSES_SECONDS = 4, 2

WITHOUT_CCACHE = dict(os.environ, CCACHE_DISABLE='1')

# Writes, then reads, the files of one user, on a word each from the parent.
USER = r'''
import os, sys
folder, count, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
block = os.urandom(size)
print('ready', flush=True)
sys.stdin.readline()
for number in range(count):
    with open(f'{folder}/{number}', 'wb', 0) as file:
        file.write(block)
print('written', flush=True)
sys.stdin.readline()
for number in range(count):
    with open(f'{folder}/{number}', 'rb', 0) as file:
        if file.read() != block:
            sys.exit('read something else than was written')
print('read', flush=True)
'''


def shell(command, **options):
    subprocess.run(command, shell=True, check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, **options)


def seconds(command, **options):
    start = time.monotonic()
    shell(command, **options)
    return time.monotonic() - start


def build(source, targets=' '.join(BUILD_TARGETS)):
    """Clones a repository to where this is called, looks at it and builds some of it."""
    return (f'git clone -q {source} project && cd project && git status && '
            'cmake -B build -G Ninja -DBUILD_TESTING=OFF -DCMAKE_BUILD_TYPE=Debug && '
            f'ninja -C build {targets} && git status')


class Inputs:
    """What is written, made once and the same for all. The folder `work` is in memory, so
    that reading it takes nothing from the disk that is measured."""

    def __init__(self, work, size, files):
        self.size, self.data, self.tree = size, work / 'data', work / 'tree.tar'
        self.files = files
        shell(f'dd if=/dev/urandom of={self.data} bs=1M count={size}')
        # Headers of the system's libraries: real small files of real sizes.
        names = subprocess.run(['find', 'include', '-type', 'f'], cwd='/usr', check=True, text=True,
                               stdout=subprocess.PIPE).stdout.splitlines()
        self.files = min(files, len(names))
        subprocess.run(['tar', '-cf', self.tree, '-C', '/usr', '--no-recursion', '-T', '-'],
                       check=True, text=True, input='\n'.join(sorted(names)[:files]))
        self.repository = work / 'repository'
        if (ROOT / '.git').exists():
            shell(f'git -c safe.directory="*" clone --bare --no-hardlinks {ROOT} {self.repository}')

    def warm_programs(self):
        """So that who comes first does not wait for the compiler to be read."""
        if self.repository.exists():
            shell(build(self.repository), cwd=self.repository.parent, env=WITHOUT_CCACHE)
            shutil.rmtree(self.repository.parent / 'project')


class Bench:
    """One round on one filesystem. Files that a workload needs and none before it made
    are made now."""

    def __init__(self, filesystem, inputs, users):
        self.fs, self.inputs, self.users = filesystem, inputs, users
        self.base = filesystem.folder / 'bench'
        self.big, self.tree = self.base / 'big', self.base / 'tree'
        self.base.mkdir()

    def need_big(self):
        if not self.big.exists():
            shell(f'dd if={self.inputs.data} of={self.big} bs=1M conv=fsync')

    def need_tree(self):
        if not self.tree.exists():
            self.tree.mkdir()
            shell(f'tar -xf {self.inputs.tree} -C {self.tree}')
            os.sync()

    def fio(self, **options):
        self.fs.cool()
        options = {'size': f'{self.inputs.size}m', 'filename': self.big, 'ioengine': 'psync',
                   'output-format': 'json', 'group_reporting': 1, 'name': 'job', **options}
        out = subprocess.run(['fio', *(f'--{k}={v}' for k, v in options.items())], check=True,
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
        return json.loads(out[out.index('{'):])['jobs'][0]

    def sequential_write(self):
        self.big.unlink(missing_ok=True)
        self.fs.cool()
        with open(self.inputs.data, 'rb') as source, \
                mmap.mmap(source.fileno(), 0, prot=mmap.PROT_READ) as data:
            start = time.monotonic()
            with open(self.big, 'wb', 0) as file:
                for at in range(0, len(data), MIB):
                    file.write(data[at:at + MIB])
                os.fsync(file.fileno())
            return self.inputs.size / (time.monotonic() - start)

    def read_big(self):
        buffer = bytearray(MIB)
        with open(self.big, 'rb', 0) as file:
            while file.readinto(buffer):
                pass

    def sequential_read_cold(self):
        self.need_big()
        self.fs.cool()
        start = time.monotonic()
        self.read_big()
        return self.inputs.size / (time.monotonic() - start)

    def sequential_read_cached(self):
        self.need_big()
        self.read_big()
        passes, start = 0, time.monotonic()
        while passes < PASSES or time.monotonic() - start < PASSES_SECONDS:
            self.read_big()
            passes += 1
        return passes * self.inputs.size / (time.monotonic() - start)

    def random_read(self, jobs=1):
        self.need_big()
        return self.fio(rw='randread', bs='4k', io_size=f'{48 // jobs}m', numjobs=jobs,
                        randseed=7)['read']['iops']

    def random_read_by_four(self):
        return self.random_read(4)

    def random_write(self):
        self.need_big()
        job = self.fio(rw='randwrite', bs='4k', io_size='32m', end_fsync=1, randseed=8)
        return 32 * 256 / (job['job_runtime'] / 1000)

    def unpack(self):
        shutil.rmtree(self.tree, ignore_errors=True)
        self.tree.mkdir()
        self.fs.cool()
        return seconds(f'tar -xf {self.inputs.tree} -C {self.tree} && sync -f {self.tree}')

    def stat_all(self):
        self.need_tree()
        self.fs.cool()
        return seconds(f'find {self.tree} -type f -printf "%s\\n"')

    def grep_all(self):
        self.need_tree()
        self.fs.cool()
        return seconds(f'grep -rc zzzqqq {self.tree} || true')

    def remove_all(self):
        self.need_tree()
        self.fs.cool()
        return seconds(f'rm -rf {self.tree} && sync -f {self.base}')

    def develop(self):
        """git clone, status and a build. None without a repository to clone."""
        if not self.inputs.repository.exists():
            return None
        shutil.rmtree(self.base / 'project', ignore_errors=True)
        self.fs.cool()
        return seconds(build(self.inputs.repository), cwd=self.base, env=WITHOUT_CCACHE)

    def share(self):
        """How the sum of all users' throughput relates to that of one. None where only
        the one who mounted may work."""
        if not self.fs.serves_users:
            return None
        alone = self.throughput(self.users[:1])
        return self.throughput(self.users) / alone

    def throughput(self, names):
        folders = []
        for name in names:
            path = self.fs.folder / name
            if not path.exists():
                self.fs.folder_of(name)
            folders.append(path)
        self.fs.cool()
        count = USER_FILES // len(names)
        workers = [self.worker(name, path, count) for name, path in zip(names, folders)]
        try:
            self.expect(workers, 'ready')
            start = time.monotonic()
            self.together(workers, 'written')
            os.sync()
            writing = time.monotonic() - start
            self.fs.cool()
            start = time.monotonic()
            self.together(workers, 'read')
            reading = time.monotonic() - start
        finally:
            for worker in workers:
                worker.stdin.close()
                worker.wait(timeout=60)
        for path in folders:
            shell(f'rm -rf {path}/*')
        return len(names) * count * 2 * USER_FILE_SIZE / 1e6 / (writing + reading)

    def worker(self, name, path, count):
        user = pwd.getpwnam(name)
        return subprocess.Popen(
            ['setpriv', f'--reuid={user.pw_uid}', f'--regid={user.pw_gid}', '--clear-groups', '--',
             '/usr/bin/python3', '-c', USER, str(path), str(count), str(USER_FILE_SIZE)],
            text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd='/')

    def together(self, workers, word):
        for worker in workers:
            worker.stdin.write('go\n')
            worker.stdin.flush()
        self.expect(workers, word)

    def expect(self, workers, word):
        for worker in workers:
            if worker.stdout.readline().strip() != word:
                raise RuntimeError('a user could not read or write')


@dataclasses.dataclass
class Workload:
    name: str
    unit: str
    more_is_better: bool
    measure: object
    # How many times as good as another filesystem Keyfold has to be; 'value' is a
    # number to reach by itself.
    targets: dict


WORKLOADS = [
    Workload('sequential write', 'MiB/s', True, Bench.sequential_write,
             {'passthrough': 0.9, 'gocryptfs': 1.3}),
    Workload('sequential read, cold', 'MiB/s', True, Bench.sequential_read_cold,
             {'passthrough': 0.85, 'gocryptfs': 2}),
    Workload('sequential read, cached', 'MiB/s', True, Bench.sequential_read_cached,
             {'passthrough': 0.95, 'gocryptfs': 4}),
    Workload('random read 4k', 'IOPS', True, Bench.random_read,
             {'passthrough': 0.95, 'gocryptfs': 1.15}),
    Workload('random read 4k, 4 jobs', 'IOPS', True, Bench.random_read_by_four,
             {'passthrough': 0.95, 'gocryptfs': 1.15}),
    Workload('random write 4k', 'IOPS', True, Bench.random_write,
             {'passthrough': 0.7, 'gocryptfs': 6}),
    Workload('unpack small files', 's', False, Bench.unpack, {'passthrough_ll': 1, 'gocryptfs': 4}),
    Workload('stat all, cold', 's', False, Bench.stat_all, {'gocryptfs': 1.5}),
    Workload('grep all, cold', 's', False, Bench.grep_all, {'gocryptfs': 1.5}),
    Workload('remove all', 's', False, Bench.remove_all, {'gocryptfs': 1.5}),
    Workload('git clone, status, build', 's', False, Bench.develop, {'ext4': 0.8}),
    Workload('8 users : one user', 'x', True, Bench.share, {'value': 1}),
]


def run_round(filesystem, inputs, users, wanted):
    """({workload name: value}, how many failed) for one filesystem; a workload that it
    cannot do has no value."""
    bench, values, failed = Bench(filesystem, inputs, users), {}, 0
    for workload in wanted:
        try:
            values[workload.name] = workload.measure(bench)
        except (subprocess.CalledProcessError, RuntimeError, OSError) as failure:
            print(f'{workload.name}: {failure}', file=sys.stderr)
            failed += 1
    return {name: value for name, value in values.items() if value is not None}, failed
