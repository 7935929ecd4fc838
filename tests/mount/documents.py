"""What is in the documentation's pages, for desk.py to run.

A page's ```console blocks are sessions: each line that begins with a user's prompt
(`cfo$ `, `root# `) is a command, what follows it is what it shows. A block with a
file's name behind its language (```yaml iam.yaml) is that file, in each user's home.
"""
import dataclasses
import re

from share import ROOT

GUIDES = ROOT / 'packaging/guides'
PROMPT = re.compile(r'([a-z]+)[$#] (.*)')


@dataclasses.dataclass
class Block:
    """One fenced block: what stands behind its fence, its text, where it is."""
    language: str
    name: str
    text: str
    line: int


@dataclasses.dataclass
class Step:
    """A command of a session and what the page says that it shows."""
    user: str
    command: str
    shown: str
    line: int


def first_line(block):
    """A block's first line, of a comment what it says."""
    return block.text.split('\n')[0].removeprefix('# ')


def blocks(text, first=1):
    found, opened = [], None
    for number, line in enumerate(text.split('\n'), first):
        if not line.startswith('```'):
            if opened is not None:
                opened.text += line + '\n'
        elif opened is None:
            language, _, name = line[3:].partition(' ')
            opened = Block(language, name, '', number)
        else:
            found.append(opened)
            opened = None
    assert opened is None, f'line {opened.line}: a block without an end'
    return found


@dataclasses.dataclass
class Section:
    """What stands below one of a page's second headings; '' is what stands before them."""
    page: str
    heading: str
    text: str
    blocks: list[Block]

    def table(self):
        """The section's only table: {first column: {heading of the others: cell}}."""
        rows = [[cell.strip() for cell in line.strip('|').split('|')]
                for line in self.text.split('\n') if line.startswith('|')]
        heads, rules, *others = rows
        assert set(''.join(rules)) == {'-'}, self.heading
        return {name: dict(zip(heads[1:], cells, strict=True)) for name, *cells in others}


def sections(page):
    found, line = [], 1
    for part in re.split(r'^(?=## )', (GUIDES / page).read_text(), flags=re.M):
        heading = part.split('\n')[0][3:] if part.startswith('## ') else ''
        found.append(Section(page, heading, part, blocks(part, line)))
        line += part.count('\n')
    return found


def steps(block):
    """A command goes on after a backslash, and to the END of its `<<END`."""
    found, whole = [], True
    for number, line in enumerate(block.text.split('\n')[:-1], block.line + 1):
        prompt = PROMPT.fullmatch(line) if whole else None
        if prompt:
            found.append(Step(prompt[1], prompt[2], '', number))
        elif not whole:
            found[-1].command += '\n' + line
        else:
            assert found or not line, f'line {number}: output of no command'
            if found:
                found[-1].shown += line + '\n'
        if prompt or not whole:
            document = '<<END' in found[-1].command and line != 'END'
            whole = not line.endswith('\\') and not document
    return found


VARIABLE = (
    (r'[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}', 'ID'),
    (r'\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?', 'TIME'),
    (r'[A-Z][a-z]{2} [ \d]\d \d\d:\d\d', 'TIME'),
    (r'\bin \d+:\d\d', 'in SPAN'),
    (r'http://keyfold-[0-9a-f]{24}\.localhost:\d+/#token=\S+', 'ADDRESS'),
    (r'\b([0-9a-f]{64}|[0-9a-f]{32}|[0-9a-f]{16})\b', 'HASH'),
    (r'\b\d+ (records|digests)\b', r'N \1'),
    (r'\b(up to|record|line|Records 1 to|in|uid":) \d+', r'\1 N'),
)


def loosely(text):
    """The text without what differs from run to run: ids, times, counts, widths of columns."""
    for pattern, name in VARIABLE:
        text = re.sub(pattern, name, text)
    return ' '.join(text.split())


def agrees(shown, answer):
    """Is that what the page shows? Its `...` stands for anything."""
    pattern = '.*'.join(re.escape(part) for part in loosely(shown).split('...'))
    return re.fullmatch(pattern, loosely(answer)) is not None
