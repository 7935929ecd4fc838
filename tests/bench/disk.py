"""The disk that is measured: an ext4 in a file, made anew for each filesystem. On one that
was used ext4 passes over inodes that were freed in the last minutes, whoever freed them,
so that what is measured second pays for what was measured first."""
import os
import pathlib
import subprocess
import time

PIECE = 16 << 20


def run(*command):
    return subprocess.run([str(part) for part in command], check=True, text=True,
                          stdout=subprocess.PIPE).stdout.strip()


def patiently(*command):
    """For unmounting: who used it a moment ago may still be ending."""
    for attempt in range(50):
        done = subprocess.run([str(part) for part in command], check=False,
                              stderr=None if attempt == 49 else subprocess.DEVNULL)
        if done.returncode == 0:
            return
        time.sleep(0.1)
    raise RuntimeError(f'{command[0]} of {command[-1]} fails')


def is_mounted(folder):
    """Also where the daemon has died, so that looking at the folder fails."""
    with open('/proc/self/mountinfo', encoding='utf-8') as file:
        return any(line.split()[4] == str(folder) for line in file)


class Disk:
    """For one run: `with Disk(...) as disk`, then fresh() and close() for each filesystem.
    `options` go to mkfs.ext4."""

    def __init__(self, work, gib, *options):
        self.image, self.folder = pathlib.Path(work) / 'image', pathlib.Path(work) / 'disk'
        self.size, self.options = int(gib * (1 << 30)), options
        self.device = None
        self.direct = False  # does the image stay out of the page cache

    def __enter__(self):
        self.folder.mkdir()
        self.write_image()
        self.device = run('losetup', '--find', '--show', '--direct-io=on', self.image)
        dio = pathlib.Path('/sys/block') / os.path.basename(self.device) / 'loop/dio'
        self.direct = dio.read_text() == '1\n'
        return self

    def __exit__(self, *_):
        try:
            self.close()
        finally:
            run('losetup', '--detach', self.device)

    def write_image(self):
        """Writes it whole, so that nobody is measured while space is found for it."""
        piece = os.urandom(PIECE)
        with open(self.image, 'wb', 0) as file:
            os.posix_fallocate(file.fileno(), 0, self.size)
            for at in range(0, self.size, PIECE):
                file.write(piece[:self.size - at])
            os.fsync(file.fileno())
        self.forget()

    def forget(self):
        with open(self.image, 'rb') as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def fresh(self):
        """Makes and mounts a new ext4, which has nothing left to do later."""
        run('mkfs.ext4', '-q', '-F', '-E', 'nodiscard,lazy_itable_init=0,lazy_journal_init=0',
            *self.options, self.device)
        self.mount()

    def mount(self):
        run('mount', self.device, self.folder)

    def close(self):
        if is_mounted(self.folder):
            patiently('umount', self.folder)

    def cool(self):
        """Empties the kernel's caches of this ext4, and of nothing else: programs are to
        start as fast for the next workload."""
        self.close()
        if not self.direct:
            os.sync()
            self.forget()
        self.mount()

    def __str__(self):
        way = 'direct I/O' if self.direct else 'no direct I/O'
        return f'a new ext4 in a file (loop device, {way})'
