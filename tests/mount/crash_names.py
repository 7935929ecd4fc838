"""Changes the names in a folder at random until that fails: files, folders, links,
symbolic links, attributes, renames, exchanges; names may have 255 bytes. Names knows what
a crash may leave of it.

    crash_names.py change FOLDER SEED [GROWS]
    crash_names.py show FOLDER      prints what is there, as Names.wrong takes it"""
import ctypes
import errno
import json
import os
import random
import sys

from crash_steps import States, Teller

MOST = 24
AT_FDCWD, EXCHANGE = -100, 2
NAMES = [f'n{i}' for i in range(8)] + [f'long{i}-'.ljust(255, 'l') for i in range(6)]
KINDS = {'make': 3, 'folder': 2, 'symlink': 2, 'link': 3, 'note': 3, 'rename': 5, 'exchange': 4,
         'remove': 3}


class Names(States):
    """What is at each path: kind, text, note; the names of one file share it."""

    def __init__(self, at_once=True):
        self.at = {}
        # By the mount's own word a kill loses no name. When the power fails, a file's
        # sync keeps its names, and a folder's those in it.
        if not at_once:
            self.lasting = ('make', 'sync')
        self.unsure = set()  # texts of files that are not synced yet
        super().__init__()

    def apply(self, kind, path=None, other=None):
        if kind == 'make':
            self.at[path] = ['file', other, None]
            self.unsure.add(other)
        elif kind == 'folder':
            self.at[path] = ['folder', None, None]
        elif kind == 'symlink':
            self.at[path] = ['symlink', other, None]
        elif kind == 'link':
            self.at[other] = self.at[path]
        elif kind == 'note':
            self.at[path][2] = other
        elif kind == 'remove':
            del self.at[path]
        elif kind == 'rename':
            self.at.pop(other, None)
            self.move({path: other})
        elif kind == 'exchange':
            self.move({path: other, other: path})
        else:
            assert kind == 'sync', kind

    def move(self, moves):
        def moved(path):
            for old, new in moves.items():
                if is_within(path, old):
                    return new + path[len(old):]
            return path
        self.at = {moved(path): what for path, what in self.at.items()}

    def state(self):
        return {path: tuple(what) for path, what in self.at.items()}

    def is_sure(self):
        super().is_sure()
        self.unsure.clear()

    def alike(self, expected, found):
        kind, text, note = expected
        return (kind, note) == (found[0], found[2]) and (text == found[1] or text in self.unsure)

    def never_synced(self):
        """Paths of files of which the contents may be lost."""
        return {path for state in self.states for path, what in state.items()
                if what[1] in self.unsure}


def is_within(path, folder):
    return path == folder or path.startswith(folder + '/')


def new_path(names, rng):
    """A path where nothing is; its folders may have moved below others."""
    parent = rng.choice(['', *(p for p, what in names.at.items()
                               if what[0] == 'folder' and p.count('/') < 3)])
    free = [path for name in NAMES
            if (path := f'{parent}/{name}' if parent else name) not in names.at]
    return rng.choice(free) if free else None


def any_step(names, rng, number):
    """A step, or None if there is nothing for it."""
    kind = 'remove' if len(names.at) > MOST else rng.choices(list(KINDS), KINDS.values())[0]

    def pick(*kinds, unless=lambda path: False):
        found = [p for p, what in names.at.items() if what[0] in kinds and not unless(p)]
        return rng.choice(found) if found else None
    new = new_path(names, rng)
    if kind in ('make', 'symlink'):
        return new and [kind, new, f'{kind} {number}']
    if kind == 'folder':
        return new and [kind, new]
    if kind == 'link':
        path = pick('file')
        return path and new and [kind, path, new]
    if kind == 'note':
        path = pick('file', 'folder')
        return path and [kind, path, f'note {number}']
    if kind == 'remove':
        def is_full(path):
            return any(p != path and is_within(p, path) for p in names.at)
        path = pick('file', 'folder', 'symlink', unless=is_full)
        return path and [kind, path]
    # A symbolic link's text is bound to its name: FORMAT.md says what a cut leaves of one.
    path = pick('file', 'folder')
    if kind == 'exchange':
        other = path and pick('file', 'folder',
                              unless=lambda p: is_within(p, path) or is_within(path, p))
    elif path and names.at[path][0] == 'file' and rng.randrange(3) == 0:
        # To rename a file to another name of it does nothing.
        other = pick('file', unless=lambda p: names.at[p] is names.at[path])
    else:
        other = None if path is None or new is None or is_within(new, path) else new
    return path and other and [kind, path, other]


class Changer:
    def __init__(self, folder):
        self.folder, self.touched = folder, [folder]
        self.libc = ctypes.CDLL(None, use_errno=True)

    def take(self, kind, path, other=None):
        first = f'{self.folder}/{path}'
        second = f'{self.folder}/{other}'
        self.touched = [os.path.dirname(first)]
        if kind == 'make':
            with open(first, 'x') as f:
                f.write(other)
                f.flush()
                os.fsync(f.fileno())
        elif kind == 'folder':
            os.mkdir(first)
        elif kind == 'symlink':
            os.symlink(other, first)
        elif kind == 'link':
            os.link(first, second)
            self.touched = [os.path.dirname(second)]
        elif kind == 'note':
            os.setxattr(first, 'user.note', other.encode())
            self.touched = [first]
        elif kind == 'remove':
            (os.rmdir if os.path.isdir(first) and not os.path.islink(first) else os.unlink)(first)
        else:
            flags = EXCHANGE if kind == 'exchange' else 0
            if self.libc.renameat2(AT_FDCWD, first.encode(), AT_FDCWD, second.encode(), flags) != 0:
                raise OSError(ctypes.get_errno(), kind)
            self.touched += [os.path.dirname(second)]

    def sync(self, kind):
        for path in self.touched:
            fd = os.open(path, os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)


def change(folder, seed, grows=None):
    rng, names, changer, teller = random.Random(seed), Names(), Changer(folder), Teller(grows)
    number = 0
    try:
        while True:
            number += 1
            step = any_step(names, rng, number)
            if step is None:
                continue
            teller.take(step, changer.take)
            names.apply(*step)
            if rng.randrange(6) == 0:
                teller.take(['sync'], changer.sync)
    except OSError as e:
        teller.failed(errno.errorcode[e.errno])


def what_is(path):
    if os.path.islink(path):
        return 'symlink', os.readlink(path), None
    try:
        note = os.getxattr(path, 'user.note').decode()
    except OSError as e:
        if e.errno != errno.ENODATA:
            raise
        note = None
    if os.path.isdir(path):
        return 'folder', None, note
    try:
        with open(path) as f:
            return 'file', f.read(), note
    except OSError as e:
        return 'file', errno.errorcode[e.errno], note


def show(folder):
    """What is there, by path below the folder."""
    return {os.path.relpath(path, folder): what_is(path)
            for top, folders, files in os.walk(folder)
            for path in (os.path.join(top, name) for name in folders + files)}


if __name__ == '__main__':
    if sys.argv[1] == 'show':
        print(json.dumps(show(sys.argv[2])))
    else:
        change(*sys.argv[2:])
