"""AWS's own clients of KMS, and Keyfold's, behind one way of calling them.

Each client has `call(operation, **parameters)`, which returns the answer or raises
Refused. Blobs are base64, times are seconds since 1970."""
import base64
import datetime
import json
import os
import pathlib
import re
import subprocess

import boto3
import botocore.config
import botocore.exceptions

from share import as_user

CLIENTS = pathlib.Path(__file__).resolve().parents[1] / 'clients'
BLOBS = ('Plaintext', 'CiphertextBlob', 'ImportToken', 'EncryptedKeyMaterial', 'Message', 'Mac')


class Refused(Exception):
    """A call that failed: the error's name and what it said."""

    def __init__(self, name, text):
        super().__init__(f'{name}: {text}')
        self.name, self.text = name, text


def kebab(name):
    return re.sub(r'(?<!^)([A-Z])', r'-\1', name).lower()


def seconds(value):
    """The answer with ISO 8601 times as seconds."""
    if isinstance(value, dict):
        return {name: seconds(member) for name, member in value.items()}
    if isinstance(value, list):
        return [seconds(member) for member in value]
    if isinstance(value, str) and re.match(r'\d{4}-\d\d-\d\dT', value):
        return datetime.datetime.fromisoformat(value).timestamp()
    return value


def printed(result):
    """What a command line answered, or its refusal."""
    if result.returncode != 0:
        found = re.search(r'\((\w+)\) when calling', result.stderr)
        raise Refused(found.group(1) if found else 'no error name', result.stderr)
    return seconds(json.loads(result.stdout)) if result.stdout.strip() else {}


class CommandLine:
    """A program with the verbs of `aws kms`."""

    def __init__(self, command, environment):
        self.command, self.environment = command, environment

    def call(self, operation, **parameters):
        return printed(subprocess.run(
            [*self.command, 'kms', kebab(operation), '--cli-input-json', json.dumps(parameters),
             '--output', 'json'], env=self.environment, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, cwd='/'))

    def close(self):
        pass


class Boto3:
    def __init__(self, endpoint, region, key, secret, token=None, verify=None):
        self.kms = boto3.client('kms', endpoint_url=endpoint, region_name=region,
                                aws_access_key_id=key, aws_secret_access_key=secret,
                                aws_session_token=token, verify=verify,
                                config=botocore.config.Config(retries={'max_attempts': 1}))

    def call(self, operation, **parameters):
        for name in BLOBS:
            if name in parameters:
                parameters[name] = base64.b64decode(parameters[name])
        method = getattr(self.kms, kebab(operation).replace('-', '_'))
        try:
            answer = method(**parameters)
        except botocore.exceptions.ClientError as error:
            raise Refused(error.response['Error']['Code'],
                          error.response['Error']['Message']) from error
        answer.pop('ResponseMetadata')
        return self.plain(answer)

    def plain(self, value):
        if isinstance(value, dict):
            return {name: self.plain(member) for name, member in value.items()}
        if isinstance(value, list):
            return [self.plain(member) for member in value]
        if isinstance(value, bytes):
            return base64.b64encode(value).decode()
        return value.timestamp() if isinstance(value, datetime.datetime) else value

    def close(self):
        self.kms.close()


class Program:
    """A program of tests/clients, which answers each line with a line."""

    def __init__(self, command, environment=None):
        self.process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, cwd='/')

    def call(self, operation, **parameters):
        json.dump({'operation': operation, 'parameters': parameters}, self.process.stdin)
        self.process.stdin.write('\n')
        self.process.stdin.flush()
        out = json.loads(self.process.stdout.readline())
        if 'error' in out:
            raise Refused(out['error'], out['message'])
        return out['answer']

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=30)


def environment(endpoint, region, key, secret, token=None):
    """What AWS's clients read, and nothing of the machine's own settings."""
    made = {'PATH': os.environ['PATH'], 'HOME': '/nonexistent', 'AWS_REGION': region,
            'AWS_DEFAULT_REGION': region, 'AWS_ENDPOINT_URL_KMS': endpoint,
            'AWS_ACCESS_KEY_ID': key, 'AWS_SECRET_ACCESS_KEY': secret,
            'AWS_EC2_METADATA_DISABLED': 'true', 'AWS_MAX_ATTEMPTS': '1', 'AWS_PAGER': ''}
    if token:
        made['AWS_SESSION_TOKEN'] = token
    return made


def open_client(name, share, user, credentials):
    """The client `name`, to act as `user`, whose access key `credentials` are."""
    if name == 'keyfold':
        return CommandLine(share.command_of(user), share.environment())
    if name == 'socket':
        script = (CLIENTS / 'socket_client.py').read_text()
        return Program([*as_user(user), '/usr/bin/python3', '-c', script, share.socket])
    given = (share.endpoint, share.region, credentials['AccessKeyId'],
             credentials['SecretAccessKey'], credentials.get('SessionToken'))
    if name == 'boto3':
        return Boto3(*given)
    if name == 'node':
        return Program(['node', str(CLIENTS / 'kms.mjs')], environment(*given))
    # The command line of Debian knows no AWS_ENDPOINT_URL_KMS yet.
    return CommandLine(['/usr/bin/aws', '--endpoint-url', share.endpoint], environment(*given))
