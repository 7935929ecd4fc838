"""Is what the documentation shows what happens? Each command of its pages is run as the
user at whose prompt it stands, and must show what the page says."""
import contextlib
import functools
import os
import pathlib
import re
import subprocess
import tempfile

import pytest

import former
import test_cookbook
import test_guides
from desk import bare_machine, free_address, mounted_share, skip_without_clients
from devices import Token
from documents import GUIDES, first_line, sections, steps
from share import ROOT, Share, make_users, remove_users, small_disk

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
def coming_from(program):
    """One whose cfo has files in another encrypting filesystem."""
    with finance_share() as desk:
        with former.fscrypt_folder(desk) if program == 'fscrypt' else \
                former.fuse_filesystem(desk, program):
            yield desk


@contextlib.contextmanager
def watched():
    """One that a Prometheus of the machine may ask."""
    reader = 'kfprometheus'
    remove_users([reader])
    make_users([reader])
    try:
        with finance_share() as desk:
            desk.users = {**desk.users, 'prometheus': reader}
            desk.places = {'127.0.0.1:9464': free_address(),
                           '--idle-timeout 10m': '--idle-timeout 3s', **desk.places}
            yield desk
    finally:
        remove_users([reader])


@contextlib.contextmanager
def with_an_endpoint():
    """One that AWS's clients may ask, and where who asks makes access keys."""
    with finance_share() as desk:
        (desk.home('root') / 'keys.yaml').write_text(desk.mine(OWN_ACCESS_KEYS))
        for command in ('keyfold unmount /srv/finance',
                        'keyfold mount /srv/keyfold/finance /srv/finance '
                        '--kms-listen 127.0.0.1:4599',
                        'keyfold iam apply keys.yaml'):
            code, answer = desk.run('root', command)
            assert code == 0, answer
        yield desk


OWN_ACCESS_KEYS = """
users:
  cfo: {policies: [FilesFullAccess, ConsoleReadOnlyAccess, OwnAccessKeys]}
  accounts: {policies: [FilesFullAccess]}
policies:
  OwnAccessKeys:
    Statement: [{Effect: Allow, Action: 'iam:CreateAccessKey', Resource: '*'}]
"""


class Readme:
    """What happens between the commands of the README, on a machine with users and a
    passphrase that is not asked for."""

    def __init__(self, desk):
        self.desk, self.store, self.mnt = desk, desk.folder / 'demo', desk.folder / 'mnt'
        self.mnt.mkdir()
        passphrase = desk.folder / 'etc/passphrase'
        passphrase.write_text('correct horse battery staple\n')
        passphrase.chmod(0o600)
        desk.places = {'--root-key passphrase': f'--root-key passphrase-file:{passphrase}',
                       '/srv/demo': self.store, '/mnt/share': self.mnt,
                       '127.0.0.1:9464': free_address(), **desk.places}
        desk.meanwhile = {'keyfold unmount /mnt/share': self.work_on,
                          'keyfold fsck /srv/demo | grep -A 1 plan': self.damage,
                          'keyfold import ~/reports /mnt/share/reports --rate-limit 50M':
                              self.bring_reports}
        shown = next(step.shown for section in sections(README) for block in section.blocks
                     if block.language == 'console' for step in steps(block))
        (desk.home('root') / 'iam.yaml').write_text(desk.mine(shown))

    def cfo(self, command):
        code, answer = self.desk.run('cfo', command)
        assert code == 0, answer

    def work_on(self):
        self.cfo('head -c 20000 /dev/urandom >/mnt/share/reports/plan.ods')
        # Share's way to find it looks at a store and its mount, which are here.
        self.objects = {name: Share.backing(self, self.mnt / 'reports' / name)
                        for name in ('plan.ods', 'payslip.txt')}

    def damage(self):
        """A bad disk: of the one file the third block, of the other both headers."""
        for name, offset, size in (('plan.ods', 3 * 4096, 512), ('payslip.txt', 0, 2048)):
            with open(self.objects[name], 'r+b') as backing:
                backing.seek(offset)
                backing.write(bytes(size))

    def bring_reports(self):
        self.cfo('mkdir ~/reports; echo "profit 4711" >~/reports/year.txt')


@contextlib.contextmanager
def of_the_readme():
    reader = 'kfprometheus'
    remove_users([reader])
    try:
        with bare_machine() as desk:
            make_users()
            make_users([reader])
            desk.users = {**desk.users, 'prometheus': reader}
            Readme(desk)
            yield desk
    finally:
        remove_users([reader])


README, KMS, PACKAGING = '../../README.md', '../../KMS.md', '../README.md'
SITUATIONS = {
    README: of_the_readme,
    KMS: with_an_endpoint,
    'quick-start.md': bare_machine,
    'concepts.md': finance_share,
    'coming-from-aws.md': mounted_share,
    'finance-share.md': bare_machine,
    'console.md': finance_share,
    'operations.md': watched,
    'runbook-deleted-key.md': finance_share,
    'runbook-token-gone.md': with_token,
    'runbook-disk-full.md': on_a_small_disk,
    'runbook-stolen-disk.md': finance_share,
    'runbook-auditor.md': finance_share,
    **{f'moving-{program}.md': functools.partial(coming_from, program)
       for program in (*former.MADE_BY, 'fscrypt')},
}
# What is run elsewhere, or nowhere, by the page and the block's first line.
NOT_RUN = {
    (README, './examples/finance-share/run     # installs what is needed, builds, runs the finance '
             'share'): 'installs and builds everything: tests/fresh-root runs it',
    (KMS, "const client = new KMSClient({ endpoint: 'http://127.0.0.1:4599', region: 'local-1' });"):
        'part of a program: test_kms_clients has such a client make its calls',
    (PACKAGING, 'Make it'): 'builds everything: test_deb makes its package by the same commands',
    ('console.md', 'On the machine in front of you'): 'needs another machine with sshd',
}


def is_run_by_test_deb(block):
    """On a machine with a systemd of its own."""
    follows = rf"""(follow|in_fstab|documented) ['"]{re.escape(first_line(block))}['"]"""
    return any(re.search(follows, path.read_text())
               for path in (ROOT / 'tests/package').iterdir())


def test_each_block_of_each_page_is_run():
    left_out = set()
    for page in (README, KMS, PACKAGING, *(path.name for path in GUIDES.glob('*.md'))):
        if page in test_guides.BLOCKS:
            continue  # it looks itself
        for block in (block for section in sections(page) for block in section.blocks):
            where = f'{page}:{block.line}'
            if (page, first_line(block)) in NOT_RUN:
                left_out.add((page, first_line(block)))
            elif not is_run_by_test_deb(block):
                assert page in SITUATIONS or page == test_cookbook.PAGE, f'{where}: not run'
                assert block.name or block.language == 'console', f'{where}: not run'
            if block.name and block.language in ('yaml', 'python'):
                assert block.text.startswith(f'# {block.name}\n'), f'{where}: has no name to see'
    assert left_out == set(NOT_RUN)


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
