"""watermark-keys as a person meets it: files, modes, exit statuses, messages, and no secret in any of them."""
import json
import os
import pty
import resource
import select
import signal
import subprocess

import oracle
import pytest
from conftest import BUNDLE_PASSPHRASE, PASSPHRASE, PROGRAM


def unchanged(work, *arguments, say=None, **options):
    """The command fails with 2, and every file is what it was; none has come, none has gone."""
    before = work.files()
    _, error = work.store(*arguments, code=2, **options)
    assert work.files() == before
    if say is not None:
        assert say in error, error
    return error


def test_modes_and_messages(full):
    full.store('export', '--epoch', '2026-11', '--out', 'e.key')
    full.store('bundle', '--epoch', '2026-11', '--out', 'e.cmkb', '--bundle-passphrase-file', 'hosts')
    assert [full.mode(f) for f in ('keys.cmks', 'e.key', 'e.cmkb')] == [0o600] * 3
    assert set(os.listdir(full.folder)) == {'keys.cmks', 'e.key', 'e.key.json', 'e.cmkb', 'signing.pem', 'pass', 'hosts', 'tokenizer.model'}
    out, _ = full.store('list')
    assert 'tenant acme' in out and 'epoch 2026-11' in out and 'scheme       partition, window 3, green 85/256, delta 1.375' in out
    assert 'org-7f3a/user-α' in out and 'signing key yes' in out


def test_no_secret_is_ever_printed(full):
    full.store('export', '--epoch', '2026-11', '--out', 'e.key')
    full.store('bundle', '--epoch', '2026-11', '--out', 'e.cmkb', '--bundle-passphrase-file', 'hosts')
    full.store('list', '--json', '--commitments')
    full.store('list', '--commitments')
    full.run('list', '--store', 'keys.cmks', '--passphrase-file', 'hosts', code=2)
    full.store('export', '--epoch', '2026-11', '--out', 'e.key', code=2)
    full.run('--print-config', 'list', '--store', 'keys.cmks', '--passphrase-file', 'pass')
    store = json.loads(oracle.unseal(full.read('keys.cmks'), PASSPHRASE.encode(), oracle.STORE)[0])
    master = bytes.fromhex(store['master'])
    epoch = oracle.derive(master, 'epoch', 'acme', '2026-11')
    seed = bytes.fromhex(store['epochs'][0]['salt_seed'])
    secrets = [master, epoch, seed, bytes.fromhex(store['signing_key']), oracle.derive(epoch, 'base'), oracle.derive(epoch, 'route'),
               oracle.derive(epoch, 'account', 'org-1'), oracle.derive(seed, 'salt', 'base'), oracle.derive(seed, 'salt', 'account:org-1')]
    printed = full.printed.lower()
    assert len(printed) > 2000
    for secret in secrets:
        assert secret.hex()[:24].encode() not in printed and secret[:8] not in full.printed
    assert PASSPHRASE.encode() not in full.printed and BUNDLE_PASSPHRASE.encode() not in full.printed


def test_wrong_passphrase_altered_truncated_and_readable_by_others(full):
    good = full.read('keys.cmks')
    full.run('list', '--store', 'keys.cmks', '--passphrase-file', 'hosts', code=2)
    for at in (0, 8, 15, 30, 60, 70, 80, len(good) - 1):
        full.write('keys.cmks', good[:at] + bytes([good[at] ^ 1]) + good[at + 1:], 0o600)
        unchanged(full, 'list')
    for size in (0, 7, 75, 76, len(good) - 1):
        full.write('keys.cmks', good[:size], 0o600)
        unchanged(full, 'account', 'add', 'x')
    for mode in (0o640, 0o604, 0o644):
        full.write('keys.cmks', good, mode)
        unchanged(full, 'list', say='chmod 600')
    full.write('keys.cmks', good, 0o600)
    full.write('pass', PASSPHRASE, 0o644)
    unchanged(full, 'list', say='the passphrase file')
    full.write('pass', PASSPHRASE, 0o600)
    os.remove(full.path('keys.cmks'))
    unchanged(full, 'list', say="cannot open 'keys.cmks': No such file or directory")


