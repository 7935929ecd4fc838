"""Compares what happened to users with what the policy model says.

An operation that overlaps a change may end either way. What opens a file is decided at
once; what is open may go on for the promised second, and no longer."""
from policy_model import PROMISED, call_outcome, file_outcome

# How long closing others' files may take on a busy machine: what is lost by that is
# an open, not a secret.
LATE = 5.0


class Judge:
    """Knows all rights over time: `keys` by key id, `iam` and, by folder, when files
    were moved to another key (`moves`), each a Timeline."""

    def __init__(self, keys, iam, moves):
        self.keys, self.iam, self.moves = keys, iam, moves
        self.counts, self.refusals = {}, {}
        self.refused_by_either = 0  # of two keys, while a file came under another

    def judge(self, user, event):
        """None, or what is wrong with it."""
        kind, outcome = event['kind'], event['outcome']
        self.counts[kind, outcome] = self.counts.get((kind, outcome), 0) + 1
        expected = getattr(self, kind)(user, event)
        if kind in ('open', 'call', 'administer') and outcome != 'ok':
            if len(event['keys']) == 1:
                at = user, event['keys'][0], 'open' if kind == 'open' else 'call'
                self.refusals[at] = self.refusals.get(at, 0) + 1
            else:
                self.refused_by_either += 1
        if outcome in expected:
            return None
        return f'{user}: {event}: expected {" or ".join(sorted(expected))}'

    def _outcomes(self, user, event, decide, what, grace=0.0):
        at = event['start'], event['end']
        return {decide(iam, key, key_id, user, what)
                for key_id in event['keys']
                for key in self.keys[key_id].possible(*at, grace)
                for iam in self.iam.possible(*at, grace)}

    def open(self, user, event):
        return self._outcomes(user, event, file_outcome, event['use'])

    def call(self, user, event):
        return self._outcomes(user, event, call_outcome, event['action'])

    def administer(self, user, event):
        """Nobody but the administrator administers."""
        return {'AccessDeniedException'}

    def held(self, user, event):
        """An operation on what is open since `event['since']`."""
        moves = self.moves[event['folder']]
        if len(event['keys']) > 1 or moves.changed(event['since'], event['end']):
            return {'ok', 'EACCES', 'ENOKEY', 'ESTALE'}
        expected = self._outcomes(user, event, file_outcome, event['use'], PROMISED)
        key_id, = event['keys']
        since = dict(event, start=event['since'])
        expected |= self._outcomes(user, since, file_outcome, event['use']) - {'ok'}
        if self._surely_lost(user, event, key_id):
            # For good, even if the right has come back.
            expected -= {'ok'}
        # When anyone loses a file, all others have to open it again; a change made just
        # before the file was opened may still be carried out.
        span = event['since'] - LATE, event['end']
        if any(line.changed(*span) for line in (self.keys[key_id], self.iam, moves)):
            expected |= {'ESTALE'}
        return expected

    def mapped(self, user, event):
        """SIGBUS does not say why."""
        expected = self.held(user, event)
        return expected | ({'SIGBUS'} if expected - {'ok'} else set())

    def closed(self, user, event):
        """The kernel tells of a write-back that failed whoever closes the file next, so a
        reader that lost its right too; what was written before is looked for by reading."""
        return {'ok'} | ({'EIO'} if self.held(user, event) - {'ok'} else set())

    def _surely_lost(self, user, event, key_id):
        span = event['since'], event['start']
        return any(
            min(b, d) - max(a, c) > PROMISED
            and file_outcome(iam, key, key_id, user, event['use']) != 'ok'
            for a, b, key in self.keys[key_id].certain(*span)
            for c, d, iam in self.iam.certain(*span))
