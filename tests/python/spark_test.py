"""countermark.spark on a cluster of two processes: the single machine's result to the last digit, with tasks that die, executors that die and work that is done twice; and no key in
anything that Spark writes, logs, serves or pickles."""
import base64
import contextlib
import json
import os
import pickle
import random
import re
import signal
import sys
import time
import urllib.request
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import countermark
from audit_support import comparable, corpus, sentencepiece_epoch, table, texts, write_parquet
from countermark.audit import audit_dataset
from fixture import ACCOUNTS, PASSPHRASE, FixedEpoch

pyspark = pytest.importorskip("pyspark")
from pyspark.serializers import CloudPickleSerializer  # noqa: E402
from pyspark.sql import SparkSession  # noqa: E402

from countermark import spark as cluster  # noqa: E402

LABELS = [*ACCOUNTS, *(f"org-{i}" for i in range(40))]

# Runs in every Python worker before the package: what a test's marker file asks for, once.
MISFORTUNE = """
import os, sys

def once(name):
    try:
        os.close(os.open(os.path.join(os.environ["MISFORTUNES"], name), os.O_CREAT | os.O_EXCL))
        return True
    except FileExistsError:
        return False

def import_hook():
    import countermark.spark as spark
    for step in ("map", "reduce", "gather"):
        def wrapped(self, batches, step=step, right=getattr(spark._Work, step)):
            for i, batch in enumerate(right(self, batches)):
                yield batch
                if i == 0 and os.path.exists(os.path.join(os.environ["MISFORTUNES"], "die")) and once("died-" + step):
                    os._exit(17)
            if os.path.exists(os.path.join(os.environ["MISFORTUNES"], "die late")) and once("died late-" + step):
                os._exit(18)
        setattr(spark._Work, step, wrapped)

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name != "countermark.spark":
            return None
        sys.meta_path.remove(self)
        import importlib.util
        spec = importlib.util.find_spec(name)
        right = spec.loader.exec_module
        def exec_module(module):
            right(module)
            sys.modules[name] = module
            import_hook()
        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Finder())
"""


class Cluster:
    """A session on local-cluster[2,1,2048] whose every file lies below `folder`."""

    def __init__(self, folder):
        self.folder = folder
        self.misfortunes = folder / "misfortunes"
        self.misfortunes.mkdir()
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(MISFORTUNE)
        (folder / "events").mkdir()
        (folder / "home").mkdir()  # the workers write their logs below Spark's home
        for part in (part for part in Path(pyspark.__file__).parent.iterdir() if part.name != "work"):
            (folder / "home" / part.name).symlink_to(part)
        os.environ["SPARK_HOME"] = str(folder / "home")
        os.environ["SPARK_LOCAL_DIRS"] = str(folder / "local")
        os.environ["PYSPARK_PYTHON"] = sys.executable
        os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
        path = os.pathsep.join([str(folder / "site"), str(Path(countermark.__file__).parents[1])])
        settings = {
            "spark.executorEnv.PYTHONPATH": path, "spark.executorEnv.MISFORTUNES": str(self.misfortunes), "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1",
            "spark.eventLog.enabled": "true", "spark.eventLog.dir": f"file://{folder}/events", "spark.eventLog.compress": "false", "spark.local.dir": str(folder / "local"),
            "spark.sql.warehouse.dir": str(folder / "warehouse"), "spark.sql.shuffle.partitions": "4", "spark.executor.memory": "1g", "spark.driver.memory": "1g",
            "spark.ui.enabled": "true", "spark.ui.port": "0", "spark.task.maxFailures": "4", "spark.ui.showConsoleProgress": "false", "spark.shuffle.compress": "false",
            "spark.shuffle.spill.compress": "false", "spark.rdd.compress": "false", "spark.broadcast.compress": "false", "spark.sql.files.maxPartitionBytes": "100000",
            "spark.sql.files.openCostInBytes": "0", "spark.log.level": "INFO",
        }  # fmt: skip
        builder = SparkSession.builder.master("local-cluster[2,1,2048]").appName("audit")
        for name, value in settings.items():
            builder = builder.config(name, value)
        self.session = builder.getOrCreate()

    @contextlib.contextmanager
    def misfortune(self, name):
        for old in self.misfortunes.iterdir():
            old.unlink()
        (self.misfortunes / name).touch()
        try:
            yield
        finally:
            (self.misfortunes / name).unlink()

    def ui(self):
        """Everything that the UI's interface gives, as text."""
        root = f"{self.session.sparkContext.uiWebUrl}/api/v1/applications"
        with urllib.request.urlopen(root) as reply:
            text = reply.read()
        app = json.loads(text)[0]["id"]
        out = [text]
        for part in ("environment", "jobs", "stages?details=true", "sql?details=true&planDescription=true", "allexecutors", "storage/rdd"):
            with urllib.request.urlopen(f"{root}/{app}/{part}") as reply:
                out.append(reply.read())
        return b"\n".join(out)


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cluster")
    made = Cluster(folder)
    yield made
    made.session.stop()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """7,000 documents in five files, with a fifth of them in row groups of other sizes, and the single machine's run."""
    folder = tmp_path_factory.mktemp("served")
    epoch = FixedEpoch(folder / "epoch")
    documents = corpus(epoch, 9000, short=60, served=60)
    (folder / "in" / "b").mkdir(parents=True)
    for i, name in enumerate(("a.parquet", "b/10.parquet", "b/9.parquet", "c 1%.parquet", "d.parquet")):
        write_parquet(folder / "in" / name, documents[1800 * i : 1800 * i + 1800], row_group_size=300 + 200 * i)
    pq.write_table(table([]), folder / "in" / "empty.parquet")
    (folder / "in" / "_SUCCESS").touch()
    audit_dataset(folder / "in", run=folder / "single", keys=epoch.epoch_keys(), accounts=LABELS, prompt_ids_field="prompt")
    keys = cluster.KeyFiles(bundle=str(epoch.bundle), passphrase_file=str(epoch.secret))
    return folder, epoch, documents, keys, comparable(folder / "single")


