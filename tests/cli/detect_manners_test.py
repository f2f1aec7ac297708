"""How watermark-detect behaves as a program: options, messages, colours, what it says of itself."""
import json
import os
import pathlib
import pty
import random
import re
import resource
import subprocess

import pytest

from detect_support import BIN, KEY, bare_key, exported_key, jsonl, lines, mark_oracle, run


def some(tmp_path):
    return jsonl(tmp_path / 'in.jsonl', [{'id': 'r', 'token_ids': list(range(50))}])


def test_version_says_what_was_built():
    result = run('--version')
    assert result.returncode == 0 and result.err == ''
    assert re.fullmatch(r'watermark-detect \d+\.\d+\.\d+\ncommit ([0-9a-f]{12}|unknown)\ncuda (yes|no)\nmark format 1\n', result.out)


def test_help_has_examples_and_exit_statuses():
    result = run('--help')
    assert result.returncode == 0 and 'Examples:' in result.out and '3 inconclusive or incomplete' in result.out
    for option in ('--epoch-key', '--keystore', '--bundle', '--epoch', '--account', '--accounts', '--tokenizer', '--text-field', '--token-ids-field', '--records',
                   '--alpha', '--json', '--jsonl', '--report', '--scheme', '--window', '--weights', '--green', '--delta', '--layers', '--min-coverage'):
        assert option in result.out


def test_flag_over_environment_over_file(tmp_path):
    path, key = some(tmp_path), bare_key(tmp_path)
    config = tmp_path / 'c.toml'
    config.write_text(f'alpha = 0.25\njson = true\nepoch-key = "{key}"\n')
    alpha = lambda *flags, **env: json.loads(run(path, '--config', config, *flags, env=env).out)['alpha']
    assert alpha() == 0.25
    assert alpha(COUNTERMARK_ALPHA='0.125') == 0.125
    assert alpha('--alpha', 0.0625, COUNTERMARK_ALPHA='0.125') == 0.0625
    config.write_text('alpah = 0.25\n')
    result = run(path, '--epoch-key', key, '--config', config)
    assert result.returncode == 2 and "unknown key 'alpah'" in result.err
    assert run(path, '--epoch-key', key, '--config', tmp_path / 'none.toml').returncode == 2
    assert run(path, '--epoch-key', key, env={'COUNTERMARK_WINDOW': 'x'}).returncode == 2
    printed = run('--print-config', '--alpha', 0.5)
    assert printed.returncode == 0 and 'alpha=0.5\n' in printed.out


def test_what_is_printed_can_be_read_back(tmp_path):
    path, key = some(tmp_path), bare_key(tmp_path)
    printed = run(path, '--print-config', '--epoch-key', key, '--account', 'a b', 'c', '--json', '--alpha', 0.001)
    config = tmp_path / 'c.toml'
    config.write_text(printed.out)
    again = run('--config', config)
    assert again.returncode == 0, again.err
    assert again.out == run(path, '--epoch-key', key, '--account', 'a b', 'c', '--json', '--alpha', 0.001).out


def test_colour(tmp_path):
    path, key = some(tmp_path), bare_key(tmp_path)
    assert '\033' not in run(path, '--epoch-key', key).out
    assert '\033' in run(path, '--epoch-key', key, '--color', 'always').out
    assert '\033' in run(path, '--epoch-key', key, '--color', 'always', env={'NO_COLOR': '1'}).out
    assert run(path, '--epoch-key', key, '--color', 'pink').returncode == 2

    def at_terminal(env, *flags):
        master, slave = pty.openpty()
        clean = {k: v for k, v in os.environ.items() if k != 'NO_COLOR'} | {'TERM': 'xterm'}
        subprocess.run([BIN / 'watermark-detect', path, '--epoch-key', key, *flags], stdout=slave, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, env=clean | env, check=False)
        os.close(slave)
        out = b''
        try:
            while chunk := os.read(master, 4096):
                out += chunk
        except OSError:  # the end, for a terminal
            pass
        os.close(master)
        return out
    assert b'\033' in at_terminal({})
    assert b'\033' not in at_terminal({'NO_COLOR': '1'})
    assert b'\033' not in at_terminal({}, '--color', 'never')


