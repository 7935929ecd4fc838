"""Do AWS's own clients of KMS work unchanged against the mount's endpoint?

Each runs the keys' part of the finance share; so does `keyfold kms` through the Unix
socket, and all must be answered alike."""
import base64
import json
import os
import pwd
import re
import subprocess
import time

import botocore.exceptions
import pytest

from kms_clients import CLIENTS as CLIENT_PROGRAMS
from kms_clients import Boto3, Refused, open_client
from share import Failed, as_user, make_certificate, new_share

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to act as several users')

IAM = """
users:
  kfcfo: {policies: [AdministratorAccess, OwnAccessKeys]}
  kfaccounts: {policies: [FilesFullAccess, OwnAccessKeys]}
  kfsysadmin: {policies: [AdministratorAccess]}
roles:
  auditor: {policies: [KeysReader], trust: [user:kfaccounts]}
policies:
  OwnAccessKeys:
    Statement: [{Effect: Allow, Action: 'iam:CreateAccessKey', Resource: '*'}]
  KeysReader:
    Statement: [{Effect: Allow, Action: ['kms:List*', 'kms:Describe*'], Resource: '*'}]
"""
REGION = 'local-1'
NO_NODE = not (CLIENT_PROGRAMS / 'node_modules/@aws-sdk/client-kms').is_dir()
CI = bool(os.environ.get('KEYFOLD_CI'))
CLIENTS = ('socket', 'keyfold', 'aws', 'boto3', pytest.param('node', marks=pytest.mark.xfail(
    NO_NODE and not CI, run=False, reason='npm could not install it')))


def access_key(share, user):
    return json.loads(share.run(user, 'iam', 'create-access-key', '--output', 'json'))['AccessKey']


def socket_of(share):
    config = json.loads((share.store / 'keyfold.json').read_text())
    return f"/run/keyfold/{config['storeId']}.sock"


@pytest.fixture(scope='module')
def share():
    with new_share('clients') as made:
        made.apply_iam(IAM)
        made.unmount()
        made.mount('--kms-listen', '127.0.0.1:0')
        status = json.loads(made.run(None, 'status', made.mnt, '--output', 'json'))[0]
        made.endpoint, made.region = status['KmsEndpoint'], REGION
        made.socket = socket_of(made)
        made.keys = {user: access_key(made, user) for user in ('kfcfo', 'kfaccounts')}
        yield made


class Opened:
    """The clients of one kind that a test uses, closed with it."""

    def __init__(self, kind, share):
        self.kind, self.share, self.clients = kind, share, {}

    def of(self, user):
        if user not in self.clients:
            self.clients[user] = open_client(self.kind, self.share, user, self.share.keys[user])
        return self.clients[user]

    def close(self):
        for client in self.clients.values():
            client.close()


@pytest.fixture(params=CLIENTS)
def opened(request, share):
    assert request.param != 'node' or not NO_NODE, 'npm could not install @aws-sdk/client-kms'
    made = Opened(request.param, share)
    yield made
    made.close()


def b64(data):
    return base64.b64encode(data).decode()


def refusal(client, operation, **parameters):
    with pytest.raises(Refused) as info:
        client.call(operation, **parameters)
    return info.value.name


UUID = re.compile(r'[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}')
VARYING = ('CiphertextBlob', 'ImportToken', 'PublicKey', 'GrantId', 'GrantToken', 'Plaintext', 'Mac',
           'PrivateKeyCiphertextBlob', 'PrivateKeyPlaintext', 'KeyMaterialId',
           'CurrentKeyMaterialId', 'SourceKeyMaterialId', 'DestinationKeyMaterialId')
# Members that the models of Debian's clients are too old for. boto3 and `aws` of a machine
# that has newer ones know them.
NEWER = {'KeyMaterialId', 'CurrentKeyMaterialId', 'SourceKeyMaterialId',
         'DestinationKeyMaterialId', 'RotationPeriodInDays', 'NextRotationDate', 'PolicyName'}
# Command lines join the pages of a list.
JOINED = {'Truncated'}
# What only some operations answer with newly.
NEWER_OF = {('GetKeyRotationStatus', 'KeyId'), ('ImportKeyMaterial', 'KeyId'),
            ('DeleteImportedKeyMaterial', 'KeyId')}


