"""Is what the documentation shows what happens? Each command of its pages is run as the
user at whose prompt it stands, and must show what the page says."""
import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import pytest

from documents import GUIDES, USERS, Desk, sections
from share import KEYFOLD, lone_share, make_users, remove_users

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to act as several users')

ELSEWHERE = {'moving.md', 'samba.md', 'nfs.md'}  # test_guides.py


@contextlib.contextmanager
def bare_machine():
    """A Desk where there is neither a store nor a user yet."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix='keyfold-bare-',
                                           dir=os.environ.get('TMPDIR', '/var/tmp')))
    folder.chmod(0o755)
    remove_users()
    desk = Desk(folder, KEYFOLD, KEYFOLD_MOUNT=str(folder / 'mnt'))
    try:
        yield desk
    finally:
        desk.close()
        if os.path.ismount(folder / 'mnt'):
            subprocess.run([KEYFOLD, 'unmount', folder / 'mnt'], check=True)
        for user in USERS.values():
            subprocess.run(['userdel', '-r', user], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(folder)


@contextlib.contextmanager
def mounted_share():
    """A Desk with a mounted store, the pages' users, and nothing else."""
    remove_users()
    make_users()
    try:
        with lone_share('documents') as share:
            os.chmod(share.mnt, 0o1777)
            desk = Desk(share.folder, share.keyfold, KEYFOLD_MOUNT=str(share.mnt))
            desk.share = share
            try:
                yield desk
            finally:
                desk.close()
    finally:
        remove_users()


def play(desk, page):
    for found in sections(page).values():
        desk.play(page, found)


def test_quick_start():
    with bare_machine() as desk:
        play(desk, 'quick-start.md')
