"""Before anything is collected or captured: tests of countermark.hf where torch and transformers cannot be had, and of countermark.spark where Spark or Java cannot, end at once,
aloud, with the exit status that ctest takes for skipped."""
import importlib.util
import shutil
import sys

import pytest


def end(why):
    print(why, file=sys.__stderr__)
    pytest.exit(why, returncode=77)


def pytest_configure(config):
    if any("spark_" in argument for argument in config.args) and (importlib.util.find_spec("pyspark") is None or shutil.which("java") is None):
        end("SKIPPED: pyspark or java could not be installed here (tools/setup spark); countermark.spark is NOT tested")
    if not any("hf_" in argument for argument in config.args):
        return
    from small_model import transformers_cannot_be_had

    if transformers_cannot_be_had():
        end("SKIPPED: torch or transformers could not be installed here (tools/setup transformers); countermark.hf is NOT tested")
