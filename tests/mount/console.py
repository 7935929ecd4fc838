"""What the tests of the web console's pages have in common: ways through them by clicks."""
import json
import os
import re

import pytest

from browser import MISSING

NEEDS_BROWSER = [
    pytest.mark.skipif(os.geteuid() != 0, reason='needs root to act as several users'),
    pytest.mark.xfail(bool(MISSING) and not os.environ.get('KEYFOLD_CI'), run=False, reason=MISSING),
]
PHONE, DESKTOP = {'width': 360, 'height': 740}, {'width': 1280, 'height': 900}


def open_page(browser, name):
    """A page of the menu, and what it shows when it is loaded."""
    browser.click(role='link', name=name, within={'role': 'navigation', 'name': 'Console'})
    browser.find(role='heading', name=name)
    return browser.settled()


def follow(browser, name, heading):
    """A link, and what the page shows to which it leads."""
    browser.click(role='link', name=name)
    browser.find(role='heading', name=heading)
    return browser.settled()


def open_key(browser, name):
    open_page(browser, 'Keys')
    return follow(browser, name, name)


def next_step(browser, heading):
    browser.press_button('Next')
    browser.find(role='heading', name=heading)


def begin_key(browser, alias, description):
    """The wizard's first step."""
    open_page(browser, 'Keys')
    browser.click(role='link', name='Create key')
    browser.fill(label='Alias', text=alias)
    browser.fill(label='Description', text=description)
    next_step(browser, '2. Material')


def create_key(browser, alias, description, origin=None):
    """The wizard, with the user as administrator and user."""
    begin_key(browser, alias, description)
    if origin:
        browser.click(role='radio', name=origin, exact=False)
    next_step(browser, '3. Administrators')
    next_step(browser, '4. Users')
    next_step(browser, '5. Review')
    browser.settled()
    browser.press_button('Create key')
    browser.find(role='heading', name='Import key material' if origin else alias)
    return browser.settled()


def plain(value):
    """JSON without lists of one."""
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return plain(value[0]) if len(value) == 1 else [plain(one) for one in value]
    return value


def statements(policy):
    """A policy's statements by their Sid, with short principals, however that is written."""
    text = re.sub(r'arn:aws:iam::\d+:(?:(root)|(\w+)/)', lambda of: 'account' if of[1] else f'{of[2]}:', policy)
    return {one['Sid']: plain(one) for one in json.loads(text)['Statement']}


def policy_of(share, alias):
    return statements(share.kms('kfcfo', 'get-key-policy', '--key-id', f'alias/{alias}',
                                '--policy-name', 'default')['Policy'])
