"""Does the web console do in a real browser what its user may, and say why what they may
not is refused?"""
import re
import subprocess

import pytest

from browser import open_browser, open_console, signed_in
from console import NEEDS_BROWSER, create_key, follow, open_key, open_page
from share import IAM, as_user, new_share

pytestmark = NEEDS_BROWSER


@pytest.fixture(scope='module')
def share():
    with new_share('console') as made:
        made.python('kfcfo', 'import os, sys; os.mkdir(sys.argv[1])', made.mnt / 'reports')
        yield made


@pytest.fixture(scope='module')
def cfo(share):
    with signed_in(share, 'kfcfo') as browser:
        yield browser


@pytest.fixture(scope='module')
def accounts(share):
    with signed_in(share, 'kfaccounts') as browser:
        yield browser


def read(share, user):
    return share.attempt(user, 'read', share.mnt / 'reports/payslip.pdf')


def set_key(browser, path, key):
    browser.press_button('Set key')
    browser.fill(label='Key', text=key)
    browser.in_dialog(f'Set the key of {path}', 'Set key')


def test_finance_share_by_clicks(share, cfo, accounts):
    page = create_key(cfo, 'reports', 'Reports of the CFO')
    assert 'Reports of the CFO' in page and 'Enabled' in page and 'user:kfcfo' in page

    open_page(cfo, 'Files')
    follow(cfo, 'reports/', '/reports')
    set_key(cfo, '/reports', 'alias/reports')
    assert share.run('kfcfo', 'folder', 'show', share.mnt / 'reports').split()[3] == 'alias/reports'
    for name in ('payslip.pdf', 'wallet.txt'):
        share.python('kfcfo', 'import sys; open(sys.argv[1], "w").write("net pay 4711")',
                     share.mnt / 'reports' / name)
    assert read(share, 'kfaccounts') == 'EACCES'

    # A refusal, and by which statement.
    open_key(accounts, 'reports')
    accounts.press_button('Disable')
    accounts.press_button('Disable', within={'role': 'dialog', 'name': 'Disable this key?'})
    accounts.wait(text='not authorized to perform: kms:DisableKey')
    accounts.wait(text='Why: no statement of the key policy allows user:kfaccounts kms:DisableKey')
    accounts.press_button('Cancel')
    accounts.wait_closed('Disable this key?')

    open_page(accounts, 'Files')
    follow(accounts, 'reports/', '/reports')
    table = follow(accounts, 'Who may open payslip.pdf', 'Who may open /reports/payslip.pdf')
    assert re.search(r'kfcfo\s+may open it\s+\S+', table), table
    assert re.search(r'kfaccounts\s+may not\s+no statement of the key policy allows', table), table

    open_key(cfo, 'reports')
    cfo.click(text='Change administrators and users')
    cfo.press_button('Add user')
    cfo.fill(label='Who', text='user:kfaccounts')
    cfo.in_dialog('Add a user', 'Add')
    cfo.find(role='button', name='Remove user user:kfaccounts')
    assert read(share, 'kfaccounts') == 'ok'
    cfo.press_button('Remove user user:kfaccounts')
    cfo.wait(text='user:kfaccounts', gone=True)
    assert read(share, 'kfaccounts') == 'EACCES'

    cfo.press_button('Create grant')
    cfo.fill(label='To whom', text='user:kfaccounts')
    cfo.in_dialog('Create a grant', 'Create')
    cfo.find(role='button', name='Revoke the grant to user:kfaccounts')
    assert read(share, 'kfaccounts') == 'ok'
    cfo.press_button('Revoke the grant to user:kfaccounts')
    cfo.wait(text='No grants.')
    assert read(share, 'kfaccounts') == 'EACCES'

    cfo.press_button('Schedule deletion')
    cfo.fill(label='Waiting period in days', text='7')
    cfo.in_dialog("Schedule the key's deletion", 'Schedule deletion')
    cfo.wait(text='in 7 days')
    assert read(share, 'kfcfo') == 'ENOKEY'
    open_page(cfo, 'Keys')
    cfo.wait(text='7 days')
    follow(cfo, 'reports', 'reports')
    cfo.press_button('Cancel deletion')
    cfo.press_button('Enable')
    cfo.find(role='button', name='Disable')
    assert read(share, 'kfcfo') == 'ok'

    # From the key to its folders and its events, and from an event to the key.
    cfo.press_button('Look for its folders')
    follow(cfo, '/reports', '/reports')
    open_key(cfo, 'reports')
    follow(cfo, 'All events', 'Audit')
    cfo.find(role='cell', name='CancelKeyDeletion')
    cfo.until(lambda: all(row[4] == 'alias/reports' for row in cfo.table('Events')))
    follow(cfo, 'alias/reports', 'reports')


