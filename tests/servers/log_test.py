"""The serving log: rotation, several writers, kill -9 in the midst of a line, a full disk, and the configuration file that says where it is."""
import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading

import pytest

from countermark.errors import DeniedError, InvalidArgumentError, NotFoundError
from countermark.serving.config import LogConfig, ServingConfig
from countermark.serving.log import ServingLog
from countermark.serving.metrics import Counters


def opened(folder, **options):
    return ServingLog(LogConfig(directory=folder, **options), Counters.open(None, "test"))


def records(folder):
    return [json.loads(line) for file in sorted(folder.glob("*.jsonl")) for line in file.read_text().splitlines()]


def test_a_record_is_a_line(tmp_path):
    log = opened(tmp_path)
    log.write({"account": "org-é", "token_ids": [1, 2]})
    log.write({"account": "b\n"})
    (file,) = tmp_path.iterdir()
    assert file.name == "serving-0.jsonl" and file.stat().st_mode & 0o007 == 0
    first, second = records(tmp_path)
    assert first["v"] == 1 and first["account"] == "org-é" and second["account"] == "b\n" and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first["time"])
    log.close()
    again = opened(tmp_path)
    again.write({})
    assert len(records(tmp_path)) == 3 and again.path == file


WRITER = """
import sys
from pathlib import Path
from countermark.serving.config import LogConfig
from countermark.serving.log import ServingLog
from countermark.serving.metrics import Counters
log = ServingLog(LogConfig(directory=Path(sys.argv[1]), rotate_bytes=4096), Counters.open(None, "w"))
print(log.path.name, flush=True)
for i in range(10**9):
    log.write({"writer": sys.argv[2], "i": i})
    if i % 100 == 0:
        print(i, flush=True)
"""


def test_every_record_survives_kill_and_writers_do_not_share(tmp_path):
    writers = [subprocess.Popen([sys.executable, "-P", "-c", WRITER, str(tmp_path), str(n)], stdout=subprocess.PIPE, text=True) for n in range(3)]
    names = [w.stdout.readline() for w in writers]
    said = []
    for w in writers:
        while int(line := w.stdout.readline()) < 500:
            pass
        w.send_signal(signal.SIGKILL)
        last = line
        for line in w.stdout:
            last = line
        w.wait()
        w.stdout.close()
        said.append(int(last))
    assert len(set(names)) == 3
    log = opened(tmp_path)  # ends a line that a kill cut
    log.write({})
    by_writer = {str(n): [] for n in range(3)}
    for file in tmp_path.glob("*.jsonl"):
        for line in file.read_text().splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if "writer" in record:
                by_writer[record["writer"]].append(record["i"])
    for n, last in enumerate(said):
        got = sorted(by_writer[str(n)])
        assert got == list(range(len(got))) and len(got) >= last, "nothing that was said to be written is missing, and nothing stands twice"


def test_a_torn_line_is_ended_by_the_next_start(tmp_path):
    (tmp_path / "serving-0.jsonl").write_bytes(b'{"v":1}\n{"v":1,"acc')
    log = opened(tmp_path)
    log.write({"account": "a"})
    lines = (tmp_path / "serving-0.jsonl").read_text().split("\n")
    assert lines[1] == '{"v":1,"acc' and json.loads(lines[2])["event"] == "recovered" and json.loads(lines[3])["account"] == "a" and lines[4] == ""
    assert log._counters.get("countermark_log_recovered_total") == 1


def test_rotation(tmp_path):
    log = opened(tmp_path, rotate_bytes=4096, keep=2)
    for i in range(300):
        log.write({"i": i, "pad": "x" * 100})
    files = sorted(p.name for p in tmp_path.iterdir())
    assert len(files) == 3 and files[-1] == "serving-0.jsonl" and all(re.fullmatch(r"serving-0\.\d{8}T\d{6}Z\.\d+\.jsonl", f) for f in files[:2])
    assert all((tmp_path / f).stat().st_size <= 4096 for f in files)
    assert sorted(r["i"] for r in records(tmp_path)) == list(range(300 - len(records(tmp_path)), 300))
    log = opened(tmp_path / "all", rotate_bytes=4096)
    for i in range(300):
        log.write({"i": i, "pad": "x" * 100})
    assert sorted(r["i"] for r in records(tmp_path / "all")) == list(range(300))


def test_a_record_larger_than_a_file_is_written(tmp_path):
    log = opened(tmp_path, rotate_bytes=4096)
    for _ in range(3):
        log.write({"pad": "x" * 10000})
    assert len(records(tmp_path)) == 3


