"""Can everybody use the web console's pages: does axe find nothing, in light and dark, on a
phone and on a desk; does the keyboard alone do it?"""
import pytest

from browser import signed_in
from console import DESKTOP, NEEDS_BROWSER, PHONE, begin_key, follow, next_step, open_key, policy_of
from share import new_share

pytestmark = NEEDS_BROWSER
LOOKS = [{**PHONE, 'dark': True}, {**DESKTOP, 'dark': False}]


@pytest.fixture(scope='module')
def share():
    with new_share('console-accessible') as made:
        for alias, origin in (('reports', 'AWS_KMS'), ('own', 'EXTERNAL')):
            made.kms('kfcfo', 'create-key', '--alias', f'alias/{alias}', '--origin', origin, '--administrators',
                     'user:kfcfo', '--users', 'user:kfcfo', '--tags', 'TagKey=department,TagValue=finance')
        folder = made.mnt / 'reports'
        made.python('kfcfo', 'import os, sys; os.mkdir(sys.argv[1])', folder)
        made.run('kfcfo', 'folder', 'set-key', folder, 'alias/reports')
        made.python('kfcfo', 'import sys; open(sys.argv[1], "w").write("net pay 4711")', folder / 'payslip.pdf')
        made.attempt('kfaccounts', 'read', folder / 'payslip.pdf')
        yield made


@pytest.fixture(scope='module')
def cfo(share):
    with signed_in(share, 'kfcfo') as browser:
        yield browser


def describe(share, alias):
    return share.kms('kfcfo', 'describe-key', '--key-id', f'alias/{alias}')['KeyMetadata']


def pages(share):
    ids = [describe(share, alias)['KeyId'] for alias in ('reports', 'own')]
    return [('keys',), ('keys', ids[0]), ('new-key',), ('import', ids[1]), ('files',), ('files', '%2Freports'),
            ('file', '%2Freports%2Fpayslip.pdf'), ('who', '%2Freports%2Fpayslip.pdf'), ('audit',), ('alerts',),
            ('account',), ('me',), ('nowhere',)]


def faults(browser):
    """What axe finds in what is shown now, and how much too wide it is."""
    wide = browser.eval(code='document.documentElement.scrollWidth - innerWidth')
    return browser.axe() + ([f'{wide} px too wide'] if wide > 0 else [])


def assert_faultless(browser, *looks):
    for look in looks or LOOKS:
        browser.look(**look)
        assert faults(browser) == [], look


@pytest.mark.parametrize('size', [PHONE, DESKTOP], ids=['phone', 'desktop'])
@pytest.mark.parametrize('dark', [False, True], ids=['light', 'dark'])
def test_pages_are_accessible(share, cfo, size, dark):
    cfo.look(**size, dark=dark)
    found = {}
    for page in pages(share):
        cfo.go(*page)
        cfo.eval(code='document.querySelectorAll("details").forEach((one) => { one.open = true; })')
        if here := faults(cfo):
            found[page] = here
    assert found == {}


def test_each_step_of_the_wizard_is_accessible(cfo):
    begin_key(cfo, 'looked-at', 'Steps')
    assert_faultless(cfo)
    next_step(cfo, '3. Administrators')
    cfo.fill(label='Administrator', text='a-user-whose-name-is-longer-than-most')
    cfo.press_button('Add')
    assert_faultless(cfo)
    # What was typed, and not added, is not passed over.
    next_step(cfo, '4. Users')
    cfo.fill(label='User', text='kfaccounts')
    cfo.press_button('Next')
    cfo.find(role='heading', name='4. Users')
    assert cfo.eval(code='document.querySelectorAll("input:invalid").length') == 1
    cfo.press_button('Add')
    assert_faultless(cfo)
    next_step(cfo, '5. Review')
    cfo.settled()
    assert_faultless(cfo)


def test_import_is_accessible_when_it_has_its_parameters(cfo):
    open_key(cfo, 'own')
    follow(cfo, 'Import material', 'Import key material')
    cfo.choose(label='Wrapping key', option='RSA_2048')
    cfo.press_button('Get wrapping key and token')
    cfo.find(role='button', name='Download token')
    cfo.check(label='The material expires', on=True)
    assert_faultless(cfo)


@pytest.mark.parametrize('button, dialog', [
    ('Create grant', 'Create a grant'), ('Edit policy', 'Edit the key policy'), ('Add user', 'Add a user')])
def test_dialogs_are_accessible(cfo, button, dialog):
    open_key(cfo, 'reports')
    if button == 'Add user':
        cfo.click(text='Change administrators and users')
    cfo.press_button(button)
    cfo.find(role='dialog', name=dialog)
    assert_faultless(cfo)
    cfo.press(key='Escape')
    cfo.wait_closed(dialog)


