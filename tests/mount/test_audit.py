"""Does the audit log prove what it says: to the store, to a copy's reader, to who was to
be told; and are its archives as good as the log?"""
import http.server
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time

import pytest

from share import Failed, new_share


@pytest.fixture(scope='module')
def share():
    if os.geteuid() != 0:
        pytest.skip('needs root to act as several users')
    with new_share('audit') as made:
        yield made


def await_event(share, seconds=15, **wanted):
    """The first record that matches, as soon as there is one."""
    for _ in range(seconds * 4):
        found = share.events(**wanted)
        if found:
            return found[0]
        time.sleep(0.25)
    raise AssertionError(f'no record {wanted}')


def verify_copy(share, copies, key):
    """keyfold on another machine: no store, no mount, no root."""
    return subprocess.run([*share.command_of('kfstranger'), 'audit', 'verify', '--copy',
                           *map(str, copies), '--public-key', str(key)],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd='/',
                          env={'PATH': os.environ['PATH']})


def test_each_run_is_closed_by_a_digest(share):
    share.unmount()
    last = json.loads((share.store / 'audit/audit.log').read_text().splitlines()[-1])
    share.mount()
    digest = last['additionalEventData']['digest']
    assert last['eventName'] == 'CloseStore'
    assert digest['lastSequence'] == last['sequence'] - 1
    # Killed, a run is closed by the next one.
    share.kill()
    share.mount()
    signed = share.events(eventName='SignDigest')[-1]
    assert signed['sequence'] > last['sequence']
    assert 'digests sign records up to' in share.run('kfcfo', 'audit', 'verify')


def test_openssl_verifies_a_digest(share):
    """What KMS.md says is signed, checked with nothing of Keyfold's."""
    pem = share.folder / 'openssl.pem'
    pem.write_text(share.run('kfstranger', 'audit', 'public-key'))
    digest = share.events(eventName='CloseStore')[-1]['additionalEventData']['digest']

    def prefixed(text):
        return len(text).to_bytes(2, 'little') + text.encode()

    def number(name):
        return digest[name].to_bytes(8, 'little')

    import base64
    (share.folder / 'signed').write_bytes(
        prefixed('keyfold audit digest v1') + prefixed(digest['storeId'])
        + number('firstSequence') + number('lastSequence') + prefixed(digest['lastHash'])
        + prefixed(digest['time']) + number('previousDigestSequence')
        + prefixed(digest['previousDigestSignature']))
    (share.folder / 'signature').write_bytes(base64.b64decode(digest['signature']))
    subprocess.run(['openssl', 'pkeyutl', '-verify', '-pubin', '-inkey', pem, '-rawin', '-in',
                    share.folder / 'signed', '-sigfile', share.folder / 'signature'],
                   check=True, stdout=subprocess.PIPE)


def test_a_copy_is_verified_elsewhere(share):
    key = share.folder / 'key.pem'
    key.write_text(share.run('kfstranger', 'audit', 'public-key'))
    copy = share.folder / 'copy.log'
    shutil.copy(share.store / 'audit/audit.log', copy)
    copy.chmod(0o644)
    found = verify_copy(share, [copy], key)
    assert found.returncode == 0, found.stderr
    assert 'are as the KMS signed them' in found.stdout
    # The second record told otherwise, as somebody would who may write the copy.
    lines = copy.read_text().splitlines()
    lines[1] = lines[1].replace('"userName":"', '"userName":"x', 1)
    copy.write_text('\n'.join(lines) + '\n')
    found = verify_copy(share, [copy], key)
    assert found.returncode != 0
    assert f'record 3 ({copy}, line 3)' in found.stderr and 'one of the two' in found.stderr
    # Another KMS's key.
    subprocess.run(['openssl', 'genpkey', '-algorithm', 'ed25519', '-out', share.folder / 'other'],
                   check=True)
    other = share.folder / 'other.pem'
    subprocess.run(['openssl', 'pkey', '-in', share.folder / 'other', '-pubout', '-out', other],
                   check=True)
    other.chmod(0o644)
    shutil.copy(share.store / 'audit/audit.log', copy)
    copy.chmod(0o644)
    found = verify_copy(share, [copy], other)
    assert found.returncode != 0 and 'another key' in found.stderr


