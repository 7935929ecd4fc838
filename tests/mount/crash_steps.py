"""What one process changes step by step, and the states that a crash may leave of it.

The process tells of each step in a line of JSON before it takes it, with "ok" once it
has returned, and in the end with ["failed", why]. Given a file that grows, it begins each
line with the file's size."""
import json
import os


class Teller:
    def __init__(self, grows=None):
        self.grows = grows

    def tell(self, line):
        if self.grows:
            line = f'{os.stat(self.grows).st_size} {line}'
        print(line, flush=True)

    def take(self, step, action):
        self.tell(json.dumps(step))
        action(*step)
        self.tell('ok')

    def failed(self, why):
        self.tell(json.dumps(['failed', why]))


class States:
    """The state that is sure, and each that came after it. A subclass has apply(kind,
    *words), which takes a step, and state(), a mapping that is not changed later."""

    # Kinds of steps that, once returned, last with all before them; None: each does.
    lasting = None

    def __init__(self):
        self.states, self.steps = [self.state()], []
        self.running = self.failed = None

    def line(self, line):
        """Follows one line; "not known" stands for an "ok" that may be lost."""
        self.steps.append(line)
        if line in ('ok', 'not known'):
            if line == 'ok' and (self.lasting is None or self.running in self.lasting):
                self.is_sure()
            return
        self.running, *words = json.loads(line)
        if self.running == 'failed':
            self.failed = words[0]
            return
        self.apply(self.running, *words)
        self.states.append(self.state())

    def is_sure(self):
        del self.states[:-1]

    def alike(self, expected, found):
        """Whether one member of a state may be found as that."""
        return expected == found

    def differences(self, state, found):
        return {name: (state.get(name), found.get(name)) for name in state.keys() | found.keys()
                if name not in state or name not in found
                or not self.alike(state[name], found[name])}

    def wrong(self, found):
        """What is wrong with that; nothing if it may be."""
        differences = [self.differences(state, found) for state in self.states]
        if {} in differences:
            return None
        return f'none of {len(self.states)} states: {differences[0]}; after {self.steps[-12:]}'
