"""What files may hold after a crash, by the steps that crash_writer.py tells of: what is
changed may be so or not, block by block, until the next sync. If it was the daemon that
was killed, truncating to smaller, punching a hole and renaming are in force once they
have returned."""
import random

PAGE = 4096


class Contents:
    """What each block of one file may hold, and how long the file may be."""

    def __init__(self, text=b''):
        self.text = bytearray(text)
        self.synced()

    def block(self, number):
        return bytes(self.text[number * PAGE:(number + 1) * PAGE])

    def changed(self, begin, end):
        for number in range(begin // PAGE, -(-end // PAGE)):
            self.held.setdefault(number, set()).add(self.block(number))
        self.lengths.add(len(self.text))

    def synced(self):
        self.held, self.lengths, self.least = {}, set(), len(self.text)
        self.changed(0, len(self.text))

    def write(self, at, data):
        old = len(self.text)
        self.text.extend(bytes(max(0, at + len(data) - old)))
        self.text[at:at + len(data)] = data
        self.changed(min(at, old), at + len(data))

    def truncate(self, length):
        old = len(self.text)
        del self.text[length:]
        self.text.extend(bytes(length - len(self.text)))
        self.least = min(self.least, length)
        self.changed(min(old, length), length)

    def is_cut(self, length):
        """Nothing that was behind may be seen again, however long the file becomes."""
        self.lengths = {known for known in self.lengths if known <= length}
        for number in list(self.held):
            keep = length - number * PAGE
            if keep <= 0:
                del self.held[number]
            elif keep < PAGE:
                self.held[number] = {state[:keep] for state in self.held[number]}

    def punch(self, at, count):
        end = min(at + count, len(self.text))
        if at < end:
            self.write(at, bytes(end - at))

    def is_punched(self, at, count):
        """Blocks of which a part is zeroed are as if written."""
        length = len(self.text)
        end = -(-length // PAGE) if at + count >= length else (at + count) // PAGE
        for number in range(-(-at // PAGE), end):
            self.held[number] = {self.block(number)}

    def wrong(self, found):
        """What is wrong with that; nothing if it may be."""
        length = len(found)
        if length not in self.lengths and not (
                length % PAGE == 0 and self.least <= length <= max(self.lengths)):
            return f'{length} bytes, not {sorted(self.lengths)} from {self.least} on'
        for number in range(-(-length // PAGE)):
            block = found[number * PAGE:(number + 1) * PAGE]
            states = self.held.get(number, set())
            # What is behind the end of old may have been written and not this.
            if number * PAGE >= self.least:
                states = states | {b''}
            if not any(state[:len(block)].ljust(len(block), b'\0') == block for state in states):
                return f'block {number} is none of its {len(states)} states'
        return None


class Folder:
    """The files of a folder: each name has what it may be, the latest last."""

    def __init__(self, seed, files, at_once=True):
        self.seed, self.at_once = seed, at_once
        self.files = {name: [Contents(text)] for name, text in files.items()}
        self.steps = []
        self.returned = None

    def line(self, line):
        """Follows one line of the writer."""
        self.steps.append(line)
        if line in ('ok', 'not known'):
            if self.returned and line == 'ok':
                self.returned()
            self.returned = None
            return
        kind, name, *rest = line.split()
        if kind == 'make':
            self.files[name] = [Contents()]
            return
        if kind == 'keep':
            self.returned = self.keep_names
            return
        file = self.files[name][-1]
        if kind == 'rename':
            # Until it has returned, either.
            self.files[rest[0]].append(file)
            if self.at_once:
                self.returned = self.keep_names
            return
        numbers = [int(number) for number in rest]
        if kind == 'write':
            number, at, count = numbers
            file.write(at, random.Random(f'{self.seed}:{number}').randbytes(count))
        elif kind == 'sync':
            self.returned = file.synced
        elif kind == 'truncate':
            cut = numbers[0] <= len(file.text)
            file.truncate(*numbers)
            if cut and self.at_once:
                self.returned = lambda: file.is_cut(*numbers)
        elif kind == 'punch':
            file.punch(*numbers)
            if self.at_once:
                self.returned = lambda: file.is_punched(*numbers)
        else:
            raise AssertionError(line)

    def keep_names(self):
        for files in self.files.values():
            del files[:-1]

    def wrong(self, name, found):
        said = [contents.wrong(found) for contents in self.files[name]]
        return None if None in said else f'{name}: {said}; after {self.steps[-30:]}'
