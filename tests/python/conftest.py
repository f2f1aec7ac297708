"""Before anything is collected or captured: tests of countermark.hf where torch and transformers cannot be had end at once, aloud, with the exit status that ctest takes for
skipped."""
import sys

import pytest


def pytest_configure(config):
    if not any("hf_" in argument for argument in config.args):
        return
    from small_model import transformers_cannot_be_had

    if transformers_cannot_be_had():
        why = "SKIPPED: torch or transformers could not be installed here (tools/setup transformers); countermark.hf is NOT tested"
        print(why, file=sys.__stderr__)
        pytest.exit(why, returncode=77)