def test_archives_are_part_of_the_log(share):
    with pytest.raises(Failed) as refused:
        share.run('kfaccounts', 'audit', 'archive')
    assert 'audit:ArchiveLog' in refused.value.text
    before = len(share.events())
    name = share.run('kfsysadmin', 'audit', 'archive').strip()
    assert name == 'audit-000000000001.log'
    assert (share.store / 'audit' / name).stat().st_mode & 0o7777 == 0o600
    assert len(share.events()) > before
    assert 'in 2 files' in share.run('kfcfo', 'audit', 'verify')
    assert name in share.run('kfcfo', 'audit', 'archives')
    # Across a mount and a kill.
    share.unmount()
    share.mount()
    share.kill()
    share.mount()
    assert 'in 2 files' in share.run('kfcfo', 'audit', 'verify')

    # Moved away without a word it is missing; released, it may be.
    archive, away = share.store / 'audit' / name, share.folder / name
    shutil.move(archive, away)
    with pytest.raises(Failed) as missing:
        share.run('kfcfo', 'audit', 'verify')
    assert 'record 1 (audit.log, line 1) is missing' in missing.value.text
    with pytest.raises(Failed):
        share.run('kfsysadmin', 'audit', 'release', name)
    shutil.move(away, archive)
    assert 'may be moved away' in share.run('kfsysadmin', 'audit', 'release', name)
    shutil.move(archive, away)
    text = share.run('kfcfo', 'audit', 'verify')
    assert 'archives before were released' in text
    share.unmount()
    share.mount()
    assert share.run('kfcfo', 'audit', 'verify').startswith('The audit log is whole')
    # What is left and what went are still one chain to who has both.
    key = share.folder / 'key.pem'
    copies = [share.folder / 'rest.log', away]
    shutil.copy(share.store / 'audit/audit.log', copies[0])
    for copy in copies:
        copy.chmod(0o644)
    found = verify_copy(share, copies, key)
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith('Records 1 to ')


def test_a_full_file_is_archived(share):
    share.unmount()
    with pytest.raises(Failed) as wrong:
        share.mount('--audit-log-size', '12k')
    assert '--audit-log-size expects' in wrong.value.text
    share.mount('--audit-log-size', '1M')
    begun = len(list((share.store / 'audit').glob('audit-*.log')))
    folder = share.mnt / 'many'
    folder.mkdir()
    for i in range(1500):
        (folder / str(i)).write_bytes(b'')
    for _ in range(50):
        if len(list((share.store / 'audit').glob('audit-*.log'))) > begun:
            break
        time.sleep(0.2)
    assert len(list((share.store / 'audit').glob('audit-*.log'))) > begun
    assert share.run('kfcfo', 'audit', 'verify').startswith('The audit log is whole')
    assert share.events(eventName='RotateLog')


def test_one_bad_record_does_not_hide_the_rest(share):
    share.run('kfsysadmin', 'audit', 'archive')
    newest = sorted((share.store / 'audit').glob('audit-*.log'))[-1]
    good = newest.read_bytes()
    lines = good.splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"eventName":"', b'"eventName":"X', 1)
    newest.write_bytes(b''.join(lines))
    result = subprocess.run([*share.command_of('kfcfo'), 'audit', '--output', 'json'],
                            env=share.environment(), stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)
    assert result.returncode != 0
    assert f'Line 2 of {newest.name}' in result.stderr
    assert len(result.stdout.splitlines()) > 100
    with pytest.raises(Failed) as named:
        share.run('kfcfo', 'audit', 'verify')
    assert f'({newest.name}, line 2) was changed' in named.value.text
    newest.write_bytes(good)
    share.run('kfcfo', 'audit', 'verify')


