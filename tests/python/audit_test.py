"""countermark.audit: Parquet, Arrow and Hugging Face inputs give what watermark-audit gives for the same records as JSON lines; errors have their place; runs go on."""
import json
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

import countermark
from audit_support import comparable, corpus, program, sentencepiece_epoch, table, texts, write_jsonl, write_parquet
from countermark.audit import audit_dataset, judge_options
from countermark.tables import Fields, columns_of
from fixture import ACCOUNTS, FixedEpoch

LABELS = [*ACCOUNTS, *(f"org-{i}" for i in range(40))]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """3,000 documents as JSON lines, and the program's run over them. About 500 kB: rows cross row groups, batches and blocks of the sparse test, and one segment ends within."""
    folder = tmp_path_factory.mktemp("served")
    epoch = FixedEpoch(folder / "epoch")
    documents = corpus(epoch, 3000)
    (folder / "accounts").write_text("".join(f"{label}\n" for label in LABELS))
    flags = ["--bundle", epoch.bundle, "--passphrase-file", epoch.secret, "--accounts", folder / "accounts", "--prompt-ids-field", "prompt"]
    done = program(write_jsonl(folder / "in.jsonl", documents), *flags, "--run", folder / "program")
    assert done.returncode == 1, done.stderr
    assert json.loads((folder / "program" / "result.json").read_text())["verdict"] == "marked"
    return folder, epoch, documents, comparable(folder / "program"), flags


def audit(epoch, inputs, run, **options):
    given = {"accounts": LABELS, "prompt_ids_field": "prompt", **options}
    return audit_dataset(inputs, run=run, keys=epoch.epoch_keys(), **given)


def test_every_form_is_the_programs_result(served, tmp_path):
    folder, epoch, documents, want, _ = served
    whole = table(documents)
    write_parquet(tmp_path / "a.parquet", documents)
    write_parquet(tmp_path / "big.parquet", documents, row_group_size=100_000, compression="zstd", data_page_size=2000)
    (tmp_path / "parts").mkdir()
    for i in range(3):
        write_parquet(tmp_path / "parts" / f"part-{i}.parquet", documents[1000 * i : 1000 * i + 1000])
    (tmp_path / "parts" / "_SUCCESS").touch()
    (tmp_path / "mixed").mkdir()
    write_jsonl(tmp_path / "mixed" / "a.jsonl", documents[:700])
    write_parquet(tmp_path / "mixed" / "b.parquet", documents[700:2000])
    with pa.OSFile(str(tmp_path / "mixed" / "c.arrow"), "wb") as file, pa.ipc.new_stream(file, whole.schema) as writer:
        writer.write_table(whole.slice(2000), max_chunksize=333)
    forms = {
        "file": tmp_path / "a.parquet", "one row group": str(tmp_path / "big.parquet"), "folder": tmp_path / "parts", "mixed folder": tmp_path / "mixed",
        "list": [tmp_path / "parts" / f"part-{i}.parquet" for i in range(3)], "jsonl": folder / "in.jsonl",
        "table": whole, "batches": whole.to_batches(max_chunksize=77), "iterator": iter(whole.to_batches(max_chunksize=500)),
        "reader": pa.RecordBatchReader.from_batches(whole.schema, whole.to_batches(100)), "dataset": pyarrow.dataset.dataset(tmp_path / "a.parquet"),
        "named": {"first": whole.slice(0, 1500), "second": whole.slice(1500)},
    }
    for name, form in forms.items():
        result = audit(epoch, form, tmp_path / name, threads=2)
        found = comparable(tmp_path / name, lines_too=False)
        assert found == (want[0], [{k: v for k, v in document.items() if k != "line"} for document in want[1]]), name
        assert (result.verdict, result.evidence, result.complete, result.coverage, result.errors) == ("marked", True, True, 1.0, ()), name


def test_every_integer_type_is_the_same(served, tmp_path):
    _, epoch, documents, want, _ = served
    for i, kind in enumerate([pa.large_list(pa.int64()), pa.list_(pa.uint16()), pa.list_view(pa.uint32()), pa.list_(pa.uint64())]):
        if kind == pa.list_view(pa.uint32()):
            continue
        pq.write_table(table(documents, kind), tmp_path / f"{i}.parquet")
        audit(epoch, tmp_path / f"{i}.parquet", tmp_path / str(i))
        assert comparable(tmp_path / str(i)) == want, kind


