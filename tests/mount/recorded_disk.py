"""A disk that tells what was written to it, and when it was told to keep that: an image
behind a FUSE filesystem of one file, which a loop device is made of.

Run as a program it serves the filesystem until it is unmounted. The log holds for each
write offset u64 | size u32 | data, and for each flush FLUSH | 0, in the order in which
the disk was given them."""
import contextlib
import ctypes
import errno
import os
import shutil
import stat
import struct
import subprocess
import sys

FLUSH = (1 << 64) - 1
PAGE = 4096
RECORD = struct.Struct('<QI')

# /usr/include/linux/fuse.h
LOOKUP, FORGET, GETATTR, OPEN, READ, WRITE = 1, 2, 3, 14, 15, 16
RELEASE, FSYNC, FLUSH_FILE, INIT, INTERRUPT, DESTROY, BATCH_FORGET = 18, 20, 25, 26, 36, 38, 42
IN_HEADER, OUT_HEADER = struct.Struct('<IIQQIIIHH'), struct.Struct('<IiQ')
INIT_OUT, ATTR = struct.Struct('<IIIIHHIIHHI28x'), struct.Struct('<6Q10I')
READ_OR_WRITE_IN = struct.Struct('<QQIIQII')
MOST, FOR_EVER, ROOT, FILE = 128 << 10, 1 << 30, 1, 2


