"""What marking costs the servers people run, and what the gateway adds: the part `serving` of tools/bench."""
import json
import os
import sys

import serving_llama
import serving_vllm


def serving(p, quick):
    return gateway(p, quick) + serving_llama.figures(p, quick) + serving_vllm.figures(p, quick)


def gateway(p, quick):
    """Beside a server that computes nothing, so that nothing else is measured."""
    script = os.path.join(p.root, "tests", "servers", "gateway_cost.py")
    os.environ.update(COUNTERMARK_SOURCE=p.root, COUNTERMARK_BIN=os.path.join(p.build, "bin"), COUNTERMARK_PYTHON_REFERENCE=os.path.join(p.build, "tests", "bin", "python_reference"))
    found = json.loads(p.run(sys.executable, script, "--requests", 50 if quick else 400).stdout)
    out = []
    for name, what, target in (("whole_answer", "a whole answer", "; target <= 2"), ("stream_first_bytes", "a stream's first bytes", "; target <= 2")):
        out.append({"name": f"countermark-gateway adds to {what}, median", "value": found[name]["added_median_ms"], "unit": "ms",
                    "against": f"{found[name]['direct']['median_ms']} ms from the server itself; all three programs share the cores{target}"})
    return out
