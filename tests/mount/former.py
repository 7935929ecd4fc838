"""What people come from: another encrypting filesystem of the cfo's with files in it, made by
its own program, closed."""
import contextlib
import os
import pathlib
import subprocess

PASSPHRASE = 'correct horse battery staple\n'
FILL = ('mkdir {0}/sub; echo "net pay 4711" >{0}/payslip.txt; '
        'head -c 3000000 /dev/urandom >{0}/sub/large; ln -s ../payslip.txt {0}/sub/link')
MADE_BY = {
    'gocryptfs': ['gocryptfs -q -init -scryptn 10 ~/cipher', 'gocryptfs -q ~/cipher ~/plain'],
    'encfs': ['encfs ~/cipher ~/plain'],
    'cryfs': ['cryfs ~/cipher ~/plain'],
}
CLOSED_BY = {'gocryptfs': 'fusermount -u ~/plain', 'encfs': 'fusermount -u ~/plain',
             'cryfs': 'cryfs-unmount ~/plain'}
# How they are spoken to where nobody is at a terminal.
UNATTENDED = {'encfs ~': 'encfs --stdinpass --standard ~'}


def do(desk, *commands):
    for command in commands:
        code, answer = desk.run('cfo', command, desk.given)
        assert code == 0, (command, answer)


@contextlib.contextmanager
def fuse_filesystem(desk, program):
    """The ciphertext is in ~/cipher, and ~/plain is where it is mounted."""
    desk.given = desk.folder / 'passphrase'
    desk.given.write_text(PASSPHRASE)
    desk.environment |= {'CRYFS_FRONTEND': 'noninteractive', 'CRYFS_NO_UPDATE_CHECK': 'true'}
    desk.close()  # shells that do not know this
    desk.places = {**UNATTENDED, **desk.places}
    home = desk.home('cfo')
    try:
        do(desk, 'mkdir ~/cipher ~/plain', *MADE_BY[program], FILL.format('~/plain'),
           CLOSED_BY[program])
        yield
    finally:
        desk.close()
        for name in ('plain', 'back'):
            subprocess.run(['umount', '-l', home / name], check=False, stderr=subprocess.DEVNULL)


@contextlib.contextmanager
def fscrypt_configuration():
    """The machine's, made if there is none."""
    configuration = pathlib.Path('/etc/fscrypt.conf')
    if configuration.exists():
        yield
        return
    # It sets up / as well, which in a chroot is no filesystem that it can find.
    subprocess.run(['fscrypt', 'setup', '--quiet', '--time=1ms'], check=False,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        assert configuration.exists()
        yield
    finally:
        configuration.unlink()


@contextlib.contextmanager
def fscrypt_folder(desk):
    """The folder is /home/cfo/private, on an ext4 of its own; /home/cfo/back will be there too.
    Its protector is a file of random bytes."""
    home, name = desk.home('cfo'), desk.users['cfo']
    image, disk = desk.folder / 'image', home / 'disk'
    disk.mkdir()
    with open(image, 'wb') as f:
        f.truncate(64 << 20)
    subprocess.run(['mkfs.ext4', '-q', '-O', 'encrypt', image], check=True)
    subprocess.run(['mount', '-o', 'loop', image, disk], check=True)
    try:
        with fscrypt_configuration():
            subprocess.run(['fscrypt', 'setup', disk, '--quiet', '--all-users'], check=True,
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            private, back = disk / 'private', disk / 'back'
            private.mkdir()
            for key in ('key', 'key.back'):
                (home / key).write_bytes(os.urandom(32))
            subprocess.run(['chown', '-R', f'{name}:{name}', home], check=True)
            encrypt = 'fscrypt encrypt {} --source=raw_key --key=$HOME/{} --name={} --quiet'
            do(desk, encrypt.format(private, 'key', 'private'), FILL.format(private),
               f'fscrypt lock {private}')
            desk.places = {
                f'fscrypt unlock /home/{name}/private':
                    f'fscrypt unlock {private} --key=$HOME/key --quiet',
                f'fscrypt encrypt /home/{name}/back': encrypt.format(back, 'key.back', 'back'),
                f'/home/{name}/private': private, f'/home/{name}/back': back, **desk.places}
            yield
    finally:
        desk.close()
        subprocess.run(['umount', disk], check=True)