def test_names_that_are_nobodys_are_told(share):
    for user in ('kfcfo', 'user:kfcfo'):
        assert share.run('kfcfo', 'audit', '--user', user, '--limit', '3')
    with pytest.raises(Failed) as nobody:
        share.run('kfcfo', 'audit', '--user', 'kfnobodyatall')
    assert 'There is no user "kfnobodyatall"' in nobody.value.text
    with pytest.raises(Failed) as no_key:
        share.run('kfcfo', 'audit', '--key', 'alias/none')
    assert 'does not exist' in no_key.value.text


class Receiver(http.server.ThreadingHTTPServer):
    """A webhook on loopback. `fail` answers are 503 before it takes anything."""

    def __init__(self, fail=0):
        super().__init__(('127.0.0.1', 0), Answer)
        self.fail, self.tried, self.bodies = fail, 0, []
        self.came = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f'http://127.0.0.1:{self.server_address[1]}/hook?token=geheim'


class Answer(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        self.server.tried += 1
        if self.server.tried <= self.server.fail:
            self.send_response(503)
            self.end_headers()
            return
        self.server.bodies.append((self.path, json.loads(body)))
        self.send_response(204)
        self.end_headers()
        self.server.came.set()

    def log_message(self, *args):
        pass


@pytest.fixture
def receiver():
    with Receiver() as made:
        yield made
        made.shutdown()


def apply_rules(share, text, user=None):
    path = share.folder / 'alerts.yaml'
    path.write_text(text)
    path.chmod(0o644)
    return share.run(user, 'audit', 'rules', 'apply', path)


def test_an_alert_reaches_a_webhook(share, receiver):
    apply_rules(share, f"""
rules:
  - name: NewKey
    when: {{event: CreateKey, error: none}}
    actions: [{{webhook: "{receiver.url}", timeout: 5s}}]
""")
    made = share.kms('kfcfo', 'create-key')['KeyMetadata']
    assert receiver.came.wait(15)
    path, body = receiver.bodies[0]
    assert path == '/hook?token=geheim'
    assert body['alert'] == 'NewKey' and body['record']['eventName'] == 'CreateKey'
    assert body['record']['resources'][0]['ARN'] == made['Arn']
    assert body['record']['userIdentity']['userName'] == 'kfcfo'


def test_a_webhook_that_fails_is_tried_again(share):
    with Receiver(fail=2) as flaky:
        apply_rules(share, f"""
rules:
  - name: NewKey
    when: {{event: CreateKey, error: none}}
    actions: [{{webhook: "{flaky.url}", timeout: 5s, attempts: 3}}]
""")
        share.kms('kfcfo', 'create-key')
        assert flaky.came.wait(20)
        assert flaky.tried == 3
        flaky.shutdown()


def test_a_webhook_that_is_down_holds_nothing_up(share):
    with Receiver() as gone:
        url = gone.url
        gone.shutdown()
    apply_rules(share, f"""
rules:
  - name: Unreachable
    when: {{event: CreateKey, error: none}}
    actions: [{{webhook: "{url}", timeout: 1s, attempts: 2}}]
""")
    begun = time.monotonic()
    share.kms('kfcfo', 'create-key')
    assert time.monotonic() - begun < 5
    failed = await_event(share, eventName='DeliverAlert')
    assert failed['errorCode'] == 'AlertNotDelivered'
    assert failed['requestParameters']['alert'] == 'Unreachable'
    # What follows the host may be a secret of the webhook's.
    assert 'geheim' not in json.dumps(failed)


REPORT = """#!/bin/sh
{ id -un; id -Gn; env; cat; } > "$1.new" && mv "$1.new" "$1"
"""


def test_an_alert_runs_a_command_as_a_user(share):
    program = share.folder / 'report'
    program.write_text(REPORT)
    program.chmod(0o755)
    place = share.folder / 'reports'
    place.mkdir()
    place.chmod(0o777)
    out = place / 'seen $(id) ; x'
    apply_rules(share, f"""
rules:
  - name: NewKey
    when: {{event: CreateKey, error: none}}
    actions: [{{command: ["{program}", "{out}"], user: kfstranger, timeout: 10s}}]
""")
    share.kms('kfcfo', 'create-key')
    for _ in range(60):
        if out.exists():
            break
        time.sleep(0.25)
    name, groups, *rest = out.read_text().splitlines()
    assert name == 'kfstranger' and groups.split() == ['kfstranger']
    record = json.loads(rest[-1])
    assert record['eventName'] == 'CreateKey'
    names = {line.split('=')[0] for line in rest[:-1]}
    assert names <= {'PATH', 'HOME', 'USER', 'LOGNAME', 'KEYFOLD_ALERT', 'PWD', 'OLDPWD', 'SHLVL',
                     '_'}
    assert 'KEYFOLD_ALERT=NewKey' in rest


def has_ended(pid):
    """Whether the process is gone, or dead and not yet waited for by init."""
    for _ in range(20):
        try:
            with open(f'/proc/{pid}/stat', encoding='ascii') as stat:
                if stat.read().rsplit(')', 1)[1].split()[0] == 'Z':
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.25)
    return False


