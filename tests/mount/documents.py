"""The documentation's pages: what is in them, and how their commands are run.

A page's ```console blocks are sessions: each line that begins with a user's prompt
(`cfo$ `, `root# `) is a command, what follows it is what it shows. A block with a
file's name behind its language (```yaml iam.yaml) is that file, in each user's home.
"""
import dataclasses
import os
import pwd
import re
import shutil
import signal
import subprocess
import threading

from share import ROOT, as_user

GUIDES = ROOT / 'packaging/guides'
PROMPT = re.compile(r'([a-z]+)[$#] (.*)')
USERS = {'cfo': 'kfcfo', 'accounts': 'kfaccounts', 'sysadmin': 'kfsysadmin',
         'auditor': 'kfstranger'}
LONGEST = 60  # seconds that a command may take


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


def blocks(text, first_line=1):
    found, opened = [], None
    for number, line in enumerate(text.split('\n'), first_line):
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


def sections(page):
    """The page by its second headings: {heading: blocks}; '' is what stands before them."""
    found, line = {}, 1
    for part in re.split(r'^(?=## )', (GUIDES / page).read_text(), flags=re.M):
        heading = part.split('\n')[0][3:] if part.startswith('## ') else ''
        found[heading] = blocks(part, line)
        line += part.count('\n')
    return found


def steps(block):
    found, whole = [], True
    for number, line in enumerate(block.text.split('\n')[:-1], block.line + 1):
        prompt = PROMPT.fullmatch(line)
        if not whole:
            found[-1].command += '\n' + line
        elif prompt:
            found.append(Step(prompt[1], prompt[2], '', number))
        else:
            assert found or not line, f'line {number}: output of no command'
            if found:
                found[-1].shown += line + '\n'
        if not whole or prompt:
            whole = not line.endswith('\\')
    return found


VARIABLE = (
    (r'[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}', 'ID'),
    (r'\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?', 'TIME'),
    (r'[A-Z][a-z]{2} [ \d]\d \d\d:\d\d', 'TIME'),
    (r'\b[0-9a-f]{64}\b', 'HASH'),
)


def loosely(text):
    """The text without what differs from run to run: ids, times, widths of columns."""
    for pattern, name in VARIABLE:
        text = re.sub(pattern, name, text)
    return ' '.join(text.split())


def agrees(shown, answer):
    """Is that what the page shows? Its `...` stands for anything."""
    pattern = '.*'.join(re.escape(part) for part in loosely(shown).split('...'))
    return re.fullmatch(pattern, loosely(answer)) is not None


class Shell:
    """A user's shell, for a page's commands one after the other."""

    MARK = 'end of a command: '

    def __init__(self, command, environment, folder):
        self.process = subprocess.Popen(
            [*command, 'bash', '--noprofile', '--norc'], env=environment, cwd=folder,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True)

    def run(self, command):
        """The exit code of the command, and all it showed."""
        self.process.stdin.write(f'{{ {command}\n}} </dev/null\necho "{self.MARK}$?"\n')
        self.process.stdin.flush()
        shown = ''
        alarm = threading.Timer(LONGEST, os.killpg, (self.process.pid, signal.SIGKILL))
        alarm.start()
        try:
            for line in self.process.stdout:
                before, mark, code = line.partition(self.MARK)
                shown += before
                if mark:
                    return int(code), shown
        finally:
            alarm.cancel()
        raise AssertionError(f'{command} ended the shell, or took {LONGEST} seconds: {shown}')

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


class Desk:
    """A machine as the pages see it: users with homes and shells, on a share or where one
    will be. Names and places of the pages become the test's, and become the pages' again
    in what is shown."""

    def __init__(self, folder, keyfold, users=USERS, **environment):
        self.folder, self.users, self.shells = folder, users, {}
        self.places = {'/srv/keyfold/finance': folder / 'store', '/srv/finance': folder / 'mnt',
                       '/srv/keyfold': folder / 'machine', '/etc/keyfold': folder / 'etc',
                       '/media/usb': folder / 'usb'}
        self.homes = folder / 'home'
        for made in (self.homes, folder / 'bin', folder / 'usb'):
            made.mkdir()
        shutil.copy(keyfold, folder / 'bin' / 'keyfold')
        self.environment = dict(os.environ, **environment, TZ='UTC', LC_ALL='C.UTF-8',
                                PATH=f'{folder}/bin:{os.environ["PATH"]}')

    def mine(self, text):
        """The page's text in the test's words."""
        for name, user in self.users.items():
            text = re.sub(rf'\b{name}\b', user, text)
        for place, path in self.places.items():
            text = text.replace(place, str(path))
        return text

    def theirs(self, text):
        """What a command showed, in the page's words."""
        for place, path in self.places.items():
            text = text.replace(str(path), place)
        text = text.replace(str(self.homes), '/home')
        for name, user in self.users.items():
            text = re.sub(rf'\b{user}\b', name, text)
        return re.sub(r'bash: line \d+: ', 'bash: ', text)

    def home(self, user):
        """The user's home, made when it is first asked for."""
        name = self.users.get(user, user)
        home = self.homes / name
        if not home.exists():
            home.mkdir()
            entry = pwd.getpwnam(name)
            os.chown(home, entry.pw_uid, entry.pw_gid)
        return home

    def write(self, block):
        """Puts a page's file where each user has it."""
        for user in ('root', *self.users):
            try:
                path = self.home(user) / self.mine(block.name)
            except KeyError:  # whom the page makes later
                continue
            path.write_text(self.mine(block.text))
            path.chmod(0o644)

    def run(self, user, command):
        if user not in self.shells:
            who = [] if user == 'root' else as_user(self.users[user])
            home = self.home(user)
            self.shells[user] = Shell(who, dict(self.environment, HOME=str(home)), home)
        code, shown = self.shells[user].run(self.mine(command))
        return code, self.theirs(shown)

    def play(self, page, found):
        """Runs blocks of a page; each command must show what the page says."""
        for block in found:
            if block.name:
                self.write(block)
            else:
                for step in steps(block):
                    self.check(page, step)

    def check(self, page, step):
        code, answer = self.run(step.user, step.command)
        where = f'{page}:{step.line}: {step.command}'
        assert agrees(step.shown, answer), f'{where}\nshows\n{answer}\nand not\n{step.shown}'
        assert code == 0 or step.shown, f'{where}\nfails without a word: {code}'

    def close(self):
        for shell in self.shells.values():
            shell.close()
        self.shells.clear()
