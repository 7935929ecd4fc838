"""May a user look at more files than the daemon may have descriptors?"""
import os
import subprocess

import pytest

from share import Share

LIMIT = 300


@pytest.fixture
def share(scratch):
    """A Share whose daemon may have LIMIT descriptors and can't raise that."""
    if os.geteuid() != 0:
        pytest.skip('needs root: others need a descriptor for each file')
    folder = scratch / 'few-descriptors'
    folder.mkdir()
    made = Share(folder)
    made.unmount()
    subprocess.run(['setpriv', '--bounding-set=-sys_resource', 'prlimit',
                    f'--nofile={LIMIT}:{LIMIT}', made.keyfold, 'mount', made.store,
                    made.mnt], check=True)
    yield made
    made.unmount()


def test_many_files_need_few_descriptors(share):
    names = [f'file-{i}' for i in range(3 * LIMIT)]
    for name in names:
        (share.mnt / name).write_text(name)
    os.symlink('file-1', share.mnt / 'link')
    # What is held is kept by the kernel, even if somebody tells it to drop its caches.
    looked_at = [os.open(share.mnt / name, os.O_PATH) for name in names[:LIMIT]]
    held = len(os.listdir(f'/proc/{share.daemon()}/fd'))
    for fd in looked_at:
        os.close(fd)
    assert LIMIT / 4 <= held < LIMIT
    for name in names:
        path = share.mnt / name
        assert path.stat().st_size == len(name)
        os.setxattr(path, 'user.note', name.encode())
        assert os.getxattr(path, 'user.note') == name.encode()
        path.chmod(0o640)
        assert path.read_text() == name
    assert os.readlink(share.mnt / 'link') == 'file-1'
    # What is removed at once is no failure to whoever syncs next.
    for i in range(2 * LIMIT):
        (share.mnt / 'brief').write_text('x')
        (share.mnt / 'brief').unlink()
    subprocess.run(['sync', '-f', share.mnt], check=True)
    # What was unlinked lives on while it is open, and names lead to what they named.
    with open(share.mnt / names[-1], 'rb') as f:
        os.unlink(share.mnt / names[-1])
        os.rename(share.mnt / names[-2], share.mnt / names[-1])
        assert f.read() == names[-1].encode()
    assert (share.mnt / names[-1]).read_text() == names[-2]
    assert len(os.listdir(f'/proc/{share.daemon()}/fd')) < LIMIT
