"""A file of tests some of which were skipped is told apart from one that passed: by exit
code 77, or, where KEYFOLD_CI is set, as a failure."""
import os

import pytest

SKIPPED = 77  # as CMakeLists.txt has it


def pytest_sessionfinish(session, exitstatus):
    reporter = session.config.pluginmanager.get_plugin('terminalreporter')
    passed = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    if exitstatus not in passed or reporter is None or not reporter.stats.get('skipped'):
        return
    if os.environ.get('KEYFOLD_CI'):
        reporter.write_line('tests were skipped, and in CI none may be')
        session.exitstatus = 1
    else:
        session.exitstatus = SKIPPED
