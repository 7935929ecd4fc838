"""Do several users at work see the same on the mount as on ext4?

Random operations by three users and root, each a process of its own, are done in
step in a folder on the mount and in one on the filesystem that backs it. What each
returns, or the errno it fails with, must be the same, which times it moves, and from
time to time the whole of both trees. One folder of the mount, k, is under another key,
and only there EXDEV may come in place of what ext4 does.

KEYFOLD_TEST_SEED repeats a run (the seed is printed), KEYFOLD_TEST_STEPS sets its
length."""
import errno
import os
import pickle
import pwd
import random
import re
import stat
import struct
import subprocess
import time

from likeext4 import KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE, fallocate, renameat2
from share import KEYFOLD

STEPS = int(os.environ.get('KEYFOLD_TEST_STEPS', 8000))
SEED = int(os.environ.get('KEYFOLD_TEST_SEED', time.time_ns() % 10**9))
NAMES = ['a', 'b', 'c', 'x' * 200]
# None with the set-group-id bit alone: likeext4.py lists a fault of it.
MODES = [0o777, 0o755, 0o700, 0o644, 0o640, 0o444, 0o070, 0o007, 0, 0o1777, 0o2775, 0o4755, 0o2654]


# What is set by utime is before this, what the clock says is after it.
PAST = 10**18
# The clock that the kernel takes times from may stand still for so long.
TICK = 0.012
FALLOCATE = (0, KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE, ZERO_RANGE | KEEP_SIZE)


def described(path_or_fd):
    st = os.stat(path_or_fd, follow_symlinks=False) if isinstance(path_or_fd, str) \
        else os.fstat(path_or_fd)
    size = None if stat.S_ISDIR(st.st_mode) else st.st_size
    return oct(st.st_mode), st.st_nlink, st.st_uid, st.st_gid, size


