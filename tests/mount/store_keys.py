"""The keys of a store, computed from what FORMAT.md and KMS.md say, by who has its key file."""
import base64
import hmac
import json
import sqlite3
import struct
import subprocess
import uuid


def hkdf(key, salt, info):
    return hmac.digest(hmac.digest(salt or b'\0' * 32, key, 'sha256'), info + b'\1', 'sha256')


def opened(key, nonce, cipher):
    """The plaintext of AES-256-GCM, of which this needs the counter mode only."""
    return subprocess.run(['openssl', 'enc', '-d', '-aes-256-ctr', '-K', key.hex(),
                           '-iv', nonce.hex() + '00000002'], input=cipher, capture_output=True,
                          check=True).stdout


def root_key(share):
    """The store's root key, opened as kms/rootkey/KeyFile.cc does."""
    config = json.loads((share.store / 'keyfold.json').read_text())
    sealed = config['rootKey']
    wrapping = hkdf((share.folder / 'root.key').read_bytes(), base64.b64decode(sealed['salt']),
                    b'keyfold root key file v1')
    blob = base64.b64decode(sealed['sealed'])
    return opened(wrapping, blob[:12], blob[12:44])


def derived(root):
    """What hangs on the root key (kms/service/Material.cc)."""
    return {f'root {label}': hkdf(root, b'', f'keyfold root {label} v1'.encode())
            for label in ('material', 'rows', 'audit', 'tokens', 'sessions', 'session secrets',
                          'backup')}


def material(share, key_id, version):
    """What a CMK is made of. The store is not mounted."""
    with sqlite3.connect(f'file:{share.store}/keys.db?mode=ro', uri=True) as db:
        rows = [json.loads(body) for row, body in
                db.execute('SELECT CAST(id AS TEXT), body FROM key_versions') if key_id in row]
    sealed = base64.b64decode(next(r['sealed'] for r in rows if r['version'] == version))
    return opened(derived(root_key(share))['root material'], sealed[:12], sealed[12:44])


def keys_of_file(share, backing):
    """The data key of a file and what hangs on it, from the header of its backing file."""
    with open(backing, 'rb') as f:
        slots = [f.read(1024) for _ in range(2)]
    header = max(slots, key=lambda slot: struct.unpack_from('<Q', slot, 12))
    blob = header[90:90 + struct.unpack_from('<H', header, 88)[0]]
    version, key_id, number, nonce = struct.unpack_from('<B16sI16s', blob)
    assert version == 1
    cmk = material(share, str(uuid.UUID(bytes=key_id)), number)
    wrapping = hkdf(cmk, nonce, b'keyfold blob v1')
    data_key = opened(wrapping, bytes(12), blob[37:-16])
    assert hkdf(data_key, b'', b'keyfold commitment v1') == header[410:442]
    epoch = header[450:454]
    return {'data key': data_key, 'header key': hkdf(data_key, b'', b'keyfold header v1'),
            'content key': hkdf(data_key, b'', b'keyfold content v1' + epoch)}
