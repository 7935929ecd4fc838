"""Do metrics say what happened, and nothing to those who may not know; and top the same?"""
import contextlib
import fcntl
import json
import os
import pathlib
import pty
import pwd
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import termios
import time
import urllib.error
import urllib.request

import pytest

from documents import sections
from share import Failed, as_user, new_share

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to act as several users')
ROOT = pathlib.Path(__file__).resolve().parents[2]
SAMPLE = re.compile(r'(\w+)(?:\{(.*)\})? (\S+)')


@pytest.fixture(scope='module')
def share():
    with new_share('metrics') as made:
        made.unmount()
        made.mount('--metrics-listen', '127.0.0.1:0', '--metrics-user', 'kfcfo')
        made.key = made.kms('kfcfo', 'create-key')['KeyMetadata']['KeyId']
        made.kms('kfcfo', 'create-alias', '--alias-name', 'alias/metrics', '--target-key-id', made.key)
        made.python('kfcfo', 'import os,sys; os.mkdir(sys.argv[1], 0o755)', made.mnt / 'cfo')
        made.run('kfcfo', 'folder', 'set-key', made.mnt / 'cfo', made.key)
        yield made


def url(share):
    return json.loads(share.run(None, 'status', share.mnt, '--output', 'json'))[0]['Metrics']


def parse(text):
    """The samples of an exposition: by name, and labels as a frozenset of pairs."""
    samples = {}
    for line in text.splitlines():
        if line.startswith('#') or not line:
            continue
        name, labels, value = SAMPLE.fullmatch(line).groups()
        pairs = frozenset(re.findall(r'(\w+)="([^"]*)"', labels or ''))
        assert (name, pairs) not in samples
        samples[name, pairs] = float(value)
    return samples


def scrape(share):
    with urllib.request.urlopen(url(share), timeout=10) as answer:
        assert answer.headers['Content-Type'].startswith('text/plain; version=0.0.4')
        return parse(answer.read().decode())


def value(samples, name, **labels):
    return samples.get((name, frozenset(labels.items())), 0)


def operations(samples, kind):
    return value(samples, 'keyfold_fuse_operation_duration_seconds_count', operation=kind)


WRITE = "import sys; open(sys.argv[1], 'w').write('x' * 5000)"
READ = "import sys; print(len(open(sys.argv[1]).read()))"


def test_what_is_done_is_counted(share):
    before = scrape(share)
    for i in range(5):
        share.python('kfcfo', WRITE, share.mnt / 'cfo' / f'counted{i}')
    after = scrape(share)

    def grown(name, **labels):
        return value(after, name, **labels) - value(before, name, **labels)
    duration = 'keyfold_fuse_operation_duration_seconds'
    assert operations(after, 'create') - operations(before, 'create') == 5
    assert operations(after, 'write') - operations(before, 'write') >= 5
    assert grown('keyfold_fuse_written_bytes_total') >= 25000
    assert grown('keyfold_file_uses_total', use='create', result='ok') == 5
    assert 0 < grown(duration + '_sum', operation='create') < 60
    # Buckets are cumulative, and the last is all there were.
    bounds = [(float(dict(labels)['le']), count) for (name, labels), count in after.items()
              if name == duration + '_bucket' and dict(labels)['operation'] == 'create']
    counts = [count for _, count in sorted(bounds)]
    assert counts == sorted(counts) and counts[-1] == operations(after, 'create')
    assert value(after, 'keyfold_build_info', version='0.1.0') == 1


