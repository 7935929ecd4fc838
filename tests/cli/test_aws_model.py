"""Is the KMS's API the one of botocore's model: operations, members, limits, errors?

What differs stands in the tables below, each with its reason; an entry that is not needed
fails."""
import base64
import http.client
import json
import os
import pathlib
import re
import socket
import subprocess
import sys

import botocore
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'mount'))
from kms_clients import kebab  # noqa: E402
from share import KEYFOLD, lone_share  # noqa: E402

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to mount')

MODEL = json.loads((pathlib.Path(botocore.__file__).parent /
                    'data/kms/2014-11-01/service-2.json').read_text())
SHAPES, OPERATIONS = MODEL['shapes'], MODEL['operations']

# AWS has them; the model that Debian installs is older.
NEWER_OPERATIONS = {'ListKeyRotations', 'RotateKeyOnDemand'}
NEWER_MEMBERS = {
    'DryRun': {'CreateGrant', 'Decrypt', 'Encrypt', 'GenerateDataKey', 'GenerateDataKeyPair',
               'GenerateDataKeyPairWithoutPlaintext', 'GenerateDataKeyWithoutPlaintext',
               'GenerateMac', 'ReEncrypt', 'RetireGrant', 'RevokeGrant', 'VerifyMac'},
    'Recipient': {'Decrypt', 'GenerateDataKey', 'GenerateDataKeyPair', 'GenerateRandom'},
    'RotationPeriodInDays': {'EnableKeyRotation'},
    'ImportType': {'ImportKeyMaterial'},
    'KeyMaterialDescription': {'ImportKeyMaterial'},
    'KeyMaterialId': {'ImportKeyMaterial', 'DeleteImportedKeyMaterial'},
}
NEWER_OUTPUT = {
    'GetKeyPolicy': {'PolicyName'},
    'GetKeyRotationStatus': {'KeyId', 'RotationPeriodInDays', 'NextRotationDate'},
    'ImportKeyMaterial': {'KeyId', 'KeyMaterialId'},
    'DeleteImportedKeyMaterial': {'KeyId', 'KeyMaterialId'},
    'Decrypt': {'KeyMaterialId'},
    'ReEncrypt': {'SourceKeyMaterialId', 'DestinationKeyMaterialId'},
    'GenerateDataKey': {'KeyMaterialId'},
    'GenerateDataKeyWithoutPlaintext': {'KeyMaterialId'},
    'GenerateDataKeyPair': {'KeyMaterialId'},
    'GenerateDataKeyPairWithoutPlaintext': {'KeyMaterialId'},
}
NEWER_METADATA = {'CurrentKeyMaterialId'}
# Newer models require it no more.
NOT_REQUIRED = {('GetKeyPolicy', 'PolicyName'), ('PutKeyPolicy', 'PolicyName')}
# Values of enumerations that the older model lacks.
NEWER_VALUES = {'RSA_3072', 'RSA_4096', 'RSA_AES_KEY_WRAP_SHA_1', 'RSA_AES_KEY_WRAP_SHA_256'}
# Patterns that are not enforced.
FREE = {
    'Policy': 'may be YAML with any text in it; the parser says what is wrong',
    'GranteePrincipal': 'users of the machine have other names too (InvalidArnException)',
    'RetiringPrincipal': 'the same',
}
# Every operation may answer with these; the model leaves them out.
COMMON_ERRORS = {'AccessDeniedException', 'ValidationException'}

NOT_BUILT = {'Sign', 'Verify', 'GetPublicKey', 'ReplicateKey', 'UpdatePrimaryRegion',
             'ConnectCustomKeyStore', 'CreateCustomKeyStore', 'DeleteCustomKeyStore',
             'DescribeCustomKeyStores', 'DisconnectCustomKeyStore', 'UpdateCustomKeyStore'}
BUILT = sorted(set(OPERATIONS) - NOT_BUILT)


class Api:
    """The mount's Unix socket."""

    def __init__(self, path):
        self.connection = http.client.HTTPConnection('localhost')
        self.connection.sock = socket.socket(socket.AF_UNIX)
        self.connection.sock.connect(str(path))

    def post(self, operation, parameters):
        """The error's name or None, and the answer."""
        self.connection.request('POST', '/', json.dumps(parameters),
                                {'X-Amz-Target': 'TrentService.' + operation})
        response = self.connection.getresponse()
        answer = json.loads(response.read())
        return (None if response.status == 200 else answer['__type']), answer

    def must(self, operation, **parameters):
        error, answer = self.post(operation, parameters)
        assert error is None, (operation, parameters, answer)
        return answer


