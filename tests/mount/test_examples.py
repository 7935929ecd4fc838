"""Do the examples of the program's own help, so of the reference and the manual, work?

Each is run in the order of the help, as `cfo` on a store with one key `alias/cfo`. BEFORE
says what has to be there first, INSTEAD what stands for the example's placeholders."""
import os
import re

import pytest

from commands import all_commands, help_of
from desk import mounted_share

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root to act as several users')

# They need a terminal or a device, make what is there, or serve until they are ended.
ELSEWHERE = {
    (): 'test_documentation.py', ('init',): 'test_root_key.py',
    ('kms', 'root-key', 'change-provider'): 'test_root_key.py', ('console',): 'test_console.py',
    ('top',): 'test_metrics.py', ('completion',): 'test_terminal.py',
}
# With the store that is not mounted.
UNMOUNTED = [('kms', 'restore'), ('kms', 'root-key', 'status'), ('kms', 'root-key', 'rotate'),
             ('doctor',), ('fsck',), ('upgrade',), ('mount',), ('unmount',)]
ROOTS = {'mount', 'unmount', 'status', 'fsck', 'doctor', 'upgrade', 'audit verify', 'audit archive',
         'audit archives', 'audit release', 'audit rules', 'kms backup', 'kms restore',
         'kms root-key', 'iam apply'}
IAM = """
users:
  cfo:      {policies: [AdministratorAccess]}
  accounts: {policies: [FilesFullAccess]}
roles:
  auditor: {policies: [ConsoleReadOnlyAccess], trust: [user:cfo]}
"""
KEY = 'keyfold kms create-key --administrators user:cfo --users user:cfo'
ID = '--query KeyMetadata.KeyId --output text'
CFO_ID = f'$(keyfold kms describe-key --key-id alias/cfo {ID})'
GRANT = ('keyfold kms create-grant --key-id alias/cfo --grantee-principal user:cfo '
         '--operations Decrypt RetireGrant')
BEFORE = {
    'kms put-key-policy': ['keyfold kms get-key-policy --key-id alias/cfo --query Policy '
                           '--output text >key-policy.yaml'],
    'kms encrypt': ['echo note >note.txt'],
    'kms decrypt': ['keyfold kms encrypt --key-id alias/cfo --plaintext fileb://note.txt '
                    '--query CiphertextBlob --output text | base64 -d >note.encrypted'],
    'kms re-encrypt': [f'{KEY} --alias alias/reports'],
    'kms create-alias': ['keyfold kms enable-key --key-id alias/cfo'],
    'kms generate-mac': [f'{KEY} --alias alias/mac --key-spec HMAC_256 '
                         '--key-usage GENERATE_VERIFY_MAC'],
    'kms verify-mac': ['keyfold kms generate-mac --message fileb://note.txt --key-id alias/mac '
                       '--mac-algorithm HMAC_SHA_256 --query Mac --output text '
                       '| base64 -d >note.mac'],
    'kms get-parameters-for-import': [f'{KEY} --origin EXTERNAL --alias alias/own'],
    'kms import-key-material': [
        'keyfold kms get-parameters-for-import --key-id alias/own --output json '
        '--wrapping-algorithm RSAES_OAEP_SHA_256 --wrapping-key-spec RSA_2048 >parameters',
        "member() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' $1 "
        '<parameters | base64 -d; }',
        'member PublicKey >public; member ImportToken >import-token; openssl rand 32 >material',
        'openssl pkeyutl -encrypt -pubin -keyform DER -inkey public -in material -out wrapped-key '
        '-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 -pkeyopt rsa_mgf1_md:sha256'],
    'audit verify': ['keyfold audit public-key >key.pem'],
    # A key has another version since the backup.
    'kms restore': ['keyfold kms --store /srv/keyfold/finance backup --replace '
                    '/media/usb/finance.keys'],
    'iam update-access-key': ['keyfold iam create-access-key'],
    'folder': ['mkdir /srv/finance/reports'],
    'file': ['echo slip >/srv/finance/payslip.pdf'],
    'rekey': [f'{KEY} --alias alias/cfo-2027'],
    'import': ['rm -rf ~/reports && mkdir ~/reports && echo 1 >~/reports/file',
               'rm -rf /srv/finance/reports'],
}
INSTEAD = {
    r'create-key --alias alias/cfo': 'create-key --alias alias/another',
    r'1234abcd-12ab-34cd-56ef-1234567890ab': CFO_ID,
    r'GRANT-ID': f'$({GRANT} --query GrantId --output text)',
    r'GRANT-TOKEN': f'$({GRANT} --query GrantToken --output text)',
    r'AKIA\.\.\.': "$(keyfold iam list-access-keys | grep -o 'AKIA[A-Z0-9]*' | head -1)",
    r'audit-0+1.log': '$(keyfold audit archives | grep -o "audit-[0-9]*.log" | head -1)',
    r'(generate-mac|verify-mac)(.*)alias/cfo': r'\1\2alias/mac',
    r'(get-parameters-for-import|import-key-material|delete-imported-key-material)(.*)alias/cfo':
        r'\1\2alias/own',
    r'(unmount /srv/finance --now)':
        r'mount /srv/keyfold/finance /srv/finance && keyfold \1',
    r'audit-\*\.log audit\.log': '/srv/keyfold/finance/audit/audit*.log',
}


def examples(words):
    """The command lines of the command's own examples."""
    found = re.search(r'\nExamples?:\n((?:  .*\n?)+)', help_of(*words))
    text = found[1].replace('\\\n', '') if found else ''
    return [line.strip() for line in text.split('\n') if line.strip()]


def instead(line):
    for pattern, text in INSTEAD.items():
        line = re.sub(pattern, text, line)
    return line


def try_examples(desk, words):
    name = ' '.join(words)
    user = 'root' if any(name == root or root and name.startswith(f'{root} ') for root in ROOTS) \
        else 'cfo'
    for command in [*BEFORE.get(name, []), *map(instead, examples(words))]:
        code, answer = desk.run(user, command)
        assert code == 0, f'{user}$ {command}\n{answer}'


def test_each_command_has_an_example():
    for words in all_commands():
        is_group = '\nSubcommands:' in help_of(*words)
        assert examples(words) or is_group or words == ('completion',), words


@pytest.fixture(scope='module')
def desk():
    with mounted_share() as made:
        home = made.home('root')
        (home / 'iam.yaml').write_text(made.mine(IAM))
        (home / 'alerts.yaml').write_text('off: [IamChanged]\n')
        for user, command in (('root', 'keyfold iam apply iam.yaml'),
                              ('cfo', f'{KEY} --alias alias/cfo')):
            code, answer = made.run(user, command)
            assert code == 0, answer
        yield made


def test_examples(desk):
    for words in all_commands():
        if words not in ELSEWHERE and words not in UNMOUNTED:
            try_examples(desk, words)


def test_examples_of_a_store_that_is_not_mounted(desk):
    desk.run('root', 'keyfold unmount /srv/finance')
    for words in UNMOUNTED:
        try_examples(desk, words)
