"""What people meet at a terminal: completion in real shells, manual pages, and doctor."""
import fcntl
import gzip
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
import time

import pytest

from share import Failed, KEYFOLD, as_user, new_share

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to act as several users')


@pytest.fixture(scope='module')
def share():
    with new_share('terminal') as made:
        made.kms('kfcfo', 'create-key', '--alias', 'alias/reports', '--administrators', 'user:kfcfo',
                 '--users', 'user:kfcfo')
        made.lone = made.kms('kfcfo', 'create-key')['KeyMetadata']['KeyId']  # without an alias
        yield made


BASH = r'''
source /usr/share/bash-completion/bash_completion
source <("$KEYFOLD" completion bash)
COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9
read -ra COMP_WORDS <<<"$1"
[[ $1 == *' ' ]] && COMP_WORDS+=('')
COMP_WORDS[0]=$KEYFOLD
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
compopt() { :; }
_keyfold
printf '%s\n' "${COMPREPLY[@]}"
'''


def in_bash(share, line, user='kfcfo'):
    out = subprocess.run([*as_user(user), 'bash', '-c', BASH, 'bash', line], check=True, cwd='/',
                         stdout=subprocess.PIPE, text=True,
                         env=dict(share.environment(), KEYFOLD=str(share.keyfold))).stdout
    return out.split()


def in_fish(share, line):
    script = f'{share.keyfold} completion fish | source; complete -C "$LINE"'
    place = share.folder / 'fish'
    place.mkdir(exist_ok=True)
    os.chmod(place, 0o777)
    bin_folder = share.folder / 'bin'
    bin_folder.mkdir(exist_ok=True)
    if not (bin_folder / 'keyfold').exists():
        (bin_folder / 'keyfold').symlink_to(share.keyfold)
    out = subprocess.run([*as_user('kfcfo'), 'fish', '-c', script], check=True, cwd='/',
                         stdout=subprocess.PIPE, text=True,
                         env=dict(share.environment(), LINE=line, HOME=str(place),
                                  PATH=f'{bin_folder}:/usr/bin:/bin')).stdout
    return [one.split('\t')[0] for one in out.splitlines()]


def in_zsh(share, typed, wanted, seconds=20):
    """Types at a prompt, then tab, and waits until all of `wanted` is shown."""
    home = share.folder / 'zsh'
    home.mkdir(exist_ok=True)
    (home / '.zshrc').write_text(f'autoload -U compinit; compinit -u\npath=({share.folder}/bin $path)\n'
                                 f'source <({share.keyfold} completion zsh)\nPS1="ready> "\n')
    os.chmod(home, 0o777)
    master, slave = pty.openpty()
    process = subprocess.Popen([*as_user('kfcfo'), 'zsh', '-i'], stdin=slave, stdout=slave,
                               stderr=slave, cwd='/', start_new_session=True,
                               env=dict(share.environment(), HOME=str(home), ZDOTDIR=str(home),
                                        TERM='dumb'))
    os.close(slave)

    def until(texts):
        seen, end = '', time.monotonic() + seconds
        while any(text not in seen for text in texts) and time.monotonic() < end:
            if select.select([master], [], [], 0.2)[0]:
                seen += os.read(master, 4096).decode(errors='replace')
        assert all(text in seen for text in texts), seen
    try:
        until(['ready> '])
        os.write(master, typed.encode() + b'\t')
        until(wanted)
    finally:
        process.kill()
        process.wait()
        os.close(master)


