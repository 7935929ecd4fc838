"""Changes rights at random, as the administrator of all keys and as the account's root,
and notes in Timelines what is in force when."""
import base64
import collections
import dataclasses
import json
import os
import random
import subprocess
import threading
import time

from policy_model import Iam, Key, Timeline
from share import Failed

ADMIN = 'kfsoakadmin'
GROUPS = ('soak1', 'soak2', 'soak3')
USES = ('Decrypt', 'GenerateDataKey', 'Encrypt')
MOST_ROTATIONS = 25  # on demand, of one key
ACCOUNT = 'arn:aws:iam::000000000000'


def arn(principal):
    kind, name = principal.split(':')
    return f'{ACCOUNT}:{kind}/{name}'


def statement(sid, effect, principal, action, **more):
    return {'Sid': sid, 'Effect': effect, 'Principal': {'AWS': principal},
            'Action': action, 'Resource': '*', **more}


def policy_of(key):
    """The key's policy as a document."""
    statements = [statement('admin', 'Allow', arn(f'user:{ADMIN}'), 'kms:*')]
    if key.account:
        statements.append(statement('account', 'Allow', f'{ACCOUNT}:root', 'kms:*'))
    if key.only_mount:
        statements.append(statement(
            'mount', 'Deny', '*', ['kms:' + use for use in USES],
            Condition={'StringNotEquals': {'kms:ViaService': 'fs.keyfold'}}))
    for effect, pairs in ('Allow', key.allowed), ('Deny', key.denied):
        for number, action in enumerate(USES):
            who = sorted(arn(p) for p, a in pairs if a == action)
            if who:
                statements.append(statement(f'{effect}{number}', effect, who, 'kms:' + action))
    return json.dumps({'Version': '2012-10-17', 'Statement': statements})


def document_of(iam, users):
    """The account's IAM document."""
    policies, attached = {}, {}
    for effect, rights in ('Allow', iam.allowed), ('Deny', iam.denied):
        for principal, key_id, action in sorted(rights):
            name = f'{effect}{len(policies)}'
            policies[name] = {'Version': '2012-10-17', 'Statement': [
                {'Effect': effect, 'Action': 'kms:' + action,
                 'Resource': f'arn:aws:kms:local-1:000000000000:key/{key_id}'}]}
            attached.setdefault(principal, []).append(name)
    return json.dumps({
        # Making keys is a right of its own, and gives no use of any.
        'users': {ADMIN: {'policies': ['FilesFullAccess']}} | {
            u: {'groups': sorted(g for v, g in iam.members if v == u),
                'policies': attached.get(f'user:{u}', [])} for u in users},
        'groups': {g: {'policies': attached.get(f'group:{g}', [])} for g in GROUPS},
        'policies': policies})