def test_threads(tmp_path):
    log = opened(tmp_path, rotate_bytes=4096)
    threads = [threading.Thread(target=lambda n=n: [log.write({"n": n, "i": i}) for i in range(200)]) for n in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert sorted((r["n"], r["i"]) for r in records(tmp_path)) == [(n, i) for n in range(8) for i in range(200)]


def test_a_full_disk_is_counted_and_the_next_record_is_whole(tmp_path, monkeypatch, capfd):
    log, real = opened(tmp_path), os.write
    log.write({"i": 0})

    def part(descriptor, data):
        return real(descriptor, data[: len(data) // 2])

    def none(descriptor, data):
        raise OSError(28, "No space left on device")

    for fault in (part, none):
        monkeypatch.setattr(os, "write", fault)
        log.write({"i": 1})
        monkeypatch.setattr(os, "write", real)
        log.write({"i": 2})
    monkeypatch.undo()
    assert log._counters.get("countermark_log_errors_total") == 2 and log._counters.get("countermark_log_records_total") == 3
    good = []
    for line in (tmp_path / "serving-0.jsonl").read_text().splitlines():
        try:
            good.append(json.loads(line)["i"])
        except ValueError:
            pass
    assert good == [0, 2, 2]
    assert capfd.readouterr().err.count("records are lost") == 1


@pytest.mark.parametrize(("policy", "each"), [("never", 0), ("interval", 0), ("each", 5)])
def test_fsync(tmp_path, monkeypatch, policy, each):
    calls, real = [], os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda d: (calls.append(d), real(d)))
    log = opened(tmp_path, fsync=policy, fsync_interval_s=0.02)

    async def run():
        for i in range(5):
            log.write({"i": i})
            await log.settle()
        before = len(calls)
        await asyncio.sleep(0.5 if policy == "interval" else 0)
        return before

    before = asyncio.run(run())
    assert before == each if policy != "interval" else calls, "each: the disk has it before the answer ends"
    log.close()
    assert bool(calls) == (policy != "never")


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DeniedError, match="no serving log"):
        opened(tmp_path / "file" / "log")


# The configuration


def load(folder, text):
    (folder / "c.toml").write_text(text)
    return ServingConfig.load(folder / "c.toml")


def test_configuration(tmp_path, monkeypatch):
    (tmp_path / "b").mkdir()
    for name in ("2.cmkb", "1.cmkb", "x.txt"):
        (tmp_path / "b" / name).write_text("")
    config = load(tmp_path, 'bundles = ["b/*.cmkb", "b/1.cmkb"]\naccount = "a"\nstate_dir = "/abs"\n[policy]\nlogprobs = "top1"\nextra_fields = ["x"]\n[log]\ndirectory = "log"\nfsync_interval_s = 2')
    assert [p.name for p in config.bundle_files()] == ["1.cmkb", "2.cmkb"] and str(config.state_dir) == "/abs" and config.log.directory == tmp_path / "log" and config.log.fsync_interval_s == 2.0
    assert config.policy.logprobs == "top1" and config.policy.extra_fields == ("x",) and config.policy.low_entropy == "floor" and config.server is None
    monkeypatch.setenv("COUNTERMARK_CONFIG", str(tmp_path / "c.toml"))
    assert ServingConfig.load() == config
    monkeypatch.delenv("COUNTERMARK_CONFIG")
    with pytest.raises(NotFoundError, match="COUNTERMARK_CONFIG is not set"):
        ServingConfig.load()


@pytest.mark.parametrize(("text", "why"), [
    ('account = "a"\nacount = 1', "unknown member 'acount'"), ('account = "a"\npath = "x"', "unknown member 'path'"), ('account = "a"\n[policy]\nlogprob = "deny"', "unknown member 'policy.logprob'"),
    ('account = "a"\n[policy]\nlogprobs = "none"', "policy.logprobs = 'none': one of deny, top1, quantise"), ("account = 3", "account is a text"), ('account = ""', "account is a text"), ('account = "a"\nmax_slots = true', "max_slots is an integer"),
    ('account = "a"\nmax_slots = 0', "max_slots = 0: from 1"), ('account = "a"\nbundles = "x"', "bundles is a list of texts"), ('account = "a"\nbundles = [1]', "bundles is a list of texts"), ("", "either accounts_file and ticket_key_file"),
    ('accounts_file = "x"', "needs ticket_key_file"), ('account = "a"\nlog = 1', "'log' is a table"), ('account = "a"\n[log]\nrotate_bytes = 1', "log.rotate_bytes"), ("account = a", "at line 1"), ('account = "a"\nstate_dir = ""', "state_dir is a path"),
    ('account = "a"\n[log]\nfsync_interval_s = "1"', "is a number"), (f'account = "{"x" * 255}"', "1 to 254 bytes"),
])
def test_configuration_errors_name_file_and_member(tmp_path, text, why):
    with pytest.raises(InvalidArgumentError) as error:
        load(tmp_path, text)
    assert why in str(error.value) and str(tmp_path / "c.toml") in str(error.value)
