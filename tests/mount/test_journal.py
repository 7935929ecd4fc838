"""Is what goes wrong told in the system's journal, as records whose fields lead to the audit
log; and by no user more than the log can take?

A listener of this test stands at the journal's socket; where the machine has a journal of
its own, that is read instead."""
import contextlib
import json
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import threading
import time

import pytest

from share import as_user, new_share

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to listen for the journal')
SOCKET = '/run/systemd/journal/socket'


def fields_of(datagram):
    """The fields of a record, as systemd's native protocol writes them."""
    fields = {}
    while datagram:
        line, _, rest = datagram.partition(b'\n')
        name, equals, value = line.partition(b'=')
        if not equals:
            size, = struct.unpack('<Q', rest[:8])
            value, rest = rest[8:8 + size], rest[8 + size + 1:]
        fields[name.decode()] = value.decode()
        datagram = rest
    return fields


class Listener:
    """What was sent to the journal's socket, as it came."""

    def __init__(self):
        self.records, self.lock = [], threading.Lock()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(SOCKET)
        os.chmod(SOCKET, 0o666)
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self):
        while (datagram := self.socket.recv(1 << 20)) != b'end':
            if datagram:  # one without fields asks whether somebody is there
                with self.lock:
                    self.records.append(fields_of(datagram))

    def found(self):
        with self.lock:
            return list(self.records)

    def close(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b'end', SOCKET)
        self.thread.join()
        self.socket.close()
        os.unlink(SOCKET)


class Journald:
    """What the machine's own journal holds since the test began."""

    def __init__(self):
        self.since = time.time()

    def found(self):
        out = subprocess.run(['journalctl', '-o', 'json', '-t', 'keyfold', '--since', f'@{self.since:.0f}'],
                             capture_output=True, text=True, check=True).stdout
        return [json.loads(line) for line in out.splitlines()]

    def close(self):
        pass


@contextlib.contextmanager
def journal():
    if os.path.exists(SOCKET):
        yield Journald()
        return
    folder = pathlib.Path(SOCKET).parent
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    listener = Listener()
    try:
        yield listener
    finally:
        listener.close()
        if made:
            shutil.rmtree(folder)


@pytest.fixture(scope='module')
def share():
    with journal() as log, new_share('journal') as made:
        made.log = log
        made.key = made.kms('kfcfo', 'create-key')['KeyMetadata']['KeyId']
        made.python('kfcfo', 'import os,sys; os.mkdir(sys.argv[1], 0o755)', made.mnt / 'cfo')
        made.run('kfcfo', 'folder', 'set-key', made.mnt / 'cfo', made.key)
        made.python('kfcfo', WRITE, made.mnt / 'cfo' / 'plan')
        yield made


WRITE = "import sys; open(sys.argv[1], 'w').write('x' * 300000)"


def awaited(share, count=1, **wanted):
    """The last records that have the fields, once there are as many."""
    for _ in range(100):
        found = [record for record in share.log.found() if wanted.items() <= record.items()]
        if len(found) >= count:
            return found
        time.sleep(0.1)
    raise AssertionError(f'no {count} records with {wanted} among {share.log.found()}')


def test_a_mount_is_told_with_its_store(share):
    record = awaited(share, MESSAGE=f'{share.store} is mounted on {share.mnt}')[-1]
    assert record['PRIORITY'] == '6' and record['KEYFOLD_STORE'] == str(share.store)
    assert record['SYSLOG_IDENTIFIER'] == 'keyfold'


def test_a_refused_file_is_told_with_what_leads_to_its_audit_record(share):
    with pytest.raises(AssertionError, match='Permission denied'):
        share.python('kfstranger', 'import sys; open(sys.argv[1])', share.mnt / 'cfo' / 'plan')
    record = awaited(share, KEYFOLD_OPERATION='OpenFile', KEYFOLD_ERROR='AccessDeniedException')[-1]
    event = share.events(eventName='OpenFile', errorCode='AccessDeniedException')[-1]
    assert record['KEYFOLD_REQUEST_ID'] == event['requestID']
    assert record['KEYFOLD_PRINCIPAL'] == event['userIdentity']['arn']
    assert record['KEYFOLD_PRINCIPAL'].endswith('user/kfstranger')
    assert record['KEYFOLD_KEY_ID'] == share.key and record['PRIORITY'] == '4'
    # Who may not use a file does not tell all who read the log what it is called.
    assert '/cfo/plan' not in json.dumps(record)