def test_refusals_are_accessible(share):
    with signed_in(share, 'kfaccounts') as accounts:
        for dark in (False, True):
            accounts.look(**PHONE, dark=dark)
            open_key(accounts, 'reports')
            accounts.press_button('Schedule deletion')
            accounts.press_button('Schedule deletion',
                                  within={'role': 'dialog', 'name': "Schedule the key's deletion"})
            accounts.wait(text='Why: ')
            assert accounts.axe() == []
            accounts.press(key='Escape')
            accounts.wait_closed("Schedule the key's deletion")


def tab_to(browser, what):
    """Presses Tab until the element is reached whose name is `what`."""
    for _ in range(80):
        browser.press(key='Tab')
        if browser.focused().endswith(f' {what}'):
            return
    raise AssertionError(f'{what} is not reached by Tab')


def press(browser, what):
    tab_to(browser, what)
    browser.press(key='Enter')


def next_by_keyboard(browser, heading):
    press(browser, 'Next')
    browser.find(role='heading', name=heading)


def begin_by_keyboard(browser):
    """The list of keys, as a browser shows it that has just been opened."""
    browser.look(**DESKTOP, dark=False)
    address = browser.eval(code='location.origin')
    browser.open(url='about:blank')
    browser.open(url=address + '/#/keys')
    browser.find(role='heading', name='Keys')


def test_a_key_is_made_and_disabled_by_keyboard_alone(share, cfo):
    begin_by_keyboard(cfo)
    cfo.press(key='Tab')
    assert cfo.focused() == 'a Skip to the content'
    cfo.press(key='Enter')
    assert cfo.focused() == 'h1 Keys'
    press(cfo, 'Create key')
    cfo.find(role='heading', name='1. Alias and description')
    assert cfo.focused() == 'h1 Create key'
    cfo.press(key='Tab')
    cfo.type(text='typed')
    cfo.press(key='Tab')
    cfo.type(text='By keyboard')
    next_by_keyboard(cfo, '2. Material')
    tab_to(cfo, 'Folders, files, encryption')
    cfo.press(key='ArrowDown')
    cfo.press(key='ArrowDown')
    next_by_keyboard(cfo, '3. Administrators')
    tab_to(cfo, 'Administrator')
    cfo.type(text='kfsysadmin')
    cfo.press(key='Enter')
    cfo.find(role='button', name='Remove user:kfsysadmin')
    press(cfo, 'Remove user:kfsysadmin')
    tab_to(cfo, 'Administrators may schedule its deletion')
    cfo.press(key='Space')
    next_by_keyboard(cfo, '4. Users')
    tab_to(cfo, 'User')
    cfo.type(text='kfaccounts')
    press(cfo, 'Add')
    next_by_keyboard(cfo, '5. Review')
    cfo.settled()
    press(cfo, 'Create key')
    cfo.find(role='heading', name='typed')
    cfo.settled()
    assert cfo.focused() == 'h1 typed'
    press(cfo, 'Disable')
    cfo.find(role='dialog', name='Disable this key?')
    press(cfo, 'Disable')
    cfo.wait_closed('Disable this key?')
    cfo.find(role='button', name='Enable')

    made = describe(share, 'typed')
    assert (made['KeyState'], made['KeySpec'], made['Description']) == ('Disabled', 'HMAC_256', 'By keyboard')
    policy = policy_of(share, 'typed')
    assert policy['Allow access for Key Administrators']['Principal']['AWS'] == 'user:kfcfo'
    assert 'kms:ScheduleKeyDeletion' not in policy['Allow access for Key Administrators']['Action']
    assert policy['Allow use of the key']['Principal']['AWS'] == ['user:kfcfo', 'user:kfaccounts']


def test_a_grant_is_given_and_revoked_by_keyboard_alone(share, cfo):
    begin_by_keyboard(cfo)
    cfo.find(role='link', name='reports')
    press(cfo, 'reports')
    cfo.find(role='heading', name='reports')
    cfo.settled()
    press(cfo, 'Create grant')
    cfo.find(role='dialog', name='Create a grant')
    assert cfo.focused() == 'input To whom'
    cfo.type(text='user:kfaccounts')
    tab_to(cfo, 'DescribeKey')
    cfo.press(key='Space')
    press(cfo, 'Create')
    cfo.wait_closed('Create a grant')
    assert cfo.focused() == 'button Create grant'
    cfo.find(role='button', name='Revoke the grant to user:kfaccounts')
    grants = ('list-grants', '--key-id', 'alias/reports')
    found = share.kms('kfcfo', *grants)['Grants']
    assert [one['Operations'] for one in found] == [['Decrypt', 'DescribeKey']]
    assert share.attempt('kfaccounts', 'read', share.mnt / 'reports/payslip.pdf') == 'ok'
    press(cfo, 'Revoke the grant to user:kfaccounts')
    cfo.wait(text='No grants.')
    assert share.kms('kfcfo', *grants)['Grants'] == []
    assert share.attempt('kfaccounts', 'read', share.mnt / 'reports/payslip.pdf') == 'EACCES'
