#!/usr/bin/env python3
"""What an audit takes on Spark: seconds and bytes a GB of text, step by step, on this machine; and from them the plan for 100 TB.

    build/venv/bin/python3 tools/spark_measure.py --megabytes 200 --out docs/results/spark.json

The text is made of 60,000 made-up words under a Zipf law, so that pairs repeat; the tokenizer is SentencePiece's of Mistral (32,000 tokens). Core-seconds are processor time, so that other
work on the machine does not count: that of the workers' functions, run here by themselves, and Spark's own of its tasks' threads. Bytes are Spark's. Spark runs in one process (local[N]);
what a network and a store add is not in it.
"""
import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]


def write_text(path, megabytes, seed=1):
    """Parquet of about so much text, 64 MB a file; gives its bytes."""
    rng = np.random.default_rng(seed)
    letters = "etaoinshrdlcumwfgypbvk"
    words = np.array(sorted({"".join(rng.choice(list(letters), rng.integers(2, 9))) for _ in range(60_000)}))
    rng.shuffle(words)
    chance = 1 / np.arange(3, len(words) + 3)
    chance /= chance.sum()
    total = 0
    path.mkdir()
    number = 0
    while total < megabytes * 1_000_000:
        rows, size = [], 0
        while size < min(64_000_000, megabytes * 1_000_000 - total):
            rows.append(" ".join(words[rng.choice(len(words), int(rng.integers(50, 1500)), p=chance)]))
            size += len(rows[-1])
        total += size
        pq.write_table(pa.table({"text": rows}), path / f"part-{number:05}.parquet", compression="zstd", row_group_size=2000)
        number += 1
    return total


def seconds(action):
    start = time.perf_counter()
    action()
    return round(time.perf_counter() - start, 2)


def stages(spark):
    """Bytes of shuffles and of results, of all stages so far, from Spark's own counters."""
    import urllib.request

    root = f"{spark.sparkContext.uiWebUrl}/api/v1/applications"
    app = json.load(urllib.request.urlopen(root))[0]["id"]
    return json.load(urllib.request.urlopen(f"{root}/{app}/stages?status=complete"))


def steps_of(found):
    """Of one audit's stages: the map is the one that reads no shuffle and writes the most; the reduce reads that; the gather is what reads after it."""
    map_ = max((s for s in found if s["shuffleReadBytes"] == 0), key=lambda s: s["shuffleWriteBytes"])
    reduce = max((s for s in found if s["stageId"] > map_["stageId"]), key=lambda s: s["shuffleReadBytes"])
    gather = max((s for s in found if s["stageId"] > reduce["stageId"]), key=lambda s: (s["shuffleReadBytes"], s["executorRunTime"]))
    return {name: {"task_seconds": round(s["executorRunTime"] / 1000, 2), "spark_core_seconds": round(s["executorCpuTime"] / 1e9, 2), "read_bytes": s["shuffleReadBytes"], "written_bytes": s["shuffleWriteBytes"], "tasks": s["numTasks"]}
            for name, s in (("map", map_), ("reduce", reduce), ("gather", gather))}


