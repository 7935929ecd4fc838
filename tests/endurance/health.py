"""Does the daemon stay as it is: its memory, descriptors and threads once nothing is
open; is each object of the store there by the names it has on the mount; and what is on
record of refusals."""
import collections
import contextlib
import json
import os
import pathlib
import time

# What may come on top between the warm-up and the end.
MEMORY_SHARE, MEMORY_MIB, DESCRIPTORS, THREADS = 0.25, 24, 12, 4


def unnamed(pid):
    """How many files it holds that have no name any more."""
    count = 0
    for fd in os.listdir(f'/proc/{pid}/fd'):
        with contextlib.suppress(FileNotFoundError):
            target = os.readlink(f'/proc/{pid}/fd/{fd}')
            count += target.endswith(' (deleted)') and not target.startswith('/memfd:')
    return count


def figures(pids):
    """Of a daemon nobody uses, both its processes together, with the inodes the kernel
    keeps forgotten."""
    pathlib.Path('/proc/sys/vm/drop_caches').write_text('2')
    deadline, lowest = time.monotonic() + 10, None
    # Closed files are stored, and forgotten inodes told, a moment later.
    while time.monotonic() < deadline:
        texts = [pathlib.Path(f'/proc/{pid}/status').read_text() for pid in pids]

        def total(name):
            return sum(int(text.split(name)[1].split()[0]) for text in texts)
        now = {'MiB': total('VmRSS:') / 1024,
               'descriptors': sum(len(os.listdir(f'/proc/{pid}/fd')) for pid in pids),
               'threads': total('Threads:'), 'unnamed files': sum(map(unnamed, pids))}
        lowest = now if lowest is None else {k: min(now[k], lowest[k]) for k in now}
        time.sleep(0.5)
    return lowest


def grown(before, after):
    """What grew by more than it may."""
    most = {'MiB': before['MiB'] * (1 + MEMORY_SHARE) + MEMORY_MIB,
            'descriptors': before['descriptors'] + DESCRIPTORS,
            'threads': before['threads'] + THREADS, 'unnamed files': 0}
    return [f'{name} grew from {before[name]:.0f} to {after[name]:.0f}, '
            f'more than to {most[name]:.0f}' for name in most if after[name] > most[name]]


def names_of_inodes(top):
    """How many names each inode below `top` has: of a mount, or of the tree of a store."""
    return collections.Counter(
        os.lstat(os.path.join(folder, name)).st_ino
        for folder, folders, files in os.walk(top) for name in folders + files
        if not (name.startswith('=') and name.endswith('.name')))  # FORMAT.md: a sidecar


def refusals_on_record(store):
    """How many refusals of workers the audit log holds, by (user, key, kind), and the
    integrity failures, of which there must be none."""
    found, damage = {}, []
    for path in sorted((store / 'audit').glob('audit*.log')):
        for line in path.open():
            if '"errorCode"' not in line:
                continue
            record = json.loads(line)
            if record['errorCode'] == 'IntegrityFailure':
                damage.append(line.strip())
            kind = {'fs.keyfold': 'open', 'kms.amazonaws.com': 'call'}.get(record['eventSource'])
            who = record['userIdentity']
            # The command keyfold has records of its own, and so has what it did.
            if kind is None or '/python3' not in who.get('executable', ''):
                continue
            arns = [r['ARN'] for r in record['resources'] if ':key/' in r.get('ARN', '')]
            if arns:
                at = (who['userName'], arns[0].rsplit('/', 1)[1], kind)
                found[at] = found.get(at, 0) + 1
    return found, damage
