"""Does each page of the web console show what is so, and do what its buttons say? What it
shows is compared with what the command line says."""
import datetime
import json
import re
import subprocess

import pytest

from browser import signed_in
from console import NEEDS_BROWSER, begin_key, follow, next_step, open_key, open_page, policy_of, statements
from share import Failed, as_user, new_share

pytestmark = NEEDS_BROWSER


@pytest.fixture(scope='module')
def share():
    with new_share('console-pages') as made:
        yield made


@pytest.fixture(scope='module')
def cfo(share):
    with signed_in(share, 'kfcfo') as browser:
        yield browser


def new_key(share, alias, *options):
    """A key of the CFO's, and what it is."""
    return share.kms('kfcfo', 'create-key', '--alias', f'alias/{alias}', '--administrators', 'user:kfcfo',
                     '--users', 'user:kfcfo', *options)['KeyMetadata']


def describe(share, alias):
    return share.kms('kfcfo', 'describe-key', '--key-id', f'alias/{alias}')['KeyMetadata']


def minute(time):
    """As the pages write a time of the command line."""
    return datetime.datetime.fromisoformat(time).astimezone(datetime.timezone.utc).strftime('%Y-%m-%d %H:%M UTC')


def test_keys_are_found_by_what_is_known_of_them(share, cfo):
    alpha = new_key(share, 'alpha', '--description', 'First letter', '--tags', 'TagKey=department,TagValue=finance')
    beta = new_key(share, 'beta', '--tags', 'TagKey=department,TagValue=sales')
    share.kms('kfcfo', 'create-alias', '--alias-name', 'alias/second', '--target-key-id', beta['KeyId'])
    share.kms('kfcfo', 'disable-key', '--key-id', 'alias/beta')
    open_page(cfo, 'Keys')
    cfo.until(lambda: all(row[1] != '…' for row in cfo.table('Keys')))
    rows = {row[0]: row[1:] for row in cfo.table('Keys')}
    assert rows['alpha'] == ['Enabled', 'First letter', 'department=finance', minute(alpha['CreationDate']), '–']
    assert rows['beta, second'] == ['Disabled', '–', 'department=sales', minute(beta['CreationDate']), '–']
    for sought, found in (('ALPHA', ['alpha']), ('second', ['beta, second']), ('department=sales', ['beta, second']),
                          ('disabled', ['beta, second']), ('letter enabled', ['alpha']), (alpha['KeyId'], ['alpha']),
                          ('finance disabled', [])):
        cfo.fill(label='Search', text=sought)
        cfo.wait(text=f'{len(found)} of {len(rows)} keys')
        assert [row[0] for row in cfo.table('Keys')] == found, sought
    cfo.wait(text='No key fits.')


def test_the_wizard_makes_what_was_reviewed(share, cfo):
    begin_key(cfo, 'macs', 'Codes')
    cfo.click(role='radio', name='HMAC-384', exact=False)
    next_step(cfo, '3. Administrators')
    cfo.fill(label='Administrator', text='kfsysadmin')
    cfo.press_button('Add')
    cfo.check(label='Administrators may schedule its deletion', on=False)
    next_step(cfo, '4. Users')
    cfo.fill(label='User', text='user:kfaccounts')
    cfo.press_button('Add')
    next_step(cfo, '5. Review')
    cfo.settled()
    cfo.fill(label='Key policy', text=cfo.eval(code='document.querySelector("textarea").value').replace(
        'Allow use of the key', 'Changed by hand'))

    # What was entered is there on the way back; what was written by hand goes when it no
    # longer says what was chosen, and not before.
    for heading in ('4. Users', '3. Administrators'):
        cfo.press_button('Back')
        cfo.find(role='heading', name=heading)
    assert not cfo.checked(label='Administrators may schedule its deletion')
    assert 'user:kfsysadmin' in cfo.text()
    cfo.press_button('Back')
    cfo.find(role='heading', name='2. Material')
    assert cfo.checked(label='HMAC-384', exact=False)
    next_step(cfo, '3. Administrators')
    next_step(cfo, '4. Users')
    next_step(cfo, '5. Review')
    cfo.settled()
    assert 'Changed by hand' in cfo.eval(code='document.querySelector("textarea").value')
    cfo.press_button('Back')
    cfo.press_button('Remove user:kfcfo')
    next_step(cfo, '5. Review')
    page = cfo.settled()
    assert re.search(r'Administrators\s+user:kfcfo\s*user:kfsysadmin\s+Users\s+user:kfaccounts\s', page), page
    reviewed = statements(cfo.eval(code='document.querySelector("textarea").value'))
    cfo.press_button('Create key')
    cfo.find(role='heading', name='macs')
    page = cfo.settled()
    assert 'message authentication (HMAC_384)' in page and 'user:kfaccounts' in page

    assert policy_of(share, 'macs') == reviewed
    assert 'Changed by hand' not in reviewed
    administrators = reviewed['Allow access for Key Administrators']
    assert administrators['Principal']['AWS'] == ['user:kfcfo', 'user:kfsysadmin']
    assert not [one for one in administrators['Action'] if 'Deletion' in one]
    assert reviewed['Allow use of the key']['Principal']['AWS'] == 'user:kfaccounts'
    mac = ('generate-mac', '--key-id', 'alias/macs', '--mac-algorithm', 'HMAC_SHA_384', '--message', 'aGVsbG8=')
    share.kms('kfaccounts', *mac)
    assert share.refused('kfcfo', *mac) == 'AccessDeniedException'
    assert share.refused('kfcfo', 'schedule-key-deletion', '--key-id', 'alias/macs') == 'AccessDeniedException'


