"""Is what the documentation shows what happens? Each command of its pages is run as the
user at whose prompt it stands, and must show what the page says."""
import os

import pytest

from desk import bare_machine
from documents import sections

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to act as several users')


def play(desk, page):
    for section in sections(page):
        desk.play(section)


def test_quick_start():
    with bare_machine() as desk:
        play(desk, 'quick-start.md')