def on_a_terminal(share, *args, columns=80, **environment):
    """What a command shows there."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', 24, columns, 0, 0))
    process = subprocess.Popen([*share.command_of('kfcfo'), *args], stdin=slave, stdout=slave,
                               stderr=slave, cwd='/',
                               env=dict(share.environment(), TERM='xterm', **environment))
    os.close(slave)
    seen = b''
    try:
        while more := os.read(master, 4096):
            seen += more
    except OSError:  # its end
        pass
    process.wait()
    os.close(master)
    return seen.decode()


def test_colours_are_for_people_on_a_terminal(share):
    look = ('iam', 'simulate', '--action', 'kms:Decrypt', '--key', 'alias/reports')
    decided = {'allowed': '\x1b[32mallowed\x1b[0m', 'implicitDeny': '\x1b[31mimplicitDeny\x1b[0m'}
    word, = [one for one in decided if one in share.run('kfcfo', *look)]
    assert decided[word] in on_a_terminal(share, *look)
    assert '\x1b' not in share.run('kfcfo', *look)
    assert '\x1b' not in on_a_terminal(share, *look, NO_COLOR='1')


def test_progress_is_one_line_that_goes_in_the_end(share):
    source, folder = share.folder / 'source', share.mnt / 'progress'
    source.mkdir()
    for name in 'abc':
        (source / name).write_bytes(os.urandom(1 << 20))
    share.python('kfcfo', 'import os, sys; os.mkdir(sys.argv[1])', folder)
    share.run('kfcfo', 'folder', 'set-key', folder, 'alias/reports')
    shown = on_a_terminal(share, 'import', source, folder, '--no-owner', '--rate-limit', '2M', columns=60)
    progress, _, summary = shown.rpartition('\r\x1b[K')
    assert summary.startswith('Imported: 3 files (3.0 MiB)'), shown
    drawn = progress.rpartition('\n')[2].split('\r')[1:]
    assert len(drawn) > 1 and all(re.fullmatch(r'\[#* *\] [ \d]{3} %  [^\n\x1b]*\x1b\[K', line) and
                                  len(line) - len('\x1b[K') < 60 for line in drawn), shown
    shares = [int(line.partition('] ')[2].partition(' %')[0]) for line in drawn]
    assert shares == sorted(shares) and 0 < shares[-1] > shares[0], shown
    assert re.search(r', 0:0\d left\x1b', progress), shown


@pytest.mark.parametrize('line, wanted', [
    ('keyfold fs', ['fsck']),
    ('keyfold kms schedule-k', ['schedule-key-deletion']),
    ('keyfold kms describe-key --key-id ', ['alias/aws/fs', 'alias/reports', 'LONE']),
    ('keyfold kms describe-key --key-id LONE-BEGINS', ['LONE']),
    ('keyfold kms describe-key --key-id alias/r', ['alias/reports']),
    ('keyfold kms generate-data-key --key-spec ', ['AES_128', 'AES_256']),
    ('keyfold iam simulate --user kfac', ['kfaccounts']),
    ('keyfold kms disable-key --key', ['--key-id']),
    ('keyfold init /x --root-key pk', ['pkcs11:']),
    ('keyfold audit --output ', ['json', 'text']),
])
def test_completion_in_bash_and_fish(share, line, wanted):
    line = line.replace('LONE-BEGINS', share.lone[:12])
    wanted = sorted(share.lone if word == 'LONE' else word for word in wanted)
    assert in_bash(share, line) == wanted
    assert in_fish(share, line) == wanted


def test_a_colon_in_a_word(share):
    # Readline takes the part behind the colon for the word.
    assert 'kfcfo' in in_bash(share, 'keyfold kms create-key --users user:kf')
    assert 'user:kfcfo' in in_fish(share, 'keyfold kms create-key --users user:kf')


@pytest.mark.parametrize('typed, wanted', [
    ('keyfold fsc', ['fsck']),
    ('keyfold kms schedule-k', ['schedule-key-deletion']),
    ('keyfold kms schedule-key-deletion --pend', ['--pending-window-in-days']),
    ('keyfold kms describe-key --key-id alias/rep', ['alias/reports']),
    ('keyfold kms describe-key --key-id LONE-BEGINS', ['LONE']),
    ('keyfold kms describe-key --key-id ', ['alias/aws/fs', 'alias/reports', 'LONE', 'key without an alias']),
    ('keyfold iam simulate --user kfac', ['kfaccounts']),
    ('keyfold kms create-key --users user:kf', ['user:kfaccounts', 'user:kfcfo', 'user:kfsysadmin']),
])
def test_completion_in_zsh(share, typed, wanted):
    in_fish(share, 'keyfold ')  # makes the folder of programs
    in_zsh(share, typed.replace('LONE-BEGINS', share.lone[:12]),
           [share.lone if word == 'LONE' else word for word in wanted])


def test_who_may_list_nothing_is_shown_nothing(share):
    assert in_bash(share, 'keyfold kms describe-key --key-id alias/r', 'kfstranger') == []


def test_files_are_left_to_the_shell(share):
    for line in ('keyfold iam apply ', 'keyfold fsck ', 'keyfold kms import-key-material '
                 '--import-token '):
        assert in_bash(share, line) == []


def test_tables_are_aligned_for_people_on_a_terminal(share):
    look = ('iam', 'simulate', '--action', 'kms:Decrypt', '--key', 'alias/reports')
    there, elsewhere = on_a_terminal(share, *look, NO_COLOR='1'), share.run('kfcfo', *look)
    assert '\t' not in there and re.search(r'^action     kms:Decrypt\r$', there, re.M), there
    assert re.search(r'^action\tkms:Decrypt$', elsewhere, re.M), elsewhere
    # No cell is shortened where there is little room.
    assert on_a_terminal(share, *look, NO_COLOR='1', columns=20) == there
    table = ('kms', '--output', 'table', 'list-aliases')
    assert on_a_terminal(share, *table, NO_COLOR='1').replace('\r', '') == share.run('kfcfo', *table)
    assert '\t' not in share.run('kfcfo', *table)


def test_manual_pages(share, tmp_path):
    out = tmp_path / 'manual'
    root = pathlib.Path(__file__).resolve().parents[2]
    subprocess.run([root / 'packaging/make-manual', KEYFOLD, out], check=True)
    pages = sorted(p.relative_to(out).as_posix() for p in out.glob('man?/*'))
    assert {'man1/keyfold.1.gz', 'man1/keyfold-kms.1.gz', 'man5/keyfold-policy.5.gz',
            'man5/keyfold-store.5.gz', 'man8/mount.keyfold.8.gz'} <= set(pages)
    assert not any('complete.1' in p or 'manual.1' in p for p in pages)
    for page in pages:
        text = gzip.decompress((out / page).read_bytes())
        shown = subprocess.run(['groff', '-man', '-Tutf8', '-P-cbou', '-ww', '-Kutf8'], input=text, check=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert shown.stderr == b'' and b'NAME' in shown.stdout, (page, shown.stderr[:500])
    kms = gzip.decompress((out / 'man1/keyfold-kms.1.gz').read_bytes()).decode()
    helper = gzip.decompress((out / 'man8/mount.keyfold.8.gz').read_bytes()).decode()
    for option in ('root-key', 'kms-tls-key', 'metrics-listen', 'metrics-user', 'audit-log-size',
                   'alert-commands', 'root-key-grace', 'idle-timeout', 'confine'):
        assert option.replace('-', '\\-') + '=' in helper, option
    for verb in ('create-key', 'import-key-material', 'root-key rotate'):
        assert '.SS keyfold kms ' + verb.replace('-', '\\-') in kms


def doctor(share, *args, user=None):
    """What it says of the machine, and of no mount but the share's: others may be ill."""
    result = subprocess.run([*share.command_of(user), 'doctor', '--output', 'json', *map(str, args)],
                            stdout=subprocess.PIPE, text=True, cwd='/')
    told = json.loads(result.stdout)
    assert result.returncode == any(one['health'] == 'bad' for one in told), result.stdout
    return {one['what']: one for one in told
            if not one['what'].startswith('/') or one['what'] == str(share.mnt)}