def alike(value, name=''):
    """An answer without what differs from call to call."""
    if isinstance(value, dict):
        return {key: alike(member, key) for key, member in value.items()}
    if isinstance(value, list):
        return [alike(member) for member in value]
    if name in VARYING:
        return f'<{name}>'
    if isinstance(value, float) or (name.endswith('Date') or name.endswith('ValidTo')):
        return '<time>'
    return UUID.sub('<id>', value) if isinstance(value, str) else value


def known(operation, full, answer):
    """`full` without members that the client of `answer` is too old to know of."""
    if isinstance(full, dict) and isinstance(answer, dict):
        return {name: known(operation, member, answer.get(name)) for name, member in full.items()
                if name in answer or not (name in NEWER | JOINED or (operation, name) in NEWER_OF)}
    if isinstance(full, list) and isinstance(answer, list) and len(full) == len(answer):
        return [known(operation, *pair) for pair in zip(full, answer)]
    return full


def parameters_for(client, key, digest='256'):
    return client.call('GetParametersForImport', KeyId=key,
                       WrappingAlgorithm=f'RSAES_OAEP_SHA_{digest}', WrappingKeySpec='RSA_4096')


def wrapped_for(got, material, folder, digest='256'):
    """Wrapped with openssl, by the public key alone."""
    (folder / 'public.der').write_bytes(base64.b64decode(got['PublicKey']))
    (folder / 'material').write_bytes(material)
    return b64(subprocess.run(
        ['openssl', 'pkeyutl', '-encrypt', '-in', folder / 'material', '-inkey',
         folder / 'public.der', '-keyform', 'DER', '-pubin', '-pkeyopt', 'rsa_padding_mode:oaep',
         '-pkeyopt', f'rsa_oaep_md:sha{digest}', '-pkeyopt', f'rsa_mgf1_md:sha{digest}'],
        check=True, stdout=subprocess.PIPE).stdout)


def import_material(client, key, material, folder, digest='256', **more):
    """Step 9 of the finance share."""
    got = parameters_for(client, key, digest)
    client.call('ImportKeyMaterial', KeyId=key, ImportToken=got['ImportToken'],
                EncryptedKeyMaterial=wrapped_for(got, material, folder, digest),
                ExpirationModel='KEY_MATERIAL_DOES_NOT_EXPIRE', **more)
    return got


def wrong_tokens(cfo, policy, imported, material, folder, refused):
    """A token serves its own key, once, with what was wrapped for it; and an imported key
    does not rotate by itself."""
    other = cfo.call('CreateKey', Origin='EXTERNAL',
                     Policy=json.dumps(policy))['KeyMetadata']['KeyId']
    got, model = parameters_for(cfo, imported), {'ExpirationModel': 'KEY_MATERIAL_DOES_NOT_EXPIRE'}
    wrapped = wrapped_for(got, material, folder)
    request = {'ImportToken': got['ImportToken'], 'EncryptedKeyMaterial': wrapped, **model}
    assert refused(cfo, 'ImportKeyMaterial', KeyId=other,
                   **request) == 'InvalidImportTokenException'
    cfo.call('ImportKeyMaterial', KeyId=imported, **request)
    assert refused(cfo, 'ImportKeyMaterial', KeyId=imported,
                   **request) == 'InvalidImportTokenException'
    request['ImportToken'] = parameters_for(cfo, imported)['ImportToken']
    assert refused(cfo, 'ImportKeyMaterial', KeyId=imported,
                   **request) == 'InvalidCiphertextException'
    assert refused(cfo, 'EnableKeyRotation', KeyId=imported) == 'UnsupportedOperationException'