class Side:
    """What one user does on one of the two sides. Paths are relative to its root."""

    def __init__(self, root):
        self.root, self.fds = root, {}

    def full(self, path):
        return os.path.join(self.root, path)

    def do(self, name, *args):
        try:
            return getattr(self, name)(*args)
        except OSError as e:
            return errno.errorcode[e.errno]

    def create(self, path, flags, mode):
        # A fifo may be there, whose other end is not waited for.
        os.close(os.open(self.full(path), flags | os.O_CREAT | os.O_NONBLOCK, mode))

    def mkdir(self, path, mode):
        os.mkdir(self.full(path), mode)

    def mkfifo(self, path, mode):
        os.mkfifo(self.full(path), mode)

    def symlink(self, target, path):
        os.symlink(target, self.full(path))

    def readlink(self, path):
        return os.readlink(self.full(path))

    def link(self, old, new):
        # Two names of a symbolic link are two links on the mount.
        if os.path.islink(self.full(old)):
            return 'a symbolic link'
        os.link(self.full(old), self.full(new))

    def unlink(self, path):
        os.unlink(self.full(path))

    def rmdir(self, path):
        os.rmdir(self.full(path))

    def rename(self, old, new, flags):
        renameat2(self.full(old), self.full(new), flags)

    def chmod(self, path, mode):
        os.chmod(self.full(path), mode)
        return described(self.full(path))

    def chown(self, path, uid, gid):
        os.chown(self.full(path), uid, gid)
        return described(self.full(path))

    def truncate(self, path, size):
        # On the mount that moves no time.
        if os.stat(self.full(path)).st_size == size:
            return 'as long as it is'
        os.truncate(self.full(path), size)

    def stat(self, path):
        return described(self.full(path))

    def access(self, path, mode):
        return os.access(self.full(path), mode, effective_ids=True)

    def listdir(self, path):
        return sorted(os.listdir(self.full(path)))

    def utime(self, path, ns):
        os.utime(self.full(path), ns=ns)
        return os.stat(self.full(path)).st_mtime_ns

    def touch(self, path):
        os.utime(self.full(path))

    def regular(self, path, flags):
        """Opens without waiting for the other end of a fifo."""
        fd = os.open(self.full(path), flags | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(errno.EISDIR, 'no file')
        return fd

    def read(self, path):
        with open(self.regular(path, os.O_RDONLY), 'rb') as f:
            return f.read()

    def write(self, path, at, data, flags):
        fd = self.regular(path, os.O_WRONLY | flags)
        try:
            os.pwrite(fd, data, at)
            return described(fd)
        finally:
            os.close(fd)

    def fallocate(self, path, mode, at, size):
        fd = self.regular(path, os.O_RDWR)
        try:
            fallocate(fd, mode, at, size)
            return described(fd)
        finally:
            os.close(fd)

    def copy(self, path, other, size, at, to):
        source = self.regular(other, os.O_RDONLY)
        try:
            target = self.regular(path, os.O_WRONLY)
            try:
                return os.copy_file_range(source, target, size, at, to), described(target)
            finally:
                os.close(target)
        finally:
            os.close(source)

    def timed(self, whose, path, order):
        """What the order gives, and which times of the object or its folder it moves. That
        of an access is not compared: what the kernel answers itself does not count."""
        watched = self.full(path if whose == 'object' else os.path.dirname(path))
        os.utime(watched, ns=(5, 6), follow_symlinks=False)
        before = os.lstat(watched)
        time.sleep(TICK)
        result = self.do(*order)
        try:
            after = os.lstat(watched)
        except FileNotFoundError:
            return result, 'gone'
        return result, after.st_mtime_ns != before.st_mtime_ns, \
            after.st_ctime_ns != before.st_ctime_ns

    def hold(self, slot, path, flags):
        fd = self.regular(path, flags)
        if slot in self.fds:
            os.close(self.fds.pop(slot))
        self.fds[slot] = fd

    def held(self, slot, what, *args):
        if slot not in self.fds:
            return 'nothing held'
        fd = self.fds[slot]
        if what == 'pread':
            return os.pread(fd, *args)
        if what == 'pwrite':
            return os.pwrite(fd, *args)
        if what == 'truncate':
            return os.ftruncate(fd, *args)
        if what == 'stat':
            return described(fd)
        if what == 'sync':
            return os.fsync(fd)
        os.close(self.fds.pop(slot))

    def setxattr(self, path, name, value, flags):
        os.setxattr(self.full(path), name, value, flags)

    def getxattr(self, path, name):
        return os.getxattr(self.full(path), name)

    def removexattr(self, path, name):
        os.removexattr(self.full(path), name)

    def listxattr(self, path):
        # The backing store's own labels are none of the mount's.
        return sorted(x for x in os.listxattr(self.full(path)) if not x.startswith('security.'))

    def umask(self, mask):
        os.umask(mask)


class Worker:
    """A process of a user that does what it is told on both sides, first on the mount: what
    is refused there because of its key is not done on ext4 either."""

    def __init__(self, name, groups, roots):
        down, up = os.pipe(), os.pipe()
        self.name = name
        user = pwd.getpwnam(name)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.setgroups(groups)
                os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
                os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
                os.close(down[1])
                os.close(up[0])
                self.serve(os.fdopen(down[0], 'rb'), os.fdopen(up[1], 'wb'),
                           [Side(root) for root in roots])
            finally:
                os._exit(0)
        os.close(down[0])
        os.close(up[1])
        self.orders, self.answers = os.fdopen(down[1], 'wb'), os.fdopen(up[0], 'rb')

    @staticmethod
    def serve(orders, answers, sides):
        theirs, ours = sides
        while True:
            order = pickle.load(orders)
            if order is None:
                return
            mine = ours.do(*order)
            pickle.dump(['EXDEV' if mine == 'EXDEV' else theirs.do(*order), mine], answers)
            answers.flush()

    def do(self, *order):
        pickle.dump(order, self.orders)
        self.orders.flush()
        return pickle.load(self.answers)

    def stop(self):
        pickle.dump(None, self.orders)
        self.orders.flush()
        os.waitpid(self.pid, 0)


class Random:
    """Operations and their arguments."""

    def __init__(self, seed, uids, gids):
        self.rng, self.uids, self.gids = random.Random(seed), uids, gids

    def path(self):
        rng = self.rng
        folders = [rng.choice(['d', 'e', 'k', 'D' * 190]) for _ in range(rng.choice((0, 1, 1, 2)))]
        return '/'.join([*folders, rng.choice(NAMES) if rng.randrange(4) else rng.choice('de')])

    def data(self):
        return self.rng.randbytes(self.rng.choice((1, 100, 4096, 5000, 140000)))

    def offset(self):
        return self.rng.choice((0, 1, 4000, 4096, 8192, 131072, 400000))

    def acl(self):
        rng = self.rng
        entries = [(1, rng.randrange(8), 2**32 - 1)]
        entries += [(2, rng.randrange(8), uid)
                    for uid in sorted(rng.sample(self.uids, rng.randrange(3)))]
        entries += [(4, rng.randrange(8), 2**32 - 1)]
        entries += [(8, rng.randrange(8), gid)
                    for gid in sorted(rng.sample(self.gids, rng.randrange(2)))]
        if len(entries) > 2 or rng.randrange(2):
            entries += [(16, rng.randrange(8), 2**32 - 1)]
        entries += [(32, rng.randrange(8), 2**32 - 1)]
        return struct.pack('<I', 2) + b''.join(struct.pack('<HHI', *e) for e in entries)

    def xattr(self):
        return self.rng.choice(('user.one', 'user.two', 'system.posix_acl_access',
                                'system.posix_acl_default'))

    def order(self):
        kind = self.rng.choices(
            ('create', 'mkdir', 'mkfifo', 'symlink', 'readlink', 'link', 'unlink', 'rmdir',
             'rename', 'chmod', 'chown', 'truncate', 'stat', 'access', 'listdir', 'utime',
             'touch', 'read', 'write', 'hold', 'held', 'setxattr', 'getxattr', 'removexattr',
             'listxattr', 'umask', 'fallocate', 'copy', 'timed'),
            (10, 8, 1, 3, 2, 5, 8, 4, 10, 8, 4, 4, 6, 4, 4, 2, 2, 8, 10, 6, 12, 6, 3, 2, 2, 1, 6, 5,
             6))[0]
        if kind != 'timed':
            return self.order_of(kind)
        inner = self.order_of(self.rng.choice(
            ('create', 'mkdir', 'mkfifo', 'unlink', 'rmdir', 'chmod', 'chown', 'truncate', 'read',
             'write', 'setxattr', 'fallocate', 'copy', 'touch', 'stat')))
        return kind, self.rng.choice(('object', 'folder')), inner[1], inner

    def order_of(self, kind):
        rng, path = self.rng, self.path()
        if kind == 'create':
            return kind, path, rng.choice((os.O_RDWR, os.O_WRONLY | os.O_TRUNC, os.O_EXCL)), \
                rng.choice(MODES)
        if kind in ('mkdir', 'mkfifo', 'chmod'):
            return kind, path, rng.choice(MODES)
        if kind == 'symlink':
            return kind, rng.choice(('a', '../b', 'd', 'e/c', 'nowhere', 'x' * 900)), path
        if kind == 'link':
            return kind, path, self.path()
        if kind == 'rename':
            return kind, path, self.path(), rng.choice((0, 0, 0, 1, 2))
        if kind == 'chown':
            # Changing neither is refused on ext4, and only there, where it would
            # clear a set-id bit that one may not clear.
            return kind, path, *rng.choice([
                (rng.choice(self.uids), -1), (-1, rng.choice(self.gids)),
                (rng.choice(self.uids), rng.choice(self.gids))])
        if kind == 'truncate':
            return kind, path, self.offset()
        if kind == 'access':
            return kind, path, rng.randrange(8)
        if kind == 'listdir':
            return kind, os.path.dirname(path)
        if kind == 'utime':
            return kind, path, (rng.randrange(10**18), rng.randrange(10**18))
        if kind == 'write':
            return kind, path, self.offset(), self.data(), rng.choice((0, os.O_APPEND, os.O_TRUNC))
        if kind == 'hold':
            return kind, rng.randrange(3), path, rng.choice((os.O_RDONLY, os.O_RDWR))
        if kind == 'held':
            what = rng.choice(('pread', 'pwrite', 'truncate', 'stat', 'sync', 'close'))
            args = {'pread': (rng.choice((100, 5000, 200000)), self.offset()),
                    'pwrite': (self.data(), self.offset()), 'truncate': (self.offset(),)}
            return kind, rng.randrange(3), what, *args.get(what, ())
        if kind == 'setxattr':
            name = self.xattr()
            value = self.data() if name.startswith('user') else self.acl()
            # More would not fit beside the mount's own attributes.
            return kind, path, name, value[:300], rng.choice((0, 0, 1, 2))
        if kind in ('getxattr', 'removexattr'):
            return kind, path, self.xattr()
        if kind == 'fallocate':
            return kind, path, rng.choice(FALLOCATE), self.offset(), \
                rng.choice((0, 1, 4096, 5000, 140000, 262144))
        if kind == 'copy':
            return kind, path, self.path(), rng.choice((1, 4096, 5000, 140000, 500000)), \
                self.offset(), self.offset()
        if kind == 'umask':
            return kind, rng.choice((0, 0o022, 0o077, 0o027))
        return kind, path


def short(value):
    text = re.sub(r'x{200}|D{190}', lambda m: m.group()[0] + '...', repr(value))
    return text if len(text) < 150 else text[:150] + f'... ({len(text)})'


def tree(root):
    """All there is below a folder, as root sees it."""
    side, found = Side(str(root)), {}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.relpath(os.path.join(folder, name), root)
            set_to = os.lstat(side.full(path)).st_mtime_ns
            what = [side.do('stat', path), set_to if set_to < PAST else 'later']
            if not os.path.islink(side.full(path)):
                what.append([(x, side.do('getxattr', path, x))
                             for x in side.do('listxattr', path)])
                if os.path.isfile(side.full(path)):
                    what.append(side.do('read', path))
            found[path] = what
    return found


def with_another_key(mount, folder, users):
    """Makes a folder under a key that all of them may use."""
    environment = dict(os.environ, KEYFOLD_MOUNT=str(mount))
    key = subprocess.run([KEYFOLD, 'kms', 'create-key', '--administrators', 'user:root', '--users',
                          *(f'user:{name}' for name in users), '--query', 'KeyMetadata.KeyId',
                          '--output', 'text'], check=True, text=True, stdout=subprocess.PIPE,
                         env=environment).stdout.strip()
    os.mkdir(folder)
    subprocess.run([KEYFOLD, 'folder', 'set-key', folder, key], check=True)


def crosses(root, order):
    """Would a rename or link lead from key to key? None if it is neither, or leads nowhere."""
    if order[0] not in ('rename', 'link'):
        return None
    try:
        one, other = (os.getxattr(os.path.join(root, os.path.dirname(path)), 'user.keyfold.key-id')
                      for path in order[1:3])
    except OSError:
        return None
    return one != other


def test_users_at_work_see_the_same_as_on_ext4(mounted, mount_folder, plain, users, capsys):
    with capsys.disabled():
        print(f'KEYFOLD_TEST_SEED={SEED}', end=' ', flush=True)
    roots = [str(plain), str(mount_folder)]
    names = ['kftest1', 'kftest2', 'kftest3', 'root']
    everyone = [pwd.getpwnam(name) for name in names]
    gids = sorted({gid for user in everyone for gid in os.getgrouplist(user.pw_name, user.pw_gid)})
    source = Random(SEED, sorted(user.pw_uid for user in everyone), gids)
    workers = [Worker(user.pw_name, os.getgrouplist(user.pw_name, user.pw_gid), roots)
               for user in everyone]
    done = []

    def compare_trees():
        theirs, ours = tree(plain), tree(mount_folder)
        assert sorted(theirs) == sorted(ours)
        for path in theirs:
            assert ours[path] == theirs[path], f'{path}: {short(ours[path])} {short(theirs[path])}'

    try:
        with_another_key(mounted, mount_folder / 'k', names)
        os.mkdir(plain / 'k')
        for folder in ('d', 'e', 'd/e', 'D' * 190, 'k', 'k/d'):
            for root in roots:
                os.makedirs(os.path.join(root, folder), exist_ok=True)
                os.chmod(os.path.join(root, folder), 0o777)
        for count in range(STEPS):
            worker = source.rng.choices(workers, (5, 5, 3, 2))[0]
            order = source.order()
            done.append(f'{count}: {worker.name} {short(order)}')
            between_keys = crosses(mount_folder, order)
            theirs, ours = worker.do(*order)
            assert between_keys if ours == 'EXDEV' else ours is not None or not between_keys
            assert ours == theirs, f'ours {short(ours)}, theirs {short(theirs)}'
            if count % 500 == 499:
                compare_trees()
        compare_trees()
    except BaseException:
        print(f'KEYFOLD_TEST_SEED={SEED} KEYFOLD_TEST_STEPS={STEPS}; the last steps were:',
              *done[-40:], sep='\n')
        raise
    finally:
        for worker in workers:
            worker.stop()