def test_a_sound_machine_and_store(share):
    found = doctor(share, share.store)
    assert {'FUSE', 'clock', 'memory locking', 'store', 'root key', 'disk', 'room'} <= set(found)
    assert not [one for one in found.values() if one['health'] == 'bad']
    assert found[str(share.mnt)]['health'] == 'ok'
    assert all(one['mend'] for one in found.values() if one['health'] != 'ok')


def test_what_is_wrong_is_named_with_its_remedy(share, tmp_path):
    store = tmp_path / 'store'
    key = tmp_path / 'root.key'
    subprocess.run([KEYFOLD, 'init', store, '--root-key', f'file:{key}'], check=True,
                   stdout=subprocess.DEVNULL)
    os.chmod(store, 0o755)
    assert 'chmod 700' in doctor(share, store)['privacy']['mend']
    key.unlink()
    lost = doctor(share, store)['root key']
    assert lost['health'] == 'bad' and str(key) in lost['found']
    (store / 'keyfold.json').write_text('{')
    assert doctor(share, store)['store']['health'] == 'bad'
    shutil.rmtree(store)
    assert doctor(share, store)['store']['health'] == 'bad'


def test_a_disk_without_extended_attributes(tmp_path):
    store, disk = tmp_path / 'store', tmp_path / 'disk'
    disk.mkdir()
    subprocess.run([KEYFOLD, 'init', store, '--root-key', f'file:{tmp_path}/root.key'], check=True,
                   stdout=subprocess.DEVNULL)
    subprocess.run(['mount', '-t', 'ramfs', 'none', disk], check=True)
    try:
        subprocess.run(['cp', '-r', store, disk], check=True)
        told = subprocess.run([KEYFOLD, 'doctor', disk / 'store', '--output', 'json'],
                              stdout=subprocess.PIPE, text=True)
    finally:
        subprocess.run(['umount', disk], check=True)
    found, = [one for one in json.loads(told.stdout) if one['what'] == 'disk']
    assert told.returncode == 1 and found['health'] == 'bad'
    assert found['found'].startswith('keeps no extended attributes') and 'ext4' in found['mend']


