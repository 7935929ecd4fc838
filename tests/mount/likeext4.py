"""What the tests of test_posix_*.py share, and the list of all that is different.

Each of those tests runs twice with the same users: in a folder of the filesystem
that backs the store, which shows that the test is right, and on the mount."""
import ctypes
import os

import pytest

# What the mount does otherwise than ext4: the tests named here fail on it, and on
# it only.
DIFFERENCES = {
    'test_a_renamed_symbolic_link_is_the_same_object':
        'a link is bound to its name, so renaming it makes a new one',
    'test_two_names_of_a_symbolic_link_are_one_object':
        'a link is bound to its name, so each name is a link of its own',
    'test_the_longest_target_of_a_symbolic_link':
        'encryption takes room: 3050 bytes',
    'test_the_longest_name_of_an_attribute':
        'encryption takes room: 169 bytes after "user."',
    'test_a_thousand_names_of_a_file':
        'each is bound in an attribute of the file, which ext4 gives some 4 KiB',
    'test_attributes_that_fill_a_block':
        'each takes some 100 bytes more, and so do names',
    'test_attributes_of_other_namespaces':
        'only user.* is kept',
    'test_a_file_without_a_name_can_be_made':
        'libfuse 3.14 has no operation for O_TMPFILE: EOPNOTSUPP',
    'test_truncating_by_path_to_the_same_length_moves_times':
        'the kernel keeps the times of cached files itself, and does not move them then',
    'test_the_time_of_birth':
        'libfuse 3.14 has no operation for statx',
    'test_the_time_of_change_outlives_the_caches':
        "the kernel's clock counts until then, afterwards the backing file's: milliseconds later",
    'test_a_cached_read_is_an_access':
        'what the kernel answers from its cache does not reach the daemon',
    'test_a_write_behind_the_largest_file_is_refused_at_once':
        'a write to the cache is refused by the backing filesystem at fsync or close',
}

# Modes of fallocate.
KEEP_SIZE, ZERO_RANGE = 1, 16
PUNCH_HOLE = 2 | KEEP_SIZE

RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4
libc = ctypes.CDLL(None, use_errno=True)


def failure(action, *args, **options):
    """The errno of a call that must fail."""
    with pytest.raises(OSError) as info:
        action(*args, **options)
    return info.value.errno


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