def test_a_pay_slip_gets_another_key_by_clicks(share, cfo, accounts):
    share.kms(None, 'create-key', '--alias', 'alias/closed')
    open_page(cfo, 'Files')
    follow(cfo, 'reports/', '/reports')
    follow(cfo, 'payslip.pdf', '/reports/payslip.pdf')
    set_key(cfo, '/reports/payslip.pdf', 'alias/aws/fs')
    cfo.find(role='link', name='alias/aws/fs')
    assert read(share, 'kfaccounts') == 'ok'
    assert share.attempt('kfaccounts', 'read', share.mnt / 'reports/wallet.txt') == 'EACCES'
    table = follow(cfo, 'Who may open it', 'Who may open /reports/payslip.pdf')
    assert re.search(r'kfaccounts\s+may open it\s+\S+', table), table
    # It is the service's own: its page offers nothing to change it by.
    page = follow(cfo, 'alias/aws/fs', 'aws/fs')
    assert re.search(r'Managed by\s+Keyfold', page), page
    assert cfo.count(role='button', name='Disable') == cfo.count(role='button', name='Create grant') == 0

    # By the key, and by the file.
    for browser, key, why in (
            (cfo, 'alias/closed', 'kfcfo may not kms:Decrypt with alias/closed (no statement of the key policy'),
            (accounts, 'alias/aws/fs', 'You may not write to /reports/payslip.pdf.')):
        open_page(browser, 'Files')
        follow(browser, 'reports/', '/reports')
        follow(browser, 'payslip.pdf', '/reports/payslip.pdf')
        browser.press_button('Set key')
        browser.fill(label='Key', text=key)
        browser.press_button('Set key', within={'role': 'dialog', 'name': 'Set the key of /reports/payslip.pdf'})
        browser.wait(text=why)
        browser.press_button('Cancel')
        browser.wait_closed('Set the key of /reports/payslip.pdf')

    set_key(cfo, '/reports/payslip.pdf', 'alias/reports')
    cfo.find(role='link', name='alias/reports')
    assert read(share, 'kfaccounts') == 'EACCES'


# What the page told meanwhile, to those who listen as well.
HEARD = '''window.heard = []; new MutationObserver(() => document.querySelectorAll("[role=status]").forEach(
    (one) => window.heard.push(one.textContent))).observe(document.body, {subtree: true, childList: true,
    characterData: true})'''


def test_key_material_is_imported_with_the_shown_commands(share, cfo, tmp_path):
    create_key(cfo, 'own', 'Material of our own', origin='I import it')
    cfo.eval(code=HEARD)
    cfo.press_button('Get wrapping key and token')
    cfo.find(role='button', name='Download wrapping key')
    cfo.download(role='button', name='Download wrapping key', path=str(cfo.folder / 'wrapping-key.der'))
    assert 'The wrapping key is being made…' in cfo.eval(code='window.heard')
    commands = cfo.text(selector='.copyable pre')
    subprocess.run([*as_user('kfcfo'), 'bash', '-euc', commands], cwd=cfo.folder, check=True)
    cfo.upload(label='Wrapped material', path=str(cfo.folder / 'wrapped-material'))
    cfo.press_button('Import')
    cfo.find(role='heading', name='own')
    page = cfo.settled()
    assert 'Enabled' in page and 'imported' in page and 'never' in page
    share.kms('kfcfo', 'encrypt', '--key-id', 'alias/own', '--plaintext', 'aGVsbG8=')

    cfo.press_button('Delete material')
    cfo.in_dialog('Delete the imported material?', 'Delete material')
    cfo.wait(text='Pending import')