def run(spark, served, directory, inputs=None, **options):
    folder, _, _, keys, _ = served
    given = {"accounts": LABELS, "prompt_ids_field": "prompt", **options}
    return cluster.audit_dataset(spark.session, str(folder / "in") if inputs is None else inputs, run=directory, keys=keys, **given)


def test_equals_the_single_machine(spark, served, tmp_path, monkeypatch):
    *_, want = served
    result = run(spark, served, tmp_path / "run")
    assert result.verdict == "marked" and comparable(tmp_path / "run") == want
    report = result.report
    assert report["run"]["kind"] == "cluster" and report["documents"]["read"] == 9000 and report["sparse"]["log10_e_highest"] > 50 and report["candidates"][0]["named"] == 2
    monkeypatch.setattr(cluster, "_Work", None)  # finished: another alpha needs no job
    assert run(spark, served, tmp_path / "run", alpha=1e-300).report["alpha"] == 1e-300


def test_no_cut_of_the_work_changes_anything(spark, served, tmp_path):
    *_, want = served
    for buckets, partitions in ((1, 1), (37, 5)):
        run(spark, served, tmp_path / f"{buckets}", buckets=buckets, partitions=partitions)
        assert comparable(tmp_path / f"{buckets}") == want


def test_tasks_that_die_once(spark, served, tmp_path):
    *_, want = served
    with spark.misfortune("die"):
        run(spark, served, tmp_path / "run")
    assert {p.name for p in spark.misfortunes.iterdir()} >= {"died-map", "died-reduce", "died-gather"}
    assert comparable(tmp_path / "run") == want


def test_tasks_whose_work_is_all_done_twice(spark, served, tmp_path):
    """They die when they have given everything, as one of two speculative copies ends. (Spark starts no copy on the host that has the task, and all of a local cluster is one host.)"""
    *_, want = served
    with spark.misfortune("die late"):
        run(spark, served, tmp_path / "run", partitions=3)
    assert {p.name for p in spark.misfortunes.iterdir()} >= {"died late-map", "died late-reduce", "died late-gather"}
    assert comparable(tmp_path / "run") == want