def test_ids_cannot_drive_a_terminal(tmp_path):
    path = jsonl(tmp_path / 'in.jsonl', [{'id': '\033[2Jx\r\n', 'token_ids': list(range(9))}])
    result = run(path, '--epoch-key', bare_key(tmp_path))
    assert '\033' not in result.out and '?[2Jx??' in result.out


def test_messages_cannot_drive_a_terminal(tmp_path):
    """ESC, DEL, and CSI as one character, U+009B: from an id in the table, and from a file name in an error and a report's printing."""
    key = bare_key(tmp_path)
    hostile = '\x1b]0;t\x07\x9b2J\x7f\x80\x9f\xa0é'
    shown = '?]0;t??2J???\xa0é'  # U+00A0 and é also begin with C2 and C3, and are no control characters
    table = run(jsonl(tmp_path / 'in.jsonl', [{'id': hostile, 'token_ids': list(range(9))}]), '--epoch-key', key)
    assert table.returncode == 0 and table.out.splitlines()[1].startswith(shown + ' ')
    broken = tmp_path / f'{hostile}.jsonl'
    broken.write_text('{\n')
    for path in (broken, tmp_path / f'{hostile}.none'):
        result = run(path, '--epoch-key', key)
        assert shown in result.err and not re.search('[\x00-\x09\x0b-\x1f\x7f-\x9f]', result.err), result.err
    verified = run(tmp_path / f'{hostile}.none', '--public-key', key, program='watermark-verify')
    assert verified.returncode == 2 and not re.search('[\x00-\x09\x0b-\x1f\x7f-\x9f]', verified.err)


@pytest.mark.parametrize('program', ['watermark-detect', 'watermark-generate', 'watermark-keys', 'watermark-verify'])
def test_no_program_leaves_a_core_file(program, tmp_path):
    """The limit is read while the program waits for its configuration, which is a pipe."""
    pipe = tmp_path / 'pipe'
    os.mkfifo(pipe)
    if not (BIN / program).exists():
        pytest.skip(f'{program} is not in this build')

    def allow():  # as much as the hard limit gives
        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    with subprocess.Popen([BIN / program, '--config', pipe], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=allow) as process:
        with open(pipe, 'wb'):  # opens once the program reads
            limits = pathlib.Path(f'/proc/{process.pid}/limits').read_text(encoding='ascii')
        process.wait(timeout=60)
    assert re.search(r'^Max core file size +0 +0 ', limits, re.M), limits


def test_standard_output_has_data_alone(tmp_path):
    path = some(tmp_path)
    result = run(path, '--epoch-key', bare_key(tmp_path), '--jsonl')
    assert len(lines(result)) == 1 and 'pooled: 48 distinct pairs of 1 records' in result.err
    assert json.loads(run(path, '--epoch-key', bare_key(tmp_path), '--json').out)['epoch_record'] is None
    with_record = json.loads(run(path, '--epoch-key', exported_key(tmp_path), '--json').out)
    assert with_record['epoch_record']['epoch'] == '2026-11' and with_record['mark']['scheme'] == 'gumbel'


def test_exit_statuses(tmp_path):
    key = bare_key(tmp_path)
    marked = mark_oracle.Epoch(KEY).write('a', 150, 50000, random.Random(1))
    assert run(jsonl(tmp_path / 'm.jsonl', [{'token_ids': marked}]), '--epoch-key', key).returncode == 1
    assert run(some(tmp_path), '--epoch-key', key).returncode == 0
    assert run(some(tmp_path), '--epoch-key', bare_key(tmp_path, bytes(32)), '--json').returncode == 0
    assert run(jsonl(tmp_path / 's.jsonl', [{'token_ids': [1]}]), '--epoch-key', key).returncode == 3
    assert run(some(tmp_path)).returncode == 2


def test_limit(tmp_path):
    path = jsonl(tmp_path / 'in.jsonl', [{'id': i, 'token_ids': list(range(9))} for i in range(10)])
    report = json.loads(run(path, '--epoch-key', bare_key(tmp_path), '--limit', 3, '--json').out)
    assert [r['id'] for r in report['records']] == ['0', '1', '2'] and report['ledger']['records'] == 3


