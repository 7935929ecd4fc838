"""Who may use which key when: the answer Keyfold's policy engine is compared with.

Written from POLICY.md alone, for a family of policies that is small enough to see
through: a key's policy allows and denies actions to users and groups, hands the
decision to the account or not, may keep direct calls out; grants give actions to
users; IAM policies allow and deny actions on keys to users and groups.

Rights change while users work. A Timeline knows what was in force when, as far as
that can be known from outside: a change happens somewhere between its call and the
answer to it."""
import dataclasses
import math
import time

READ, CREATE, WRITE = 'read', 'create', 'write'
ACTIONS = {READ: ('Decrypt',), CREATE: ('GenerateDataKey',),
           WRITE: ('Decrypt', 'GenerateDataKey')}
# What the promise gives a right that ends to end with what is open.
PROMISED = 1.0


@dataclasses.dataclass(frozen=True)
class Key:
    """A key's policy, grants and state. Pairs are (principal, action)."""
    state: str = 'Enabled'
    account: bool = True
    only_mount: bool = False
    allowed: frozenset = frozenset()
    denied: frozenset = frozenset()
    grants: frozenset = frozenset()  # (user, action, grant id)


@dataclasses.dataclass(frozen=True)
class Iam:
    """Memberships (user, group); rights are (principal, key id, action)."""
    members: frozenset = frozenset()
    allowed: frozenset = frozenset()
    denied: frozenset = frozenset()

    def principals(self, user):
        return {f'user:{user}'} | {f'group:{g}' for u, g in self.members if u == user}


def may(iam, key, key_id, user, action, mount=True):
    who = iam.principals(user)
    if any((p, action) in key.denied or (p, key_id, action) in iam.denied for p in who):
        return False
    if key.only_mount and not mount:
        return False
    if any((p, action) in key.allowed for p in who):
        return True
    if any(grant[:2] == (user, action) for grant in key.grants):
        return True
    return key.account and any((p, key_id, action) in iam.allowed for p in who)


def file_outcome(iam, key, key_id, user, use):
    if not all(may(iam, key, key_id, user, action) for action in ACTIONS[use]):
        return 'EACCES'
    return 'ok' if key.state == 'Enabled' else 'ENOKEY'


def call_outcome(iam, key, key_id, user, action):
    if not may(iam, key, key_id, user, action, mount=False):
        return 'AccessDeniedException'
    return {'Enabled': 'ok', 'Disabled': 'DisabledException'}.get(
        key.state, 'KMSInvalidStateException')


class Timeline:
    """The values of one thing. One thread changes it, others may ask meanwhile."""

    def __init__(self, value):
        self.changes = [(-math.inf, -math.inf, value)]  # begun, done, value

    @property
    def value(self):
        return self.changes[-1][2]

    def change(self, value, action):
        """Does `action`, after which `value` is in force."""
        begun = time.monotonic()
        self.changes.append((begun, math.inf, value))
        result = action()
        self.changes[-1] = (begun, time.monotonic(), value)
        return result

    def possible(self, start, end, grace=0.0):
        """What may have been in force at some time from `start` to `end`; with
        `grace`, also what had ended by so much before."""
        found, gone = [], math.inf
        for begun, done, value in reversed(self.changes[:]):
            if begun <= end:
                found.append(value)
            gone = done
            if gone + grace < start:
                break
        return found

    def changed(self, start, end):
        """Whether a change may have been made from `start` to `end`."""
        return any(begun <= end and done >= start for begun, done, _ in self.changes[1:])

    def certain(self, start, end):
        """The stretches (from, to, value) within which a value was surely in force."""
        changes = self.changes[:]
        for (_, done, value), after in zip(changes, [*changes[1:], (math.inf,) * 3]):
            low, high = max(start, done), min(end, after[0])
            if low < high:
                yield low, high, value