def finance_keys(opened, name, folder):
    """The keys' part of the finance share; returns what was answered."""
    cfo, accounts, answers = opened.of('kfcfo'), opened.of('kfaccounts'), []
    account = '000000000000'

    def call(client, operation, **parameters):
        answer = client.call(operation, **parameters)
        answers.append((operation, alike(answer)))
        return answer

    def refused(client, operation, **parameters):
        error = refusal(client, operation, **parameters)
        answers.append((operation, error))
        return error

    user = f'arn:aws:iam::{account}:user/kfcfo'
    policy = {'Version': '2012-10-17', 'Statement': [
        {'Sid': 'Cfo', 'Effect': 'Allow', 'Principal': {'AWS': user}, 'Action': 'kms:*',
         'Resource': '*'}]}
    key = call(cfo, 'CreateKey', Description='Reports of the CFO', Policy=json.dumps(policy),
               Tags=[{'TagKey': 'owner', 'TagValue': 'cfo'}])['KeyMetadata']['KeyId']
    alias = f'alias/{name}'
    call(cfo, 'CreateAlias', AliasName=alias, TargetKeyId=key)
    assert call(cfo, 'DescribeKey', KeyId=alias)['KeyMetadata']['KeyId'] == key
    call(cfo, 'ListResourceTags', KeyId=key)
    call(cfo, 'GetKeyPolicy', KeyId=key, PolicyName='default')

    secret, context = b64(b'first quarter'), {'department': 'finance'}
    blob = call(cfo, 'Encrypt', KeyId=alias, Plaintext=secret,
                EncryptionContext=context)['CiphertextBlob']
    assert call(cfo, 'Decrypt', CiphertextBlob=blob,
                EncryptionContext=context)['Plaintext'] == secret
    assert refused(cfo, 'Decrypt', CiphertextBlob=blob) == 'InvalidCiphertextException'
    assert refused(accounts, 'Decrypt', CiphertextBlob=blob,
                   EncryptionContext=context) == 'AccessDeniedException'
    data_key = call(cfo, 'GenerateDataKey', KeyId=key, KeySpec='AES_256')
    assert call(cfo, 'Decrypt', KeyId=key,
                CiphertextBlob=data_key['CiphertextBlob'])['Plaintext'] == data_key['Plaintext']

    pair = call(cfo, 'GenerateDataKeyPair', KeyId=key, KeyPairSpec='ECC_NIST_P256',
                EncryptionContext=context)
    assert call(cfo, 'Decrypt', CiphertextBlob=pair['PrivateKeyCiphertextBlob'],
                EncryptionContext=context)['Plaintext'] == pair['PrivateKeyPlaintext']
    public = subprocess.run(
        ['openssl', 'pkey', '-inform', 'DER', '-pubout', '-outform', 'DER'], check=True,
        input=base64.b64decode(pair['PrivateKeyPlaintext']), stdout=subprocess.PIPE).stdout
    assert b64(public) == pair['PublicKey']
    call(cfo, 'GenerateDataKeyPairWithoutPlaintext', KeyId=key, KeyPairSpec='ECC_SECG_P256K1')

    macs = call(cfo, 'CreateKey', Policy=json.dumps(policy), KeySpec='HMAC_384',
                KeyUsage='GENERATE_VERIFY_MAC')['KeyMetadata']['KeyId']
    message = {'KeyId': macs, 'Message': secret, 'MacAlgorithm': 'HMAC_SHA_384'}
    mac = call(cfo, 'GenerateMac', **message)['Mac']
    assert call(cfo, 'VerifyMac', Mac=mac, **message)['MacValid'] is True
    assert refused(cfo, 'VerifyMac', Mac=b64(b'no'), **message) == 'KMSInvalidMacException'
    assert refused(cfo, 'GenerateMac', **{**message, 'KeyId': key}) == 'InvalidKeyUsageException'
    assert refused(cfo, 'Encrypt', KeyId=macs, Plaintext=secret) == 'InvalidKeyUsageException'

    grant = call(cfo, 'CreateGrant', KeyId=key, Operations=['Decrypt'],
                 GranteePrincipal=f'arn:aws:iam::{account}:user/kfaccounts',
                 Constraints={'EncryptionContextEquals': context})
    assert call(accounts, 'Decrypt', CiphertextBlob=blob,
                EncryptionContext=context)['Plaintext'] == secret
    call(cfo, 'ListGrants', KeyId=key)
    call(cfo, 'RevokeGrant', KeyId=key, GrantId=grant['GrantId'])
    assert refused(accounts, 'Decrypt', CiphertextBlob=blob,
                   EncryptionContext=context) == 'AccessDeniedException'

    call(cfo, 'EnableKeyRotation', KeyId=key)
    call(cfo, 'GetKeyRotationStatus', KeyId=key)
    call(cfo, 'DisableKey', KeyId=key)
    assert refused(cfo, 'Encrypt', KeyId=key, Plaintext=secret) == 'DisabledException'
    call(cfo, 'EnableKey', KeyId=key)
    assert refused(cfo, 'ScheduleKeyDeletion', KeyId=key,
                   PendingWindowInDays=6) == 'ValidationException'
    call(cfo, 'ScheduleKeyDeletion', KeyId=key, PendingWindowInDays=7)
    assert refused(cfo, 'Decrypt', CiphertextBlob=blob,
                   EncryptionContext=context) == 'KMSInvalidStateException'
    call(cfo, 'CancelKeyDeletion', KeyId=key)

    imported = call(cfo, 'CreateKey', Origin='EXTERNAL',
                    Policy=json.dumps(policy))['KeyMetadata']['KeyId']
    assert refused(cfo, 'Encrypt', KeyId=imported,
                   Plaintext=secret) == 'KMSInvalidStateException'
    material = os.urandom(32)
    answers.append(('import', alike(import_material(cfo, imported, material, folder))))
    blob = call(cfo, 'Encrypt', KeyId=imported, Plaintext=secret)['CiphertextBlob']
    call(cfo, 'DeleteImportedKeyMaterial', KeyId=imported)
    assert refused(cfo, 'Decrypt', CiphertextBlob=blob) == 'KMSInvalidStateException'
    with pytest.raises(Refused) as other:
        import_material(cfo, imported, os.urandom(32), folder)
    assert other.value.name == 'IncorrectKeyMaterialException'
    import_material(cfo, imported, material, folder, digest='1')
    assert call(cfo, 'Decrypt', CiphertextBlob=blob)['Plaintext'] == secret
    wrong_tokens(cfo, policy, imported, material, folder, refused)
    assert refused(cfo, 'DescribeKey', KeyId='alias/nobody') == 'NotFoundException'
    call(cfo, 'DeleteAlias', AliasName=alias)
    return answers