def test_paths_that_are_taken(full):
    full.write('taken', 'mine')
    full.write('half.json', 'mine')
    unchanged(full, 'init', '--tenant', 'other', say='File exists')
    unchanged(full, 'export', '--epoch', '2026-11', '--out', 'taken')
    unchanged(full, 'export', '--epoch', '2026-11', '--out', 'half')
    unchanged(full, 'bundle', '--epoch', '2026-11', '--out', 'taken', '--bundle-passphrase-file', 'hosts')
    unchanged(full, 'signing-key', '--public-out', 'taken')
    unchanged(full, 'export', '--epoch', '2026-11', '--out', 'no/such/folder/key')


def test_a_failed_signing_key_leaves_the_store_without_one(work):
    work.store('init', '--tenant', 'acme')
    work.write('taken', 'mine')
    unchanged(work, 'signing-key', '--public-out', 'taken')
    assert 'signing key no' in work.store('list')[0]
    assert 'BEGIN PUBLIC KEY' in work.store('signing-key')[0]
    first = work.store('signing-key', '--public-out', '-')[0]
    work.store('signing-key', '--public-out', 'again.pem')   # the same key, not a second one
    assert work.read('again.pem').decode() == first


@pytest.mark.parametrize('limit', [0, 100])
def test_full_disk(full, limit):
    def no_room():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    unchanged(full, 'account', 'add', 'x', preexec_fn=no_room, say='File too large')
    unchanged(full, 'export', '--epoch', '2026-11', '--out', 'e.key', preexec_fn=no_room)
    unchanged(full, 'bundle', '--epoch', '2026-11', '--out', 'b', '--bundle-passphrase-file', 'hosts', preexec_fn=no_room)
    with open('/dev/full', 'wb') as nowhere:
        unchanged(full, 'list', stdout=nowhere, say='No space left on device')


def test_closed_pipe(full):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        _, error = full.store('list', code=2, stdout=writer)
    finally:
        os.close(writer)
    assert error == ''


def test_usage_errors(full):
    before = full.files()
    for arguments in ([], ['frobnicate'], ['list'], ['account'], ['init', '--store', 'x'], ['list', '--store', 'keys.cmks', '--passphrase', 'x'],
                      ['list', '--store', 'keys.cmks', '--passphrase-file', 'pass', '--passphrase-fd', '0'], ['epoch', '--store', 'keys.cmks']):
        _, error = full.run(*arguments, code=2)
        assert '\nwatermark-keys: hint: ' in error
    assert full.files() == before


@pytest.mark.parametrize('arguments, said', [
    (['--window', '5'], '"window" is 5, and must be 1 to 4'), (['--window', '0'], 'window'), (['--green', '256'], 'green'), (['--delta', '17'], 'delta'),
    (['--delta', '0.0001'], 'three decimals'), (['--layers', '33'], 'layers'), (['--scheme', 'kgw'], "no scheme is called 'kgw'"),
    (['--weights', '0.5,0.6'], 'do not sum to 1'), (['--weights', '1,0'], "weight '0'"), (['--channels', 'base'], 'each channel has one weight'),
    (['--weights', '0.5,0.5', '--channels', 'account,base'], 'must begin with base'), (['--low-entropy', 'never'], 'low-entropy'),
    (['--first-use', 'yesterday'], 'first_use'), (['--first-use', '2026-02-30'], 'first_use'),
    (['--first-use', '2026-12-01', '--last-use', '2026-11-01'], 'lies before'), (['--vocabulary', '0'], 'vocabulary'),
    (['--tokenizer', 'nothing'], "cannot open 'nothing'"), (['--name', ''], 'epoch'), (['--name', '2026-11'], "already has an epoch '2026-11'")])
def test_bad_epochs(full, arguments, said):
    options = {'--name': 'new', '--tokenizer': 'tokenizer.model', '--vocabulary': '100'}
    options.update(zip(arguments[::2], arguments[1::2]))
    unchanged(full, 'epoch', *(part for item in options.items() for part in item), say=said)


def test_epoch_by_digest(work):
    work.store('init', '--tenant', 'acme')
    work.store('epoch', '--name', 'e', '--vocabulary', '9', '--tokenizer-sha256', 'ab' * 32)
    assert json.loads(work.store('list', '--json')[0])['epochs'][0]['record']['tokenizer_sha256'] == 'ab' * 32
    unchanged(work, 'epoch', '--name', 'f', '--vocabulary', '9', say='--tokenizer-sha256')
    unchanged(work, 'epoch', '--name', 'f', '--vocabulary', '9', '--tokenizer-sha256', 'AB' * 32, say='tokenizer_sha256')