def test_material_is_imported_with_a_token_of_before_and_expires(share, cfo):
    key = new_key(share, 'lent', '--origin', 'EXTERNAL')
    open_key(cfo, 'lent')
    follow(cfo, 'Import material', 'Import key material')
    cfo.choose(label='Wrapping key', option='RSA_2048')
    cfo.choose(label='Wrapping algorithm', option='RSAES_OAEP_SHA_1')
    cfo.press_button('Get wrapping key and token')
    cfo.download(role='button', name='Download wrapping key', path=str(cfo.folder / 'wrapping-key.der'))
    cfo.download(role='button', name='Download token', path=str(cfo.folder / 'import-token'))
    subprocess.run([*as_user('kfcfo'), 'bash', '-euc', cfo.text(selector='.copyable pre')],
                   cwd=cfo.folder, check=True)

    # Later, on a page that knows of no token.
    open_key(cfo, 'lent')
    page = follow(cfo, 'Import material', 'Import key material')
    assert 'Get the wrapping key first.' in page
    cfo.upload(label='Wrapped material', path=str(cfo.folder / 'wrapped-material'))
    cfo.press_button('Import')
    cfo.wait(text='Choose the file of the token as well')
    cfo.upload(label='Token', path=str(cfo.folder / 'import-token'))
    cfo.check(label='The material expires', on=True)
    today = datetime.datetime.now(datetime.timezone.utc).date()
    cfo.fill(label='Expires on', text=str(today - datetime.timedelta(days=2)))
    cfo.press_button('Import')
    cfo.wait(text='ValidationException')
    expires = today + datetime.timedelta(days=10)
    cfo.fill(label='Expires on', text=str(expires))
    cfo.press_button('Import')
    cfo.find(role='heading', name='lent')
    page = cfo.settled()
    assert re.search(rf'Material expires\s+{expires} 00:00 UTC', page) and 'Enabled' in page, page
    made = describe(share, 'lent')
    assert made['KeyId'] == key['KeyId'] and made['ExpirationModel'] == 'KEY_MATERIAL_EXPIRES'
    assert minute(made['ValidTo']) == f'{expires} 00:00 UTC'