@pytest.fixture(scope='module')
def api():
    with lone_share('model') as share:
        share.apply_iam('users: {root: {policies: [AdministratorAccess]}}')
        config = json.loads((share.store / 'keyfold.json').read_text())
        made = Api(f"/run/keyfold/{config['storeId']}.sock")
        yield made
        made.connection.close()


def input_of(operation):
    return SHAPES[OPERATIONS[operation]['input']['shape']]


def output_members(operation):
    output = OPERATIONS[operation].get('output')
    return set(SHAPES[output['shape']]['members']) if output else set()


def newer(operation):
    return {name for name, where in NEWER_MEMBERS.items() if operation in where}


def options_of(operation):
    """The members `keyfold kms VERB` takes, as options, and which it requires."""
    text = subprocess.run([KEYFOLD, 'kms', kebab(operation), '--help'], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    text = text[text.index('Options:'):text.index('Example:')]
    options = {}
    for entry in re.split(r'\n  (?=-)', text):
        found = re.match(r'--([a-z-]+)', entry)
        if found:
            options[found[1]] = '(required)' in entry
    own = {'cli-input-json', 'no-paginate'}
    if operation == 'CreateKey':
        own |= {'alias', 'administrators', 'users', 'allow-deletion', 'no-allow-deletion'}
    switches = {'no-' + name for name in options}
    return {name: required for name, required in options.items()
            if name not in own | switches}


def test_every_operation_is_built_or_known_and_refused(api):
    for operation in NOT_BUILT | {'DeriveSharedSecret'}:
        assert api.post(operation, {})[0] == 'UnsupportedOperationException', operation
        assert api.post(operation, {'KeyId': 'x', 'Other': 1})[0] == (
            'UnsupportedOperationException')
    for operation in BUILT:
        assert api.post(operation, {'No': 1})[0] == 'ValidationException', operation
    assert api.post('Fly', {})[0] == 'UnknownOperationException'
    assert not NEWER_OPERATIONS & set(OPERATIONS), 'they are in the model now'


@pytest.mark.parametrize('operation', BUILT)
def test_input_members_are_the_models(operation):
    shape = input_of(operation)
    options = options_of(operation)
    assert set(options) == {kebab(name) for name in set(shape['members']) | newer(operation)}
    assert not newer(operation) & set(shape['members']), 'they are in the model now'
    lenient = {name for where, name in NOT_REQUIRED if where == operation}
    assert {name for name, required in options.items() if required} == {
        kebab(name) for name in set(shape.get('required', ())) - lenient}


EXAMPLES = {'blob': 'aGk=', 'boolean': False, 'timestamp': 4102444800, 'map': {'a': 'b'}}


def example(shape_name):
    """A value within the model's limits; it need not mean anything."""
    shape = SHAPES[shape_name]
    kind = shape['type']
    if kind in EXAMPLES:
        return EXAMPLES[kind]
    if kind == 'string':
        return shape['enum'][0] if 'enum' in shape else 'a' * max(1, shape.get('min', 0))
    if kind == 'integer':
        return max(shape['min'], 7)
    if kind == 'list':
        return [example(shape['member']['shape'])]
    return {name: example(member['shape']) for name, member in shape['members'].items()}


def required_request(operation):
    shape = input_of(operation)
    return {name: example(shape['members'][name]['shape']) for name in shape.get('required', ())}


def outside(name, shape_name, free):
    """Values outside the limits of the member `name`, what the refusal says of them, and
    the member it names."""
    at = f"'{name[0].lower()}{name[1:]}'"
    shape = SHAPES[shape_name]
    kind = shape['type']
    low, high = shape.get('min'), shape.get('max')
    if kind == 'string':
        if low:
            yield 'a' * (low - 1), f'length greater than or equal to {low}', at
        if high:
            yield 'a' * (high + 1), f'length less than or equal to {high}', at
        if 'enum' in shape:
            yield 'NONSENSE', 'enum value set', at
        if 'pattern' in shape and not free:
            yield 'a\x7f\u20ac', 'regular expression pattern', at
    elif kind == 'blob':
        if low:
            yield '', f'length greater than or equal to {low}', at
        yield base64.b64encode(bytes(high + 1)).decode(), f'length less than or equal to {high}', at
        yield 'no base64', 'base64', at
    elif kind == 'integer':
        yield low - 1, 'value greater than or equal to', at
        yield high + 1, 'value less than or equal to', at
    elif kind == 'list':
        if high:
            yield [example(shape['member']['shape'])] * (high + 1), (
                f'length less than or equal to {high}'), at
        for value, says, where in outside(name, shape['member']['shape'], free):
            yield [value], says, where
    elif kind == 'structure' and set(shape['members']) == {'TagKey', 'TagValue'}:
        for part in ('TagKey', 'TagValue'):
            for value, says, where in outside(part, shape['members'][part]['shape'], free):
                yield {'TagKey': 'a', 'TagValue': 'b', part: value}, says, where


@pytest.mark.parametrize('operation', BUILT)
def test_limits_are_the_models(api, operation):
    key = api.must('CreateKey')['KeyMetadata']['KeyId']
    shape = input_of(operation)
    request = required_request(operation)
    if 'KeyId' in request:
        request['KeyId'] = key  # tags are looked at when the key is found
    for name in shape.get('required', ()):
        if (operation, name) not in NOT_REQUIRED:
            error, answer = api.post(operation, {k: v for k, v in request.items() if k != name})
            assert error == 'ValidationException', answer
            assert f"'{name[0].lower()}{name[1:]}' must not be null" in answer['message']
    for name, member in shape['members'].items():
        for value, says, where in outside(name, member['shape'], name in FREE):
            error, answer = api.post(operation, {**request, name: value})
            assert error == 'ValidationException', (name, value, answer)
            assert says in answer['message'] and where in answer['message'], (name, value, answer)


def values_taken(api, operation, name, values):
    """Those of an enumeration's values that are not refused as unknown."""
    request = required_request(operation)
    lists = SHAPES[input_of(operation)['members'][name]['shape']]['type'] == 'list'
    for value in values:
        error, answer = api.post(operation, {**request, name: [value] if lists else value})
        if error != 'ValidationException' or 'enum value set' not in answer['message']:
            yield value


@pytest.mark.parametrize('operation', BUILT)
def test_enumerations_know_the_models_values(api, operation):
    for name, member in input_of(operation)['members'].items():
        shape = SHAPES[member['shape']]
        shape = SHAPES[shape['member']['shape']] if shape['type'] == 'list' else shape
        if shape.get('enum'):
            assert list(values_taken(api, operation, name, shape['enum'])) == shape['enum']


def import_material(api, seen):
    key = seen('CreateKey', Origin='EXTERNAL')['KeyMetadata']['KeyId']
    got = seen('GetParametersForImport', KeyId=key, WrappingAlgorithm='RSAES_OAEP_SHA_256',
               WrappingKeySpec='RSA_2048')
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding
    public = serialization.load_der_public_key(base64.b64decode(got['PublicKey']))
    wrapped = public.encrypt(os.urandom(32), padding.OAEP(
        padding.MGF1(hashes.SHA256()), hashes.SHA256(), None))
    seen('ImportKeyMaterial', KeyId=key, ImportToken=got['ImportToken'],
         EncryptedKeyMaterial=base64.b64encode(wrapped).decode(),
         ExpirationModel='KEY_MATERIAL_DOES_NOT_EXPIRE')
    seen('DeleteImportedKeyMaterial', KeyId=key)


def walk(seen):
    """Calls every operation so that it succeeds."""
    key = seen('CreateKey', Tags=[{'TagKey': 'a', 'TagValue': 'b'}])['KeyMetadata']['KeyId']
    macs = seen('CreateKey', KeySpec='HMAC_512',
                KeyUsage='GENERATE_VERIFY_MAC')['KeyMetadata']['KeyId']
    seen('DescribeKey', KeyId=key)
    seen('DescribeKey', KeyId=macs)
    seen('ListKeys', Limit=1)
    seen('UpdateKeyDescription', KeyId=key, Description='d')
    seen('CreateAlias', AliasName='alias/walk', TargetKeyId=key)
    seen('UpdateAlias', AliasName='alias/walk', TargetKeyId=key)
    seen('ListAliases', Limit=1)
    seen('DeleteAlias', AliasName='alias/walk')
    seen('TagResource', KeyId=key, Tags=[{'TagKey': 'c', 'TagValue': 'd'}])
    seen('ListResourceTags', KeyId=key)
    seen('UntagResource', KeyId=key, TagKeys=['c'])
    policy = seen('GetKeyPolicy', KeyId=key, PolicyName='default')['Policy']
    seen('PutKeyPolicy', KeyId=key, PolicyName='default', Policy=policy)
    seen('ListKeyPolicies', KeyId=key)
    grant = {'KeyId': key, 'GranteePrincipal': 'user:root', 'RetiringPrincipal': 'user:root',
             'Operations': ['Decrypt', 'RetireGrant']}
    made = seen('CreateGrant', **grant)
    seen('ListGrants', KeyId=key)
    seen('ListRetirableGrants', RetiringPrincipal='user:root')
    seen('RetireGrant', GrantToken=made['GrantToken'])
    seen('RevokeGrant', KeyId=key, GrantId=seen('CreateGrant', **grant)['GrantId'])
    seen('EnableKeyRotation', KeyId=key)
    seen('GetKeyRotationStatus', KeyId=key)
    seen('DisableKeyRotation', KeyId=key)
    blob = seen('Encrypt', KeyId=key, Plaintext='aGk=')['CiphertextBlob']
    seen('Decrypt', CiphertextBlob=blob)
    seen('ReEncrypt', CiphertextBlob=blob, DestinationKeyId=key)
    for name in ('GenerateDataKey', 'GenerateDataKeyWithoutPlaintext'):
        seen(name, KeyId=key, KeySpec='AES_256')
    for name in ('GenerateDataKeyPair', 'GenerateDataKeyPairWithoutPlaintext'):
        seen(name, KeyId=key, KeyPairSpec='ECC_NIST_P256')
    mac = {'KeyId': macs, 'Message': 'aGk=', 'MacAlgorithm': 'HMAC_SHA_512'}
    seen('VerifyMac', Mac=seen('GenerateMac', **mac)['Mac'], **mac)
    seen('GenerateRandom', NumberOfBytes=8)
    seen('DisableKey', KeyId=key)
    seen('EnableKey', KeyId=key)
    seen('ScheduleKeyDeletion', KeyId=key)
    seen('CancelKeyDeletion', KeyId=key)


def test_output_members_are_the_models(api):
    called = set()

    def seen(operation, **parameters):
        answer = api.must(operation, **parameters)
        called.add(operation)
        extra = set(answer) - output_members(operation)
        assert extra <= NEWER_OUTPUT.get(operation, set()), operation
        if 'KeyMetadata' in answer:
            assert set(answer['KeyMetadata']) - NEWER_METADATA <= set(
                SHAPES['KeyMetadata']['members'])
        return answer

    walk(seen)
    import_material(api, seen)
    assert set(BUILT) <= called


def test_errors_are_the_operations_own(api):
    """Each operation on keys in every state and of every kind."""
    plain = api.must('CreateKey')['KeyMetadata']['KeyId']
    blob = api.must('Encrypt', KeyId=plain, Plaintext='aGk=')['CiphertextBlob']
    keys = [plain, 'alias/none', '00000000-0000-4000-8000-000000000000']
    keys += [api.must('CreateKey', Origin='EXTERNAL')['KeyMetadata']['KeyId'],
             api.must('CreateKey', KeySpec='HMAC_256',
                      KeyUsage='GENERATE_VERIFY_MAC')['KeyMetadata']['KeyId']]
    disabled = api.must('CreateKey')['KeyMetadata']['KeyId']
    deleted = api.must('CreateKey')['KeyMetadata']['KeyId']
    api.must('DisableKey', KeyId=disabled)
    api.must('ScheduleKeyDeletion', KeyId=deleted)
    keys += [disabled, deleted]
    for operation in BUILT:
        known = {error['shape'] for error in OPERATIONS[operation].get('errors', ())}
        changes = operation in ('DisableKey', 'ScheduleKeyDeletion', 'CancelKeyDeletion',
                                'EnableKey', 'DeleteImportedKeyMaterial')
        for key in keys[:3] if changes else keys:
            request = required_request(operation)
            for name in set(input_of(operation)['members']) & {'KeyId', 'TargetKeyId',
                                                               'DestinationKeyId'}:
                request[name] = key
            if 'CiphertextBlob' in request:
                request['CiphertextBlob'] = blob
            error, answer = api.post(operation, request)
            assert error is None or error in known | COMMON_ERRORS, (operation, key, answer)