@pytest.fixture(scope='module')
def first_answers():
    return {}


def test_finance_keys(opened, share, tmp_path, first_answers):
    answers = finance_keys(opened, 'reports', tmp_path)
    first = first_answers.setdefault('answers', answers)
    for (operation, answer), (_, expected) in zip(answers, first, strict=True):
        assert answer == known(operation, expected, answer), operation


def test_imported_material_is_rotated(opened, tmp_path):
    """By those clients that know of it; Debian's do not yet."""
    if opened.kind in ('aws', 'boto3'):
        return
    cfo = opened.of('kfcfo')
    key = cfo.call('CreateKey', Origin='EXTERNAL')['KeyMetadata']['KeyId']
    import_material(cfo, key, os.urandom(32), tmp_path, ImportType='NEW_KEY_MATERIAL')
    first = cfo.call('DescribeKey', KeyId=key)['KeyMetadata']['CurrentKeyMaterialId']
    blob = cfo.call('Encrypt', KeyId=key, Plaintext=b64(b'old'))['CiphertextBlob']
    assert refusal(cfo, 'RotateKeyOnDemand', KeyId=key) == 'KMSInvalidStateException'
    import_material(cfo, key, os.urandom(32), tmp_path, ImportType='NEW_KEY_MATERIAL',
                    KeyMaterialDescription='second')
    cfo.call('RotateKeyOnDemand', KeyId=key)
    listed = cfo.call('ListKeyRotations', KeyId=key,
                      IncludeKeyMaterial='ALL_KEY_MATERIAL')['Rotations']
    assert [one['KeyMaterialState'] for one in listed] == ['NON_CURRENT', 'CURRENT']
    assert listed[0]['KeyMaterialId'] == first
    assert listed[1]['KeyMaterialDescription'] == 'second'
    assert cfo.call('Decrypt', CiphertextBlob=blob)['KeyMaterialId'] == first
    cfo.call('DeleteImportedKeyMaterial', KeyId=key, KeyMaterialId=first)
    assert refusal(cfo, 'Encrypt', KeyId=key, Plaintext=b64(b'x')) == 'KMSInvalidStateException'


def test_who_signs_is_who_calls(opened, share):
    """Whoever runs the client: the records name the access key's user."""
    if opened.kind in ('keyfold', 'socket'):
        return  # the Unix socket knows the process
    opened.of('kfcfo').call('ListKeys', Limit=3)
    last = share.events(eventName='ListKeys')[-1]
    assert last['userIdentity']['userName'] == 'kfcfo'
    assert last['userIdentity']['accessKeyId'] == share.keys['kfcfo']['AccessKeyId']
    assert last['userIdentity'].get('clientUid') == os.getuid()
    assert last['sourceIPAddress'] == '127.0.0.1'