def test_aliases_tags_description_and_rotation(share, cfo):
    key = new_key(share, 'small', '--description', 'What it was')
    open_key(cfo, 'small')
    cfo.press_button('Edit description')
    cfo.fill(label='Description', text='What it is')
    cfo.in_dialog('Edit the description', 'Save')
    cfo.wait(text='What it is')
    cfo.press_button('Add alias')
    cfo.fill(label='Alias', text='other')
    cfo.in_dialog('Add an alias', 'Add')
    cfo.find(role='heading', name='other, small')
    cfo.press_button('Remove alias small')
    cfo.find(role='heading', name='other')
    aliases = share.kms('kfcfo', 'list-aliases', '--key-id', key['KeyId'])['Aliases']
    assert [one['AliasName'] for one in aliases] == ['alias/other']

    cfo.press_button('Add tag')
    cfo.fill(label='Tag', text='owner')
    cfo.fill(label='Value', text='<img src=x onerror=alert(1)>')
    cfo.in_dialog('Add or change a tag', 'Save')
    cfo.wait(text='<img src=x onerror=alert(1)>')
    assert cfo.eval(code='document.querySelectorAll("img").length') == 0
    tags = ('list-resource-tags', '--key-id', key['KeyId'])
    assert share.kms('kfcfo', *tags)['Tags'] == [{'TagKey': 'owner', 'TagValue': '<img src=x onerror=alert(1)>'}]
    cfo.press_button('Remove tag owner')
    cfo.wait(text='No tags.')
    assert share.kms('kfcfo', *tags)['Tags'] == []

    cfo.press_button('Rotate regularly')
    cfo.fill(label='Every so many days', text='90')
    cfo.in_dialog('Rotate the key regularly', 'Save')
    cfo.wait(text='every 90 days')
    rotation = ('get-key-rotation-status', '--key-id', key['KeyId'])
    status = share.kms('kfcfo', *rotation)
    assert status['RotationPeriodInDays'] == 90 and minute(status['NextRotationDate']) in cfo.text()
    cfo.press_button('Stop rotating')
    cfo.find(role='button', name='Rotate regularly')
    assert re.search(r'By itself\s+no\b', cfo.text()), cfo.text()
    assert not share.kms('kfcfo', *rotation)['KeyRotationEnabled']
    cfo.press_button('Rotate now')
    assert 'Not rotated yet.' in cfo.text()
    cfo.in_dialog('Rotate the key now?', 'Rotate now')
    cfo.find(role='cell', name='by hand')
    past = share.kms('kfcfo', 'list-key-rotations', '--key-id', key['KeyId'])['Rotations']
    assert cfo.table('Past rotations') == [[minute(past[0]['RotationDate']), 'by hand']]

    cfo.press_button('Edit policy')
    cfo.fill(label='Policy', text='nonsense')
    cfo.press_button('Save', within={'role': 'dialog', 'name': 'Edit the key policy'})
    cfo.wait(text='MalformedPolicyDocumentException')
    assert cfo.eval(code='document.querySelector("textarea").value') == 'nonsense'
    cfo.press_button('Cancel')


def counts_of(browser):
    """What the chart's table adds up to: done, and refused or failed."""
    rows = browser.table('Events over time')
    return [sum(int(row[i]) for row in rows) for i in (1, 2)]


def test_the_audit_page_chooses_and_counts(share, cfo):
    watched = new_key(share, 'watched')['KeyId']
    new_key(share, 'unwatched')
    for _ in range(3):
        share.kms('kfcfo', 'describe-key', '--key-id', 'alias/watched')
    for user, times in (('kfaccounts', 2), ('kfsysadmin', 1)):
        for _ in range(times):
            blob = ('encrypt', '--key-id', 'alias/watched', '--plaintext', 'aGVsbG8=')
            try:
                share.kms(user, *blob)
            except Failed:
                assert user == 'kfaccounts'
    open_page(cfo, 'Audit')
    cfo.fill(label='Key', text='alias/watched')
    cfo.press(key='Enter')
    cfo.until(lambda: all('alias/watched' in row[4] for row in cfo.table('Events')) and
              len(cfo.table('Events')) == 5)
    done = [row[1:4] for row in cfo.table('Events')]
    assert done == [['kfsysadmin', 'Encrypt', 'ok'], ['kfaccounts', 'Encrypt', 'AccessDeniedException'],
                    ['kfaccounts', 'Encrypt', 'AccessDeniedException'], ['kfcfo', 'CreateAlias', 'ok'],
                    ['kfcfo', 'CreateKey', 'ok']], done
    cfo.click(text='As a table')
    assert len(cfo.table('Events over time')) == 24 and counts_of(cfo) == [3, 2]
    assert cfo.table('Refusals by user') == [['kfaccounts', '2']]
    chart = 'document.querySelector("svg.chart").getAttribute("aria-label")'
    assert '3 done and 2 refused or failed' in cfo.eval(code=chart)

    cfo.check(label='Looks too', on=True)
    cfo.wait(text='8 events')
    assert [row[2] for row in cfo.table('Events')].count('DescribeKey') == 3
    assert counts_of(cfo) == [6, 2]
    cfo.choose(label='Outcome', option='done')
    cfo.wait(text='6 events')
    cfo.wait(text='Nobody was refused.')

    # What happened lies outside of a span that ends in twenty minutes, and within a longer one.
    cfo.eval(code='window.now = Date.now; Date.now = () => now() + 20 * 60000')
    cfo.choose(label='Last', option='15 minutes')
    cfo.wait(text='No events.')
    cfo.choose(label='Last', option='1 hour')
    cfo.wait(text='6 events')
    cfo.eval(code='Date.now = window.now')

    # A destroyed or unknown key is told, not shown as nothing.
    cfo.fill(label='Key', text='alias/nothing')
    cfo.press(key='Enter')
    cfo.wait(text="Key 'alias/nothing' does not exist")
    cfo.fill(label='Key', text=watched)
    cfo.press(key='Enter')
    cfo.wait(text='6 events')