def test_a_command_that_hangs_or_fails_is_on_record(share):
    marker = share.folder / 'reports' / 'children'
    program = share.folder / 'hang'
    program.write_text(f'#!/bin/sh\nsleep 600 & echo $! > {marker}\nwait\n')
    program.chmod(0o755)
    apply_rules(share, f"""
rules:
  - name: Hangs
    when: {{event: CreateKey, error: none}}
    actions: [{{command: ["{program}"], user: kfstranger, timeout: 1s}}]
  - name: Fails
    when: {{event: CreateKey, error: none}}
    actions: [{{command: [/bin/false], user: kfstranger}}]
  - name: Missing
    when: {{event: CreateKey, error: none}}
    actions: [{{command: [/nowhere/program], user: kfstranger}}]
""")
    share.kms('kfcfo', 'create-key')
    for name, words in (('Hangs', 'was killed'), ('Fails', 'exit code 1'),
                        ('Missing', 'cannot be run')):
        for _ in range(60):
            told = [r for r in share.events(eventName='DeliverAlert')
                    if r['requestParameters']['alert'] == name]
            if told:
                break
            time.sleep(0.25)
        assert words in told[0]['errorMessage'], told
    assert has_ended(marker.read_text().strip())


class Journal:
    """What Keyfold's daemons log: in the machine's journal, or, where there is none, through
    a socket in its place."""

    def __init__(self):
        self.socket, self.began = None, time.time()
        if not os.path.exists('/dev/log'):
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self.socket.bind('/dev/log')
            self.socket.settimeout(0.2)
        self.text = ''

    def read(self):
        if self.socket is None:
            return subprocess.run(['journalctl', '-t', 'keyfold', '-o', 'cat', '--since',
                                   f'@{self.began:.0f}'], check=True, stdout=subprocess.PIPE,
                                  text=True).stdout
        try:
            while True:
                self.text += self.socket.recv(65536).decode(errors='replace') + '\n'
        except TimeoutError:
            return self.text

    def close(self):
        if self.socket is not None:
            self.socket.close()
            os.unlink('/dev/log')


def test_an_alert_is_in_the_daemons_log(share):
    share.unmount()
    journal = Journal()  # the daemon opens its log when it starts
    try:
        share.mount()
        key = share.kms('kfcfo', 'create-key')['KeyMetadata']['KeyId']
        assert key not in journal.read()
        share.kms('kfcfo', 'disable-key', '--key-id', key)
        deadline = time.monotonic() + 15
        while not (lines := [line for line in journal.read().splitlines() if key in line]):
            assert time.monotonic() < deadline, journal.read()
        assert len(lines) == 1 and 'KeyDisabled: ' in lines[0] and 'keyfold' in lines[0]
    finally:
        share.unmount()
        journal.close()
        share.mount()


