"""Where is a file's data key, and what hangs on it, in the memory of a mount: in locked
memory of the process that serves files while the file is open, and nowhere else, before or
after?

The keys are computed from the store (store_keys.py), and looked for in all memory of the
daemon's processes (process_memory.py)."""
import contextlib
import ctypes
import os
import re
import signal
import subprocess
import time

import pytest

from process_memory import kept_from_swap_and_dumps, scan
from share import SANITIZED, as_user, new_share
from store_keys import keys_of_file

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to look into daemons')

if SANITIZED:
    pytest.skip('a sanitizer has memory of its own, and ends what is traced',
                allow_module_level=True)

PROMISED, SETTLED = 1, 15  # seconds
TEXT = 'what nobody else may see '
HOLD = r'''
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
held = os.pread(fd, 1 << 20, 0)
os.pwrite(fd, b'W', 0)
os.fsync(fd)
print('open', flush=True)
sys.stdin.readline()
'''


@pytest.fixture(scope='module')
def share():
    with new_share('datakeys') as made:
        yield made


@pytest.fixture
def secret(share, request):
    """A file of the cfo's that nobody has open: its path, the alias of its key, and the
    needles by what they are."""
    name = re.sub(r'\W+', '-', request.node.name).strip('-')
    alias, folder = f'alias/{name}', share.mnt / name
    share.kms('kfcfo', 'create-key', '--alias', alias, '--administrators', 'user:kfcfo',
              '--users', 'user:kfcfo')
    share.python('kfcfo', 'import os, sys; os.mkdir(sys.argv[1])', folder)
    share.run('kfcfo', 'folder', 'set-key', folder, alias)
    share.python('kfcfo', 'import sys; open(sys.argv[1], "w").write(sys.argv[2] * 20000)',
                 folder / 'file', TEXT)
    backing = share.backing(folder / 'file')
    share.unmount()
    needles = keys_of_file(share, backing)
    share.mount()
    return folder / 'file', alias, needles


@contextlib.contextmanager
def held(path):
    """The file is open, was read and written."""
    holder = subprocess.Popen([*as_user('kfcfo'), '/usr/bin/python3', '-c', HOLD, path],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd='/',
                              stderr=subprocess.DEVNULL)
    try:
        assert holder.stdout.readline() == 'open\n'
        yield
    finally:
        # Its death closes the file, whatever became of the mount.
        holder.kill()
        holder.communicate()


def where(pid, needles):
    """What is there, each with the flags of the memory."""
    found = scan(pid, list(needles.values()))
    return {name: found[needle] for name, needle in needles.items() if found[needle]}


def is_in_use(share, needles):
    """Expects the needles in the one process, in memory that stays there."""
    processes = share.processes()
    found = where(processes.pop('files'), needles)
    assert found.keys() == needles.keys()
    for name, places in found.items():
        assert any(kept_from_swap_and_dumps(flags) for _, flags in places), name
        for place, flags in places:
            # OpenSSL's schedule of the content key begins with it and lies in the heap,
            # which is locked as all is; and no core is ever made.
            assert 'lo' in flags, (name, place, flags)
            assert name == 'content key' or kept_from_swap_and_dumps(flags), (name, place, flags)
    for which, pid in processes.items():
        assert where(pid, needles) == {}, which


def await_gone(share, needles, seconds):
    pid, deadline = share.processes()['files'], time.monotonic() + seconds
    while left := where(pid, needles):
        assert time.monotonic() < deadline, left
        time.sleep(0.2)


def test_it_is_there_while_the_file_is_open(share, secret):
    path, alias, needles = secret
    assert where(share.processes()['files'], needles) == {}
    with held(path):
        is_in_use(share, needles)
    await_gone(share, needles, SETTLED)
    for pid in share.processes().values():
        assert where(pid, needles) == {}


def test_it_is_gone_when_the_right_has_ended(share, secret):
    path, alias, needles = secret
    with held(path):
        is_in_use(share, needles)
        share.kms('kfcfo', 'disable-key', '--key-id', alias)
        time.sleep(PROMISED)
        for which, pid in share.processes().items():
            assert where(pid, needles) == {}, which


libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
CONTINUE, DETACH, SEIZE, TRACE_EXIT, EXITS, ALL = 7, 17, 0x4206, 0x40, 6, 0x40000000


def ptrace(request, pid, data=0):
    if libc.ptrace(request, pid, None, data) != 0:
        raise OSError(ctypes.get_errno(), 'ptrace')


@contextlib.contextmanager
def stopped_at_its_end(pid, end):
    """The process once it has done all it does and has only to be taken away, for which
    end() is called."""
    ptrace(SEIZE, pid, TRACE_EXIT)
    ending = end()
    try:
        while True:
            _, status = os.waitpid(pid, ALL)
            assert os.WIFSTOPPED(status)
            if status >> 16 == EXITS:
                break
            ptrace(CONTINUE, pid, os.WSTOPSIG(status))
        yield
    finally:
        ptrace(DETACH, pid)
        ending.wait(30)


@pytest.mark.parametrize('end', ['an unmount', 'the end of who has the keys'])
def test_nothing_of_it_is_left_to_the_end_of_the_process(share, secret, end):
    path, alias, needles = secret
    processes = share.processes()
    with contextlib.ExitStack() as open_files:
        open_files.enter_context(held(path))
        is_in_use(share, needles)
        if end == 'an unmount':
            open_files.close()
            command = [share.keyfold, 'unmount', share.mnt]
        else:
            command = ['kill', '-KILL', str(processes['keys'])]
        with stopped_at_its_end(processes['files'], lambda: subprocess.Popen(command)):
            assert where(processes['files'], needles) == {}
    share.mount()
    assert share.attempt('kfcfo', 'read', path) == 'ok'