def workers(cluster, fields, keys, tokenizer, folder, buckets):
    """Processor seconds of the workers' functions over all of the text, without Spark."""
    files = sorted(str(path) for path in folder.iterdir())
    places, documents = {}, 0
    for i, path in enumerate(files):
        places[path] = (i, documents)
        documents += pq.ParquetFile(path).metadata.num_rows
    work = cluster._Work("measure", keys, tokenizer, SimpleNamespace(value=([], "", [])), SimpleNamespace(value=(files, places)), fields, 4, (documents // 8192 + 1) * 8192, buckets)
    work.open()

    def rows():
        for path in files:
            row = 0
            for batch in pq.ParquetFile(path).iter_batches(batch_size=512, columns=["text"]):
                n = batch.num_rows
                yield pa.RecordBatch.from_arrays([pa.array([path] * n), pa.array(range(row, row + n)), batch.column(0), pa.nulls(n, pa.string()), pa.nulls(n, pa.string())],
                                                 names=["file", "row", "content", "prompt", "name"])
                row += n

    out, found = {}, list(rows())
    for step in ("map", "reduce", "gather"):
        start = time.process_time()
        found = list(getattr(work, step)(found))
        out[step] = round(time.process_time() - start, 2)
        found = pa.Table.from_batches(found).sort_by([("group", "ascending"), ("key", "ascending")]).to_batches(max_chunksize=2048)  # as the shuffle does
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--buckets", type=int, default=4096, help="of the second run")
    parser.add_argument("--core-hour", type=float, default=0.03, help="assumed price of a core and 4 GiB for an hour")
    parser.add_argument("--tokenizer", default=os.path.expanduser("~/.cache/countermark/models/mistral-v1.model"))
    parser.add_argument("--reference", default=os.environ.get("COUNTERMARK_PYTHON_REFERENCE", str(ROOT / "build/tests/bin/python_reference")))
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    os.environ["COUNTERMARK_PYTHON_REFERENCE"] = options.reference
    os.environ.setdefault("COUNTERMARK_BIN", "")
    os.environ.setdefault("COUNTERMARK_CACHE", "")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    sys.path.insert(0, str(ROOT / "tests" / "python"))

    from fixture import FixedEpoch
    from pyspark.sql import SparkSession

    import countermark
    from countermark import spark as cluster
    from countermark.audit import audit_dataset

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        epoch = FixedEpoch(folder / "epoch", tokenizer=options.tokenizer)
        size = write_text(folder / "in", options.megabytes)
        disk = sum(f.stat().st_size for f in (folder / "in").iterdir())
        tokenizer = countermark.Tokenizer.open(options.tokenizer)
        keys = cluster.KeyFiles(bundle=str(epoch.bundle), passphrase_file=str(epoch.secret))
        single = seconds(lambda: audit_dataset(folder / "in", run=folder / "single", keys=epoch.epoch_keys(), tokenizer=tokenizer, threads=options.cores))
        spark = SparkSession.builder.master(f"local[{options.cores}]").config("spark.driver.memory", "2g").config("spark.local.dir", name).config("spark.ui.port", "0").getOrCreate()

        # Few buckets, as for so little text; and so many that a document's pairs seldom share one, as for 100 TB.
        shapes, results = {}, []
        for shape, buckets in (("few_buckets", None), ("many_buckets", options.buckets)):
            before = max((stage["stageId"] for stage in stages(spark)), default=-1)
            run = folder / shape
            whole = seconds(lambda run=run, buckets=buckets: cluster.audit_dataset(spark, str(folder / "in"), run=run, keys=keys, tokenizer=options.tokenizer, buckets=buckets))
            shapes[shape] = {"seconds": whole, "steps": steps_of([stage for stage in stages(spark) if stage["stageId"] > before])}
            results.append(json.loads((run / "result.json").read_text()))
        results.append(json.loads((folder / "single" / "result.json").read_text()))
        for result in results:
            del result["run"]
        assert results[0] == results[1] == results[2], "the cluster's result is not the single machine's"
        worked = workers(cluster, cluster.Fields("text", False, id_field=""), keys, options.tokenizer, folder / "in", options.buckets)
        run_bytes = sum(f.stat().st_size for f in (folder / "many_buckets").iterdir())
        spark.stop()

    gb = size / 1e9
    a_gb = {step: {"core_seconds": round((v["spark_core_seconds"] + worked[step]) / gb, 1), "written_gb": round(v["written_bytes"] / 1e9 / gb, 3)} for step, v in shapes["many_buckets"]["steps"].items()}
    core_seconds = sum(v["core_seconds"] for v in a_gb.values())
    core_hours = core_seconds * 100_000 / 3600
    shuffled = sum(v["written_gb"] for v in a_gb.values()) * 100  # TB for 100 TB
    out = {
        "what": "an audit on Spark: seconds and bytes a GB of text, and the plan for 100 TB of text",
        "command": " ".join(["tools/spark_measure.py", *sys.argv[1:]]),
        "commit": subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip(),
        "date": datetime.date.today().isoformat(),
        "machine": {"cpu": next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8") if line.startswith("model name")), platform.machine()),
                    "cores": options.cores, "load_before": os.getloadavg()[1], "python": platform.python_version()},
        "text_bytes": size, "parquet_bytes": disk, "documents": results[0]["documents"]["read"], "distinct_pairs": results[0]["pooled"]["pairs"],
        "single_machine_seconds": single, "equal": True, "run_directory_bytes": run_bytes, "buckets": options.buckets, **shapes, "workers_core_seconds": worked, "a_gb_of_text": a_gb,
        "plan_100_tb": {"core_hours": round(core_hours), "shuffle_tb": round(shuffled, 1), "price_of_a_core_hour": options.core_hour, "cost": round(core_hours * options.core_hour)},
    }
    Path(options.out).write_text(json.dumps(out, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(out["plan_100_tb"]), json.dumps(a_gb))


if __name__ == "__main__":
    main()