def test_a_refused_call_is_told(share):
    assert share.refused('kfstranger', 'disable-key', '--key-id', share.key) == 'AccessDeniedException'
    record = awaited(share, KEYFOLD_OPERATION='DisableKey')[-1]
    assert record['KEYFOLD_REQUEST_ID'] == share.events(eventName='DisableKey')[-1]['requestID']
    assert record['KEYFOLD_ERROR'] == 'AccessDeniedException'


def test_an_integrity_failure_is_told_with_the_file(share):
    path = share.mnt / 'cfo' / 'broken'
    share.python('kfcfo', WRITE, path)
    backing = share.backing(path)
    share.unmount()
    with open(backing, 'r+b') as f:
        f.seek(100_000)
        f.write(b'\xff' * 64)
    share.mount()
    # The user's many refusals just before don't hide it.
    closed = share.mnt / 'closed'
    key = share.kms('kfcfo', 'create-key')['KeyMetadata']['KeyId']
    share.python('kfcfo', 'import os,sys; os.mkdir(sys.argv[1])', closed)
    share.run('kfcfo', 'folder', 'set-key', closed, key)
    share.python('kfcfo', WRITE, closed / 'file')
    share.kms('kfcfo', 'disable-key', '--key-id', key)
    with pytest.raises(AssertionError, match='Input/output error'):
        share.python('kfcfo', """
import sys
for _ in range(50):
    try: open(sys.argv[2])
    except OSError: pass
open(sys.argv[1], "rb").read()""", path, closed / 'file')
    record = awaited(share, KEYFOLD_ERROR='IntegrityFailure')[-1]
    event = share.events(errorCode='IntegrityFailure')[-1]
    assert record['KEYFOLD_REQUEST_ID'] == event['requestID'] and record['PRIORITY'] == '3'
    assert 'more of theirs' not in record['MESSAGE']
    assert record['KEYFOLD_PATH'] == '/cfo/broken' and record['KEYFOLD_KEY_ID'] == share.key
    assert record['KEYFOLD_OPERATION'] == 'ReadFile'


def test_a_name_with_a_line_break_makes_no_field(share):
    """What a user chose stays within its field."""
    with pytest.raises(Exception):
        share.run('kfstranger', 'kms', 'describe-key', '--key-id', 'alias/x\nPRIORITY=0\nEVIL=1')
    awaited(share, KEYFOLD_OPERATION='DescribeKey')
    assert not [record for record in share.log.found() if 'EVIL' in record or record['PRIORITY'] == '0']


def test_one_user_does_not_fill_the_log(share):
    before = len(awaited(share))
    share.python('kfstranger', '''
import sys
for _ in range(500):
    try: open(sys.argv[1])
    except PermissionError: pass
''', share.mnt / 'cfo' / 'plan')
    time.sleep(1)
    told = len(share.log.found()) - before
    assert 10 <= told <= 60
    refused = share.events(eventName='OpenFile', errorCode='AccessDeniedException')
    assert len(refused) >= 500
    time.sleep(10)
    with pytest.raises(AssertionError):
        share.python('kfstranger', 'import sys; open(sys.argv[1])', share.mnt / 'cfo' / 'plan')
    last = awaited(share, KEYFOLD_REQUEST_ID=share.events(
        eventName='OpenFile', errorCode='AccessDeniedException')[-1]['requestID'])[-1]
    assert 'more of theirs before are not here' in last['MESSAGE']


def test_in_the_foreground_the_requests_id_is_in_the_line(share):
    share.unmount()
    log = share.folder / 'log'
    daemon = share.mount_in_foreground(log)
    assert share.refused('kfstranger', 'enable-key', '--key-id', share.key) == 'AccessDeniedException'
    wanted = share.events(eventName='EnableKey')[-1]['requestID']
    for _ in range(50):
        if wanted in log.read_text():
            break
        time.sleep(0.1)
    assert f'[request {wanted}]' in log.read_text()
    share.unmount()
    assert daemon.wait(30) == 0
    share.mount()
