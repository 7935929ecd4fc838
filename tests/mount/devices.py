"""What a root key may hang on: a token and a TPM, of software, that can be taken away."""
import os
import subprocess
import time

MODULE = '/usr/lib/softhsm/libsofthsm2.so'


class Token:
    """A SoftHSM with one token, of which `pin` holds the PIN."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.tokens, self.pin = folder, folder / 'tokens', folder / 'pin'
        self.tokens.mkdir()
        conf = folder / 'softhsm2.conf'
        conf.write_text(f'directories.tokendir = {self.tokens}\n')
        monkeypatch.setenv('SOFTHSM2_CONF', str(conf))
        subprocess.run(['softhsm2-util', '--init-token', '--free', '--label', 'keyfold', '--pin',
                        '1234', '--so-pin', '5678'], check=True, stdout=subprocess.DEVNULL)
        self.set_pin('1234')
        self.spec = (f'pkcs11:token=keyfold;object=root?module-path={MODULE}'
                     f'&pin-source=file:{self.pin}')

    def set_pin(self, text):
        self.pin.write_text(text)
        self.pin.chmod(0o600)

    def take_away(self):
        self.tokens.rename(self.folder / 'away')

    def put_back(self):
        (self.folder / 'away').rename(self.tokens)


class Tpm:
    """A software TPM that keeps its state in a folder of its own."""

    def __init__(self, folder):
        self.folder, self.path = folder, folder / 'sock'
        self.tcti = f'swtpm:path={self.path}'
        self.process = None

    def start(self, state='one'):
        (self.folder / state).mkdir(exist_ok=True)
        self.process = subprocess.Popen(
            ['swtpm', 'socket', '--tpm2', '--tpmstate', f'dir={self.folder / state}', '--server',
             f'type=unixio,path={self.path}', '--ctrl', f'type=unixio,path={self.path}.ctrl',
             '--flags', 'not-need-init,startup-clear'], stderr=subprocess.DEVNULL)
        for _ in range(100):
            if self.path.exists() and os.path.exists(f'{self.path}.ctrl'):
                return
            time.sleep(0.05)
        raise AssertionError('swtpm does not start')

    def stop(self):
        self.process.kill()
        self.process.wait()
        for left in (self.path, self.folder / 'sock.ctrl'):
            left.unlink(missing_ok=True)

    take_away, put_back = stop, start
