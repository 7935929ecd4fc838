#!/usr/bin/env python3
"""Is every error that Keyfold can give given in some test?

An error counts as given when a source file other than its definition makes it, and as
expected when a test names it: as Error::kName, or by its name on the wire in quotes.
Exit 1 and a line for each that no test expects."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEFINITION = 'kms/base/Status'
# What no test can bring about from outside.
NOT_TO_BE_MADE = {'kInternal': 'an exception that no code should throw'}


def sources(*folders):
    for folder in folders:
        for path in sorted((ROOT / folder).rglob('*')):
            if path.suffix in ('.cc', '.h', '.py') and path != pathlib.Path(__file__).resolve():
                yield path


def names():
    """The wire's name of each error, from the switch that gives it."""
    text = (ROOT / f'{DEFINITION}.cc').read_text()
    found = dict(re.findall(r'case Error::(k\w+):\s*return "(\w+)";', text))
    if len(found) < 20:
        sys.exit(f'{DEFINITION}.cc is not understood any more')
    return found


def main():
    made = set()
    for path in sources('kms', 'policy', 'fs'):
        if not str(path.relative_to(ROOT)).startswith(DEFINITION):
            made |= set(re.findall(r'Error::(k\w+)', path.read_text()))
    tests = '\n'.join(path.read_text() for path in sources('tests'))
    missing = [(constant, name) for constant, name in names().items()
               if constant in made - set(NOT_TO_BE_MADE) and constant != 'kOk'
               and f'Error::{constant}' not in tests
               and not re.search(rf'["\']{name}["\']', tests)]
    for constant, name in missing:
        print(f'{name} (Error::{constant}) is given, and expected by no test')
    return 1 if missing else 0


if __name__ == '__main__':
    sys.exit(main())