def test_request_ids_are_those_of_the_records(share):
    answered = boto(share).kms.list_keys(Limit=1)['ResponseMetadata']
    assert share.events(eventName='ListKeys')[-1]['requestID'] == answered['RequestId']
    refused = boto(share).kms
    with pytest.raises(botocore.exceptions.ClientError) as info:
        refused.describe_key(KeyId='alias/nobody')
    last = share.events(eventName='DescribeKey')[-1]
    assert last['requestID'] == info.value.response['ResponseMetadata']['RequestId']


def test_pages(opened):
    client = opened.of('kfcfo')
    for number in range(5):
        client.call('CreateKey', Description=f'page {number}')
    seen, marker = [], {}
    while True:
        page = client.call('ListKeys', Limit=2, **marker)
        seen += [key['KeyId'] for key in page['Keys']]
        if not page['Truncated']:
            break
        marker = {'Marker': page['NextMarker']}
    assert len(seen) == len(set(seen)) >= 5


def boto(share, secret=None, key=None, region=REGION, verify=None):
    mine = share.keys['kfcfo']
    return Boto3(share.endpoint, region, key or mine['AccessKeyId'],
                 secret or mine['SecretAccessKey'], verify=verify)


def test_wrong_secret_unknown_key_and_other_region_are_refused_and_recorded(share):
    wrong = share.keys['kfcfo']['SecretAccessKey'][:-1] + '!'
    time.sleep(1.1)  # one record a second
    assert refusal(boto(share, secret=wrong), 'ListKeys') == 'InvalidSignatureException'
    record = share.events(eventName='AuthenticateRequest')[-1]
    assert record['errorCode'] == 'InvalidSignatureException'
    assert record['userIdentity']['accessKeyId'] == share.keys['kfcfo']['AccessKeyId']
    assert record['userIdentity']['uid'] == os.getuid()
    unknown = boto(share, key='AKIAAAAAAAAAAAAAAAAA')
    assert refusal(unknown, 'ListKeys') == 'UnrecognizedClientException'
    assert refusal(boto(share, region='us-east-1'), 'ListKeys') == 'InvalidSignatureException'


