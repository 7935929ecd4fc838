"""Do the policies of the cookbook let in whom they say, and refuse the others? Each recipe
is followed as it stands; then each cell of its table is tried, by opening real files and
calling the KMS as that user."""
import dataclasses
import datetime
import os
import re
import time

import pytest

from desk import USERS, mounted_share, skip_without_clients
from documents import blocks, sections

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to act as several users')

PAGE = 'policies.md'
BEFORE, *RECIPES = sections(PAGE)
EVERYBODY = ('root', *USERS)
REFUSALS = ('Permission denied', 'AccessDenied')


class Recipe:
    """A recipe that was followed: its key, the folder that is under it, and what the users
    try with them."""

    def __init__(self, desk, section):
        self.desk = desk
        name = re.search(r'create-key --alias alias/([a-z-]+)', section.text).group(1)
        self.key, self.folder = f'--key-id alias/{name}', f'/srv/finance/{name}'
        # What tries need is got by who may, while everybody may what the recipe says.
        self.policy = self.by_anybody(f'get-key-policy {self.key} --query Policy --output text')
        self.ciphertext = self.by_anybody(f'encrypt {self.key} --plaintext aGVsbG8= '
                                          '--query CiphertextBlob --output text')

    def by_anybody(self, call):
        for user in EVERYBODY:
            code, answer = self.desk.run(user, f'keyfold kms {call}')
            if code == 0:
                return answer.strip()
        return ''

    def commands(self, user, wanted):
        """What the user runs for the column `wanted`, and a call that undoes it."""
        kms, undo = f'keyfold kms {wanted} {self.key} ', {
            'disable-key': [f'enable-key {self.key}'],
            'schedule-key-deletion': [f'cancel-key-deletion {self.key}', f'enable-key {self.key}']}
        return {
            'reads': f'cat {self.folder}/report.txt',
            'reads in shared': f'cat {self.folder}/shared/report.txt',
            'creates': f'touch {self.folder}/by-{user}',
            'creates in shared': f'touch {self.folder}/shared/by-{user}',
            'audit': 'keyfold audit --user cfo --limit 1',
            'apply rules': 'keyfold audit rules apply alerts.yaml',
            'archive': 'keyfold audit archive',
            'decrypt': f'keyfold kms decrypt --ciphertext-blob {self.ciphertext}',
            'encrypt': kms + '--plaintext aGVsbG8=',
            'generate-data-key': kms + '--key-spec AES_256',
            'create-grant': kms + '--grantee-principal user:auditor --operations Encrypt',
            'put-key-policy': f"{kms}--policy '{self.policy}' "
                              '--bypass-policy-lockout-safety-check',
            'tag-resource': kms + '--tags TagKey=approved,TagValue=no',
        }.get(wanted, kms), undo.get(wanted, [])

    def may(self, user, wanted):
        """'yes' or 'no', by trying."""
        command, undo = self.commands(user, wanted)
        code, answer = self.desk.run(user, command)
        if code == 0:
            for call in undo:
                self.by_anybody(call)
            return 'yes'
        assert any(refusal in answer for refusal in REFUSALS), f'{user}$ {command}\n{answer}'
        return 'no'


@pytest.fixture(scope='module')
def desk():
    with mounted_share() as made:
        made.play(BEFORE)
        yield made


def begin(desk):
    """The account as it is before each recipe."""
    for block in BEFORE.blocks:
        if block.name:
            desk.write(block)
    assert desk.run('root', 'keyfold iam apply iam.yaml')[0] == 0


@pytest.mark.parametrize('section', RECIPES, ids=lambda section: section.heading)
def test_recipe(desk, section):
    skip_without_clients(section)
    begin(desk)
    desk.play(section)
    recipe, said = Recipe(desk, section), section.table()
    found = {user: {wanted: recipe.may(user, wanted) for wanted in cells}
             for user, cells in said.items()}
    assert found == said


def test_the_date_comes(desk):
    """The recipe with a date that is some seconds away, for files that are open."""
    section = next(section for section in RECIPES if section.heading == 'Until a date')
    end = time.time() + 4
    date = datetime.datetime.fromtimestamp(end, datetime.timezone.utc)
    text = section.text.partition('\n| |')[0].replace('alias/until', 'alias/soon') \
        .replace('/srv/finance/until', '/srv/finance/soon') \
        .replace('2030-01-01T00:00:00Z', f'{date:%Y-%m-%dT%H:%M:%SZ}')
    begin(desk)
    desk.play(dataclasses.replace(section, blocks=blocks(text)))
    users, file = ('accounts', 'auditor'), '/srv/finance/soon/report.txt'
    for user in users:
        assert desk.run(user, f'exec 5<{file}; read -u 5 -N 3 && echo $REPLY') == (0, 'net\n')
    time.sleep(max(0, end + 1.5 - time.time()))
    for user in users:
        for command in ('read -u 5 -N 3', f'cat {file}'):
            code, answer = desk.run(user, command)
            assert code != 0 and 'Permission denied' in answer, (user, command, answer)
    assert desk.run('cfo', f'cat {file}') == (0, 'net pay 4711\n')