class Administrator:
    """Owns the keys of all folders. Used by one thread at a time."""

    def __init__(self, share, users, folders, seed):
        self.share, self.users, self.rng = share, users, random.Random(seed)
        self.keys, self.key_of, self.material = {}, {}, {}
        self.rotations = collections.Counter()
        self.iam = Timeline(Iam())
        self.moves = {folder: Timeline(0) for folder in folders}
        self.changes, self.rekeyed_by = {}, set()
        self.steps = []  # (begun, kind, key id)
        self.stopping = threading.Event()

    def kms(self, *args):
        return self.share.kms(ADMIN, *args)

    def prepare(self):
        """Makes the folders, each with a key, of which every third has material from
        outside."""
        self.apply_iam(Iam())
        for number, folder in enumerate(self.moves):
            external = number % 3 == 2
            key_id = self.kms('create-key', '--policy', policy_of(Key()),
                              *(['--origin', 'EXTERNAL'] if external else []))[
                                  'KeyMetadata']['KeyId']
            self.keys[key_id] = Timeline(Key(state='PendingImport' if external else 'Enabled'))
            if external:
                self.material[key_id] = os.urandom(32)
                self.import_material(key_id)
            self.put_policy(key_id)
            path = self.share.mnt / folder
            self.share.python(ADMIN, 'import os, sys; os.mkdir(sys.argv[1]);'
                                     'os.chmod(sys.argv[1], 0o777)', path)
            self.share.run(ADMIN, 'folder', 'set-key', path, key_id)
            self.key_of[folder] = key_id

    def change(self, key_id, action, **members):
        timeline = self.keys[key_id]
        return timeline.change(dataclasses.replace(timeline.value, **members), action)

    def pairs(self, likely):
        """Pairs of who and what; each user with this likelihood."""
        found = set()
        for user in self.users:
            if self.rng.random() < likely:
                count = self.rng.choice((1, 2, 3, 3, 3, 3))
                found |= {(f'user:{user}', use) for use in self.rng.sample(USES, count)}
        if self.rng.random() < 0.4:
            found |= {(f'group:{self.rng.choice(GROUPS)}', use)
                      for use in self.rng.sample(USES, 2)}
        return frozenset(found)

    # What is changed.

    def put_policy(self, key_id):
        admin = {(f'user:{ADMIN}', use) for use in USES}
        allowed, denied = self.pairs(0.8), self.pairs(0.05)
        new = {'allowed': allowed | admin, 'account': self.rng.random() < 0.6,
               'denied': denied if self.rng.random() < 0.6 else frozenset(),
               'only_mount': self.rng.random() < 0.2}
        policy = policy_of(dataclasses.replace(self.keys[key_id].value, **new))
        self.change(key_id, lambda: self.kms('put-key-policy', '--key-id', key_id, '--policy',
                                             policy), **new)

    def grant(self, key_id):
        timeline, user = self.keys[key_id], self.rng.choice(self.users)
        uses = self.rng.sample(USES, self.rng.choice((1, 2, 3)))
        if timeline.value.state != 'Enabled' or len(timeline.value.grants) > 20:
            return self.revoke(key_id)
        # Its id is only known afterwards.
        before = timeline.value
        made = self.change(key_id, lambda: self.kms(
            'create-grant', '--key-id', key_id, '--grantee-principal', f'user:{user}',
            '--operations', *uses)['GrantId'],
            grants=before.grants | {(user, use, 'new') for use in uses})
        begun, done, value = timeline.changes[-1]
        timeline.changes[-1] = (begun, done, dataclasses.replace(
            value, grants=before.grants | {(user, use, made) for use in uses}))

    def revoke(self, key_id):
        grants = self.keys[key_id].value.grants
        if grants:
            gone = self.rng.choice(sorted(grants))[2]
            self.change(key_id, lambda: self.kms('revoke-grant', '--key-id', key_id,
                                                 '--grant-id', gone),
                        grants=frozenset(g for g in grants if g[2] != gone))

    def disable(self, key_id):
        if self.keys[key_id].value.state == 'Enabled':
            self.change(key_id, lambda: self.kms('disable-key', '--key-id', key_id),
                        state='Disabled')

    def schedule(self, key_id):
        if self.keys[key_id].value.state == 'Enabled':
            self.change(key_id, lambda: self.kms(
                'schedule-key-deletion', '--key-id', key_id, '--pending-window-in-days', 7),
                state='PendingDeletion')

    def delete_material(self, key_id):
        if key_id in self.material and self.keys[key_id].value.state == 'Enabled':
            self.change(key_id, lambda: self.kms('delete-imported-key-material', '--key-id',
                                                 key_id), state='PendingImport')

    def import_material(self, key_id):
        folder = self.share.folder / 'import'
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
        wanted = self.kms('get-parameters-for-import', '--key-id', key_id,
                          '--wrapping-algorithm', 'RSAES_OAEP_SHA_256',
                          '--wrapping-key-spec', 'RSA_2048')
        (folder / 'public').write_bytes(base64.b64decode(wanted['PublicKey']))
        (folder / 'token').write_bytes(base64.b64decode(wanted['ImportToken']))
        subprocess.run(
            ['openssl', 'pkeyutl', '-encrypt', '-pubin', '-keyform', 'DER', '-inkey',
             folder / 'public', '-out', folder / 'wrapped', '-pkeyopt',
             'rsa_padding_mode:oaep', '-pkeyopt', 'rsa_oaep_md:sha256', '-pkeyopt',
             'rsa_mgf1_md:sha256'], input=self.material[key_id], check=True)
        for name in 'token', 'wrapped':
            (folder / name).chmod(0o644)
        self.change(key_id, lambda: self.kms(
            'import-key-material', '--key-id', key_id, '--import-token',
            f'fileb://{folder}/token', '--encrypted-key-material', f'fileb://{folder}/wrapped',
            '--expiration-model', 'KEY_MATERIAL_DOES_NOT_EXPIRE'), state='Enabled')

    def bring_back(self, key_id):
        state = self.keys[key_id].value.state
        if state == 'PendingDeletion':
            self.change(key_id, lambda: self.kms('cancel-key-deletion', '--key-id', key_id),
                        state='Disabled')
        if state in ('PendingDeletion', 'Disabled'):
            self.change(key_id, lambda: self.kms('enable-key', '--key-id', key_id),
                        state='Enabled')
        if state == 'PendingImport':
            self.import_material(key_id)

    def rotate(self, key_id):
        if (self.keys[key_id].value.state == 'Enabled' and key_id not in self.material
                and self.rotations[key_id] < MOST_ROTATIONS):
            self.rotations[key_id] += 1
            self.kms('rotate-key-on-demand', '--key-id', key_id)

    def apply_iam(self, iam):
        path = self.share.folder / 'iam.yaml'
        path.write_text(document_of(iam, self.users))
        self.iam.change(iam, lambda: self.share.run(None, 'iam', 'apply', path))

    def identities(self, key_id):
        iam, rng = self.iam.value, self.rng
        members = set(iam.members)
        for _ in range(2):
            members ^= {(rng.choice(self.users), rng.choice(GROUPS))}
        who = rng.choice([f'user:{rng.choice(self.users)}', f'group:{rng.choice(GROUPS)}'])
        allowed, denied = set(iam.allowed), set(iam.denied)
        allowed ^= {(who, key_id, use) for use in rng.sample(USES, 2)}
        if rng.random() < 0.3:
            denied ^= {(who, key_id, rng.choice(USES))}
        for rights, most in (allowed, 40), (denied, 6):
            while len(rights) > most:
                rights.remove(rng.choice(sorted(rights)))
        self.apply_iam(Iam(frozenset(members), frozenset(allowed), frozenset(denied)))

    def move(self, key_id):
        """Binds a folder to another folder's key; some user has the wraps of files
        follow, or their data keys made anew."""
        folder, user = self.rng.choice(sorted(self.moves)), self.rng.choice(self.users)
        path, old = self.share.mnt / folder, self.key_of[folder]
        if any(self.keys[k].value.state != 'Enabled' for k in (key_id, old)):
            return
        anew = ['--reencrypt'] if self.rng.randrange(2) else []
        self.rekeyed_by.add(user)

        def action():
            self.share.run(ADMIN, 'folder', 'set-key', path, key_id)
            self.key_of[folder] = key_id
            try:
                self.share.run(user, 'rekey', path, *anew)
            except Failed as e:
                # Files of others, and what the policy refuses, stay as they are.
                if e.code != 7:
                    raise
        self.moves[folder].change(self.moves[folder].value + 1, action)

    KINDS = {put_policy: 6, grant: 5, revoke: 4, disable: 3, schedule: 1, delete_material: 3,
             rotate: 2, identities: 4, move: 1}

    def step(self):
        """One change. A key does not stay unusable for long."""
        kind = self.rng.choices(list(self.KINDS), list(self.KINDS.values()))[0]
        away = [k for k, t in self.keys.items() if t.value.state != 'Enabled']
        if away and self.rng.random() < 0.2 + len(away) / len(self.keys):
            kind, key_id = Administrator.bring_back, self.rng.choice(away)
        else:
            key_id = self.rng.choice(list(self.keys))
        self.changes[kind.__name__] = self.changes.get(kind.__name__, 0) + 1
        self.steps.append((time.monotonic(), kind.__name__, key_id))
        kind(self, key_id)

    def before(self, moment, seconds=6):
        """The steps begun shortly before, each as how long before it was, kind and key."""
        return [(f'{begun - moment:.2f} s', kind, key_id) for begun, kind, key_id in self.steps
                if moment - seconds < begun < moment + 0.5]

    def work(self):
        while not self.stopping.wait(self.rng.uniform(0.05, 0.5)):
            self.step()

    def open_all(self):
        """Everybody may use every key."""
        self.apply_iam(Iam())
        everyone = frozenset((f'user:{u}', use) for u in (*self.users, ADMIN) for use in USES)
        for key_id, timeline in self.keys.items():
            self.bring_back(key_id)
            new = {'allowed': everyone, 'denied': frozenset(), 'only_mount': False}
            policy = policy_of(dataclasses.replace(timeline.value, **new))
            self.change(key_id, lambda: self.kms('put-key-policy', '--key-id', key_id,
                                                 '--policy', policy), **new)
