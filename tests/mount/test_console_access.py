"""Does the web console let in the one who opened its address, and nobody else; and what may
its pages ask for?"""
import json
import os
import re
import subprocess

import pytest

from browser import open_console
from share import as_user, new_share

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to act as several users')
TYPE = 'application/x-amz-json-1.1'


@pytest.fixture(scope='module')
def share():
    with new_share('console-access') as made:
        yield made


ASK = r'''
import http.client, json, sys
address, method, path, headers, body = json.load(sys.stdin)
connection = http.client.HTTPConnection(address, timeout=10)
try:
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    print(json.dumps([answer.status, dict(answer.getheaders()), answer.read().decode()]))
except (BrokenPipeError, ConnectionResetError):
    print(json.dumps(['closed', {}, '']))
'''


class Client:
    """Requests to a console as any program may send them."""

    def __init__(self, url, user):
        self.address, self.token = re.fullmatch(r'http://([^/]+)/#token=(\S+)', url).groups()
        self.user = user

    def ask(self, method, path, body=None, user=None, **changed):
        headers = {'Origin': f'http://{self.address}', 'Content-Type': TYPE,
                   **{name.replace('_', '-'): value for name, value in changed.items()}}
        headers = {name: value for name, value in headers.items() if value is not None}
        request = [self.address, method, path, headers, None if body is None else json.dumps(body)]
        out = subprocess.run([*as_user(user or self.user), '/usr/bin/python3', '-c', ASK],
                             input=json.dumps(request), stdout=subprocess.PIPE, text=True, check=True)
        return json.loads(out.stdout)

    def sign_in(self):
        status, headers, _ = self.ask('POST', '/session', {'Token': self.token})
        assert status == 200
        return headers['Set-Cookie']

    def call(self, operation='KeyfoldIam.WhoAmI', body=None, **changed):
        return self.ask('POST', '/api', body or {}, **{'X_Amz_Target': operation, **changed})


@pytest.fixture
def client(share):
    with open_console(share, 'kfcfo') as (process, url):
        made = Client(url, 'kfcfo')
        made.process = process
        yield made


def test_one_who_has_the_token_is_let_in_once(client):
    assert client.call()[0] == 401
    assert client.ask('POST', '/session', {'Token': 'x' * 43})[0] == 403
    cookie = client.sign_in()
    assert 'HttpOnly' in cookie and 'SameSite=Strict' in cookie
    assert client.ask('POST', '/session', {'Token': client.token})[0] == 403
    value = cookie.split(';')[0]
    status, _, body = client.call(Cookie=value)
    assert status == 200 and json.loads(body)['UserName'] == 'kfcfo'
    assert client.call(Cookie=value + 'x')[0] == 401
    assert client.call(Cookie=f'other=1; {value}')[0] == 200


@pytest.mark.parametrize('changed', [
    {'Host': 'evil.example'}, {'Host': 'localhost:1'}, {'Origin': 'http://evil.example'},
    {'Origin': None}, {'Origin': 'null'}, {'Content_Type': 'text/plain'}, {'Content_Type': None}])
def test_what_another_page_sends_is_refused(client, changed):
    cookie = client.sign_in().split(';')[0]
    status, _, body = client.call(Cookie=cookie, **changed)
    assert status == 403 and json.loads(body)['__type'] == 'AccessDeniedException'


def test_another_users_processes_are_refused_with_token_and_cookie(client):
    refused = (403, 'closed')
    assert client.ask('POST', '/session', {'Token': client.token}, user='kfaccounts')[0] in refused
    cookie = client.sign_in().split(';')[0]
    assert client.call(Cookie=cookie, user='kfaccounts')[0] in refused
    assert client.ask('GET', '/', user='kfaccounts')[0] in refused
    assert client.call(Cookie=cookie)[0] == 200


def test_every_answer_confines_the_page(client):
    for method, path in (('GET', '/'), ('GET', '/console.js'), ('GET', '/none'), ('POST', '/api')):
        _, headers, _ = client.ask(method, path, {} if method == 'POST' else None)
        policy = headers['Content-Security-Policy']
        assert "default-src 'none'" in policy and "script-src 'self'" in policy
        assert 'unsafe' not in policy and '*' not in policy
        assert headers['X-Frame-Options'] == 'DENY'
        assert headers['X-Content-Type-Options'] == 'nosniff'
        assert 'no-store' in headers['Cache-Control']
        assert 'Access-Control-Allow-Origin' not in headers


@pytest.mark.parametrize('path', [
    '/../../etc/passwd', '/%2e%2e/etc/passwd', '//etc/passwd', '/console.js/..', '/console.js?x',
    '/session', '/api', '*'])
def test_no_other_path_is_a_page(client, path):
    assert client.ask('GET', path)[0] == 404


@pytest.mark.parametrize('path', ['../..', '/../etc', '/a/../../../etc', '/out'])
def test_nothing_outside_of_the_mount_is_listed(share, client, path):
    link = share.mnt / 'out'
    os.symlink('/etc', link)
    try:
        cookie = client.sign_in().split(';')[0]
        status, _, body = client.call('KeyfoldConsole.ListFolder', {'Path': path}, Cookie=cookie)
        assert status == 500 and 'passwd' not in body, body
    finally:
        link.unlink()


@pytest.mark.parametrize('operation', [
    'TrentService.Decrypt', 'TrentService.GenerateDataKey', 'KeyfoldIam.CreateAccessKey',
    'KeyfoldIam.AssumeRole', 'KeyfoldIam.ApplyIam', 'KeyfoldAudit.ApplyAlertRules',
    'KeyfoldStore.BackupKeyStore', 'KeyfoldStore.RotateRootKey', 'KeyfoldConsole.Nothing', 'x'])
def test_what_the_pages_do_not_need_is_not_offered(client, operation):
    cookie = client.sign_in().split(';')[0]
    _, _, body = client.call(operation, Cookie=cookie)
    assert json.loads(body)['__type'] == 'UnknownOperationException'


def test_requests_that_are_too_large_or_slow_are_ended(client):
    cookie = client.sign_in().split(';')[0]
    assert client.call(body={'x': 'y' * (1 << 20)}, Cookie=cookie)[0] == 413
    deep = '[' * 40 + ']' * 40
    assert client.ask('POST', '/api', json.loads(deep), Cookie=cookie,
                      X_Amz_Target='KeyfoldIam.WhoAmI')[0] == 400


def test_the_process_keeps_its_secrets(share, client):
    pid = client.process.pid
    client.sign_in()
    for name in ('cmdline', 'environ'):
        with open(f'/proc/{pid}/{name}', 'rb') as file:
            assert client.token.encode() not in file.read()
    status = open(f'/proc/{pid}/status').read()
    assert 'NoNewPrivs:\t1' in status
    # Not dumpable: what is below /proc belongs to root.
    assert os.stat(f'/proc/{pid}/mem').st_uid == 0
    out = subprocess.run(['ss', '-Hltnp'], stdout=subprocess.PIPE, text=True, check=True).stdout
    mine = [line.split()[3] for line in out.splitlines() if f'pid={pid},' in line]
    assert mine == [client.address]