def test_accounts(full):
    unchanged(full, 'account', 'add', 'org-9', 'org-1', say="already has an account 'org-1'")
    unchanged(full, 'account', 'add', 'org-9', 'org-9', say='twice')
    unchanged(full, 'account', 'add', 'org-9', 'a\x1b[31m', say='control character')
    unchanged(full, 'account', 'add', say='--from')
    unchanged(full, 'account', 'add', 'org-9', '--from', 'pass', say='--from')
    full.write('accounts.txt', 'a-1\n\na-2\r\nbad\tlabel\n')
    unchanged(full, 'account', 'add', '--from', 'accounts.txt', say='accounts.txt:4: the account label has a control character at byte 3')
    full.write('accounts.txt', b'a-1\n\xff\n')
    unchanged(full, 'account', 'add', '--from', 'accounts.txt', say='accounts.txt:2: the account label is not valid UTF-8')
    full.write('accounts.txt', '\n\n')
    unchanged(full, 'account', 'add', '--from', 'accounts.txt', say='holds no account label')
    full.write('accounts.txt', ''.join(f'a-{i}\n' for i in range(20000)))
    full.store('account', 'add', '--from', 'accounts.txt')
    listed = json.loads(full.store('list', '--json')[0])
    assert len(listed['accounts']) == 20003 and listed['accounts'][-1] == 'a-19999'
    full.store('account', 'add', '--from', '-', stdin=subprocess.Popen(['echo', 'piped'], stdout=subprocess.PIPE).stdout)
    assert json.loads(full.store('list', '--json')[0])['accounts'][-1] == 'piped'


def test_unknown_epoch(full):
    unchanged(full, 'export', '--epoch', 'none', '--out', 'e.key', say="no epoch 'none'; it has '2026-11', 'Ära 2'")
    unchanged(full, 'bundle', '--epoch', 'none', '--out', 'b', '--bundle-passphrase-file', 'hosts')


def test_the_passphrase_comes_by_file_descriptor_or_terminal_alone(work):
    reader, writer = os.pipe()
    os.write(writer, PASSPHRASE.encode() + b'\n')
    os.close(writer)
    work.run('init', '--store', 'keys.cmks', '--tenant', 'acme', '--passphrase-fd', str(reader), pass_fds=[reader])
    os.close(reader)
    work.store('list')
    _, error = work.run('list', '--store', 'keys.cmks', code=2, environment={'COUNTERMARK_PASSPHRASE': PASSPHRASE})
    assert 'no terminal' in error and '--passphrase-fd' in error
    work.write('empty', '\n', 0o600)
    work.run('list', '--store', 'keys.cmks', '--passphrase-file', 'empty', code=2)


def at_terminal(work, arguments, answers):
    """Types an answer at each prompt of a real terminal; gives the exit status and all that the terminal showed."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(work.folder)
        os.execv(PROGRAM, [PROGRAM, *arguments])
    shown, asked = b'', 0
    while select.select([terminal], [], [], 60)[0]:
        try:
            piece = os.read(terminal, 4096)
        except OSError:
            break
        if not piece:
            break
        shown += piece
        if shown.count(b'passphrase of') > asked and shown.endswith(b': '):
            asked = shown.count(b'passphrase of')
            os.write(terminal, answers.pop(0).encode() + b'\n')
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), shown


def test_the_terminal_does_not_echo(work):
    code, shown = at_terminal(work, ['init', '--store', 'keys.cmks', '--tenant', 'acme'], [PASSPHRASE, PASSPHRASE])
    assert code == 0 and b'new passphrase of keys.cmks: ' in shown and PASSPHRASE[:7].encode() not in shown
    code, shown = at_terminal(work, ['list', '--store', 'keys.cmks'], [PASSPHRASE])
    assert code == 0 and b'tenant acme' in shown and PASSPHRASE[:7].encode() not in shown
    code, shown = at_terminal(work, ['init', '--store', 'other.cmks', '--tenant', 'acme'], [PASSPHRASE, 'a slip'])
    assert code == 2 and b'the two passphrases differ' in shown and not os.path.exists(work.path('other.cmks'))


def test_version_and_help(work):
    assert 'mark format 1' in work.run('--version')[0]
    for command in ([], ['init'], ['epoch'], ['account', 'add'], ['list'], ['bundle'], ['export'], ['signing-key']):
        out, _ = work.run(*command, '--help')
        assert 'Examples:' in out and 'scrypt' not in out.lower()
