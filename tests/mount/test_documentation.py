"""Is what the documentation shows what happens? Each command of its pages is run as the
user at whose prompt it stands, and must show what the page says."""
import contextlib
import os
import pathlib
import tempfile

import pytest

import test_cookbook
import test_guides
from desk import bare_machine, mounted_share, skip_without_clients
from devices import Token
from documents import GUIDES, sections, steps
from share import make_users, small_disk

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to act as several users')


@contextlib.contextmanager
def finance_share(disk=None):
    """The share as finance-share.md has made it by the end of "The folder", but in the store of
    the other pages."""
    with mounted_share(disk) as desk:
        places, store = desk.places, desk.places['/srv/keyfold/finance']
        desk.places = {'/srv/keyfold/finance-share': store, **places}
        for section in sections('finance-share.md'):
            if section.heading in ('The account', 'The key', 'The folder'):
                desk.play(section)
        desk.places = places
        yield desk


@contextlib.contextmanager
def with_token():
    """One whose root key hangs on a token that lies in /etc/keyfold."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        token = Token(pathlib.Path(folder), patch)
        with finance_share() as desk:
            desk.places['/etc/keyfold'] = folder
            for command in (
                    'keyfold unmount /srv/finance',
                    'keyfold kms root-key change-provider --store /srv/keyfold/finance '
                    f"--to '{token.spec}'",
                    'keyfold mount /srv/keyfold/finance /srv/finance -o root-key-grace=8'):
                code, answer = desk.run('root', command)
                assert code == 0, answer
            yield desk


@contextlib.contextmanager
def on_a_small_disk():
    with tempfile.TemporaryDirectory() as folder, \
            small_disk(pathlib.Path(folder), 48, reserved=5) as disk, \
            finance_share(disk) as desk:
        os.chmod(folder, 0o755)
        yield desk


@contextlib.contextmanager
def of_the_readme():
    """A machine with users, and a passphrase that is not asked for."""
    with bare_machine() as desk:
        make_users()
        passphrase = desk.folder / 'etc/passphrase'
        passphrase.write_text('correct horse battery staple\n')
        passphrase.chmod(0o600)
        desk.places = {'--root-key passphrase': f'--root-key passphrase-file:{passphrase}',
                       '/srv/demo': desk.folder / 'demo', '/mnt/share': desk.folder / 'mnt',
                       **desk.places}
        (desk.folder / 'mnt').mkdir()
        shown = next(step.shown for section in sections(README) for block in section.blocks
                     if block.language == 'console' for step in steps(block))
        (desk.home('root') / 'iam.yaml').write_text(desk.mine(shown))
        yield desk


README = '../../README.md'
SITUATIONS = {
    README: of_the_readme,
    'quick-start.md': bare_machine,
    'concepts.md': finance_share,
    'coming-from-aws.md': mounted_share,
    'finance-share.md': bare_machine,
    'runbook-deleted-key.md': finance_share,
    'runbook-token-gone.md': with_token,
    'runbook-disk-full.md': on_a_small_disk,
    'runbook-stolen-disk.md': finance_share,
    'runbook-auditor.md': finance_share,
}


def test_each_block_of_each_page_is_run():
    for page in (path.name for path in GUIDES.glob('*.md')):
        if page in test_guides.BLOCKS:
            continue  # it looks itself
        found = [block for section in sections(page) for block in section.blocks]
        assert not found or page in SITUATIONS or page == test_cookbook.PAGE, page
        for block in found:
            where = f'{page}:{block.line}'
            assert block.name or block.language == 'console', f'{where}: not run'
            if block.language in ('yaml', 'python'):
                assert block.text.startswith(f'# {block.name}\n'), f'{where}: has no name to see'


@pytest.mark.parametrize('page', SITUATIONS)
def test_page(page):
    skip_without_clients(*sections(page))
    with SITUATIONS[page]() as desk:
        for section in sections(page):
            desk.play(section)


def test_who_did_the_quick_start_goes_on_with_the_finance_share():
    with bare_machine() as desk:
        for section in sections('quick-start.md'):
            desk.do(section)
        for section in sections('finance-share.md'):
            desk.play(section)
