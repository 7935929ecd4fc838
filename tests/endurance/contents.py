"""What files hold: each chunk of a file is one of a few texts that follow from the
seed, the file, the chunk's place and a version, or zeros. So the owner can tell every
byte, and others whether what they read was ever written there."""
import hashlib

CHUNK, VERSIONS, LONGEST = 512, 4, 256
ZEROS = bytes(CHUNK)


def text(seed, name, index, version):
    return hashlib.shake_128(f'{seed}/{name}/{index}/{version}'.encode()).digest(CHUNK)


class Contents:
    """The chunks of one file as its owner wrote them. An entry is a set of versions,
    more than one where a change was cut off; version 0 is zeros."""

    def __init__(self, seed, name):
        self.seed, self.name, self.chunks = seed, name, []

    def piece(self, index, version):
        return text(self.seed, self.name, index, version) if version else ZEROS

    def bytes(self, first, versions):
        return b''.join(self.piece(first + i, v) for i, v in enumerate(versions))

    def written(self, first, versions, surely=True):
        self.chunks += [{0}] * (first + len(versions) - len(self.chunks))
        for i, version in enumerate(versions, first):
            self.chunks[i] = {version} if surely else self.chunks[i] | {version}

    def cut(self, count):
        self.chunks = self.chunks[:count] + [{0}] * (count - len(self.chunks))

    def size(self):
        return len(self.chunks) * CHUNK

    def check(self, data):
        """None, or what is wrong; what was uncertain is settled by what is there."""
        if len(data) != self.size():
            return f'{self.name} has {len(data)} bytes, not {self.size()}'
        for i, versions in enumerate(self.chunks):
            there = data[i * CHUNK:(i + 1) * CHUNK]
            found = {v for v in versions if self.piece(i, v) == there}
            if not found:
                return f'{self.name} holds at {i * CHUNK} what was not written last'
            self.chunks[i] = found
        return None


def plausible(seed, name, data):
    """None, or what is wrong with bytes of a file that its owner is changing."""
    step = 64  # a read may see half of a write
    for i in range(0, len(data), CHUNK):
        there = data[i:i + CHUNK]
        texts = [ZEROS] + [text(seed, name, i // CHUNK, v) for v in range(1, VERSIONS + 1)]
        if there in texts:
            continue
        for j in range(0, len(there), step):
            if there[j:j + step] not in [t[j:j + step] for t in texts]:
                return f'{name} holds at {i + j} what was never written there'
    return None
