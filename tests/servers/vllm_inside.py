"""What is checked inside vLLM's own environment, against the classes of the installed package. Run by vllm_test.py, once: vllm_inside.py FOLDER RESULTS.json [CHECK …]; each check_… of the
modules is a test there.
"""
import json
import shutil
import sys
import traceback
from pathlib import Path

import vllm_inside_setup
import vllm_inside_v1
import vllm_inside_v2
from vllm_inside_support import FOLDER

only, results = set(sys.argv[3:]), {}
for module in (vllm_inside_v1, vllm_inside_v2, vllm_inside_setup):
    for name, check in vars(module).items():
        if name.startswith("check_") and (not only or name in only):
            try:
                check()
                results[name] = ""
            except BaseException:  # noqa: BLE001
                results[name] = traceback.format_exc()
Path(sys.argv[2]).write_text(json.dumps(results))
shutil.rmtree(FOLDER, ignore_errors=True)
