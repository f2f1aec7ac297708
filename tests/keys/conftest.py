"""Runs watermark-keys, and keeps all that it ever printed, so that a test can look through it for secrets."""
import os
import shutil
import subprocess

import pytest

PROGRAM = os.environ['WATERMARK_KEYS']
PASSPHRASE = 'correct horse battery staple'
BUNDLE_PASSPHRASE = 'a second one for the hosts'


class Workplace:
    def __init__(self, folder, copy_of=None):
        self.folder = folder
        self.printed = b''
        if copy_of is not None:
            shutil.copytree(copy_of.folder, folder, dirs_exist_ok=True)
            self.printed = copy_of.printed
            return
        self.write('pass', PASSPHRASE + '\n', 0o600)
        self.write('hosts', BUNDLE_PASSPHRASE + '\n', 0o600)
        self.write('tokenizer.model', 'not a real tokenizer', 0o644)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text, mode=0o644):
        with open(self.path(name), 'wb') as f:
            f.write(text.encode() if isinstance(text, str) else text)
        os.chmod(self.path(name), mode)

    def read(self, name):
        with open(self.path(name), 'rb') as f:
            return f.read()

    def mode(self, name):
        return os.stat(self.path(name)).st_mode & 0o777

    def files(self):
        return {name: self.read(name) for name in sorted(os.listdir(self.folder))}

    def run(self, *arguments, code=0, **options):
        """Runs in the folder, without a terminal; checks the exit status; gives (stdout, stderr)."""
        options.setdefault('stdin', subprocess.DEVNULL)
        options.setdefault('stdout', subprocess.PIPE)
        environment = {k: v for k, v in os.environ.items() if not k.startswith('COUNTERMARK_')}
        environment.update(options.pop('environment', {}))
        done = subprocess.run([PROGRAM, *arguments], cwd=self.folder, stderr=subprocess.PIPE, start_new_session=True, env=environment,
                              timeout=120, **options)
        out, error = done.stdout or b'', done.stderr
        self.printed += out + error
        assert done.returncode == code, (arguments, done.returncode, error.decode())
        if code != 0:
            assert error.decode().startswith('watermark-keys: error: ') or error == b'', error
        return out.decode(), error.decode()

    def store(self, *arguments, code=0, **options):
        """A subcommand on keys.cmks with its passphrase."""
        return self.run(*arguments, '--store', 'keys.cmks', '--passphrase-file', 'pass', code=code, **options)

    def epoch(self, name, *arguments, code=0):
        return self.store('epoch', '--name', name, '--tokenizer', 'tokenizer.model', '--vocabulary', '49152', *arguments, code=code)


@pytest.fixture
def work(tmp_path):
    return Workplace(str(tmp_path))


@pytest.fixture(scope='session')
def made_once(tmp_path_factory):
    work = Workplace(str(tmp_path_factory.mktemp('full')))
    work.store('init', '--tenant', 'acme')
    work.epoch('2026-11', '--first-use', '2026-11-01', '--last-use', '2026-11-30')
    work.epoch('Ära 2', '--scheme', 'partition', '--weights', '0.4,0.4,0.2', '--green', '85', '--delta', '1.375', '--window', '3',
               '--low-entropy', 'deny', '--first-use', '2026-12-01T10:00:00Z', '--last-use', '2026-12-31')
    work.store('account', 'add', 'org-1', 'org-7f3a/user-α', 'quote"back\\slash')
    work.store('signing-key', '--public-out', 'signing.pem')
    return work


@pytest.fixture
def full(made_once, tmp_path):
    """A store with two epochs, three accounts and a signing key; a copy, each key derivation being made slow on purpose."""
    return Workplace(str(tmp_path), copy_of=made_once)