def test_contents_read_and_data_keys_are_counted(share):
    path = share.mnt / 'cfo' / 'read'
    share.python('kfcfo', WRITE, path)
    share.unmount()
    share.mount('--metrics-listen', '127.0.0.1:0', '--metrics-user', 'kfcfo')
    before = scrape(share)
    with subprocess.Popen([*as_user('kfcfo'), '/usr/bin/python3', '-c',
                           "import sys; f = open(sys.argv[1]); f.read(); print(flush=True); input()",
                           path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        share.python('kfcfo', READ, path)
        during = scrape(share)
        holder.stdin.close()
    assert value(during, 'keyfold_open_files') == 1
    assert value(during, 'keyfold_open_handles') == 1
    assert value(during, 'keyfold_fuse_read_bytes_total') >= 5000
    for source in ('memory', 'unwrapped'):
        assert (value(during, 'keyfold_data_keys_total', source=source) -
                value(before, 'keyfold_data_keys_total', source=source)) == 1
    for _ in range(100):
        if value(scrape(share), 'keyfold_open_handles') == 0:
            return
        time.sleep(0.1)
    raise AssertionError('the handle is gone and still counted')


def test_refusals_are_counted_by_why(share):
    path = share.mnt / 'cfo' / 'refused'
    share.python('kfcfo', WRITE, path)
    before = scrape(share)
    with pytest.raises(AssertionError, match='PermissionError|Permission denied'):
        share.python('kfstranger', READ, path)
    share.refused('kfstranger', 'disable-key', '--key-id', share.key)
    after = scrape(share)

    def grown(name, **labels):
        return value(after, name, **labels) - value(before, name, **labels)
    denied = 'AccessDeniedException'
    assert grown('keyfold_file_uses_total', use='read', result=denied) == 1
    assert grown('keyfold_kms_calls_total', service='kms', operation='DisableKey', result=denied) == 1
    assert grown('keyfold_refusals_total', reason=denied) == 2
    assert grown('keyfold_fuse_failures_total', reason='no_right') == 1


def test_calls_of_the_kms_are_timed(share):
    before = scrape(share)
    for _ in range(3):
        share.kms('kfcfo', 'describe-key', '--key-id', share.key)
    share.refused('kfstranger', 'describe-key', '--key-id', share.key)
    after = scrape(share)
    duration, call = 'keyfold_kms_call_duration_seconds', {'service': 'kms', 'operation': 'DescribeKey'}
    assert (value(after, duration + '_count', **call) -
            value(before, duration + '_count', **call)) == 4
    assert 0 < value(after, duration + '_sum', **call) - value(before, duration + '_sum', **call) < 4
    calls = {labels - {pair for pair in labels if pair[0] == 'result'} for name, labels in after
             if name == 'keyfold_kms_calls_total'}
    assert calls == {labels for name, labels in after if name == duration + '_count'}


def test_a_revocation_is_counted(share):
    path = share.mnt / 'cfo' / 'revoked'
    share.python('kfcfo', WRITE, path)
    before = scrape(share)
    with subprocess.Popen([*as_user('kfcfo'), '/usr/bin/python3', '-c',
                           "import sys; f = open(sys.argv[1]); print(flush=True); input()",
                           path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        share.kms('kfcfo', 'disable-key', '--key-id', share.key)
        for _ in range(50):
            after = scrape(share)
            if value(after, 'keyfold_revoked_handles_total') > value(before, 'keyfold_revoked_handles_total'):
                break
            time.sleep(0.1)
        holder.stdin.close()
    share.kms('kfcfo', 'enable-key', '--key-id', share.key)
    assert (value(after, 'keyfold_revoked_handles_total') -
            value(before, 'keyfold_revoked_handles_total')) == 1
    assert value(after, 'keyfold_keys', state='Disabled') == 1


def test_keys_and_their_ends_are_told(share):
    before = scrape(share)
    key = share.kms('kfcfo', 'create-key')['KeyMetadata']['KeyId']
    share.kms('kfcfo', 'schedule-key-deletion', '--key-id', key, '--pending-window-in-days', '7')
    share.kms('kfcfo', 'create-key', '--origin', 'EXTERNAL')
    expiring = share.kms('kfcfo', 'create-key', '--origin', 'EXTERNAL')['KeyMetadata']['KeyId']
    until = time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(time.time() + 60 * 86400))
    share.import_material('kfcfo', expiring, os.urandom(32), '--valid-to', until)
    after = scrape(share)
    for state in ('PendingDeletion', 'PendingImport'):
        assert (value(after, 'keyfold_keys', state=state) -
                value(before, 'keyfold_keys', state=state)) == 1
    left = value(after, 'keyfold_key_deletion_seconds', key_id=key)
    assert 7 * 86400 - 60 < left <= 7 * 86400
    left = value(after, 'keyfold_key_expiry_seconds', key_id=expiring)
    assert 60 * 86400 - 60 < left <= 60 * 86400
    ends = {(name, dict(labels)['key_id']) for name, labels in after
            if name in ('keyfold_key_deletion_seconds', 'keyfold_key_expiry_seconds')}
    assert ends == {('keyfold_key_deletion_seconds', key), ('keyfold_key_expiry_seconds', expiring)}
    assert value(after, 'keyfold_root_key_available') == 1


GET = """
import sys, urllib.error, urllib.request
try:
    with urllib.request.urlopen(sys.argv[1], timeout=10) as answer:
        print(answer.status, answer.read().decode().replace(chr(10), ' '))
except urllib.error.HTTPError as refused:
    print(refused.code, refused.read().decode())
"""


def test_metrics_are_for_whom_they_are_meant(share):
    where = url(share)
    assert share.python('kfcfo', GET, where).startswith('200 ')
    refused = share.python('kfstranger', GET, where)
    assert refused.startswith('403 ') and share.key not in refused and 'keyfold_' not in refused
    record = share.events(eventName='AuthenticateRequest')[-1]
    assert record['errorCode'] == 'AccessDeniedException'
    assert record['userIdentity']['userName'] == f"uid:{pwd.getpwnam('kfstranger').pw_uid}"


def test_metrics_name_no_files_and_no_users(share):
    share.python('kfcfo', WRITE, share.mnt / 'cfo' / 'takeover-of-acme')
    with urllib.request.urlopen(url(share), timeout=10) as answer:
        text = answer.read().decode()
    assert 'takeover' not in text and 'kfcfo' not in text and '/cfo' not in text
    assert str(share.mnt) not in text and str(share.store) not in text


def test_other_requests_are_not_answered(share):
    where = url(share)
    for wrong in (where + '/more', where[:-len('metrics')]):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(wrong, timeout=10)
        assert refused.value.code == 404
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(where, data=b'{}', timeout=10)
    assert refused.value.code == 404


def test_a_scrape_does_not_wait_for_who_serves_files(share):
    where, daemon = url(share), share.daemon()
    os.kill(daemon, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with urllib.request.urlopen(where, timeout=10) as answer:
            assert 'keyfold_open_files' in answer.read().decode()
        assert time.monotonic() - began < 5
    finally:
        os.kill(daemon, signal.SIGCONT)


def test_every_metric_of_the_dashboard_is_in_a_scrape(share):
    """One key with an end of each kind, so that each family has a sample."""
    dashboard = json.loads((ROOT / 'examples/grafana/keyfold.json').read_text())
    expressions = [target['expr'] for panel in dashboard['panels'] for target in panel['targets']]
    expressions += [variable['query'] for variable in dashboard['templating']['list']]
    wanted = set(re.findall(r'\bkeyfold_\w+', ' '.join(expressions)))
    with urllib.request.urlopen(url(share), timeout=10) as answer:
        text = answer.read().decode()
    there = {name for name, _ in parse(text)} | set(re.findall(r'# TYPE (\w+)', text))
    assert len(wanted) > 20 and wanted <= there
    # And nothing that is told is left out of it.
    families = set(re.findall(r'# TYPE (\w+)', text))
    assert {family for family in families
            if not any(name.startswith(family) for name in wanted)} == set()


def guide(heading):
    section, = (one for one in sections('operations.md') if one.heading == heading)
    return section


def test_every_metric_is_in_the_guide(share):
    with urllib.request.urlopen(url(share), timeout=10) as answer:
        text = answer.read().decode()
    labels = {}
    for line in text.splitlines():
        if not line.startswith('#'):
            name, pairs, _ = SAMPLE.fullmatch(line).groups()
            labels.setdefault(name.removesuffix('_bucket'), set()).update(
                re.findall(r'(\w+)="', pairs or ''))
    table = guide('Metrics').table()
    assert set(table) == {f'`{name}`' for name in re.findall(r'# TYPE (\w+)', text)}
    for name, cells in table.items():
        said = set(cells['labels'].split(', ')) - {'-'}
        assert said == labels.get(name.strip('`'), said) - {'le'}, name


@contextlib.contextmanager
def prometheus(share, folder):
    """The server, as the user who may read, with the guide's configuration and rules, in a
    hurry: what asks it by its API."""
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        address = f'127.0.0.1:{listener.getsockname()[1]}'
    for block in (*guide('Metrics').blocks, *guide('Before a key is gone').blocks):
        if block.name.endswith('.yml'):
            text = block.text.replace('127.0.0.1:9464', url(share).split('/')[2])
            if block.name == 'prometheus.yml':
                text = 'global: {evaluation_interval: 1s}\n' + text.replace('15s', '1s')
            (folder / block.name).write_text(text)
    shutil.chown(folder, 'kfcfo', 'kfcfo')
    process = subprocess.Popen(
        [*as_user('kfcfo'), 'prometheus', f'--config.file={folder}/prometheus.yml',
         f'--storage.tsdb.path={folder}/data', f'--web.listen-address={address}'],
        cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL)

    def ask(what):
        try:
            with urllib.request.urlopen(f'http://{address}/api/v1/{what}', timeout=10) as answer:
                return json.load(answer)['data']
        except OSError:
            return {}  # it is not there yet
    try:
        yield ask
    finally:
        process.terminate()
        process.wait()


@pytest.mark.skipif(not shutil.which('prometheus'),
                    reason='no prometheus (tests/lib/install-packages --clients)')
def test_prometheus_reads_and_judges_by_the_guide(share):
    key = share.kms('kfcfo', 'create-key')['KeyMetadata']['KeyId']
    share.kms('kfcfo', 'schedule-key-deletion', '--key-id', key, '--pending-window-in-days', '7')
    folder = share.folder / 'prometheus'
    folder.mkdir()
    with prometheus(share, folder) as ask:
        for _ in range(300):
            firing = {(alert['labels']['alertname'], alert['labels'].get('key_id'))
                      for alert in ask('alerts').get('alerts', ()) if alert['state'] == 'firing'}
            if ('KeyIsDestroyedSoon', key) in firing:
                break
            time.sleep(0.1)
        targets = ask('targets')['activeTargets']
        assert [(one['labels']['instance'], one['health']) for one in targets] == [('finance', 'up')]
        assert all(rule['health'] == 'ok' for group in ask('rules')['groups']
                   for rule in group['rules'])
    assert {name for name, _ in firing} == {'KeyIsDestroyedSoon'}


def test_mistakes_are_named(share):
    for wrong, said in ((('--metrics-listen', '0.0.0.0:9464'), 'is no address of this machine alone'),
                        (('--metrics-user', 'kfcfo'), 'Give --metrics-listen too'),
                        (('--metrics-listen', '127.0.0.1:0', '--metrics-user', 'kfnobody'),
                         'there is no user "kfnobody"')):
        share.unmount()
        with pytest.raises(Failed) as info:
            share.mount(*wrong)
        assert info.value.code == 2 and said in info.value.text
        share.mount('--metrics-listen', '127.0.0.1:0', '--metrics-user', 'kfcfo')


def holding(share, user, path):
    """A process of the user's that has the file open."""
    process = subprocess.Popen([*as_user(user), '/usr/bin/python3', '-c',
                                "import sys; f = open(sys.argv[1], 'a'); print(flush=True); input()",
                                path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()
    return process


def top(share, user, *options):
    return share.run(user, 'top', share.mnt, *options)


def test_top_shows_all_to_who_may_see_all_and_their_own_to_others(share):
    path = share.mnt / 'cfo' / 'held'
    with holding(share, 'kfcfo', path) as holder:
        seen = {user: json.loads(top(share, user, '--once', '--json'))
                for user in (None, 'kfsysadmin', 'kfcfo', 'kfstranger')}
        pid = holder.pid
        holder.stdin.close()
    files = {user: [(file['Path'], file['Pid'], file['Use'], file['KeyId']) for file in answer['Files']]
             for user, answer in seen.items()}
    mine = [('/cfo/held', pid, 'write', share.key)]
    # The CFO may read the audit log, by ConsoleReadOnlyAccess.
    assert files == {None: mine, 'kfsysadmin': mine, 'kfcfo': mine, 'kfstranger': []}
    for user in (None, 'kfsysadmin', 'kfcfo'):
        assert seen[user]['Everything'] and seen[user]['Mount']['OpenHandles'] == 1
        assert share.key in [key['KeyId'] for key in seen[user]['Keys']]
    stranger = seen['kfstranger']
    assert not stranger['Everything'] and 'Mount' not in stranger and 'Keys' not in stranger
    assert {user['Uid'] for user in stranger['Users']} <= {pwd.getpwnam('kfstranger').pw_uid}
    assert share.key not in json.dumps(stranger)


def test_a_user_without_more_rights_sees_what_is_open_of_their_own(share):
    share.kms('kfcfo', 'put-key-policy', '--key-id', share.key, '--policy', POLICY)
    share.python('kfcfo', WRITE, share.mnt / 'cfo' / 'shared')
    os.chmod(share.mnt / 'cfo' / 'shared', 0o666)
    with holding(share, 'kfstranger', share.mnt / 'cfo' / 'shared') as one:
        with holding(share, 'kfcfo', share.mnt / 'cfo' / 'held') as other:
            seen = json.loads(top(share, 'kfstranger', '--once', '--json'))
            page = top(share, 'kfstranger', '--once')
            other.stdin.close()
        one.stdin.close()
    assert [file['Path'] for file in seen['Files']] == ['/cfo/shared']
    assert 'alias/metrics' in page and '/cfo/shared' in page and '1 open file of yours' in page
    assert 'held' not in page and 'kfcfo' not in page


POLICY = json.dumps({'Version': '2012-10-17', 'Statement': [
    {'Effect': 'Allow', 'Principal': {'AWS': 'arn:aws:iam::000000000000:user/kfcfo'},
     'Action': 'kms:*', 'Resource': '*'},
    {'Effect': 'Allow', 'Principal': {'AWS': 'arn:aws:iam::000000000000:user/kfstranger'},
     'Action': ['kms:Decrypt', 'kms:GenerateDataKey'], 'Resource': '*'}]})


def test_looks_that_follow_one_another_have_one_record(share):
    def looks():
        return len(share.events(eventName='GetActivity'))
    before = looks()
    process = subprocess.Popen([share.keyfold, 'top', share.mnt, '--json'], stdout=subprocess.PIPE)
    lines = [json.loads(process.stdout.readline()) for _ in range(3)]
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0
    assert all(line['Everything'] for line in lines) and looks() - before == 1


def test_top_draws_on_a_terminal_each_second_and_leaves_it_as_it_was(share):
    here, there = pty.openpty()
    fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack('HHHH', 12, 100, 0, 0))
    process = subprocess.Popen([share.keyfold, 'top', share.mnt], stdin=there, stdout=there,
                               start_new_session=True)
    os.close(there)
    shown = b''
    until = time.monotonic() + 30
    while shown.count(b'requests/s') < 3 and time.monotonic() < until:
        if select.select([here], [], [], 1)[0]:
            shown += os.read(here, 65536)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0
    shown += os.read(here, 65536)
    os.close(here)
    pages = shown.split(b'\x1b[H')[1:]
    assert len(pages) >= 3 and shown.startswith(b'\x1b[?1049h') and shown.endswith(b'\x1b[?1049l')
    assert max(page.count(b'\n') for page in pages) <= 11
    assert re.search(rb'requests/s \d+\.\d', pages[1])


def test_without_the_option_nothing_listens(share):
    share.unmount()
    share.mount()
    assert 'Metrics' not in json.loads(share.run(None, 'status', share.mnt, '--output', 'json'))[0]
    sockets = subprocess.run(['ss', '-Hltnp'], capture_output=True, text=True).stdout
    assert str(share.processes()['keys']) not in re.findall(r'pid=(\d+)', sockets)