def post(share, headers, body='{}'):
    """One request as it is, by curl."""
    out = subprocess.run(
        ['curl', '-sS', '--max-time', '10', '-X', 'POST', '--data-binary', body,
         *(f'-H{name}: {value}' for name, value in headers.items()), share.endpoint + '/'],
        check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(out)


def signed(share, when=None, target='TrentService.ListKeys'):
    """The headers of a signed request, made at `when` (seconds from now)."""
    import datetime

    import botocore.auth
    import botocore.awsrequest
    import botocore.credentials
    mine = share.keys['kfcfo']
    request = botocore.awsrequest.AWSRequest(
        method='POST', url=share.endpoint + '/', data='{}',
        headers={'Content-Type': 'application/x-amz-json-1.1', 'X-Amz-Target': target})
    signer = botocore.auth.SigV4Auth(
        botocore.credentials.Credentials(mine['AccessKeyId'], mine['SecretAccessKey']),
        'kms', REGION)
    if when is None:
        signer.add_auth(request)
    else:
        at = datetime.datetime.utcnow() + datetime.timedelta(seconds=when)
        request.context['timestamp'] = at.strftime('%Y%m%dT%H%M%SZ')
        request.headers['X-Amz-Date'] = request.context['timestamp']
        request.headers['Authorization'] = signer._inject_signature_to_request(
            request, signer.signature(signer.string_to_sign(
                request, signer.canonical_request(request)), request)).headers['Authorization']
    return dict(request.headers.items())


def test_a_request_is_taken_once(share):
    headers = signed(share)
    assert 'Keys' in post(share, headers)
    # Times are in seconds: for two of them it may be another request that is alike.
    time.sleep(2.2)
    again = post(share, headers)
    assert again['__type'] == 'InvalidSignatureException'
    assert 'received before' in again['message']


def test_clock_skew(share):
    assert 'Keys' in post(share, signed(share, 5))
    share.unmount()
    share.mount('--kms-listen', share.endpoint.removeprefix('http://'))
    assert 'before the endpoint was started' in post(share, signed(share, -290))['message']
    assert post(share, signed(share, -302))['message'].startswith('Signature expired')
    assert post(share, signed(share, 15))['message'].startswith('Signature not yet current')


def test_only_signed_calls_of_the_kms(share):
    target = {'X-Amz-Target': 'TrentService.ListKeys'}
    assert post(share, target)['__type'] == 'MissingAuthenticationTokenException'
    for other in ('KeyfoldIam.GetIam', 'KeyfoldStore.GetStatus', 'KeyfoldAudit.LookupEvents'):
        assert post(share, signed(share, target=other))['__type'] == 'UnknownOperationException'
    changed = signed(share)
    changed['X-Amz-Target'] = 'TrentService.ListAliases'
    assert post(share, changed)['__type'] == 'InvalidSignatureException'


def test_disabled_and_deleted_access_keys_end_at_once(share):
    extra = access_key(share, 'kfcfo')
    key = extra['AccessKeyId']
    client = boto(share, key=key, secret=extra['SecretAccessKey'])
    client.call('ListKeys')
    # An administrator may disable it, and its user can't enable it without the right.
    share.run('kfsysadmin', 'iam', 'update-access-key', '--access-key-id', key, '--status',
              'Inactive')
    assert refusal(client, 'ListKeys') == 'UnrecognizedClientException'
    listed = share.run('kfcfo', 'iam', 'list-access-keys')
    assert 'Inactive' in listed and extra['SecretAccessKey'] not in listed
    share.run('kfcfo', 'iam', 'delete-access-key', '--access-key-id', key)
    assert refusal(client, 'ListKeys') == 'UnrecognizedClientException'


def test_access_keys_are_ones_own(share):
    for user, words in (
            ('kfstranger', ['create-access-key']),  # has no right to
            ('kfstranger', ['list-access-keys', '--user-name', 'kfcfo']),
            ('kfaccounts', ['delete-access-key', '--access-key-id',
                            share.keys['kfcfo']['AccessKeyId']])):
        with pytest.raises(Failed) as info:
            share.run(user, 'iam', *words)
        assert 'not authorized' in info.value.text
    third = access_key(share, 'kfaccounts')
    with pytest.raises(Failed) as info:
        access_key(share, 'kfaccounts')
    assert 'at most 2' in info.value.text
    share.run('kfaccounts', 'iam', 'delete-access-key', '--access-key-id', third['AccessKeyId'])


def test_the_secret_is_kept_sealed_and_survives_a_remount(share):
    secret = share.keys['kfcfo']['SecretAccessKey'].encode()
    for path in share.store.rglob('*'):
        if path.is_file():
            assert secret not in path.read_bytes(), path
    share.unmount()
    share.mount('--kms-listen', share.endpoint.removeprefix('http://'))
    assert 'Keys' in boto(share).call('ListKeys')


def test_assumed_role(share):
    out = share.run('kfaccounts', 'iam', 'assume-role', '--role-arn', 'role:auditor',
                    '--role-session-name', 'year-end', '--output', 'json')
    credentials = json.loads(out)['Credentials']
    client = Boto3(share.endpoint, REGION, credentials['AccessKeyId'],
                   credentials['SecretAccessKey'], credentials['SessionToken'])
    assert client.call('ListKeys')['Keys']
    record = share.events(eventName='ListKeys')[-1]['userIdentity']
    assert record['sessionName'] == 'year-end'
    given = share.events(eventName='AssumeRole')[-1]['responseElements']['credentials']
    assert given['accessKeyId'] == credentials['AccessKeyId'] == record['accessKeyId']
    assert record['type'] == 'AssumedRole' and record['arn'].endswith(':role/auditor')
    assert refusal(client, 'CreateKey') == 'AccessDeniedException'
    other = Boto3(share.endpoint, REGION, credentials['AccessKeyId'],
                  credentials['SecretAccessKey'], credentials['SessionToken'][:-4] + 'AAA=')
    assert refusal(other, 'ListKeys') == 'UnrecognizedClientException'
    with pytest.raises(Failed) as info:
        share.run('kfstranger', 'iam', 'assume-role', '--role-arn', 'role:auditor')
    assert 'not authorized' in info.value.text
    # A trust that ends ends what was given.
    share.apply_iam(IAM.replace('trust: [user:kfaccounts]', 'trust: [user:kfcfo]'))
    try:
        assert refusal(client, 'ListKeys') == 'AccessDeniedException'
    finally:
        share.apply_iam(IAM)


def test_only_this_machine_is_listened_to(share):
    share.unmount()
    try:
        for address in ('0.0.0.0:0', '[::]:0', '192.0.2.1:80', 'localhost', '127.0.0.1:x'):
            with pytest.raises(Failed) as info:
                share.mount('--kms-listen', address)
            assert 'is no address of this machine alone' in info.value.text
    finally:
        share.mount('--kms-listen', share.endpoint.removeprefix('http://'))


def test_a_name_given_to_somebody_else_is_another_user(share):
    key = access_key(share, 'kfcfo')
    client = boto(share, key=key['AccessKeyId'], secret=key['SecretAccessKey'])
    client.call('ListKeys')
    uid = pwd.getpwnam('kfcfo').pw_uid
    try:
        subprocess.run(['usermod', '-u', '54321', 'kfcfo'], check=True)
        time.sleep(0.6)
        assert refusal(client, 'ListKeys') == 'UnrecognizedClientException'
    finally:
        subprocess.run(['usermod', '-u', str(uid), 'kfcfo'], check=True)
    time.sleep(0.6)
    client.call('ListKeys')
    share.run('kfcfo', 'iam', 'delete-access-key', '--access-key-id', key['AccessKeyId'])


def test_tls(share, tmp_path):
    certificate, key = tmp_path / 'endpoint.pem', tmp_path / 'endpoint.key'
    make_certificate(certificate, key, 'keyfold', '-addext', 'subjectAltName=IP:127.0.0.1')
    plain = share.endpoint
    address = plain.removeprefix('http://')
    share.unmount()
    with pytest.raises(Failed) as info:
        share.mount('--kms-listen', address, '--kms-tls-certificate', certificate)
    assert 'Give both' in info.value.text
    with pytest.raises(Failed) as info:
        share.mount('--kms-listen', address, '--kms-tls-certificate', key, '--kms-tls-key', key)
    assert 'cannot be used as the TLS certificate' in info.value.text
    key.chmod(0o640)
    with pytest.raises(Failed) as info:
        share.mount('--kms-listen', address, '--kms-tls-certificate', certificate,
                    '--kms-tls-key', key)
    assert 'can be read or written by others' in info.value.text
    key.chmod(0o600)
    share.mount('-o', f'kms-listen={address},kms-tls-certificate={certificate},kms-tls-key={key}')
    share.endpoint = 'https://' + address
    try:
        trusting = boto(share, verify=str(certificate))
        for _ in range(3):
            assert trusting.call('ListKeys')['Keys']
        big = 'x' * 8000
        key_id = trusting.call('CreateKey', Description=big)['KeyMetadata']['KeyId']
        assert trusting.call('DescribeKey', KeyId=key_id)['KeyMetadata']['Description'] == big
        with pytest.raises(botocore.exceptions.SSLError):
            boto(share).call('ListKeys')
        # Who speaks no TLS gets nothing, and disturbs nobody.
        assert subprocess.run(['curl', '-s', '--max-time', '5', '-d', '{}', plain],
                              stdout=subprocess.PIPE).stdout == b''
        assert trusting.call('ListKeys')['Keys']
    finally:
        share.unmount()
        share.endpoint = plain
        share.mount('--kms-listen', address)


def test_idle_connections_of_one_user_keep_nobody_out(share):
    """A user who holds as many as there may be."""
    host, port = share.endpoint.removeprefix('http://').split(':')
    hold = ("import socket, sys\n"
            "held = [socket.create_connection((sys.argv[1], int(sys.argv[2]))) for _ in range(150)]\n"
            "print('held', flush=True)\nsys.stdin.read()")
    process = subprocess.Popen([*as_user('kfstranger'), '/usr/bin/python3', '-c', hold, host, port],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == 'held\n'
        assert 'Keys' in boto(share).call('ListKeys')
    finally:
        process.stdin.close()
        process.wait(timeout=10)
