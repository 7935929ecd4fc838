"""The program's commands, as its own help tells of them."""
import functools
import re
import subprocess

from share import KEYFOLD


@functools.cache
def help_of(*words):
    return subprocess.run([KEYFOLD, *words, '--help'], check=True, stdout=subprocess.PIPE,
                          text=True).stdout


def all_commands(*words):
    """Each command and those below it, as tuples of words; () is the program."""
    yield words
    below = re.search(r'\nSubcommands:\n(.*?)(\n\n|\Z)', help_of(*words), re.S)
    for name in re.findall(r'^  ([a-z][a-z-]*)', below[1] if below else '', re.M):
        if name != 'help':
            yield from all_commands(*words, name)