def test_audit_shows_who_tried(share, cfo):
    read(share, 'kfstranger')
    read(share, 'kfaccounts')
    cfo.go('audit')
    cfo.fill(label='User', text='kfaccounts')
    cfo.press(key='Enter')
    cfo.choose(label='Outcome', option='refused')
    cfo.fill(label='Text', text='payslip')
    page = cfo.settled()
    assert re.search(r'kfaccounts\s+OpenFile\s+AccessDeniedException\s+alias/reports\s+/reports/payslip.pdf', page), page
    assert 'kfstranger' not in page
    cfo.fill(label='User', text='')
    cfo.press(key='Enter')
    cfo.wait(text='kfstranger')
    cfo.check(label='Live', on=True)
    before = cfo.count(role='row')
    share.attempt('kfstranger', 'read', share.mnt / 'reports/payslip.pdf')
    cfo.until(lambda: cfo.count(role='row') > before)
    assert len(re.findall(r'\d\d:\d\d', cfo.text(selector='.axis'))) == 5
    cfo.eval(code='window.now = Date.now; Date.now = () => now() + 16 * 60000')
    cfo.wait(text='Live has ended: nobody touched the page for 15 minutes.')
    cfo.eval(code='Date.now = window.now')
    assert not cfo.checked(label='Live')
    cfo.go('alerts')
    cfo.wait(text='alias/reports')
    assert re.search(r'KeyDeletionScheduled.*alias/reports', cfo.text())


def test_last_events_leave_looks_out(share, cfo):
    for _ in range(6):
        open_key(cfo, 'reports')
    cfo.wait(text='alias/reports')
    page = cfo.text()
    events = cfo.text(selector='[aria-label="Events, table"]').splitlines()[1:]
    assert len(events) == 10 and all('alias/reports' in one for one in events), page
    assert not re.search('DescribeKey|ListGrants|GetKeyPolicy', '\n'.join(events)), events
    assert share.kms('kfcfo', 'describe-key', '--key-id', 'alias/reports')['KeyMetadata']['KeyId'] not in page.split('Last events')[1]


def test_a_taken_alias_is_told_at_the_first_step(cfo):
    cfo.go('new-key')
    cfo.fill(label='Alias', text='reports')
    cfo.press_button('Next')
    cfo.wait(text='There is an alias reports already.')
    cfo.find(role='heading', name='1. Alias and description')
    cfo.fill(label='Alias', text='free')
    cfo.press_button('Next')
    cfo.find(role='heading', name='2. Material')


def test_what_somebody_may_not_see_says_so(share):
    with signed_in(share, 'kfstranger') as browser:
        browser.wait(text='not authorized to perform: kms:ListKeys')
        assert 'kfstranger' in browser.go('me')
        browser.go('alerts')
        browser.wait(text='not authorized to perform: cloudtrail:LookupEvents')


IMPOSTOR = r"""
import http.server, json, sys
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_POST(self):
        self.rfile.read(int(self.headers['Content-Length']))
        kind = sys.argv[2]
        if kind == 'closes':
            self.close_connection = True
            return
        body = json.dumps({'PublicKey': 'AAAA', 'ImportToken': 'AAAA', 'Events': [], 'Keys': [],
                           'Aliases': [], 'Principals': []}).encode()
        self.send_response(307 if kind == 'redirects' else 200)
        if kind == 'redirects':
            self.send_header('Location', '/elsewhere')
        proofs = {'wrong': 'A' * 43 + '=', 'malformed': '!!!'}
        if kind in proofs:
            self.send_header('Keyfold-Proof', proofs[kind])
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
class Server(http.server.ThreadingHTTPServer):
    allow_reuse_address = True
server = Server(('127.0.0.1', int(sys.argv[1])), Answer)
print('ready', flush=True)
server.serve_forever()
"""


