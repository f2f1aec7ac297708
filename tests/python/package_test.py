"""The package as it is installed: programs, types, stubs, metadata, and nothing heavy at import."""
import ast
import importlib.metadata
import inspect
import os
import subprocess
import sys
from pathlib import Path

import countermark
from countermark import _core, errors

SOURCE = Path(os.environ["COUNTERMARK_SOURCE"])
PACKAGE = Path(countermark.__file__).parent
PYTHON = [sys.executable, "-P"]


def test_what_is_imported_is_what_was_installed():
    assert SOURCE / "python" not in PACKAGE.parents
    assert countermark.__version__ == importlib.metadata.version("countermark")
    for file in (SOURCE / "python/countermark").glob("*.py"):
        assert (PACKAGE / file.name).read_bytes() == file.read_bytes(), "run tools/setup python-package"
    assert (PACKAGE / "py.typed").exists() and (PACKAGE / "_core.pyi").exists()


def test_programs_come_with_it():
    for name in ("watermark-keys", "watermark-detect", "watermark-verify"):
        program = Path(sys.prefix) / "bin" / name
        shown = subprocess.run([program, "--version"], check=True, capture_output=True, text=True)
        assert countermark.__version__ in shown.stdout


def test_types(tmp_path):
    """mypy finds the package's types in order, and a user's mistakes."""
    user = tmp_path / "user.py"
    user.write_text("""
import countermark
keys = countermark.EpochKeys.from_bundle("b", passphrase_file="p")
reveal_type(countermark.Detector(keys).detect(["a"]).pooled.log10_p)
reveal_type(keys.record.channels)
countermark.Detector(keys).detect(["a"]).pooled.log10_q
countermark.KeyStore.create("k", passphrase_file="p")
""")
    done = subprocess.run([*PYTHON, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache", user], capture_output=True, text=True, cwd=tmp_path)
    assert 'note: Revealed type is "float"' in done.stdout.replace("builtins.", ""), done.stdout
    assert 'dict[str, int]' in done.stdout.replace("builtins.", "")
    wrong = [line for line in done.stdout.splitlines() if "error:" in line]
    assert len(wrong) == 2 and "log10_q" in wrong[0] and "tenant" in wrong[1], done.stdout
    # torch, transformers and the servers, which may not be here, are taken for Any.
    config = tmp_path / "mypy.ini"
    config.write_text("[mypy]\n[mypy-torch.*,transformers.*,vllm.*,sglang.*,tensorrt_llm.*,llama_cpp.*]\nfollow_imports = skip\nignore_missing_imports = True\n")
    own = subprocess.run([*PYTHON, "-m", "mypy", "--strict", "--config-file", config, "--cache-dir", tmp_path / "cache", "-p", "countermark"], capture_output=True, text=True, cwd=tmp_path)
    assert own.returncode == 0, own.stdout


def test_stubs_say_what_is_there():
    """Every class, function and member of the module stands in the stub, and nothing else does."""

    def names(body):
        return {node.name for node in body if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and not node.name.startswith("_")}

    tree = ast.parse((PACKAGE / "_core.pyi").read_text())
    assert names(tree.body) == {name for name in dir(_core) if not name.startswith("_")}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            assert names(node.body) == {name for name in vars(getattr(_core, node.name)) if not name.startswith("_")}, node.name


def test_nothing_heavy_is_imported():
    code = "import sys, countermark; print([m for m in ('torch', 'transformers', 'pyarrow') if m in sys.modules])"
    assert subprocess.run([*PYTHON, "-c", code], check=True, capture_output=True, text=True).stdout.strip() == "[]"


def test_every_status_has_its_exception():
    header = (SOURCE / "include/countermark/countermark.h").read_text()
    statuses = set()
    for line in header.splitlines():
        words = line.replace(",", " ").split()
        if len(words) > 2 and words[0].startswith("COUNTERMARK_") and words[1] == "=" and "/*" in line or "COUNTERMARK_OUT_OF_MEMORY =" in line:
            if words[2].isdigit() and "cause" not in line:
                statuses.add(int(words[2]))
    classes = {c.status for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, errors.Error)}
    assert set(range(1, 12)) == classes and statuses <= classes | {0}
    for name, cls in inspect.getmembers(errors, inspect.isclass):
        assert getattr(countermark, name) is cls


def test_every_class_that_may_hold_keys_refuses_to_be_pickled():
    for name, cls in inspect.getmembers(_core, inspect.isclass):
        public = {"EpochRecord", "Tokenizer", "Column"}
        assert name in public or "__reduce_ex__" in vars(cls), name
