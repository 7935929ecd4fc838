"""A user's process: does what it is told on standard input, and answers with what
happened: events for the judge, and what is wrong with contents.

Each order is (number, kind, folder); which file and what is done to it follow from
the seed and the number."""
import errno
import http.client
import json
import mmap
import os
import pickle
import random
import signal
import socket
import sys
import time

from contents import CHUNK, LONGEST, VERSIONS, Contents, plausible
from policy_model import CREATE, READ, WRITE

MOST_FILES = 12  # in each folder


class Own:
    """A file of this user's: its names and what it holds."""

    def __init__(self, folder, name, contents):
        self.folder, self.names, self.contents = folder, [name], contents


class Held:
    """An open file, and what the judge has to know of it."""

    def __init__(self, fd, folder, use, keys, own):
        self.fd, self.own, self.since = fd, own, time.monotonic()
        self.facts = {'folder': folder, 'use': use, 'since': self.since}
        self.keys = keys


class Worker:
    def __init__(self, seed, user, base, socket_path):
        self.seed, self.user, self.base = seed, user, base
        self.socket_path, self.connection = socket_path, None
        self.files, self.held, self.made, self.blobs = {}, {}, 0, {}
        self.events, self.wrong = [], []
        # Files that were closed with an error: nothing is written to them before they
        # were read, lest it hide what was lost.
        self.suspects = []

    def by_path(self, action, *args):
        """An action that meets the revocation of somebody's right looks again."""
        for attempt in range(20):
            try:
                return action(*args)
            except OSError as e:
                if e.errno != errno.ESTALE or attempt == 19:
                    raise
                time.sleep(0.05)

    def key_of(self, path):
        return self.by_path(os.getxattr, path, 'user.keyfold.key-id').decode()

    def path(self, own):
        return f'{self.base}/{own.folder}/{self.rng.choice(own.names)}'

    def note(self, kind, keys, start, outcome, **more):
        self.events.append({'kind': kind, 'keys': sorted(keys), 'start': start,
                            'end': time.monotonic(), 'outcome': outcome,
                            'order': self.number, **more})

    def opening(self, place, action, use, what):
        """What `action`, which takes a right to use the key of `place`, returns and
        the keys it may have been; or nothing if it was refused. A file may come under
        another key meanwhile, and one of another user's may go."""
        keys, result, outcome = {self.key_of(place)}, None, 'ok'
        start = time.monotonic()
        try:
            result = self.by_path(action)
        except FileNotFoundError:
            raise
        except OSError as e:
            outcome = errno.errorcode[e.errno]
        end = time.monotonic()
        try:
            keys.add(self.key_of(place))
        except FileNotFoundError:
            pass
        except OSError as e:
            self.complain(f'{place} after {what}: {e}')
        self.note('open', keys, start, outcome, use=use, what=what)
        self.events[-1]['end'] = end
        return result, keys

    def open(self, folder, path, flags, use, own):
        place = f'{self.base}/{folder}' if use == CREATE else path
        fd, keys = self.opening(place, lambda: os.open(path, flags, 0o666), use, 'open')
        return None if fd is None else Held(fd, folder, use, keys, own)

    def use(self, held, what, action):
        """What an action on an open file returns, or None if it was refused."""
        start, result, outcome = time.monotonic(), None, 'ok'
        try:
            result = action()
        except OSError as e:
            outcome = errno.errorcode[e.errno]
        self.note('held', held.keys, start, outcome, what=what, **held.facts)
        return result

    def close(self, held):
        """Closing tells of write-back that failed since the right was lost."""
        start, outcome = time.monotonic(), 'ok'
        try:
            os.close(held.fd)
        except OSError as e:
            outcome = errno.errorcode[e.errno]
            if held.own and held.own.names and held.own not in self.suspects:
                self.suspects.append(held.own)
        self.note('closed', held.keys, start, outcome, what='close', **held.facts)

    def read(self, held):
        """All there is, or None."""
        def action():
            data = b''
            while True:
                more = os.pread(held.fd, 1 << 20, len(data))
                if not more:
                    return data
                data += more
        return self.use(held, 'read', action)

    def write(self, held, first, versions):
        def action():
            data = held.own.contents.bytes(first, versions)
            done = os.pwrite(held.fd, data, first * CHUNK)
            held.own.contents.written(first, versions[:done // CHUNK])
        self.use(held, 'write', action)

    def pick(self, folder):
        files = [f for f in self.files.get(folder, []) if f not in self.suspects]
        return self.rng.choice(files) if files else None

    def patch(self, own):
        """Where to write, and which versions."""
        first = self.rng.randrange(min(len(own.contents.chunks), LONGEST - 8) + 1)
        count = self.rng.choice((1, 2, 8, 8, 33)) if first < LONGEST - 33 else 1
        return first, [self.rng.randrange(1, VERSIONS + 1) for _ in range(count)]

    # The orders.

    def create(self, folder):
        if len(self.files.setdefault(folder, [])) >= MOST_FILES:
            return self.unlink(folder)
        name = f'{self.user}.{self.made}.0'
        self.made += 1
        path = f'{self.base}/{folder}/{name}'
        own = Own(folder, name, Contents(self.seed, name.rsplit('.', 1)[0]))
        held = self.open(folder, path, os.O_CREAT | os.O_EXCL | os.O_RDWR, CREATE, own)
        if held is None:
            if os.path.lexists(path):
                self.complain(f'{path} is there though creating it was refused')
            return
        self.files[folder].append(own)
        self.write(held, *self.patch(own))
        self.close(held)

    def change(self, folder, append=False):
        own = self.pick(folder)
        if own is None:
            return self.create(folder)
        held = self.open(folder, self.path(own), os.O_RDWR | (os.O_APPEND if append else 0),
                         WRITE, own)
        if held is None:
            return
        first, versions = self.patch(own)
        if append:
            first = len(own.contents.chunks)
            versions = versions if first < LONGEST else []
        self.write(held, first, versions)
        if self.rng.randrange(4) == 0:
            self.use(held, 'fsync', lambda: os.fsync(held.fd))
        self.close(held)

    def append(self, folder):
        self.change(folder, append=True)

    def verify(self, folder):
        if self.suspects:
            self.suspects = [own for own in self.suspects if not self.verify_file(own)]
            return
        own = self.pick(folder)
        if own is not None:
            self.verify_file(own)

    def verify_file(self, own):
        held = self.open(own.folder, self.path(own), os.O_RDONLY, READ, own)
        if held is None:
            return False
        data = self.read(held)
        self.close(held)
        if data is not None:
            self.complain(own.contents.check(data))
        return data is not None

    def complain(self, wrong):
        if wrong:
            self.wrong.append(f'order {self.number} of {self.user}: {wrong}')

    def foreign(self, folder):
        names = sorted(os.listdir(f'{self.base}/{folder}'))
        names = [n for n in names if not n.startswith(self.user + '.')]
        if not names:
            return
        name = self.rng.choice(names)
        try:
            held = self.open(folder, f'{self.base}/{folder}/{name}', os.O_RDONLY, READ, None)
        except FileNotFoundError:
            return  # its owner took it away
        if held is None:
            return
        data = self.read(held)
        if data is not None:
            self.complain(plausible(self.seed, name.rsplit('.', 1)[0], data))
        if self.rng.randrange(3) == 0:
            self.hold(held)
        else:
            self.close(held)

    def truncate(self, folder):
        own = self.pick(folder)
        if own is None:
            return
        path, count = self.path(own), self.rng.randrange(LONGEST)
        count = min(count, len(own.contents.chunks) + 20)

        def cut():
            os.truncate(path, count * CHUNK)
            own.contents.cut(count)
        self.opening(path, cut, WRITE, 'truncate')

    def rename(self, folder):
        own = self.pick(folder)
        if own is None:
            return
        old = self.rng.choice(own.names)
        stem, count = old.rsplit('.', 1)
        self.made += 1
        new = f'{stem}.{self.made}'
        self.by_path(os.rename, f'{self.base}/{folder}/{old}', f'{self.base}/{folder}/{new}')
        own.names[own.names.index(old)] = new

    def link(self, folder):
        own = self.pick(folder)
        if own is None or len(own.names) > 3:
            return
        old = self.rng.choice(own.names)
        self.made += 1
        new = f'{old.rsplit(".", 1)[0]}.{self.made}'
        self.by_path(os.link, f'{self.base}/{folder}/{old}', f'{self.base}/{folder}/{new}')
        own.names.append(new)

    def unlink(self, folder):
        own = self.pick(folder)
        if own is None:
            return
        name = self.rng.choice(own.names)
        self.by_path(os.unlink, f'{self.base}/{folder}/{name}')
        own.names.remove(name)
        if not own.names:
            self.files[folder].remove(own)
            for slot, held in list(self.held.items()):
                if held.own is own:
                    self.close(self.held.pop(slot))

    def stat(self, folder):
        own = self.pick(folder)
        if own is None:
            return
        st = self.by_path(os.stat, self.path(own))
        if st.st_size != own.contents.size() or st.st_nlink != len(own.names):
            self.complain(f'{own.names}: {st.st_size} bytes and {st.st_nlink} names, not '
                          f'{own.contents.size()} and {len(own.names)}')

    def map(self, folder):
        """Writes through a map, in a child, as losing the right is SIGBUS."""
        own = self.pick(folder)
        if own is None or not own.contents.chunks:
            return
        held = self.open(folder, self.path(own), os.O_RDWR, WRITE, own)
        if held is None:
            return
        first = self.rng.randrange(len(own.contents.chunks))
        versions = [self.rng.randrange(1, VERSIONS + 1)]
        start, child = time.monotonic(), os.fork()
        if child == 0:
            try:
                area = mmap.mmap(held.fd, own.contents.size())
                area[first * CHUNK:(first + 1) * CHUNK] = own.contents.bytes(first, versions)
                area.flush()
                os._exit(0)
            except OSError as e:
                os._exit(e.errno)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        own.contents.written(first, versions, surely=status == 0)
        outcome = ('ok' if status == 0 else 'SIGBUS' if status == -signal.SIGBUS
                   else errno.errorcode.get(status, str(status)))
        self.note('mapped', held.keys, start, outcome, what='map', **held.facts)
        self.close(held)

    def hold(self, held):
        slot = self.rng.randrange(4)
        if slot in self.held:
            self.close(self.held.pop(slot))
        self.held[slot] = held

    def keep(self, folder):
        own = self.pick(folder)
        if own is None:
            return
        use, flags = self.rng.choice(((READ, os.O_RDONLY), (WRITE, os.O_RDWR)))
        held = self.open(folder, self.path(own), flags, use, own)
        if held is not None:
            self.hold(held)

    def held_use(self, folder):
        if not self.held:
            return self.keep(folder)
        held = self.held[self.rng.choice(sorted(self.held))]
        if (held.own and held.facts['use'] == WRITE and held.own not in self.suspects
                and self.rng.randrange(2)):
            return self.write(held, *self.patch(held.own))
        data = self.read(held)
        if data is not None and held.own:
            self.complain(held.own.contents.check(data))

    def ask_kms(self, operation, parameters):
        if self.connection is None:
            self.connection = http.client.HTTPConnection('localhost')
            self.connection.sock = socket.socket(socket.AF_UNIX)
            self.connection.sock.connect(self.socket_path)
        try:
            self.connection.request(
                'POST', '/', json.dumps(parameters),
                {'X-Amz-Target': 'TrentService.' + operation,
                 'Content-Type': 'application/x-amz-json-1.1'})
            response = self.connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, http.client.HTTPException):
            # The server closes a connection after some time, or some calls.
            self.connection = None
            return self.ask_kms(operation, parameters)
        return answer, 'ok' if response.status == 200 else answer['__type']

    def call(self, folder):
        key = self.key_of(f'{self.base}/{folder}')
        blob = self.blobs.get(key)
        start = time.monotonic()
        if blob and self.rng.randrange(2):
            answer, outcome = self.ask_kms('Decrypt', {'CiphertextBlob': blob})
            self.note('call', {key}, start, outcome, action='Decrypt')
            if outcome == 'ok' and answer['Plaintext'] != 'c2Vj':
                self.complain(f'Decrypt gave {answer["Plaintext"]}')
        else:
            answer, outcome = self.ask_kms('Encrypt', {'KeyId': key, 'Plaintext': 'c2Vj'})
            self.note('call', {key}, start, outcome, action='Encrypt')
            if outcome == 'ok':
                self.blobs[key] = answer['CiphertextBlob']

    def administer(self, folder):
        key = self.key_of(f'{self.base}/{folder}')
        start = time.monotonic()
        operation, more = self.rng.choice((
            ('DisableKey', {}), ('ScheduleKeyDeletion', {}), ('RotateKeyOnDemand', {}),
            ('PutKeyPolicy', {'Policy': '{"Statement": [{"Effect": "Allow", "Principal": '
                              '"*", "Action": "kms:*", "Resource": "*"}]}'}),
            ('CreateGrant', {'GranteePrincipal': f'user:{self.user}',
                             'Operations': ['Decrypt']})))
        _, outcome = self.ask_kms(operation, {'KeyId': key, **more})
        self.note('administer', {key}, start, outcome, action=operation)

    def release(self, folder):
        for held in self.held.values():
            self.close(held)
        self.held.clear()
        if self.connection:
            self.connection.close()
            self.connection = None

    def verify_all(self, folder):
        """Every file that is there is this model's, byte for byte."""
        for folder, files in self.files.items():
            mine = {n for n in os.listdir(f'{self.base}/{folder}')
                    if n.startswith(self.user + '.')}
            if mine != {n for own in files for n in own.names}:
                self.complain(f'{folder} has the names {sorted(mine)}')
            for own in files:
                if not self.verify_file(own):
                    self.complain(f'{own.names} in {folder} cannot be read')

    def serve(self, orders, answers):
        while True:
            order = pickle.load(orders)
            if order is None:
                return
            self.number, kind, folder = order
            self.rng = random.Random(f'{self.seed}/{self.user}/{self.number}')
            self.events, self.wrong = [], []
            try:
                getattr(self, kind)(folder)
            except Exception as e:
                self.complain(f'{kind} in {folder}: {type(e).__name__}: {e}')
            pickle.dump((self.events, self.wrong), answers)
            answers.flush()


if __name__ == '__main__':
    os.umask(0)
    seed, user, base, socket_path = sys.argv[1:]
    Worker(seed, user, base, socket_path).serve(sys.stdin.buffer, sys.stdout.buffer)