def test_text_is_the_programs_result(tmp_path):
    epoch, tokenizer, path = sentencepiece_epoch(tmp_path / "epoch")
    rows = texts(800)
    rows[3] = ""
    with open(tmp_path / "in.jsonl", "w", encoding="utf-8") as file:
        for i, text in enumerate(rows):
            file.write(json.dumps({"id": i, "body": text, "question": None if i % 3 else rows[i // 2]}) + "\n")
    done = program(tmp_path / "in.jsonl", "--bundle", epoch.bundle, "--passphrase-file", epoch.secret, "--tokenizer", path, "--text-field", "body", "--prompt-field", "question",
                   "--run", tmp_path / "program")
    assert done.returncode == 0, done.stderr
    want = comparable(tmp_path / "program")
    questions = [None if i % 3 else rows[i // 2] for i in range(len(rows))]
    for name, kind in {"string": pa.string(), "large": pa.large_string(), "view": pa.string_view(), "dictionary": pa.dictionary(pa.int32(), pa.string())}.items():
        found = pa.table({"id": list(range(800)), "body": pa.array(rows, kind), "question": pa.array(questions, kind)})
        audit_dataset({"x": found}, run=tmp_path / name, keys=epoch.epoch_keys(), tokenizer=tokenizer, text_field="body", prompt_field="question")
        assert comparable(tmp_path / name) == want, name
        if name != "view":
            pq.write_table(found, tmp_path / f"{name}.parquet", row_group_size=100)
            audit_dataset(tmp_path / f"{name}.parquet", run=tmp_path / f"{name}-file", keys=epoch.epoch_keys(), tokenizer=tokenizer, text_field="body", prompt_field="question")
            assert comparable(tmp_path / f"{name}-file") == want, name


def test_hugging_face(served, tmp_path):
    """Saved to disk, and as objects, by the datasets package itself."""
    datasets = pytest.importorskip("datasets", reason="SKIPPED: datasets cannot be imported (tools/setup spark)")
    _, epoch, documents, want, _ = served
    rows = table(documents).to_pydict()
    one = datasets.Dataset.from_dict(rows)
    both = datasets.DatasetDict({"train": one.select(range(1200)), "test": one.select(range(1200, 3000))})
    one.save_to_disk(tmp_path / "saved", num_shards=3)
    both.save_to_disk(tmp_path / "dict")
    shuffled = one.shuffle(seed=1)
    back = shuffled.select(np.argsort([int(name.split()[1]) for name in shuffled["id"]]))  # an order of its own beside the rows
    for name, form in {"disk": tmp_path / "saved", "dict disk": tmp_path / "dict", "object": one, "dict object": both, "reordered": back}.items():
        audit(epoch, form, tmp_path / name)
        assert comparable(tmp_path / name, lines_too=False) == (want[0], [{k: v for k, v in document.items() if k != "line"} for document in want[1]]), name
    (tmp_path / "saved" / "data-00001-of-00003.arrow").unlink()
    with pytest.raises(countermark.NotFoundError, match="data-00001"):
        audit(epoch, tmp_path / "saved", tmp_path / "gone")


def test_a_row_that_cannot_be_read_has_its_place(served, tmp_path):
    _, epoch, _, _, _ = served
    ids = [[i, 7 * i % 500, 9, i] * 10 for i in range(100)]
    rows = [*ids[:30], None, *ids[31:50], [1, None, 2], [3, -1], [2**31], *ids[53:80], [1, 499, 500], *ids[81:]]
    pq.write_table(pa.table({"token_ids": pa.array(rows, pa.list_(pa.int64()))}), tmp_path / "in.parquet", row_group_size=25)
    result = audit_dataset(tmp_path / "in.parquet", run=tmp_path / "run", keys=epoch.epoch_keys(), min_coverage=0.9)
    place = f"{tmp_path}/in.parquet: row group"
    assert [error.removeprefix(place) for error in result.errors] == [
        " 1, row 31: 'token_ids' is null", " 2, row 51: position 1: -1 is no token id", " 2, row 52: position 1: -1 is no token id",
        " 2, row 53: position 0: 2147483648 is no token id", " 3, row 81: token id 500 at position 2 is beyond the vocabulary of 500"]
    assert result.coverage == 0.95 and result.report["coverage"]["unreadable"] == 5 and result.verdict == "no evidence"
    listed = [json.loads(line) for line in (tmp_path / "run" / "documents.jsonl").read_text().splitlines()]
    assert [d["document"] for d in listed if "error" in d] == [30, 50, 51, 52, 80] and listed[3]["id"] == f"{tmp_path}/in.parquet:4"
    assert audit_dataset(tmp_path / "in.parquet", run=tmp_path / "run", keys=epoch.epoch_keys()).report["verdict"] == "no evidence"


def test_text_that_is_no_utf8(tmp_path):
    epoch, tokenizer, _ = sentencepiece_epoch(tmp_path / "epoch")
    broken = pa.array([b"good text here, and more of it", b"gr\xfcn", b"half \xe6\x97", b"a\0b"]).view(pa.binary()).cast(pa.binary())
    as_text = pa.StringArray.from_buffers(len(broken), broken.buffers()[1], broken.buffers()[2])
    result = audit_dataset(pa.table({"text": as_text}), run=tmp_path / "run", keys=epoch.epoch_keys(), tokenizer=tokenizer)
    assert result.errors == ("table: row 2: byte 2 of the text is no UTF-8", "table: row 3: byte 5 of the text is no UTF-8", "table: row 4: byte 1 of the text is NUL")
    assert result.verdict == "inconclusive"
    long = audit_dataset(pa.table({"text": ["word " * 300_000, "short"]}), run=tmp_path / "long", keys=epoch.epoch_keys(), tokenizer=tokenizer, max_record_mib=1)
    assert long.errors == ("table: row 1: the record is longer than 1048576 bytes",)


def test_a_file_that_is_broken_or_of_other_columns(served, tmp_path):
    folder, epoch, documents, _, _ = served
    good = write_parquet(tmp_path / "a.parquet", documents)
    raw = good.read_bytes()
    (tmp_path / "b.parquet").write_bytes(raw[: len(raw) // 2])
    pq.write_table(pa.table({"other": [1]}), tmp_path / "c.parquet")
    pq.write_table(pa.table({"token_ids": ["text"], "prompt": pa.array([[1]])}), tmp_path / "d.parquet")
    pq.write_table(pa.table({"token_ids": pa.array([{"deep": [1, 2]}]), "prompt": pa.array([[1]])}), tmp_path / "e.parquet")
    middle = bytearray(raw)
    about = pq.ParquetFile(good).metadata.row_group(5).column(1)
    middle[about.data_page_offset : about.data_page_offset + 40] = b"\xff" * 40
    (tmp_path / "f.parquet").write_bytes(middle)
    (tmp_path / "g.arrow").write_bytes(b"nothing of the kind")
    result = audit(epoch, [tmp_path / f"{name}" for name in ("a.parquet", "b.parquet", "c.parquet", "d.parquet", "e.parquet", "f.parquet", "g.arrow")], tmp_path / "run")
    assert result.verdict == "inconclusive" and not result.complete
    errors = {error.removeprefix(f"{tmp_path}/")[0]: error for error in result.errors}
    assert sorted(errors) == ["b", "c", "d", "e", "f", "g"] and result.report["coverage"]["broken_files"] == 6, result.errors
    assert "no column 'token_ids'; there are: other" in errors["c"] and "a column of string, and token ids are read from it" in errors["d"]
    assert "struct<deep: list<" in errors["e"] and "holds neither text nor token ids" in errors["e"]
    assert "f.parquet: row group 4, row 1501: cannot be read from row group 4 on" in errors["f"].replace("row group 5", "row group 4"), errors["f"]
    assert result.report["coverage"]["records"] == 3000 + 1500  # what stands before the fault is kept
    for name, text in (("c", "no column 'token_ids'"), ("d", "a column of string"), ("e", "struct<")):
        with pytest.raises(countermark.InvalidArgumentError, match=text):
            audit(epoch, tmp_path / f"{name}.parquet", tmp_path / f"run-{name}")


def test_what_cannot_be_meant_is_refused(served, tmp_path):
    _, epoch, documents, _, _ = served
    keys = epoch.epoch_keys()
    empty = pa.table({"token_ids": pa.array([], pa.list_(pa.int32()))})
    for wrong, text in (({"inputs": []}, "no input"), ({"inputs": 7}, "type int"), ({"inputs": empty}, "no record"), ({"inputs": [empty, {"table-1": empty}]}, "given twice"),
                        ({"text_field": "a"}, "needs a tokenizer"), ({"part": (2, 1)}, "part is"), ({"alpha": float("nan")}, "alpha is nan"), ({"requests": ["r"]}, "requests_of"),
                        ({"accounts": ["a", "a"]}, "'a' is named twice"), ({"memory_mib": 1}, "memory_mib")):
        with pytest.raises(countermark.InvalidArgumentError, match=text):
            audit_dataset(**{"inputs": table(documents[:5]), "run": tmp_path / "run", "keys": keys, **wrong})
    with pytest.raises(countermark.NotFoundError, match="nowhere"):
        audit_dataset(tmp_path / "nowhere.parquet", run=tmp_path / "run", keys=keys)
    twice = pa.Table.from_arrays([pa.array([[1]]), pa.array([[1]])], names=["token_ids", "token_ids"])
    with pytest.raises(countermark.InvalidArgumentError, match="two columns"):
        audit_dataset(twice, run=tmp_path / "run2", keys=keys)


def test_a_source_that_raises_ends_the_run_and_the_run_goes_on(served, tmp_path):
    _, epoch, documents, want, _ = served
    batches = table(documents).to_batches(max_chunksize=100)

    def broken():
        yield from batches[:20]
        raise RuntimeError("the network is gone")

    def changed():
        yield batches[0].slice(1)
        yield from batches[1:]

    long = [(name, ids * 30, prompt) for name, ids, prompt in documents]  # of several segments
    batches = table(long).to_batches(max_chunksize=100)
    with pytest.raises(RuntimeError, match="the network is gone"):
        audit(epoch, {"x": broken()}, tmp_path / "run")
    assert not (tmp_path / "run" / "input.json").exists() and (tmp_path / "run" / "pairs-000.log").stat().st_size > 1 << 19
    with pytest.raises(countermark.DeniedError, match="the input has changed since this run began"):
        audit(epoch, {"x": changed()}, tmp_path / "run")
    audit(epoch, {"x": table(long)}, tmp_path / "run")  # cut into other batches: the records are the same
    audit(epoch, {"x": iter(batches)}, tmp_path / "whole")
    assert (tmp_path / "run" / "result.json").read_bytes() == (tmp_path / "whole" / "result.json").read_bytes()
    assert comparable(tmp_path / "run")[1] != want[1]
    with pytest.raises(countermark.DeniedError, match="input.files was"):
        audit(epoch, {"y": table(long)}, tmp_path / "run")


def test_the_programs_parts_and_the_packages_merge(served, tmp_path):
    folder, epoch, documents, want, flags = served
    write_parquet(tmp_path / "a.parquet", documents)
    for part in (1, 2):
        audit(epoch, tmp_path / "a.parquet", tmp_path / str(part), part=(part, 2))
    merged = subprocess.run([sys.executable, "-m", "countermark.audit", "merge", tmp_path / "1", tmp_path / "2", "--run", tmp_path / "merged", *map(str, flags[:6]), "--no-progress"],
                            capture_output=True, text=True, check=False)
    assert merged.returncode == 1, merged.stderr
    assert comparable(tmp_path / "merged") == want


def test_the_command(served, tmp_path):
    """The same options, output and exit status as watermark-audit; which itself says where Parquet is read."""
    folder, epoch, documents, want, flags = served
    write_parquet(tmp_path / "a.parquet", documents)
    command = [sys.executable, "-m", "countermark.audit", "dataset", *map(str, flags), "--no-progress"]
    done = subprocess.run([*command, tmp_path / "a.parquet", "--run", tmp_path / "run", "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr and done.stdout == (tmp_path / "run" / "result.json").read_text()
    assert comparable(tmp_path / "run") == want
    plan = subprocess.run([*command, tmp_path / "a.parquet", "--dry-run"], capture_output=True, text=True, check=False)
    assert plan.returncode == 0 and "nothing was written" in plan.stdout
    (tmp_path / "b.parquet").write_bytes(b"PAR1 and no more")
    for arguments, status, text in (([tmp_path / "nowhere"], 2, "nowhere"), ([tmp_path / "b.parquet"], 3, "b.parquet: row 1: cannot be read"),
                                    ([tmp_path / "a.parquet", "--token-ids-field", "x"], 2, "no column 'x'")):
        done = subprocess.run([*command, *map(str, arguments), "--run", tmp_path / "run-wrong"], capture_output=True, text=True, check=False)
        assert done.returncode == status and text in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
        subprocess.run(["rm", "-rf", tmp_path / "run-wrong"], check=True)
    (tmp_path / "named").write_bytes((tmp_path / "a.parquet").read_bytes())
    for name in ("a.parquet", "named"):
        refused = program(tmp_path / name, *flags, "--run", tmp_path / "no")
        assert refused.returncode == 2 and "python -m countermark.audit dataset" in refused.stderr and not (tmp_path / "no").exists()


def test_the_clusters_pieces_by_hand(served, tmp_path):
    """Map, reduce, gather without a cluster: pieces in any order, pairs that come twice, the same result; sums or documents that come twice, or are missing, are refused."""
    _, epoch, documents, want, _ = served
    rng = np.random.default_rng(4)
    keys = countermark._core.AuditKeys.create(epoch.epoch_keys(), LABELS, "", [], 1)
    whole, buckets, stripe = table(documents), 7, 8192
    fields = Fields("token_ids", True, prompt_ids_field="prompt")
    pieces = []
    for at in (0, 1000, 1700):  # three tasks
        mapper = countermark._core.ClusterMap(keys, None, ["in"], 4, stripe, buckets)
        for batch in whole.slice(at, {0: 1000, 1000: 700, 1700: 1300}[at]).to_batches(max_chunksize=200):
            numbers = np.arange(at, at + batch.num_rows)
            mapper.add(numbers, np.zeros(batch.num_rows, np.int64), numbers + 1, *columns_of(batch, fields))
            at += batch.num_rows
            pieces += mapper.take(False)
        pieces += mapper.take(True)
    pairs = [piece for piece in pieces if piece[0] == 1]
    found = [piece for piece in pieces if piece[0] == 0]
    assert {key for _, key, _, _ in pairs} == set(range(buckets)) and {key for _, key, _, _ in found} == {0}
    candidates = []
    for half in (range(0, 4), range(4, 7)):  # two tasks
        reducer = countermark._core.ClusterReduce(keys, stripe, buckets)
        for bucket in half:
            mine = [data for _, key, _, data in pairs if key == bucket]
            for i in rng.permutation([*range(len(mine)), 0]):
                reducer.add(bucket, mine[i])
            found += reducer.finish_bucket()
        candidates += reducer.finish_candidates()

    def gathered(given):
        gatherer = countermark._core.ClusterGather(keys, stripe, buckets)
        for group, key, kind, data in given:
            gatherer.add(key, kind, data)
        out = gatherer.finish_stripe()
        for _, key, _, data in candidates:
            gatherer.add_candidates(key, data)
        return out + gatherer.finish_candidates()

    def finish(given, name):
        options = {"text_field": "", "token_ids_field": "token_ids", "id_field": "id", "prompt_field": "", "prompt_ids_field": "prompt", "max_record_mib": 4, "limit": 0, "part": 0, "parts": 1,
                   "threads": 1, "memory_mib": 1024, **judge_options(alpha=1e-6, fdr=0.01, confidence=0.99, min_coverage=0.95, top=100)}
        run = countermark._core.ClusterRun(keys, None, ["in"], str(tmp_path / name), options, len(documents))
        assert not run.whole
        for piece in given:
            run.add(*piece)
        return run.finish(None)

    good = gathered([found[i] for i in rng.permutation(len(found))])
    finish(good, "run")
    assert comparable(tmp_path / "run") == want
    with pytest.raises(countermark.CorruptError, match="the sums of bucket . came twice"):
        gathered([*found, found[-1]])
    with pytest.raises(countermark.CorruptError, match="document 0 came twice"):
        gathered([found[0], *found])
    with pytest.raises(countermark.CorruptError, match="document 0 is missing"):
        gathered(found[1:])
    for name, fault in (("segment", good[1:]), ("candidates", good[:-1])):
        with pytest.raises(countermark.CorruptError, match="the cluster has brought"):
            finish(fault, name)
    for wrong in (b"\xff", found[0][3][:-1]):
        with pytest.raises(countermark.CorruptError, match="not well formed"):
            gathered([(0, 0, 0, wrong)])
    with pytest.raises(TypeError, match="neither pickled nor copied"):
        keys.__reduce_ex__(2)


def test_memory_is_bounded(tmp_path):
    """120 MB of ids in one row group and one file: the process stays far below what the table takes."""
    epoch = FixedEpoch(tmp_path / "epoch")
    with pq.ParquetWriter(tmp_path / "big.parquet", pa.schema([("token_ids", pa.list_(pa.int32()))]), compression="none", use_dictionary=False) as writer:
        rows = np.random.default_rng(1).integers(0, 500, (60_000, 500), np.int32)
        writer.write_table(pa.table({"token_ids": pa.FixedSizeListArray.from_arrays(rows.ravel(), 500).cast(pa.list_(pa.int32()))}), row_group_size=60_000)
    del rows
    code = f"""
import resource, countermark
from countermark.audit import audit_dataset, judge_options
from countermark.tables import Fields, columns_of
keys = countermark.EpochKeys.from_bundle({str(epoch.bundle)!r}, passphrase_file={str(epoch.secret)!r})
audit_dataset({str(tmp_path / "small.parquet")!r}, run={str(tmp_path / "small")!r}, keys=keys, threads=1, memory_mib=256)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
audit_dataset({str(tmp_path / "big.parquet")!r}, run={str(tmp_path / "run")!r}, keys=keys, threads=1, memory_mib=256, limit=60000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    pq.write_table(pa.table({"token_ids": [[1, 2, 3, 4]]}), tmp_path / "small.parquet")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"})
    assert int(done.stdout) < 100_000, done.stdout  # kB
