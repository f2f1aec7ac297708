"""What watermark-generate makes of a prompts file that is wrong: an error that names the line, before a model or a key is looked at."""
import os
import subprocess

import pytest


@pytest.mark.parametrize("content, error", [
    ('fine\n{"prompt": "a\\u0000b"}\n', "p.jsonl:2: a NUL character at byte 2 of the prompt"),
    ("fine\n\nplain \0 text\n", "p.jsonl:3: a NUL character at byte 7 of the prompt"),
    ('{"prompt": 5}\n', "p.jsonl:1: 'prompt' must be a string"),
    ('{"prompt": "a"\n', "p.jsonl:1: not a JSON object"),
    ('{"text": "a"}\n', "p.jsonl:1: no 'prompt'"),
    ("\n\n", "p.jsonl: no prompt in it"),
])
def test_the_line_is_named(tmp_path, content, error):
    path = tmp_path / "p.jsonl"
    path.write_text(content)
    done = subprocess.run([os.path.join(os.environ["COUNTERMARK_BIN"], "watermark-generate"), "--model", "none.gguf", "--prompts", path, "--no-mark",
                           "--jsonl", tmp_path / "out.jsonl"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert error in done.stderr
    assert not (tmp_path / "out.jsonl").exists()
