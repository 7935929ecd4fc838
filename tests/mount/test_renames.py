"""Do files that are renamed all the time stay files to who opens, looks at and has them?"""
import json
import os
import subprocess
import time

import pytest

from share import lone_share

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to mount')

SECONDS = float(os.environ.get('KEYFOLD_TEST_SECONDS', 6))

COMMON = r'''
import collections, errno, json, os, sys, time
folder, end = sys.argv[1], time.monotonic() + float(sys.argv[2])
told = collections.Counter()
def count(action):
    try:
        action()
        told['ok'] += 1
    except OSError as e:
        told[errno.errorcode[e.errno]] += 1
'''
WORK = {
    'renames': r'''
ways = [('x/a', 'y/a'), ('y/a', 'x/c'), ('x/c', 'x/a'), ('x/b', 'y/b'), ('y/b', 'x/b'), ('x/d', 'y/d'),
        ('y/d', 'x/d')]
while time.monotonic() < end:
    for old, new in ways:
        count(lambda: os.rename(f'{folder}/{old}', f'{folder}/{new}'))
''',
    'opens': r'''
def read(path):
    with open(f'{folder}/{path}') as f:
        assert len(f.read()) == 100, path
while time.monotonic() < end:
    for path in 'x/a', 'y/a', 'x/c', 'x/b', 'y/b':
        count(lambda: read(path))
        count(lambda: os.listdir(f'{folder}/x/d'))
''',
    # Whoever has a file open has it under any name.
    'held': r'''
held = [os.open(f'{folder}/x/{name}', os.O_RDONLY) for name in ('b', 'd')]
print('open', flush=True)
while time.monotonic() < end:
    for fd in held:
        count(lambda: os.listxattr(fd))
        count(lambda: os.getxattr(fd, 'user.note'))
        count(lambda: os.fstat(fd))
''',
}
# What each may be told.
EXPECTED = {'renames': {'ok'}, 'opens': {'ok', 'ENOENT'}, 'held': {'ok'}}


def test_renames_beside_all_else_are_no_damage():
    with lone_share('renames') as share:
        for folder in 'x', 'y', 'x/d':
            (share.mnt / folder).mkdir()
        for name in 'a', 'b':
            (share.mnt / 'x' / name).write_text(name * 100)
        for path in 'x/b', 'x/d':
            os.setxattr(share.mnt / path, 'user.note', b'here')

        def begin(kind):
            return subprocess.Popen(
                ['/usr/bin/python3', '-c', COMMON + WORK[kind] + 'print(json.dumps(told))',
                 share.mnt, str(SECONDS)], stdout=subprocess.PIPE, text=True, cwd='/')
        held = begin('held')
        assert held.stdout.readline() == 'open\n'
        workers = {'held': held, 'renames': begin('renames'), 'opens': begin('opens')}
        told = {}
        for kind, worker in workers.items():
            out, _ = worker.communicate(timeout=SECONDS + 60)
            assert worker.returncode == 0, kind
            told[kind] = json.loads(out)
        print(told)
        for kind, outcomes in told.items():
            assert set(outcomes) <= EXPECTED[kind] and outcomes['ok'] > 100, (kind, outcomes)
        time.sleep(0.1)
        events = [json.loads(line) for line in
                  share.run(None, 'audit', '--output', 'json').splitlines()]
        assert not [e for e in events if e.get('errorCode') or e['eventName'] == 'IntegrityFailure']
