"""Do the KMS's connections, plain and TLS, end when they should, not before, and tell why?"""
import json
import os
import selectors
import socket
import ssl
import time
import warnings

import pytest

from share import make_certificate, new_share

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to act as several users')

REQUEST_TIME, IDLE_TIME, MOST_OF_A_USER = 10, 30, 64
HEADERS = b'POST / HTTP/1.1\r\nX-Amz-Target: TrentService.ListKeys\r\n'
CALL = HEADERS + b'Content-Length: 2\r\n\r\n{}'


@pytest.fixture(scope='module')
def share(tmp_path_factory):
    folder = tmp_path_factory.mktemp('tls')
    certificate, key = folder / 'endpoint.pem', folder / 'endpoint.key'
    make_certificate(certificate, key, 'keyfold', '-addext', 'subjectAltName=IP:127.0.0.1')
    key.chmod(0o600)
    with new_share('connections') as made:
        made.unmount()
        made.mount('--kms-listen', '127.0.0.1:0', '--kms-tls-certificate', certificate,
                   '--kms-tls-key', key)
        status = json.loads(made.run(None, 'status', made.mnt, '--output', 'json'))[0]
        host, port = status['KmsEndpoint'].removeprefix('https://').split(':')
        made.address, made.certificate = (host, int(port)), certificate
        made.unix = f'/run/keyfold/{status["StoreId"]}.sock'
        yield made


def raw(share):
    return socket.create_connection(share.address, timeout=60)


def over_tls(share, **more):
    context = ssl.create_default_context(cafile=share.certificate)
    for name, value in more.items():
        setattr(context, name, value)
    return context.wrap_socket(raw(share), server_hostname='127.0.0.1')


def plain(share):
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(60)
    connection.connect(share.unix)
    return connection


KINDS = {'tls': over_tls, 'plain': plain}
# Nothing is signed here, so calls through TLS are answered with that.
SERVED = {'tls': 'HTTP/1.1 400', 'plain': 'HTTP/1.1 200'}


def everything(connection):
    found = b''
    while part := connection.recv(65536):
        found += part
    return found


def answer(connection, request=CALL):
    connection.sendall(request)
    head = b''
    while b'\r\n\r\n' not in head:
        part = connection.recv(65536)
        assert part, f'the connection ended after {head!r}'
        head += part
    return head.decode()


def test_each_wait_has_its_own_limit(share):
    """All wait at once, to be done in as long as the longest."""
    waiting, ended = {}, {}
    start = time.monotonic()
    for kind, connect in KINDS.items():
        waiting['idle ' + kind] = connect(share)
        half = waiting['half a header ' + kind] = connect(share)
        half.sendall(HEADERS)
        body = waiting['half a body ' + kind] = connect(share)
        body.sendall(HEADERS + b'Content-Length: 5\r\n\r\n{')
    waiting['no handshake'] = raw(share)
    half = waiting['half a handshake'] = raw(share)
    half.sendall(b'\x16\x03\x01\x02\x00\x01')
    kept = {kind: connect(share) for kind, connect in KINDS.items()}
    all_begun = time.monotonic() - start
    with selectors.DefaultSelector() as selector:
        for what, connection in waiting.items():
            selector.register(connection, selectors.EVENT_READ, what)
        while len(ended) < len(waiting):
            # `kept` is used in between, not only when one of the others has ended.
            found = selector.select(1)
            assert time.monotonic() - start < IDLE_TIME + all_begun + 10, f'only {ended} have ended'
            for key, _ in found:
                # TLS tells of tickets before the first request.
                if isinstance(key.fileobj, ssl.SSLSocket):
                    key.fileobj.settimeout(0)
                    try:
                        key.fileobj.recv(1)
                    except ssl.SSLWantReadError:
                        continue
                    except OSError:
                        pass
                ended[key.data] = time.monotonic() - start
                selector.unregister(key.fileobj)
            # Somebody who pauses for longer than a request may take is still served.
            if kept and time.monotonic() - start > REQUEST_TIME + 2:
                for kind, connection in kept.items():
                    assert SERVED[kind] in answer(connection), kind
                    connection.close()
                kept = {}
    assert not kept
    for what, seconds in ended.items():
        limit = IDLE_TIME if what.startswith(('idle', 'no')) else REQUEST_TIME
        assert limit - 1 < seconds < limit + all_begun + 5, (what, seconds)
    for connection in waiting.values():
        connection.close()


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('size', (900_000, 1_200_000, 8_000_000))
def test_who_sends_too_much_is_told(share, kind, size):
    with KINDS[kind](share) as connection:
        body = json.dumps({'KeyId': 'alias/aws/fs', 'Plaintext': 'A' * size}).encode()
        connection.sendall(b'POST / HTTP/1.1\r\nX-Amz-Target: TrentService.Encrypt\r\n'
                           b'Content-Length: %d\r\n\r\n' % len(body) + body)
        status = connection.recv(65536)
        # Over the Unix socket it is the operation's own limit, below 1 MiB.
        expected = b'HTTP/1.1 413' if size > 1 << 20 else b'HTTP/1.1 400'
        assert status.startswith(expected), status
        if size > 1 << 20:
            assert everything(connection) == b''  # and is closed in order


@pytest.mark.parametrize('kind', KINDS)
def test_too_many_connections_are_told_so(share, kind):
    held = []
    try:
        for _ in range(MOST_OF_A_USER):
            held.append(KINDS[kind](share))
            assert SERVED[kind] in answer(held[-1])
        # Root has connections of its own beyond a user's, but not more than those.
        for _ in range(3):
            with KINDS[kind](share) as one:
                one.sendall(CALL)
                told = everything(one).decode()
                assert 'HTTP/1.1 503' in told and '"ThrottlingException"' in told
                assert 'Connection: close' in told
    finally:
        for connection in held:
            connection.close()
    for _ in range(50):  # until those are seen to be gone
        with KINDS[kind](share) as connection:
            served = SERVED[kind] in answer(connection)
        if served:
            return
        time.sleep(0.1)
    pytest.fail('nobody is served any more')


def test_old_tls_is_refused(share):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', DeprecationWarning)
        with pytest.raises(ssl.SSLError):
            over_tls(share, minimum_version=ssl.TLSVersion.TLSv1,
                     maximum_version=ssl.TLSVersion.TLSv1_1)
    with over_tls(share, maximum_version=ssl.TLSVersion.TLSv1_2) as connection:
        assert connection.version() == 'TLSv1.2'
        assert SERVED['tls'] in answer(connection)