def test_the_root_key_of_a_store_in_use_is_tried(share, tmp_path):
    wrong = tmp_path / 'wrong.key'
    wrong.write_bytes(bytes(32))
    wrong.chmod(0o600)
    assert doctor(share, share.store)['root key']['found'].startswith('is unsealed by file:')
    refused = doctor(share, share.store, '--root-key', f'file:{wrong}')['root key']
    assert refused['health'] == 'bad' and "is not this store's key file" in refused['found']
    assert doctor(share)[str(share.mnt)]['health'] == 'ok'


def test_a_mistake_that_the_service_tells_in_its_words_is_mended_in_the_commands(share):
    folder = share.mnt / 'hints'
    share.python('kfcfo', 'import os, sys; os.mkdir(sys.argv[1])', folder)
    with pytest.raises(Failed) as info:
        share.run('kfcfo', 'folder', 'set-key', folder, 'reports')
    assert 'keyfold: names of aliases begin with alias/, as in alias/reports' in info.value.text
    with pytest.raises(Failed) as info:
        share.run('kfcfo', 'kms', 'describe-key', '--key-id', 'reports')
    assert 'as in alias/reports' in info.value.text
    with pytest.raises(Failed) as info:
        share.run('kfcfo', 'kms', 'describe-key', '--key-id', '1234abcd-12ab-34cd-56ef-1234567890ab')
    assert 'does not exist' in info.value.text and 'alias' not in info.value.text
    with pytest.raises(Failed) as info:
        share.run('kfcfo', 'kms', 'create-key', '--users', 'user:kfcfo')
    assert '--administrators user:NAME' in info.value.text


def test_users_whom_the_machine_does_not_know_are_told(share, tmp_path):
    def said(*args):
        result = subprocess.run([*share.command_of('kfcfo'), *args], stderr=subprocess.PIPE, cwd='/',
                                stdout=subprocess.PIPE, text=True, env=share.environment(), check=True)
        return result.stderr
    unknown = 'keyfold: there is no user kf-later here now'
    make = ('kms', 'create-key', '--administrators', 'user:kfcfo', '--users')
    assert said(*make, 'user:kf-later').startswith(unknown)
    assert said(*make, 'user:kfaccounts') == ''
    grant = ('kms', 'create-grant', '--key-id', 'alias/reports', '--operations', 'Decrypt',
             '--grantee-principal')
    assert said(*grant, 'user:kf-later').startswith(unknown)
    assert said(*grant, 'user:kfaccounts') == ''
    assert said('kms', 'list-grants', '--key-id', 'alias/reports', '--grantee-principal', 'user:kf-later') == ''
    iam = tmp_path / 'iam.yaml'
    iam.write_text('users: {kf-later: {}, kfcfo: {}}\n')
    told = subprocess.run([share.keyfold, 'iam', 'apply', iam, '--dry-run'], stderr=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True, env=share.environment(), check=True)
    assert told.stderr.startswith(unknown) and 'kfcfo' not in told.stderr


def test_a_mount_whose_daemon_hangs(share):
    daemon = share.daemon()
    os.kill(daemon, signal.SIGSTOP)
    try:
        begin = time.monotonic()
        found = doctor(share)[str(share.mnt)]
        assert found['health'] == 'bad' and 'is stopped, or waits for the disk' in found['found']
        with pytest.raises(Failed) as info:
            share.run(None, 'status', share.mnt)
        assert 'is stopped, or waits' in info.value.text and time.monotonic() - begin < 30
    finally:
        os.kill(daemon, signal.SIGCONT)
    assert doctor(share)[str(share.mnt)]['health'] == 'ok'


def test_a_mount_whose_daemon_died(share, tmp_path):
    store, mnt = tmp_path / 'store', tmp_path / 'mnt'
    mnt.mkdir()
    for command in (['init', store, '--root-key', f'file:{tmp_path}/root.key'], ['mount', store, mnt]):
        subprocess.run([KEYFOLD, *map(str, command)], check=True, stdout=subprocess.DEVNULL)
    pid = json.loads(subprocess.run([KEYFOLD, 'status', mnt, '--output', 'json'], check=True,
                                    stdout=subprocess.PIPE).stdout)[0]['Pid']
    os.kill(pid, 9)
    try:
        found = {}
        for _ in range(50):
            result = subprocess.run([KEYFOLD, 'doctor', '--output', 'json'], stdout=subprocess.PIPE)
            found = {one['what']: one for one in json.loads(result.stdout)}
            if found[str(mnt)]['health'] == 'bad':
                break
            time.sleep(0.1)
        assert 'keyfold unmount' in found[str(mnt)]['mend'] and result.returncode == 1
    finally:
        subprocess.run([KEYFOLD, 'unmount', mnt], check=True)
