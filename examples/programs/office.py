#!/usr/bin/python3
"""An office program saves a document: a lock file, a new file beside the old one
with its mode and owner, fsync, rename over it, while others read it.

    office.py FOLDER SCRATCH"""
import hashlib
import os
import pathlib
import subprocess
import sys

SAVES = 40
READER = r'''
import hashlib, sys
print('ready', flush=True)
seen = set()
while True:
    with open(sys.argv[1], 'rb') as document:
        text = document.read()
    if hashlib.sha256(text[:-64]).hexdigest() != text[-64:].decode():
        sys.exit('read a document that is neither the old nor the new one')
    seen.add(text[-64:])
    if text.startswith(b'version %d\n' % int(sys.argv[2])):
        break
print(len(seen))
'''


def check(text, good, happened=''):
    print(f'ok    {text}' if good else f'FAIL  {text}\n{happened}')
    if not good:
        sys.exit(1)


def text_of(version):
    """A document that ends in the digest of what stands before."""
    body = b'version %d\n' % version + bytes([version % 251]) * (200_000 + 7_001 * version % 90_000)
    return body + hashlib.sha256(body).hexdigest().encode()


def lock(document):
    """Makes the lock file; FileExistsError if another has the document open."""
    path = document.with_name(f'.~lock.{document.name}#')
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    os.write(fd, b',user,machine;')
    os.close(fd)
    return path


def save(document, text):
    old = document.stat()
    new = document.with_name(f'lu{os.getpid()}.tmp')
    fd = os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    for start in range(0, len(text), 32768):
        os.write(fd, text[start:start + 32768])
    os.fchmod(fd, old.st_mode & 0o7777)
    os.fchown(fd, old.st_uid, old.st_gid)
    os.fsync(fd)
    os.close(fd)
    os.rename(new, document)
    folder = os.open(document.parent, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(folder)
    os.close(folder)


def refused(function, *arguments):
    try:
        function(*arguments)
    except FileExistsError:
        return True
    return False


def main(place):
    document = place / 'Jahresabschluß 2026.odt'
    document.write_bytes(text_of(0))
    document.chmod(0o640)
    lock_file = lock(document)
    check('a second program finds the document locked', refused(lock, document))

    print(f'    {SAVES} saves while another program reads the document over and over')
    reader = subprocess.Popen([sys.executable, '-c', READER, document, str(SAVES)], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    reader.stdout.readline()
    before = document.open('rb')
    for version in range(1, SAVES + 1):
        save(document, text_of(version))
    out, err = reader.communicate(timeout=60)
    check('the reader saw only whole documents', reader.returncode == 0, err)
    check('and more than one of them', int(out) > 1, out)
    check('the last save is what stands there', document.read_bytes() == text_of(SAVES))
    check('one that opened it before the saves still reads the old one',
          before.read() == text_of(0))
    before.close()
    check('the mode is kept', document.stat().st_mode & 0o7777 == 0o640,
          oct(document.stat().st_mode))

    print('    With a backup of the version before')
    backup = document.with_suffix('.bak')
    os.link(document, backup)
    save(document, text_of(SAVES + 1))
    check('the backup is the version before', backup.read_bytes() == text_of(SAVES))
    check('the document the new one', document.read_bytes() == text_of(SAVES + 1))
    lock_file.unlink()
    check('nothing else is left behind',
          sorted(os.listdir(place)) == sorted([document.name, backup.name]), os.listdir(place))


if __name__ == '__main__':
    main(pathlib.Path(sys.argv[1]))
