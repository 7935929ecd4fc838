"""Changes keys at random through the KMS's socket, until that fails: makes them, gives
them aliases, tags, grants and policies, disables and enables them. Keys knows what a
crash may leave of it: each call that was answered is there, and one that was not is
there wholly or not at all.

    crash_kms.py change SOCKET RUN PRINCIPAL [GROWS]
    crash_kms.py show SOCKET RUN     prints what is there, as Keys.wrong takes it

RUN is the seed, and begins the descriptions of the keys that are made."""
import copy
import http.client
import json
import random
import socket
import sys

from crash_steps import States, Teller

CALLS = 20  # on one connection
MOST = 12   # keys that are still changed
FULL = 40   # of aliases, tags and grants of one key
GRANTEE = 'arn:aws:iam::000000000000:user/kfstranger'
KINDS = {'create': 2, 'alias': 3, 'tag': 3, 'grant': 3, 'revoke': 1, 'disable': 2, 'enable': 2,
         'policy': 3}


class Keys(States):
    """What each key has, by its description."""

    def __init__(self):
        self.keys = {}
        super().__init__()

    def apply(self, kind, key, value=None):
        if kind == 'create':
            self.keys[key] = {'enabled': True, 'policy': value, 'tags': [value], 'aliases': [],
                              'grants': []}
            return
        has = self.keys[key]
        if kind in ('alias', 'grant'):
            which = 'aliases' if kind == 'alias' else 'grants'
            has[which] = sorted([*has[which], value])
        elif kind == 'revoke':
            has['grants'] = [name for name in has['grants'] if name != value]
        elif kind == 'tag':
            has['tags'] = sorted([*has['tags'], value])
        elif kind == 'policy':
            has['policy'] = value
        else:
            has['enabled'] = kind == 'enable'

    def state(self):
        return copy.deepcopy(self.keys)


class Refused(Exception):
    pass


class Kms:
    def __init__(self, path):
        self.path, self.connection, self.calls = path, None, 0

    def call(self, operation, **parameters):
        if self.connection is None or self.calls % CALLS == 0:
            self.connection = http.client.HTTPConnection('localhost', timeout=60)
            self.connection.sock = socket.socket(socket.AF_UNIX)
            self.connection.sock.connect(self.path)
        self.calls += 1
        self.connection.request('POST', '/', json.dumps(parameters),
                                {'X-Amz-Target': f'TrentService.{operation}',
                                 'Content-Type': 'application/x-amz-json-1.1'})
        response = self.connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise Refused(f'{operation}: {answer.decode()}')
        return json.loads(answer) if answer else {}


class Changer:
    def __init__(self, kms, run, principal):
        self.kms, self.run, self.principal = kms, run, principal
        self.ids, self.grants = {}, {}

    def policy(self, sid):
        return json.dumps({'Version': '2012-10-17', 'Statement': [
            {'Sid': sid, 'Effect': 'Allow', 'Principal': {'AWS': self.principal},
             'Action': 'kms:*', 'Resource': '*'}]})

    def take(self, kind, key, value=None):
        call, key_id = self.kms.call, self.ids.get(key)
        if kind == 'create':
            made = call('CreateKey', Description=key, Policy=self.policy(value),
                        Tags=[{'TagKey': value, 'TagValue': 'x'}])
            self.ids[key] = made['KeyMetadata']['KeyId']
        elif kind == 'alias':
            call('CreateAlias', AliasName=value, TargetKeyId=key_id)
        elif kind == 'tag':
            call('TagResource', KeyId=key_id, Tags=[{'TagKey': value, 'TagValue': 'x'}])
        elif kind == 'grant':
            self.grants[value] = call('CreateGrant', KeyId=key_id, Name=value,
                                      GranteePrincipal=GRANTEE,
                                      Operations=['Decrypt'])['GrantId']
        elif kind == 'revoke':
            call('RevokeGrant', KeyId=key_id, GrantId=self.grants[value])
        elif kind == 'policy':
            call('PutKeyPolicy', KeyId=key_id, PolicyName='default', Policy=self.policy(value))
        else:
            call('DisableKey' if kind == 'disable' else 'EnableKey', KeyId=key_id)


def any_step(keys, rng, run, number):
    """A call that the KMS lets be made, or None."""
    kind = rng.choices(list(KINDS), KINDS.values())[0]
    if kind == 'create' or not keys.keys:
        return ['create', f'{run} key {number}', f'first{number}']
    key = rng.choice(list(keys.keys)[-MOST:])
    has = keys.keys[key]
    if kind == 'revoke':
        return [kind, key, rng.choice(has['grants'])] if has['grants'] else None
    if kind in ('disable', 'enable'):
        return [kind, key] if has['enabled'] == (kind == 'disable') else None
    if kind == 'grant' and not has['enabled']:
        return None
    if max(len(has[what]) for what in ('aliases', 'tags', 'grants')) > FULL:
        return None
    return [kind, key, f'alias/{run}-{number}' if kind == 'alias' else f'{kind}{number}']


def change(path, run, principal, grows=None):
    rng, keys, teller = random.Random(run), Keys(), Teller(grows)
    changer, number = Changer(Kms(path), run, principal), 0
    try:
        while True:
            number += 1
            step = any_step(keys, rng, run, number)
            if step is not None:
                teller.take(step, changer.take)
                keys.apply(*step)
    except (OSError, http.client.HTTPException) as e:
        teller.failed(type(e).__name__)
    except Refused as e:
        teller.failed(str(e))


def show(path, run):
    """What the keys of that run have, by their descriptions."""
    kms, found = Kms(path), {}
    for key_id in (key['KeyId'] for key in kms.call('ListKeys', Limit=1000)['Keys']):
        is_ = kms.call('DescribeKey', KeyId=key_id)['KeyMetadata']
        if not is_['Description'].startswith(run + ' '):
            continue
        policy = kms.call('GetKeyPolicy', KeyId=key_id, PolicyName='default')['Policy']
        found[is_['Description']] = {
            'enabled': is_['Enabled'],
            'policy': json.loads(policy)['Statement'][0]['Sid'],
            'tags': sorted(t['TagKey'] for t in kms.call('ListResourceTags', KeyId=key_id)['Tags']),
            'aliases': sorted(alias['AliasName'] for alias in
                              kms.call('ListAliases', KeyId=key_id, Limit=100)['Aliases']),
            'grants': sorted(grant['Name'] for grant in
                             kms.call('ListGrants', KeyId=key_id, Limit=100)['Grants'])}
    return found


if __name__ == '__main__':
    if sys.argv[1] == 'show':
        print(json.dumps(show(*sys.argv[2:])))
    else:
        change(*sys.argv[2:])
