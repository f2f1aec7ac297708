"""Counters across processes: living, forked, killed and folded; and the text that Prometheus reads."""
import multiprocessing
import os
import signal
import struct
import subprocess
import sys
import threading

import pytest

from countermark.errors import DeniedError, InvalidArgumentError
from countermark.serving.metrics import Counters, Publisher, collect, prometheus_text

CHILD = """
import sys, time
from countermark.serving.metrics import Counters
counters = Counters.open(sys.argv[1], "engine")
counters.add("countermark_tokens_total", int(sys.argv[2]), cause="marked")
counters.set("countermark_accounts", 9)
print("ready", flush=True)
time.sleep(60)
"""


def child(folder, n):
    process = subprocess.Popen([sys.executable, "-P", "-c", CHILD, str(folder), str(n)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


def test_sums_over_processes_survive_kills(tmp_path):
    marked = 'countermark_tokens_total{cause="marked"}'
    own = Counters.open(tmp_path, "api")
    own.add("countermark_tokens_total", 1, cause="marked")
    first = child(tmp_path, 10)
    assert collect(tmp_path) == {marked: 11, "countermark_accounts": 9}
    kill(first)
    assert collect(tmp_path) == {marked: 11}, "a dead process's gauge is gone, its counter is not"
    second = child(tmp_path, 100)  # folds the first
    assert len(list(tmp_path.glob("*.counters"))) == 2 and (tmp_path / "past.json").exists()
    assert collect(tmp_path)[marked] == 111
    kill(second)
    Counters.open(tmp_path, "third")
    assert collect(tmp_path)[marked] == 111
    own.close()


def test_a_fold_that_was_cut_short_counts_nothing_twice(tmp_path):
    """past.json is there and the folded file is not yet removed."""
    process = child(tmp_path, 10)
    kill(process)
    (file,) = tmp_path.glob("*.counters")
    content = file.read_bytes()
    Counters.open(tmp_path, "a").close()
    file.write_bytes(content)
    assert collect(tmp_path) == {'countermark_tokens_total{cause="marked"}': 10}
    Counters.open(tmp_path, "b").close()
    assert collect(tmp_path) == {'countermark_tokens_total{cause="marked"}': 10} and not file.exists()


def test_threads_and_forks(tmp_path):
    counters = Counters.open(tmp_path, "api")
    threads = [threading.Thread(target=lambda: [counters.add("countermark_x_total") for _ in range(2000)]) for _ in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    process = multiprocessing.get_context("fork").Process(target=lambda: [counters.add("countermark_x_total") for _ in range(5)])
    process.start()
    process.join()
    assert counters.get("countermark_x_total") == 16000 and collect(tmp_path)["countermark_x_total"] == 16005
    counters.add("countermark_x_total")
    assert collect(tmp_path)["countermark_x_total"] == 16006


def test_the_file_is_as_it_is_described(tmp_path):
    counters = Counters.open(tmp_path, "api")
    counters.add("countermark_b_total", 2**40, zone="x", cause="y")
    (file,) = tmp_path.glob("*.counters")
    data = file.read_bytes()
    assert len(data) == 64 + 254 * 192 and data[:12] == b"CMCNT001" + struct.pack("<I", 1)
    assert data[64:72] == struct.pack("<Q", 2**40) and data[72:256].rstrip(b"\0") == b'countermark_b_total{cause="y",zone="x"}'
    assert file.name.startswith(f"api-{os.getpid()}-")


def test_the_text(tmp_path):
    counters = Counters.open(tmp_path, "api")
    counters.add("countermark_tokens_total", 3, cause="start")
    counters.add("countermark_tokens_total", 4, cause="marked")
    counters.set("countermark_accounts", 2)
    lines = prometheus_text(tmp_path).splitlines()
    assert lines[:3] == ["# HELP countermark_accounts API keys known", "# TYPE countermark_accounts gauge", "countermark_accounts 2"]
    assert lines[4:] == ["# TYPE countermark_tokens_total counter", 'countermark_tokens_total{cause="marked"} 4', 'countermark_tokens_total{cause="start"} 3']


def test_a_hooks_totals(tmp_path):
    publisher = Publisher(tmp_path, "vllm-engine")
    publisher.set({"tokens_marked": 5, "tokens_repeated_window": 1, "requests_signed": 2, "unknown_accounts": 3})
    publisher.set({"tokens_marked": 4})
    assert collect(tmp_path) == {'countermark_tokens_total{cause="marked"}': 5, 'countermark_tokens_total{cause="repeated_window"}': 1,
                                 'countermark_requests_total{outcome="signed"}': 2, "countermark_unknown_accounts_total": 3}


def test_without_a_folder():
    counters = Counters.open(None, "api")
    counters.add("countermark_x_total")
    assert collect(None, counters) == {"countermark_x_total": 1} and "countermark_x_total 1\n" in prometheus_text(None, counters)


def test_too_much_is_refused(tmp_path):
    counters = Counters.open(tmp_path, "api")
    for i in range(254):
        counters.add(f"countermark_{i}_total")
    with pytest.raises(InvalidArgumentError):
        counters.add("countermark_more_total")
    with pytest.raises(InvalidArgumentError):
        Counters.open(None, "api").add("countermark_x_total", account="x" * 200)
    with pytest.raises(InvalidArgumentError):
        Counters.open(tmp_path, "../api")
    with pytest.raises(DeniedError):
        Counters.open("/proc/nowhere", "api")


def test_files_of_others_are_left_out(tmp_path):
    (tmp_path / "x-1-2.counters").write_bytes(b"not counters")
    (tmp_path / "past.json").write_text("{")
    assert collect(tmp_path) == {}