def test_commands_that_a_store_brings_are_not_run(share):
    mark = share.folder / 'reports' / 'stored'
    apply_rules(share, f"""
rules:
  - name: Marks
    when: {{event: CreateKey, error: none}}
    actions: [{{command: [/usr/bin/touch, "{mark}"], user: kfstranger}}]
""")

    def runs(*options):
        share.unmount()
        share.mount(*options)
        before = len(share.events(eventName='DeliverAlert'))
        share.kms('kfcfo', 'create-key')
        for _ in range(60):
            if mark.exists():
                mark.unlink()
                return True
            if refused := share.events(eventName='DeliverAlert')[before:]:
                assert 'alert-commands' in refused[0]['errorMessage']
                return False
            time.sleep(0.25)
        raise AssertionError('neither run nor refused')

    assert not runs()
    assert runs('-o', 'alert-commands=stored')
    assert not runs('-o', 'alert-commands=no')
    with pytest.raises(Failed) as wrong:
        share.run(None, 'mount', share.store, share.folder / 'mnt', '-o', 'alert-commands=yes')
    assert 'no, applied or stored' in wrong.value.text
    share.unmount()
    share.mount()


def test_only_root_has_programs_run_as_others(share):
    rules = """
rules:
  - name: Own
    when: {event: CreateKey}
    actions: [{command: [/bin/true], user: root}]
"""
    with pytest.raises(Failed) as refused:
        apply_rules(share, rules, 'kfsysadmin')
    assert 'Only root may' in refused.value.text
    with pytest.raises(Failed) as refused:
        apply_rules(share, rules, 'kfaccounts')
    assert 'audit:ApplyAlertRules' in refused.value.text
    with pytest.raises(Failed) as wrong:
        apply_rules(share, 'rules:\n  - {name: X, wen: {}}\n')
    assert 'alerts.yaml:2:15: found "wen"' in wrong.value.text
    assert 'ManyRefusals' in share.run('kfcfo', 'audit', 'rules', 'show')
    text = share.run('kfcfo', 'audit', 'rules', 'test', '--since', '1h')
    assert 'alerts from' in text
    apply_rules(share, 'rules: []\n')


def test_compliance_is_listed_and_told(share):
    key = share.kms('kfcfo', 'create-key')['KeyMetadata']['KeyId']
    lines = [line for line in share.run('kfcfo', 'audit', 'compliance').splitlines() if key in line]
    assert any(line.startswith('NON_COMPLIANT') and 'key-rotation-enabled' in line
               for line in lines)
    share.kms('kfcfo', 'enable-key-rotation', '--key-id', key)
    lines = [line for line in share.run('kfcfo', 'audit', 'compliance').splitlines() if key in line]
    assert any(line.startswith('COMPLIANT') and 'key-rotation-enabled' in line for line in lines)
    share.kms('kfcfo', 'disable-key', '--key-id', key)
    share.unmount()
    share.mount()
    assert await_event(share, eventName='ComplianceChanged', eventSource='alerts.keyfold')


# AWS CloudTrail User Guide, "CloudTrail record contents": what is never optional, and
# what every event of today has.
REQUIRED = {'eventTime': str, 'eventVersion': str, 'userIdentity': dict, 'eventSource': str,
            'eventName': str, 'awsRegion': str, 'sourceIPAddress': str, 'userAgent': str,
            'requestParameters': (dict, type(None)), 'responseElements': (dict, type(None)),
            'requestID': str, 'eventID': str, 'eventType': str, 'recipientAccountId': str,
            'readOnly': bool, 'managementEvent': bool, 'eventCategory': str}
