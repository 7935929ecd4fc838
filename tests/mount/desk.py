"""Where the documentation's commands are run: real users' shells on a real mount, in the
words of the pages."""
import contextlib
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading

import pytest

from documents import agrees, steps
from share import (KEYFOLD, USERS_LOCK, as_user, lone_share, make_users, remove_users,
                   run_alone)

USERS = {'cfo': 'kfcfo', 'accounts': 'kfaccounts', 'sysadmin': 'kfsysadmin',
         'auditor': 'kfstranger'}
LONGEST = 120  # seconds that a command may take


class Shell:
    """A user's shell, for a page's commands one after the other."""

    MARK = 'end of a command: '

    def __init__(self, command, environment, folder):
        self.process = subprocess.Popen(
            [*command, 'bash', '--noprofile', '--norc'], env=environment, cwd=folder,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True)

    def run(self, command, given='/dev/null'):
        """The exit code of the command, which reads the file `given`, and all it showed."""
        self.process.stdin.write(f'{{ {command}\n}} <{given}\necho "{self.MARK}$?"\n')
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


def free_address():
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return f'127.0.0.1:{listener.getsockname()[1]}'


class Desk:
    """A machine as the pages see it: users with homes and shells, on a share or where one
    will be. Names and places of the pages become the test's, and become the pages' again
    in what is shown."""

    def __init__(self, folder, keyfold, stores, store, users=USERS):
        self.folder, self.users, self.shells = folder, users, {}
        self.homes = folder / 'home'
        self.places = {'/srv/finance': folder / 'mnt', '/etc/keyfold': folder / 'etc',
                       '/media/usb': folder / 'usb', '/home': self.homes,
                       '/srv/keyfold/finance': store, '/srv/keyfold': stores,
                       '127.0.0.1:4599': free_address(),
                       # It would go on until it is ended.
                       'keyfold console': 'timeout -s INT 3 keyfold console',
                       'useradd': f'flock {USERS_LOCK} useradd'}
        self.meanwhile = {}  # what is done just before a command of a page
        self.given = '/dev/null'  # what commands read that ask for something
        for made in (self.homes, folder / 'bin', folder / 'usb', folder / 'etc'):
            made.mkdir()
        shutil.copy(keyfold, folder / 'bin' / 'keyfold')
        self.environment = dict(os.environ, TZ='UTC', LC_ALL='C.UTF-8',
                                KEYFOLD_MOUNT=str(folder / 'mnt'),
                                PATH=f'{folder}/bin:{os.environ["PATH"]}')

    def mine(self, text):
        """The page's text in the test's words."""
        for name, user in self.users.items():
            text = re.sub(rf'\b{name}\b', user, text)
        for place, path in self.places.items():
            text = re.sub(rf'(?<![\w.-]){place}(?!\w)', str(path), text)
        return text

    def theirs(self, text):
        """What a command showed, in the page's words."""
        for place, path in self.places.items():
            text = text.replace(str(path), place)
        for name, user in self.users.items():
            text = re.sub(rf'\b{user}\b', name, text)
        return re.sub(r'bash: line \d+: ', 'bash: ', text)

    def home(self, user):
        """The user's home, made when it is first asked for."""
        name = self.users.get(user, user)
        home = self.homes / name
        if not home.exists():
            entry = pwd.getpwnam(name)
            home.mkdir()
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

    def run(self, user, command, given='/dev/null'):
        """As Shell.run, in the page's words."""
        if user not in self.shells:
            who = [] if user == 'root' else as_user(self.users[user])
            home = self.home(user)
            self.shells[user] = Shell(who, dict(self.environment, HOME=str(home)), home)
        code, shown = self.shells[user].run(self.mine(command), given)
        return code, self.theirs(shown)

    def last_of_others(self, step, limit):
        """The last `limit` records but looks, and what the KMS records by itself: when that
        comes depends on how fast one types."""
        more = step.command.replace(f'--limit {limit}', f'--limit {limit + 10}')
        left_out = re.compile(r'Z\s+keyfold\s|\s(LookupEvents|ListAliases)\s')
        lines = self.run(step.user, more)[1].splitlines()
        return '\n'.join([line for line in lines if not left_out.search(line)][-limit:])

    def do(self, section):
        """Runs a section of a page; nobody looks at what its commands show."""
        for _ in self._steps(section):
            pass

    def play(self, section):
        """Runs a section of a page; each command must show what the page says."""
        for step, code, answer in self._steps(section):
            where = f'{section.page}:{step.line}: {step.command}'
            limit = re.search(r'keyfold audit .*--limit (\d+)', step.command)
            if limit and not agrees(step.shown, answer):
                answer = self.last_of_others(step, int(limit[1]))
            assert agrees(step.shown, answer), f'{where}\nshows\n{answer}\nand not\n{step.shown}'
            assert code == 0 or step.shown, f'{where}\nfails without a word: {code}'

    def _steps(self, section):
        """Each command of a section, its exit code and what it showed."""
        for block in section.blocks:
            if block.name:
                self.write(block)
            elif block.language == 'console':
                for step in steps(block):
                    self.meanwhile.pop(step.command, lambda: None)()
                    yield step, *self.run(step.user, step.command, self.given)

    def close(self):
        for shell in self.shells.values():
            shell.close()
        self.shells.clear()


def skip_without_clients(*sections):
    """Skips what needs clients that users don't have here."""
    for client in ('aws', 'curl', 'promtool'):
        if any(f'$ {client} ' in section.text for section in sections) and \
                not shutil.which(client, path='/usr/local/bin:/usr/bin'):
            pytest.skip(f'no {client} (tests/lib/install-packages --clients)')


@contextlib.contextmanager
def bare_machine():
    """A Desk where there is neither a store nor a user yet."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix='keyfold-bare-',
                                           dir=os.environ.get('TMPDIR', '/var/tmp')))
    folder.chmod(0o755)
    remove_users()
    desk = Desk(folder, KEYFOLD, folder / 'stores', folder / 'stores/finance')
    try:
        yield desk
    finally:
        desk.close()
        if os.path.ismount(folder / 'mnt'):
            subprocess.run([KEYFOLD, 'unmount', folder / 'mnt'], check=True)
        for user in USERS.values():
            run_alone(['userdel', '-r', user], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(folder)


@contextlib.contextmanager
def mounted_share(disk=None):
    """A Desk with a mounted store, whose folder is in `disk` if that is given, the pages'
    users, and nothing else."""
    remove_users()
    make_users()
    try:
        with lone_share('documents', disk) as share:
            os.chmod(share.mnt, 0o1777)
            desk = Desk(share.folder, share.keyfold, share.store.parent, share.store)
            try:
                yield desk
            finally:
                desk.close()
    finally:
        remove_users()
