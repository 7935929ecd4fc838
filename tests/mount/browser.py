"""A real browser (Debian's chromium) of a user, and the user's console."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from share import as_user

CLIENTS = pathlib.Path(__file__).resolve().parents[1] / 'clients'
CHROMIUM = shutil.which('chromium')
PACKAGES = ('playwright-core', 'axe-core')
# What the tests of pages can't run without; empty if all is there.
MISSING = ', '.join(([] if CHROMIUM else ['chromium is missing']) + [
    f'npm could not install {one}' for one in PACKAGES if not (CLIENTS / 'node_modules' / one).is_dir()])


class Mistake(AssertionError):
    """What the browser could not do, with the text of its page."""


class Browser:
    """See clients/browser.mjs for what it can do: browser.click(role='button', name='Save')."""

    def __init__(self, process, folder):
        self.process, self.folder = process, folder

    def __getattr__(self, action):
        def do(**what):
            self.process.stdin.write(json.dumps({'do': action, **what}) + '\n')
            self.process.stdin.flush()
            line = self.process.stdout.readline()
            if not line:
                raise Mistake(f'the browser is gone at {action} {what}')
            answer = json.loads(line)
            if 'failure' in answer:
                raise Mistake(f'{action} {what}: {answer["failure"]}')
            return answer['value']
        return do

    def press_button(self, name, **where):
        self.click(role='button', name=name, **where)

    def in_dialog(self, dialog, name):
        self.click(role='button', name=name, within={'role': 'dialog', 'name': dialog})
        self.wait_closed(dialog)

    def until(self, holds):
        """Waits until `holds()` is true of the page, and gives what it gave."""
        for _ in range(600):
            value = holds()
            if value:
                return value
            self.eval(code='new Promise((done) => setTimeout(done, 50))')
        raise Mistake('that is never so: ' + self.text())

    def wait_closed(self, dialog):
        self.until(lambda: self.count(role='dialog', name=dialog) == 0)

    def go(self, *parts):
        """Another page of the console, and what it shows when it is loaded."""
        for hash in ('#/elsewhere', '#/' + '/'.join(parts)):
            self.eval(code=f'location.hash = {json.dumps(hash)}; new Promise((done) => setTimeout(done, 50))')
        return self.settled()

    def settled(self):
        """What the page shows when it is loaded."""
        self.until(lambda: self.eval(code='document.querySelectorAll("[aria-busy=true]").length') == 0)
        return self.text()

    def table(self, name):
        """The rows of a table, as lists of cells."""
        selector = f'[aria-label="{name}, table"] tbody tr'
        return self.eval(code=f'[...document.querySelectorAll({json.dumps(selector)})].map('
                              '(row) => [...row.cells].map((cell) => cell.innerText.trim()))')


@contextlib.contextmanager
def open_browser(user):
    """A browser that runs as the user, with a home that lasts as long as it."""
    assert not MISSING, MISSING
    home = pathlib.Path(tempfile.mkdtemp(prefix='keyfold-browser-', dir='/var/tmp'))
    programs = home / 'clients'
    programs.mkdir()
    # Users may not be able to reach the source folder.
    shutil.copy(CLIENTS / 'browser.mjs', programs)
    for module in PACKAGES:
        shutil.copytree(CLIENTS / 'node_modules' / module, programs / 'node_modules' / module)
    subprocess.run(['chown', '-R', f'{user}:', home], check=True)
    environment = {'PATH': os.environ['PATH'], 'HOME': str(home), 'XDG_RUNTIME_DIR': str(home),
                   'LANG': 'C.UTF-8'}
    with open(home / 'log', 'w') as log:
        process = subprocess.Popen(
            [*as_user(user), shutil.which('node'), programs / 'browser.mjs', CHROMIUM, home / 'profile'],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment,
            cwd=home)
    try:
        yield Browser(process, home)
    finally:
        process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def open_console(share, user, *options, stdin=subprocess.DEVNULL, **environment):
    """The process of `keyfold console` of a user, and the address it printed."""
    process = subprocess.Popen([*share.command_of(user), 'console', *options], stdin=stdin,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               env={**share.environment(), **environment}, cwd='/')
    try:
        text = ''
        for line in process.stdout:
            text += line
            found = re.search(r'http://\S+', line)
            if found:
                break
        else:
            raise AssertionError(f'the console printed no address: {text}')
        yield process, found.group()
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


@contextlib.contextmanager
def signed_in(share, user):
    """The user's browser on the user's console."""
    with open_console(share, user) as (_, url), open_browser(user) as browser:
        browser.open(url=url)
        browser.find(role='heading', name='Keys')
        yield browser
        problems = browser.problems()
        assert not problems, problems
