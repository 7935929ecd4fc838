"""Does SIGHUP have a mounted daemon read its certificate anew, and keep the one it has if the
new one is no good?"""
import json
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import time

import pytest

from share import make_certificate, new_share

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to act as several users')


def certify(folder, name, serial):
    """A certificate of its own and its key, under fixed names."""
    make_certificate(folder / f'{name}.pem', folder / f'{name}.key', name,
                     '-set_serial', str(serial))


def install(folder, certificate, key):
    """As certificates are renewed: a new file takes the name of the former one."""
    for source, name in ((certificate, 'live.pem'), (key, 'live.key')):
        (folder / 'new').write_bytes((folder / source).read_bytes())
        (folder / 'new').chmod(0o600)
        (folder / 'new').rename(folder / name)


@pytest.fixture(scope='module')
def share():
    with new_share('reload') as made:
        made.unmount()
        for name, serial in (('first', 1001), ('second', 1002)):
            certify(made.folder, name, serial)
        install(made.folder, 'first.pem', 'first.key')
        # By names that are relative, which the daemon's folder is not.
        subprocess.run([made.keyfold, 'mount', made.store, made.mnt, '--kms-listen', '127.0.0.1:0',
                        '--kms-tls-certificate', 'live.pem', '--kms-tls-key', 'live.key'],
                       check=True, cwd=made.folder)
        yield made


def address(share):
    endpoint = json.loads(share.run(None, 'status', share.mnt, '--output', 'json'))[0]['KmsEndpoint']
    host, port = endpoint.removeprefix('https://').rsplit(':', 1)
    return host, int(port)


def connect(share):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    plain = socket.create_connection(address(share), timeout=10)
    return context.wrap_socket(plain)


def serial(share):
    """The serial number of the certificate that is shown."""
    with connect(share) as tls:
        pem = ssl.DER_cert_to_PEM_cert(tls.getpeercert(binary_form=True))
    out = subprocess.run(['openssl', 'x509', '-noout', '-serial'], input=pem, capture_output=True,
                         text=True, check=True).stdout
    return int(out.strip().removeprefix('serial='), 16)


def hang_up(share):
    """Sends SIGHUP and returns the record of what came of it."""
    before = len(share.events(eventName='ReloadSettings'))
    os.kill(share.daemon(), signal.SIGHUP)
    for _ in range(100):
        records = share.events(eventName='ReloadSettings')
        if len(records) > before:
            assert len(records) == before + 1
            return records[-1]
        time.sleep(0.1)
    raise AssertionError('nothing was read anew')


def is_answered(tls):
    """Whether a connection still gets answers; unsigned requests get 400 or 403."""
    tls.sendall(b'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}')
    return tls.recv(4096).startswith(b'HTTP/1.1 4')


def test_a_new_certificate_is_shown_after_sighup_and_not_before(share):
    assert serial(share) == 1001
    with connect(share) as before:
        assert is_answered(before)
        install(share.folder, 'second.pem', 'second.key')
        assert serial(share) == 1001
        assert 'errorCode' not in hang_up(share)
        assert serial(share) == 1002
        # Who is connected goes on.
        assert is_answered(before)


@pytest.mark.parametrize('certificate, key, why', [
    ('first.pem', 'second.key', 'key values mismatch'),
    ('first.key', 'first.key', 'cannot be used as the TLS certificate'),
    ('first.pem', 'first.pem', 'cannot be used as the TLS key')])
def test_a_bad_one_leaves_the_former_in_use_and_says_why(share, certificate, key, why):
    before = serial(share)
    install(share.folder, certificate, key)
    record = hang_up(share)
    assert record['errorCode'] == 'UsageError' and why in record['errorMessage']
    assert serial(share) == before
    install(share.folder, 'second.pem', 'second.key')
    assert 'errorCode' not in hang_up(share)


def test_one_that_is_gone_leaves_the_former_in_use(share):
    before = serial(share)
    (share.folder / 'live.pem').unlink()
    record = hang_up(share)
    assert 'live.pem' in record['errorMessage'] and serial(share) == before
    install(share.folder, 'second.pem', 'second.key')


def test_files_are_served_meanwhile_and_sighup_does_not_unmount(share):
    with open(share.mnt / 'open', 'w') as f:
        f.write('before')
        f.flush()
        for _ in range(5):
            os.kill(share.daemon(), signal.SIGHUP)
        time.sleep(2)
        f.write(' and after')
    assert (share.mnt / 'open').read_text() == 'before and after'
    assert os.path.ismount(share.mnt)


def test_without_such_files_it_does_nothing_and_is_on_record(share):
    share.unmount()
    share.mount()
    assert 'errorCode' not in hang_up(share)
    assert os.path.ismount(share.mnt)