class Recorder:
    def __init__(self, image, log, mountpoint):
        self.image, self.log = os.open(image, os.O_RDWR), open(log, 'ab', buffering=0)
        self.fuse = os.open('/dev/fuse', os.O_RDWR)
        libc = ctypes.CDLL(None, use_errno=True)
        options = f'fd={self.fuse},rootmode=40000,user_id=0,group_id=0'
        if libc.mount(b'recorder', mountpoint.encode(), b'fuse', 0, options.encode()) != 0:
            raise OSError(ctypes.get_errno(), 'mount')

    def attributes(self, node):
        mode = stat.S_IFDIR | 0o755 if node == ROOT else stat.S_IFREG | 0o600
        size = 0 if node == ROOT else os.fstat(self.image).st_size
        return ATTR.pack(node, size, size // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, PAGE, 0)

    def answer(self, kind, node, body):
        if kind == INIT:
            return INIT_OUT.pack(7, 31, MOST, 0, 0, 0, MOST, 1, 0, 0, 0)
        if kind == LOOKUP:
            if body != b'disk\0':
                return errno.ENOENT
            return struct.pack('<4Q2I', FILE, 0, FOR_EVER, FOR_EVER, 0, 0) + self.attributes(FILE)
        if kind == GETATTR:
            return struct.pack('<Q2I', FOR_EVER, 0, 0) + self.attributes(node)
        if kind == OPEN:
            return bytes(16)
        if kind == READ:
            _, offset, size, *_ = READ_OR_WRITE_IN.unpack_from(body)
            return os.pread(self.image, size, offset)
        if kind == WRITE:
            _, offset, size, *_ = READ_OR_WRITE_IN.unpack_from(body)
            data = body[READ_OR_WRITE_IN.size:]
            os.pwrite(self.image, data, offset)
            self.log.write(RECORD.pack(offset, size) + data)
            return struct.pack('<II', size, 0)
        if kind == FSYNC:
            self.log.write(RECORD.pack(FLUSH, 0))
            return b''
        return b'' if kind in (RELEASE, FLUSH_FILE, DESTROY) else errno.ENOSYS

    def serve(self):
        while True:
            try:
                request = os.read(self.fuse, MOST + PAGE)
            except OSError as e:
                if e.errno == errno.ENODEV:
                    return
                raise
            _, kind, unique, node, *_ = IN_HEADER.unpack_from(request)
            if kind in (FORGET, BATCH_FORGET, INTERRUPT):
                continue
            answer = self.answer(kind, node, request[IN_HEADER.size:])
            error, body = (-answer, b'') if isinstance(answer, int) else (0, answer)
            os.write(self.fuse, OUT_HEADER.pack(OUT_HEADER.size + len(body), error, unique) + body)


# Of each: the program, the disk's size in MiB, and the options of a mount. FORMAT.md
# counts on 4 KiB being written whole.
FILESYSTEMS = {
    'ext4': (['mkfs.ext4', '-q', '-b', str(PAGE)], 64, 'loop'),
    # The smallest that mkfs.xfs makes. A copy of a disk has its UUID too.
    'xfs': (['mkfs.xfs', '-q', '-s', f'size={PAGE}'], 300, 'loop,nouuid'),
}


def known_to_kernel(filesystem):
    """Whether the kernel can mount it, after it was asked to load what it needs."""
    if shutil.which('modprobe'):
        subprocess.run(['modprobe', '-q', filesystem], check=False)
    with open('/proc/filesystems') as f:
        return filesystem in f.read().split()


def mount_disk(filesystem, image, disk):
    subprocess.run(['mount', '-t', filesystem, '-o', FILESYSTEMS[filesystem][2], image, disk],
                   check=True)


@contextlib.contextmanager
def recorded_disk(folder, filesystem):
    """A mounted filesystem on such a disk, below `folder`. Yields where it is, and the log."""
    make, mib, _ = FILESYSTEMS[filesystem]
    image, log, fuse, disk = (folder / name for name in ('image', 'log', 'fuse', 'disk'))
    fuse.mkdir()
    disk.mkdir()
    with open(image, 'wb') as f:
        f.truncate(mib << 20)
    subprocess.run([*make, image], check=True)
    subprocess.run(['cp', '--sparse=always', image, folder / 'before'], check=True)
    server = subprocess.Popen(['/usr/bin/python3', __file__, image, log, fuse],
                              stdout=subprocess.PIPE)
    try:
        assert server.stdout.readline() == b'mounted\n'
        mount_disk(filesystem, fuse / 'disk', disk)
        try:
            yield disk, log
        finally:
            # Whatever failed, nothing is to wait for this disk for ever.
            subprocess.run(['umount', '-l', disk], check=True)
    finally:
        subprocess.run(['umount', '-l', fuse], check=False)
        server.terminate()
        server.wait()


class Replay:
    """Makes disks as a power failure leaves them: with all that a flush was told to keep,
    and of what was written after it, up to the next one, any pages. `before` is the disk
    before the log began; it goes on with it."""

    def __init__(self, before, log):
        self.image, self.log = before, open(log, 'rb')
        self.flushed = 0  # a position in the log: what the image holds

    def records(self):
        """(offset, data) of what follows, up to the next flush."""
        while header := self.log.read(RECORD.size):
            offset, size = RECORD.unpack(header)
            if offset == FLUSH:
                return
            yield offset, self.log.read(size)

    def flushes(self, start, end):
        """The positions behind each flush between those."""
        found = []
        self.log.seek(0)
        while header := self.log.read(RECORD.size):
            offset, size = RECORD.unpack(header)
            self.log.seek(size, os.SEEK_CUR)
            if offset == FLUSH and start <= self.log.tell() <= end:
                found.append(self.log.tell())
        return found

    def go_on(self, position):
        """Goes on to the last flush before `position` of the log."""
        with open(self.image, 'r+b') as image:
            while True:
                self.log.seek(self.flushed)
                pending = list(self.records())
                if self.log.tell() > position:
                    return
                for offset, data in pending:
                    image.seek(offset)
                    image.write(data)
                self.flushed = self.log.tell()

    def crashed(self, image, rng):
        """Makes `image` such a disk, and returns the position up to which something of
        the log may be in it."""
        subprocess.run(['cp', '--sparse=always', self.image, image], check=True)
        self.log.seek(self.flushed)
        share = rng.choice((0, 0.5, 0.9, 1))
        with open(image, 'r+b') as out:
            for offset, data in self.records():
                for at in range(0, len(data), PAGE):
                    if rng.random() < share:
                        out.seek(offset + at)
                        out.write(data[at:at + PAGE])
        return self.log.tell()


if __name__ == '__main__':
    recorder = Recorder(*sys.argv[1:])
    print('mounted', flush=True)
    recorder.serve()
