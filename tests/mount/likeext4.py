"""What the tests of test_posix_*.py share, and the list of all that is different.

Each of those tests runs twice with the same users: in a folder of the filesystem
that backs the store, which shows that the test is right, and on the mount."""
import ctypes
import dataclasses
import errno
import os

import pytest


@dataclasses.dataclass(frozen=True)
class Difference:
    """`said` begins its row in packaging/guides/what-differs.md, which says why it can't be
    taken away; `on_mount` is what its test finds there and not on ext4."""
    said: str
    on_mount: object


# What the mount does otherwise than ext4, by the name of the test that finds it so, by
# here(what is found on ext4).
DIFFERENCES = {
    'test_a_renamed_symbolic_link_is_the_same_object':
        Difference('A renamed symbolic link is another object', False),
    'test_two_names_of_a_symbolic_link_are_one_object':
        Difference('Each name of a symbolic link is a link of its own', (1, False)),
    'test_the_longest_target_of_a_symbolic_link':
        Difference('A symbolic link names at most 3050 bytes', (3050, 'ENAMETOOLONG')),
    'test_the_longest_name_of_an_attribute':
        Difference('Names of attributes are shorter', (169, 'ERANGE')),
    'test_a_thousand_names_of_a_file':
        Difference('A file has some 200 names', ('ENOSPC', 'ENOSPC')),
    'test_attributes_that_fill_a_block':
        Difference('Less fits into attributes', 'ENOSPC'),
    'test_attributes_of_other_namespaces':
        Difference('Only user attributes and access control lists are kept',
                   ('EOPNOTSUPP', 'EOPNOTSUPP', 'EOPNOTSUPP')),
    'test_a_file_without_a_name_can_be_made':
        Difference('No file without a name', 'EOPNOTSUPP'),
    'test_truncating_by_path_to_the_same_length_moves_times':
        Difference('Truncating to the same length moves no time', ''),
    'test_the_time_of_birth':
        Difference('No time of birth', False),
    'test_the_time_of_change_outlives_the_caches':
        Difference('The time of change may move by milliseconds', 'c'),
    'test_a_cached_read_is_an_access':
        Difference('Reading from the cache moves no time of access', ''),
    'test_a_write_behind_the_largest_file_is_refused_at_once':
        Difference('A file too large is refused late', 'fsync'),
    'test_collapsing_and_inserting_ranges':
        Difference('Ranges are not collapsed or inserted', ('EOPNOTSUPP', 'EOPNOTSUPP')),
    'test_a_rename_may_leave_a_whiteout':
        Difference('No whiteouts', 'EINVAL'),
    'test_changing_neither_owner_nor_group':
        Difference('Changing neither owner nor group does nothing',
                   [('0o6755', 'kftest2', 'ok', '0o6755'), ('0o6755', 'kftest1', 'ok', '0o6755'),
                    ('0o644', 'kftest2', 'ok', '0o644'), ('0o644', 'kftest1', 'ok', '0o644')]),
}

# What is wrong on the mount and to be mended, by the name of the test that fails until then.
FAULTS = {
    'test_the_time_of_modification_outlives_the_caches':
        'what is written in the tick of the clock in which a file is made moves no time in the '
        'kernel, which tells the daemon of none; the daemon keeps that of its own writing',
    'test_writing_clears_a_set_group_id_bit_of_a_foreign_group':
        'Vault::ClearSetId looks at the bit to execute alone, not whether the caller is in the '
        "file's group",
}

# Modes of fallocate.
KEEP_SIZE, COLLAPSE_RANGE, ZERO_RANGE, INSERT_RANGE, UNSHARE_RANGE = 1, 8, 16, 32, 64
PUNCH_HOLE = 2 | KEEP_SIZE

RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4
libc = ctypes.CDLL(None, use_errno=True)


def failure(action, *args, **options):
    """The errno of a call that must fail."""
    with pytest.raises(OSError) as info:
        action(*args, **options)
    return info.value.errno


# Of two names of one number, that which manual pages have.
NAMES = {**errno.errorcode, errno.EOPNOTSUPP: 'EOPNOTSUPP', errno.EDEADLK: 'EDEADLK'}


def outcome(action, *args, **options):
    """'ok', or the name of the errno that a call fails with."""
    try:
        action(*args, **options)
    except OSError as e:
        return NAMES[e.errno]
    return 'ok'


def longest(action, most):
    """The largest size up to `most` that action(size) takes, and what one more fails with."""
    works, fails = 0, most + 1
    while fails - works > 1:
        size = (works + fails) // 2
        if outcome(action, size) == 'ok':
            works = size
        else:
            fails = size
    return works, outcome(action, fails)


def renameat2(old, new, flags):
    if libc.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags) != 0:
        raise OSError(ctypes.get_errno(), 'renameat2')


def fallocate(fd, mode, offset, size):
    long = ctypes.c_int64
    if libc.fallocate(fd, mode, long(offset), long(size)) != 0:
        raise OSError(ctypes.get_errno(), 'fallocate')


def forget_caches():
    os.sync()
    with open('/proc/sys/vm/drop_caches', 'w') as f:
        f.write('3\n')
