"""Does the web console let in the one who opened its address, and nobody else; and what may
its pages ask for?"""
import json
import os
import re
import socket
import subprocess
import time

import pytest

from browser import open_console
from share import Failed, as_user, new_share

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to act as several users')
TYPE = 'application/x-amz-json-1.1'


@pytest.fixture(scope='module')
def share():
    with new_share('console-access') as made:
        yield made


ASK = r'''
import http.client, json, sys
port, method, path, headers, body = json.load(sys.stdin)
connection = http.client.HTTPConnection('127.0.0.1', port, timeout=10)
try:
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    print(json.dumps([answer.status, dict(answer.getheaders()), answer.read().decode()]))
except ConnectionError:
    print(json.dumps(['closed', {}, '']))
'''


class Client:
    """Requests to a console as any program may send them."""

    def __init__(self, url, user):
        self.address, self.token = re.fullmatch(r'http://([^/]+)/#token=(\S+)', url).groups()
        self.user = user

    def ask(self, method, path, body=None, user=None, **changed):
        headers = {'Host': self.address, 'Origin': f'http://{self.address}', 'Content-Type': TYPE,
                   **{name.replace('_', '-'): value for name, value in changed.items()}}
        headers = {name: value for name, value in headers.items() if value is not None}
        request = [int(self.address.split(':')[1]), method, path, headers, None if body is None else json.dumps(body)]
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


def has_ipv6():
    try:
        socket.create_server(('::1', 0), family=socket.AF_INET6).close()
        return True
    except OSError:
        return False


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
    {'Host': 'evil.example'}, {'Host': 'localhost:1'}, {'Host': '127.0.0.1'}, {'Origin': 'http://evil.example'},
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


def test_requests_that_are_too_large_or_deep_are_refused(client):
    cookie = client.sign_in().split(';')[0]
    assert client.call(body={'x': 'y' * (1 << 20)}, Cookie=cookie)[0] in (413, 'closed')
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
    port = client.address.split(':')[1]
    here = ['127.0.0.1'] + (['[::1]'] if has_ipv6() else [])
    assert sorted(mine) == [f'{host}:{port}' for host in here]


def test_a_port_that_another_has_on_one_address_is_not_taken(share):
    """Or the browser's calls for the name might go there."""
    with socket.create_server(('127.0.0.1', 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(Failed) as info:
            share.run('kfcfo', 'console', '--port', str(port))
        assert 'Address already in use' in info.value.text
    if not has_ipv6():
        return
    with socket.create_server(('::1', port), family=socket.AF_INET6):
        with pytest.raises(Failed) as info:
            share.run('kfcfo', 'console', '--port', str(port))
        assert 'Address already in use' in info.value.text


def test_what_lies_under_the_mount_is_not_shown(share, client):
    cookie = client.sign_in().split(';')[0]
    share.unmount()
    try:
        (share.mnt / 'plain').write_text('')
        # Who may write there could name a KMS of their own.
        os.setxattr(share.mnt, 'user.keyfold.socket', b'/run/keyfold/another.sock')
        for operation, body in (
                ('KeyfoldConsole.ListFolder', {'Path': '/'}),
                ('KeyfoldConsole.DescribePath', {'Path': '/plain'}),
                ('KeyfoldConsole.SetKey', {'Path': '/plain', 'KeyId': 'alias/aws/fs'}),
                ('TrentService.ListKeys', {})):
            _, _, told = client.call(operation, body, Cookie=cookie)
            assert 'is not mounted any more' in told, (operation, told)
    finally:
        (share.mnt / 'plain').unlink()
        os.removexattr(share.mnt, 'user.keyfold.socket')
        share.mount()
    assert client.call('KeyfoldConsole.ListFolder', {'Path': '/'}, Cookie=cookie)[0] == 200


def test_it_ends_when_nobody_uses_it(share):
    with open_console(share, 'kfcfo', '--idle', '2s') as (process, _):
        assert process.wait(20) == 0
        assert 'Nobody used the console for 2 s.' in process.stdout.read()


def test_use_keeps_it(share):
    with open_console(share, 'kfcfo', '--idle', '8s') as (process, url):
        client = Client(url, 'kfcfo')
        cookie = client.sign_in().split(';')[0]
        for _ in range(20):
            time.sleep(0.5)
            assert client.call(Cookie=cookie)[0] == 200
        # Who is not let in does not.
        for _ in range(60):
            time.sleep(0.5)
            if process.poll() is not None:
                break
            client.call()
        assert process.poll() == 0


def test_it_ends_with_its_terminal(share):
    master, terminal = os.openpty()
    with open_console(share, 'kfcfo', stdin=terminal) as (process, _):
        os.close(terminal)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(3)
        os.close(master)
        assert process.wait(10) == 0


def test_it_opens_a_browser_without_telling_the_address_to_others(share):
    folder = share.folder / 'desktop'
    (folder / 'bin').mkdir(parents=True)
    opener = folder / 'bin/xdg-open'
    opener.write_text('#!/bin/sh\nstat -c %a "$1" >"$XDG_RUNTIME_DIR/seen"\ncat "$1" >>"$XDG_RUNTIME_DIR/seen"\n')
    opener.chmod(0o755)
    subprocess.run(['chown', '-R', 'kfcfo:', folder], check=True)
    with open_console(share, 'kfcfo', '--open', XDG_RUNTIME_DIR=str(folder),
                      PATH=f'{folder}/bin:{os.environ["PATH"]}') as (_, url):
        for _ in range(100):
            if (folder / 'seen').exists() and 'url=' in (folder / 'seen').read_text():
                break
            time.sleep(0.1)
        seen = (folder / 'seen').read_text()
        assert seen.startswith('600\n') and f'url={url}"' in seen
        Client(url, 'kfcfo').sign_in()
        assert list(folder.glob('*.html')) == []


@pytest.mark.parametrize('options', [('--idle', 'soon'), ('--idle', '0s'), ('--idle', '48h'),
                                     ('--port', '70000'), ('--open',)])
def test_wrong_options_are_one_line(share, options):
    with pytest.raises(Failed) as info:
        share.run('kfcfo', 'console', *options)
    assert info.value.code == 2 and info.value.text.count('\n') == 1


def test_a_store_that_is_not_mounted(share):
    """By whoever has the root key; without folders."""
    share.unmount()
    try:
        with open_console(share, None, '--store', str(share.store)) as (_, url):
            client = Client(url, 'root')
            cookie = client.sign_in().split(';')[0]
            assert client.call('TrentService.ListKeys', Cookie=cookie)[0] == 200
            assert client.call('KeyfoldConsole.ListFolder', {'Path': '/'}, Cookie=cookie)[0] == 400
    finally:
        share.mount()