def executors():
    """The executors' process ids: descendants of this process, by their class's name."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if entry.name.isdigit() and b"CoarseGrainedExecutorBackend" in (entry / "cmdline").read_bytes():
                above, chain = int(entry.name), 0
                while above > 1 and above != os.getpid() and chain < 20:
                    above, chain = int(re.search(r"PPid:\s+(\d+)", Path(f"/proc/{above}/status").read_text()).group(1)), chain + 1
                if above == os.getpid():
                    found.append(int(entry.name))
    return found


def test_an_executor_that_dies(spark, served, tmp_path):
    """Its shuffle files go with it: the stage before is done again in part."""
    import threading

    *_, want = served
    killed = []

    def kill():
        while not (spark.misfortunes / "died-gather").exists() and not killed:
            time.sleep(0.05)
        for pid in executors()[:1]:
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    watcher = threading.Thread(target=kill, daemon=True)
    with spark.misfortune("die"):
        watcher.start()
        run(spark, served, tmp_path / "run")
    watcher.join(5)
    assert killed, "no executor was found"
    assert comparable(tmp_path / "run") == want


def test_text_and_an_order_of_ones_own(spark, tmp_path):
    epoch, tokenizer, path = sentencepiece_epoch(tmp_path / "epoch")
    rows = texts(400)
    rows[7] = None
    order = list(range(1000, 1400))
    random.Random(2).shuffle(order)
    rank = sorted(range(400), key=order.__getitem__)
    audit_dataset(pa.table({"id": [f"d{i}" for i in rank], "text": [rows[i] for i in rank]}), run=tmp_path / "single", keys=epoch.epoch_keys(), tokenizer=tokenizer)
    keys = cluster.KeyFiles(export=str(epoch.export))
    frame = spark.session.createDataFrame([(f"d{i}", rows[i], order[i]) for i in range(400)], "id string, text string, day int").repartition(5)
    result = cluster.audit_dataset(spark.session, frame, run=tmp_path / "run", keys=keys, tokenizer=path, order_by="day", staging=str(tmp_path / "staged"))
    assert comparable(tmp_path / "run") == comparable(tmp_path / "single")
    assert len(result.errors) == 1 and result.errors[0].endswith("'text' is null") and result.coverage == 399 / 400
    with pytest.raises(countermark.InvalidArgumentError, match="order_by"):
        cluster.audit_dataset(spark.session, frame, run=tmp_path / "no", keys=keys, tokenizer=path)


def test_what_cannot_be_meant_is_refused(spark, served, tmp_path):
    for wrong, text in (({"token_ids_field": "x"}, "no column 'x'; there are: id, token_ids, prompt"), ({"token_ids_field": "id"}, "'id' is a column of string"),
                        ({"prompt_ids_field": "id"}, "'id' is a column of string"), ({"requests": ["r"]}, "requests_of")):
        with pytest.raises(countermark.InvalidArgumentError, match=text):
            run(spark, served, tmp_path / "run", **wrong)
    with pytest.raises(countermark.InvalidArgumentError, match="passphrase_file"):
        cluster.KeyFiles(bundle="b").open()


def test_no_key_anywhere(spark, served, tmp_path):
    """What Spark writes (events, logs, blocks, broadcasts, shuffles), serves (the UI) and pickles holds no key in any form, and no passphrase. The search is shown to find the account's
    label, which is broadcast."""
    folder, epoch, _, keys, _ = served
    run(spark, served, tmp_path / "run")
    secret = bytes.fromhex(epoch.export.read_text().strip())
    assert len(secret) == 32
    forms = {"raw": secret, "hex": secret.hex().encode(), "HEX": secret.hex().upper().encode(), "base64": base64.b64encode(secret).rstrip(b"="), "url": base64.urlsafe_b64encode(secret).rstrip(b"="),
             "passphrase": PASSPHRASE.encode(), "passphrase in base64": base64.b64encode(PASSPHRASE.encode())[:-4], "list": ", ".join(map(str, secret[:8])).encode()}
    for shift in (1, 2):  # base64 of a longer text with the key in it
        forms[f"base64+{shift}"] = base64.b64encode(bytes(shift) + secret)[4:-4]
    work = cluster._Work("job", keys, None, None, None, cluster.Fields("token_ids", True), 4, 8192, 4)
    places = {"pickled closure": CloudPickleSerializer().dumps((lambda batches: work.map(batches), None)), "ui": spark.ui()}
    for path in spark.folder.rglob("*"):
        if path.is_file() and not path.resolve().is_relative_to(Path(pyspark.__file__).parent):
            with contextlib.suppress(FileNotFoundError):
                places[str(path)] = path.read_bytes()
    for path in (tmp_path / "run").iterdir():
        places[str(path)] = path.read_bytes()
    assert any("/events/" in p for p in places) and any(p.endswith("stderr") for p in places) and any("/local/" in p for p in places)
    assert any(b"ClusterMap" in data or b"_Work" in data or b"CoarseGrainedExecutorBackend" in data for data in places.values())
    for place, data in places.items():
        for form, value in forms.items():
            assert value not in data, f"{form} in {place}"
    assert str(epoch.bundle).encode() in places["pickled closure"]  # the path, which is what travels
    with pytest.raises(pickle.PicklingError, match="neither pickled nor copied"):
        CloudPickleSerializer().dumps(epoch.epoch_keys())
