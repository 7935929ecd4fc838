"""Does `keyfold iam simulate` tell who may do what, by which statement, as the real call
would end?"""
import json
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'mount'))
from share import Failed, lone_share  # noqa: E402

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to mount')

POLICY = {'Statement': [
    {'Sid': 'Owner', 'Effect': 'Allow', 'Principal': 'user:root', 'Action': 'kms:*'},
    {'Sid': 'Readers', 'Effect': 'Allow', 'Principal': 'user:nobody', 'Action': 'kms:Decrypt',
     'Condition': {'StringEquals': {'kms:EncryptionContext:dept': 'hr'}}},
    {'Sid': 'Makers', 'Effect': 'Allow', 'Principal': 'user:nobody',
     'Action': 'kms:GenerateDataKeyPair',
     'Condition': {'StringEquals': {'kms:DataKeyPairSpec': 'ECC_NIST_P256'}}},
    {'Sid': 'NoForgers', 'Effect': 'Deny', 'Principal': 'user:nobody', 'Action': 'kms:Encrypt'}]}


@pytest.fixture(scope='module')
def share():
    with lone_share('simulate') as made:
        made.apply_iam('users: {root: {policies: [AdministratorAccess]}, nobody: {}}')
        made.key = made.kms(None, 'create-key', '--policy',
                            json.dumps(POLICY))['KeyMetadata']['KeyId']
        yield made


def simulated(share, action, *options):
    return json.loads(share.run(None, 'iam', 'simulate', '--user', 'nobody', '--action', action,
                                '--key', share.key, '--output', 'json', *options))


def test_names_the_statement_that_decides(share):
    denied = simulated(share, 'kms:Encrypt')
    assert denied['Decision'] == 'explicitDeny'
    assert denied['Reason'] == "explicitly denied by statement 'NoForgers' of the key policy"
    allowed = simulated(share, 'Decrypt', '--context', 'dept=hr')
    assert allowed['Decision'] == 'allowed'
    assert allowed['Reason'] == "allowed by statement 'Readers' of the key policy"
    assert allowed['Principal']['Arn'] == 'arn:aws:iam::000000000000:user/nobody'
    assert allowed['Resource'].endswith(share.key)


def test_conditions_are_given_by_hand(share):
    for options, decision in (((), 'implicitDeny'), (('--context', 'dept=it'), 'implicitDeny'),
                              (('--context', 'dept=hr'), 'allowed')):
        assert simulated(share, 'kms:Decrypt', *options)['Decision'] == decision, options
    spec = ('--condition', 'kms:DataKeyPairSpec=ECC_NIST_P256')
    assert simulated(share, 'kms:GenerateDataKeyPair', *spec)['Decision'] == 'allowed'
    assert simulated(share, 'kms:GenerateDataKeyPair')['Decision'] == 'implicitDeny'


def test_is_shown_to_people_too(share):
    text = share.run(None, 'iam', 'simulate', '--user', 'nobody', '--action', 'kms:Encrypt',
                     '--key', share.key)
    rows = dict(line.split(None, 1) for line in text.splitlines())
    assert rows['decision'].strip() == 'explicitDeny'
    assert "statement 'NoForgers'" in rows['reason']


def test_mistakes_are_named(share):
    for options, name in ((('--key', share.key, '--condition', 'none'), 'ValidationException'),
                          (('--key', 'alias/none'), 'NotFoundException')):
        with pytest.raises(Failed) as info:
            share.run(None, 'iam', 'simulate', '--action', 'kms:Decrypt', *options)
        assert name in info.value.text
    with pytest.raises(Failed) as info:
        share.run(None, 'iam', 'simulate', '--key', share.key)
    assert info.value.code == 2
