"""Do stores that earlier versions made still open, and say the same?

tests/data/store-v1.tar was made once and is never made again: a changed format needs a
new number and a new store beside it, which tests/data/make-store makes. store-v1-last
is of format 1 too, from the end of its time: its files' headers are of format 2, and one
of 3."""
import os

import pytest

from golden import STORES, golden

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to act as several users')


@pytest.mark.parametrize('name', STORES)
def test_an_old_store_still_opens(name):
    with golden(name) as old, old.mounted():
        old.check()
