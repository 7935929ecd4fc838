"""Users who change files, names and keys of a share while its daemon is killed; and is
what may be there then what is there?"""
import json
import pathlib
import random
import shutil
import subprocess
import threading
import time

from crash_kms import Keys
from crash_model import Folder
from crash_names import Names
from share import as_user

HERE = pathlib.Path(__file__).parent
USERS = ('kfcfo', 'kfaccounts', 'kfstranger')
KEEPER = 'kfcfo'  # of the keys
FILES = 'abcd'


class Follower:
    """A writer of a user's, whose lines a model follows."""

    def __init__(self, command, model):
        self.model, self.begun = model, threading.Event()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True, cwd='/')
        self.thread = threading.Thread(target=self.follow)
        self.thread.start()

    def follow(self):
        for line in self.process.stdout:
            # The last one may be half.
            if line.endswith('\n'):
                self.model.line(line.strip())
                self.begun.set()

    def end(self):
        self.process.kill()
        self.process.wait()
        self.thread.join()


class Load:
    def __init__(self, share, seed):
        self.share, self.rng, self.count = share, random.Random(seed), 0
        self.writers = share.folder / 'writers'
        self.writers.mkdir()
        for script in HERE.glob('crash_*.py'):
            shutil.copy(script, self.writers)
        self.files, self.folders, self.names, self.keys = {}, {}, {}, None
        for user in USERS:
            self.prepare(user)

    def prepare(self, user):
        """A folder of the user's with files, under a key of its own."""
        share, folder = self.share, self.share.mnt / user
        share.kms(KEEPER, 'create-key', '--alias', f'alias/{user}', '--administrators',
                  f'user:{KEEPER}', '--users', *{f'user:{KEEPER}', f'user:{user}'})
        share.python(KEEPER, 'import os, sys; os.mkdir(sys.argv[1]); os.chmod(sys.argv[1], 0o777)',
                     folder)
        share.run(KEEPER, 'folder', 'set-key', folder, f'alias/{user}')
        self.files[user] = {name: self.rng.randbytes(self.rng.randrange(500_000))
                            for name in FILES}
        for name, text in self.files[user].items():
            subprocess.run([*as_user(user), 'tee', folder / name], input=text, check=True,
                           stdout=subprocess.DEVNULL, cwd='/')
            subprocess.run([*as_user(user), 'sync', folder / name], check=True, cwd='/')

    def command(self, user, script, *words):
        return [*as_user(user), '/usr/bin/python3', self.writers / script, *map(str, words)]

    def named(self, user):
        """Where the user's names are changed this time."""
        return self.share.mnt / user / f'names{self.count}'

    def during(self, kill):
        """Everybody works for a while; then kill() ends the daemon, or part of it."""
        self.count += 1
        followers = []

        def follow(model, user, script, *words):
            followers.append(Follower(self.command(user, script, *words), model))
            return model
        try:
            for user in USERS:
                seed = self.rng.randrange(1 << 30)
                self.folders[user] = follow(Folder(seed, self.files[user]), user,
                                            'crash_writer.py', self.share.mnt / user, seed)
                self.share.python(user, 'import os, sys; os.mkdir(sys.argv[1])', self.named(user))
                self.names[user] = follow(Names(), user, 'crash_names.py', 'change',
                                          self.named(user), seed)
            self.run = f'run{self.count}-{seed}'
            self.keys = follow(Keys(), KEEPER, 'crash_kms.py', 'change', self.share.socket(),
                               self.run, f'arn:aws:iam::000000000000:user/{KEEPER}')
            for follower in followers:
                assert follower.begun.wait(30), follower.process.args
            # What waits is stored after five seconds.
            time.sleep(self.rng.uniform(5, 7) if self.rng.randrange(5) == 0
                       else self.rng.uniform(0.1, 1.5))
            kill()
        finally:
            for follower in followers:
                follower.end()

    def output(self, user, script, *words):
        return json.loads(subprocess.run(self.command(user, script, *words), check=True,
                                         stdout=subprocess.PIPE, cwd='/').stdout)

    def check(self):
        """Looks at all of it on a new mount, and has the users go on from there."""
        for user, folder in self.folders.items():
            for name in FILES:
                text = subprocess.run([*as_user(user), 'cat', self.share.mnt / user / name],
                                      check=True, stdout=subprocess.PIPE, cwd='/').stdout
                self.files[user][name] = text
                self.expect(user, folder.wrong(name, text))
            subprocess.run([*as_user(user), 'find', self.share.mnt / user, '-name', '*.new',
                            '-delete'], check=True, cwd='/')
            self.expect(user, self.names[user].wrong(
                self.output(user, 'crash_names.py', 'show', self.named(user))))
            # Whatever a step that was cut off has left, no folder is kept by it.
            subprocess.run([*as_user(user), 'rm', '-r', self.named(user)], check=True, cwd='/')
        self.expect('keys', self.keys.wrong(
            self.output(KEEPER, 'crash_kms.py', 'show', self.share.socket(), self.run)))
        self.share.run(KEEPER, 'audit', 'verify')

    def expect(self, what, wrong):
        assert wrong is None, f'after kill {self.count}: {what}: {wrong}'
