#!/usr/bin/env python3
"""Do the includes follow the arrows of ARCHITECTURE.md?

Each folder lists the folders it may include, and the third-party headers that
belong to it, or to one of its files, alone. Exit 1 and a line per violation."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
KMS = ['kms/base', 'kms/crypto', 'kms/store', 'kms/rootkey', 'kms/audit']
POLICY = ['policy/model', 'policy/parse', 'policy/engine']
SERVICE = KMS + POLICY + ['kms/service']
VAULT = ['kms/base', 'kms/crypto', 'kms/service', 'fs/format', 'fs/backend', 'fs/vault']
ALLOWED = {
    'kms/base': ['kms/base'],
    'kms/crypto': ['kms/base', 'kms/crypto'],
    'kms/store': ['kms/base', 'kms/store'],
    'kms/rootkey': ['kms/base', 'kms/crypto', 'kms/rootkey'],
    'kms/audit': ['kms/base', 'kms/crypto', 'kms/audit'],
    'policy/model': ['kms/base', 'policy/model'],
    'policy/parse': ['kms/base', 'policy/model', 'policy/parse'],
    'policy/engine': ['kms/base', 'policy/model', 'policy/engine'],
    'kms/service': SERVICE,
    'kms/api': SERVICE + ['kms/api'],
    'fs/format': ['kms/base', 'fs/format'],
    'fs/backend': ['kms/base', 'fs/backend'],
    'fs/vault': VAULT,
    'fs/fuse': VAULT + ['fs/fuse'],
    'fs/console': ['kms/base', 'kms/crypto', 'kms/api', 'fs/console'],
    'fs/cli': None,
}
OWNERS = {
    r'openssl/': ['kms/crypto'],
    r'sqlite3': ['kms/store'],
    r'yaml-cpp/': ['policy/parse'],
    r'fuse': ['fs/fuse'],
    r'httplib': ['kms/api'],
    r'CLI/': ['fs/cli'],
    r'p11-kit/': ['kms/rootkey/Pkcs11Token.cc'],
    r'prometheus/': ['kms/api/Exposition.cc'],
    r'seccomp': ['fs/cli/SystemCalls.cc'],
    r'tss2/': ['kms/rootkey/TpmSeal.cc'],
}


def violations():
    for path in sorted(p for top in ('kms', 'policy', 'fs')
                       for p in (ROOT / top).rglob('*') if p.suffix in ('.h', '.cc')):
        folder = '/'.join(path.relative_to(ROOT).parts[:2])
        if folder not in ALLOWED:
            yield f'{folder}: a folder without arrows; add it to ARCHITECTURE.md and here'
            continue
        text = path.read_text()
        name = str(path.relative_to(ROOT))
        for included in re.findall(r'^#include "((?:kms|policy|fs)/[^/"]+)/', text, re.M):
            if ALLOWED[folder] is not None and included not in ALLOWED[folder]:
                yield f'{path.relative_to(ROOT)}: may not include {included}'
        for included in re.findall(r'^#include <([^>]+)>', text, re.M):
            for pattern, owners in OWNERS.items():
                if re.match(pattern, included) and not {folder, name} & set(owners):
                    yield f'{path.relative_to(ROOT)}: <{included}> belongs to {owners[0]}'


if __name__ == '__main__':
    found = list(violations())
    print('\n'.join(found) or 'all includes follow the arrows')
    sys.exit(1 if found else 0)