@pytest.fixture(scope='module')
def another(share):
    """A second browser, which sees its console end."""
    with open_browser('kfcfo') as browser:
        yield browser


@pytest.mark.parametrize('kind, told', [
    ('wrong', 'is not the console that this page came from'),
    ('malformed', 'is not the console that this page came from'),
    ('none', 'is not the console that this page came from'),
    ('closes', 'does not answer'), ('redirects', 'does not answer')])
def test_an_open_page_trusts_nobody_who_takes_the_port(share, another, kind, told):
    with open_console(share, 'kfcfo') as (_, url):
        another.open(url=url)
        another.find(role='heading', name='Keys')
        another.go('me')
    other = subprocess.Popen([*as_user('kfaccounts'), '/usr/bin/python3', '-c', IMPOSTOR,
                              re.search(r':(\d+)/', url)[1], kind], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == 'ready\n'
        page = another.go('audit')
        assert told in page, page
        # Nothing is asked any more, even if the true one came back.
        assert 'The console has ended' in another.go('keys')
    finally:
        other.kill()
        other.wait()


def test_live_says_why_it_ends(share, another):
    with open_console(share, 'kfcfo') as (_, url):
        another.open(url=url)
        another.find(role='heading', name='Keys')
        another.go('audit')
        another.check(label='Live', on=True)
    another.wait(text='Live has ended: the log could not be looked at.')
    another.wait(text='does not answer')
    assert not another.checked(label='Live')


def refused_since(share, sequence):
    """What was refused to kfsysadmin."""
    return sorted(one['eventName'] for one in share.events(errorCode='AccessDeniedException')
                  if one['sequence'] > sequence and one['userIdentity'].get('userName') == 'kfsysadmin')


# All that happens on the page from now on happens within a minute, on any machine.
WITHIN_A_MINUTE = '{ const now = Date.now(); Date.now = () => now; }'


def test_looking_at_pages_raises_no_alert_against_one_with_few_rights(share):
    # One key of many is theirs, the last by its name.
    share.apply_iam(IAM % 'FilesFullAccess')
    for i in range(15):
        share.kms('kfcfo', 'create-alias', '--alias-name', f'alias/a{i}', '--target-key-id',
                  share.kms('kfcfo', 'create-key')['KeyMetadata']['KeyId'])
    own = share.kms('kfsysadmin', 'create-key')['KeyMetadata']['KeyId']
    share.kms('kfsysadmin', 'create-alias', '--alias-name', 'alias/zulu', '--target-key-id', own)
    before = share.events()[-1]['sequence']
    with signed_in(share, 'kfsysadmin') as browser:
        browser.eval(code=WITHIN_A_MINUTE)
        for _ in range(3):
            open_page(browser, 'Keys')
            browser.wait(text='not looked at')
            browser.wait(text='Enabled')
            names = [row[0] for row in browser.table('Keys')]
            assert names == sorted(names), names
            # One that was refused, one that likely would be, and their own.
            for name, told in (('a0', 'was not asked again'), ('a5', 'was not asked for')):
                browser.click(role='link', name=name)
                browser.wait(text=told)
                open_page(browser, 'Keys')
            follow(browser, 'zulu', 'zulu')
            browser.go('who', '%2Freports%2Fpayslip.pdf')
            browser.wait(text='you may not know')
        open_page(browser, 'Keys')
        browser.press_button('Look at a9')
        browser.wait(text='not yours to see')
    assert refused_since(share, before) == ['DescribeKey'] * 4 + ['Simulate'] * 3
    assert not [one for one in share.events(eventName='ManyRefusals')
                if one['sequence'] > before and one['userIdentity'].get('userName') == 'kfsysadmin']


def test_parts_of_keys_are_asked_for_no_further_than_they_are_told(share):
    # A grant to describe a key, as users of a key have that, gives no right to its parts.
    for i in range(15):
        share.kms('kfcfo', 'create-grant', '--key-id', f'alias/a{i}', '--grantee-principal', 'user:kfsysadmin',
                  '--operations', 'DescribeKey')
    before = share.events()[-1]['sequence']
    with signed_in(share, 'kfsysadmin') as browser:
        browser.eval(code=WITHIN_A_MINUTE)
        # The three that no grant is for end the looks, and two refusals those at tags.
        browser.until(lambda: [row[1] for row in browser.table('Keys')].count('not yours to see') == 3)
        assert len([row for row in browser.table('Keys') if re.match(r'a\d', row[0]) and row[1] == 'Enabled']) == 15
        for name, told, unasked in (('a0', 2, 2), ('a1', 1, 3), ('a2', 0, 4)):
            page = open_key(browser, name)
            assert len(re.findall('not authorized to perform', page)) == told, page
            assert browser.count(role='button', name='Ask') == unasked
        # By hand it is asked for.
        browser.press_button('Ask', within={'role': 'region', 'name': 'Grants'})
        browser.wait(text='not authorized to perform: kms:ListGrants')
    assert refused_since(share, before) == ['DescribeKey'] * 3 + ['GetKeyPolicy', 'ListGrants'] + ['ListResourceTags'] * 2


def test_the_downgraded_administrator_looks_and_does_nothing(share, accounts):
    share.apply_iam(IAM % 'AdministratorAccess')
    assert read(share, 'kfsysadmin') == 'ok'
    share.apply_iam(IAM % 'SystemAdministrator')
    dialogs = [('Disable', 'Disable this key?', 'Disable', 'kms:DisableKey'),
               ('Edit policy', 'Edit the key policy', 'Save', 'kms:PutKeyPolicy'),
               ('Create grant', 'Create a grant', 'Create', 'kms:CreateGrant')]
    with signed_in(share, 'kfsysadmin') as browser:
        page = open_key(browser, 'reports')
        assert 'Reports of the CFO' in page and 'user:kfcfo' in page and 'No grants.' in page
        assert re.search(r'kfsysadmin\s+OpenFile\s+ok', page), page
        for button, dialog, submit, action in dialogs:
            browser.press_button(button)
            if button == 'Create grant':
                browser.fill(label='To whom', text='user:kfsysadmin')
            browser.press_button(submit, within={'role': 'dialog', 'name': dialog})
            browser.wait(text=f'not authorized to perform: {action}')
            browser.wait(text=f'Why: no statement of the key policy allows user:kfsysadmin {action}')
            browser.press_button('Cancel')
            browser.wait_closed(dialog)
        open_page(browser, 'Files')
        follow(browser, 'reports/', '/reports')
        table = follow(browser, 'Who may open payslip.pdf', 'Who may open /reports/payslip.pdf')
        assert re.search(r'kfcfo\s+may open it', table) and re.search(r'kfsysadmin\s+may not\s+no ', table), table
    assert read(share, 'kfsysadmin') == 'EACCES'

    # What he tried is seen by whoever may read the log.
    open_page(accounts, 'Audit')
    accounts.fill(label='User', text='kfsysadmin')
    accounts.press(key='Enter')
    accounts.choose(label='Outcome', option='refused')
    tried = [['kfsysadmin', event, 'AccessDeniedException', 'alias/reports', path] for event, path in (
        ('DisableKey', ''), ('PutKeyPolicy', ''), ('CreateGrant', ''), ('OpenFile', '/reports/payslip.pdf'))]
    accounts.until(lambda: all(one in [row[1:] for row in accounts.table('Events')] for one in tried))