RULES = """# who looks after what
rules:
  - name: WatchedEncrypt
    when: {event: Encrypt, error: none}
    message: "{user} encrypted"
"""


def test_alerts_show_findings_and_rules(share, cfo):
    rules = share.folder / 'rules.yaml'
    rules.write_text(RULES)
    share.run(None, 'audit', 'rules', 'apply', rules)
    share.kms('kfcfo', 'encrypt', '--key-id', 'alias/watched', '--plaintext', 'aGVsbG8=')
    open_page(cfo, 'Alerts')
    cfo.until(lambda: ['WatchedEncrypt', 'kfcfo', 'kfcfo encrypted', 'alias/watched'] in
              [row[1:] for row in cfo.table('Alerts')])

    said = json.loads(share.run('kfcfo', 'audit', 'compliance', '--output', 'json'))
    found = said['Findings'] if isinstance(said, dict) else said
    bad = [one for one in found if one['Compliance'] != 'COMPLIANT']
    assert f'{len(found) - len(bad)} of {len(found)} findings are as the rules want them.' in cfo.text()
    shown = cfo.table('Not compliant')
    assert [[row[0], row[2]] for row in shown] == [[one['Rule'], one['Reason']] for one in bad]
    assert ['key-rotation-enabled', 'alias/alpha', 'automatic rotation is off'] in shown, shown
    expiring = [row for row in shown if row[0] == 'imported-material-not-expiring']
    assert [row[1] for row in expiring] == ['alias/lent'], shown

    cfo.click(text='Your rules')
    cfo.wait(text='# who looks after what')
    cfo.click(text='Built-in rules')
    cfo.wait(text='- name: ManyRefusals')
    follow(cfo, 'alias/watched', 'watched')


IAM_WITH_ROLES = """
users:
  kfcfo: {groups: [finance], tags: {department: finance}}
  kfaccounts: {policies: [FilesFullAccess, OfficeHours]}
  kfsysadmin: {groups: [administrators]}
groups:
  finance: {policies: [FilesFullAccess, ConsoleReadOnlyAccess]}
  administrators: {policies: [SystemAdministrator]}
roles:
  auditor: {policies: [ConsoleReadOnlyAccess], trust: [user:kfsysadmin, group:finance]}
policies:
  OfficeHours:
    Statement: [{Sid: Closed, Effect: Deny, Action: 'kms:Decrypt', Resource: '*'}]
"""


def test_the_account_is_shown_to_who_may_read_it(share, cfo):
    share.apply_iam(IAM_WITH_ROLES)
    with signed_in(share, 'kfsysadmin') as sysadmin:
        for browser in (cfo, sysadmin):
            page = open_page(browser, 'Account')
            assert 'keyfold iam apply' in page
            assert browser.table('Users') == [
                ['kfaccounts', '–', 'FilesFullAccess, OfficeHours', ''],
                ['kfcfo', 'finance', '–', 'department=finance'], ['kfsysadmin', 'administrators', '–', '']]
            assert browser.table('Groups') == [
                ['administrators', 'kfsysadmin', 'SystemAdministrator'],
                ['finance', 'kfcfo', 'FilesFullAccess, ConsoleReadOnlyAccess']]
            assert browser.table('Roles') == [['auditor', 'user:kfsysadmin, group:finance', 'ConsoleReadOnlyAccess']]
            browser.click(text='OfficeHours', exact=True, within={'role': 'region', 'name': 'Policies'})
            browser.wait(text='"Sid": "Closed"')
            assert browser.count(role='button') == browser.count(role='textbox') == 0
    with signed_in(share, 'kfaccounts') as accounts:
        assert 'kfcfo' not in open_page(accounts, 'Account')
        accounts.wait(text='not authorized to perform: iam:GetAccountAuthorizationDetails')