OPTIONAL = {'errorCode': str, 'errorMessage': str, 'resources': list, 'additionalEventData': dict}
# The columns that AWS's own table for Athena reads records into (Athena User Guide, "Create
# a table for CloudTrail logs"), names in any case; text columns take any JSON.
TEXT = object()
ISSUER = {'type': str, 'principalid': str, 'arn': str, 'accountid': str, 'username': str}
COLUMNS = {
    'useridentity': {
        'type': str, 'principalid': str, 'arn': str, 'accountid': str, 'invokedby': str,
        'accesskeyid': str, 'username': str,
        'sessioncontext': {'attributes': {'mfaauthenticated': str, 'creationdate': str},
                           'sessionissuer': ISSUER}},
    'resources': [{'arn': str, 'accountid': str, 'type': str}],
    'requestparameters': TEXT, 'responseelements': TEXT, 'additionaleventdata': TEXT,
    'readonly': bool,
    **dict.fromkeys(('eventversion', 'eventtime', 'eventsource', 'eventname', 'awsregion',
                     'sourceipaddress', 'useragent', 'errorcode', 'errormessage', 'requestid',
                     'eventid', 'eventtype', 'recipientaccountid', 'eventcategory'), str),
    'managementevent': bool,  # in records, though in no column
}
UUID = re.compile(r'[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}')


def check_column(value, column, where):
    if column is TEXT:
        return
    if isinstance(column, dict):
        assert isinstance(value, dict), where
        for name, member in value.items():
            assert name.lower() in column, f'{where}.{name} is in no column'
            check_column(member, column[name.lower()], f'{where}.{name}')
    elif isinstance(column, list):
        assert isinstance(value, list), where
        for item in value:
            check_column(item, column[0], where)
    else:
        assert isinstance(value, column), (where, value)


def test_the_export_is_cloudtrails(share):
    for number in range(100):
        (share.mnt / f'some-{number}').write_bytes(b'x')
    (share.mnt / 'exported').write_bytes(b'x')
    trail = json.loads(share.run('kfcfo', 'audit', 'export'))
    assert list(trail) == ['Records'] and len(trail['Records']) > 100
    lines = share.run('kfcfo', 'audit', 'export', '--format', 'cloudtrail-lines', '--limit', '5')
    assert len([json.loads(line) for line in lines.splitlines()]) == 5
    for event in trail['Records']:
        for name, kind in REQUIRED.items():
            assert isinstance(event[name], kind), (name, event)
        assert set(event) <= set(REQUIRED) | set(OPTIONAL), event
        check_column(event, COLUMNS, 'event')
        assert UUID.fullmatch(event['eventID']) and UUID.fullmatch(event['requestID'])
        assert ('errorCode' in event) == ('errorMessage' in event)
        assert re.fullmatch(r'\d{12}', event['recipientAccountId'])
        identity = event['userIdentity']
        if identity['type'] == 'AWSService':
            assert set(identity) == {'type', 'invokedBy'}
        else:
            assert {'type', 'principalId', 'arn', 'accountId'} <= set(identity)
        # A role's session says which role.
        assert ('sessionContext' in identity) == (identity['type'] == 'AssumedRole'), identity
        assert event['userIdentity']['type'] in ('Root', 'IAMUser', 'AssumedRole', 'AWSService')
        assert tuple(map(int, event['eventVersion'].split('.'))) >= (1, 8)
        assert event['eventType'] in ('AwsApiCall', 'AwsServiceEvent')
        assert event['eventCategory'] == ('Management' if event['managementEvent'] else 'Data')
        time.strptime(event['eventTime'], '%Y-%m-%dT%H:%M:%SZ')
        for resource in event.get('resources', []):
            assert resource['ARN'].startswith('arn:aws:') and 'type' in resource
    assert len({event['eventID'] for event in trail['Records']}) == len(trail['Records'])
    made = [e for e in trail['Records'] if e['eventName'] == 'CreateFile'][-1]
    assert made['resources'][-1]['ARN'].endswith(':file/exported')
