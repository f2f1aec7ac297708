"""The hot loops of SampleRows, found by the functions they lie in, and how often what is in them runs.

Of the ways through a loop's blocks the longest is counted, but for those that rows of the wanted kind do not take: of both answers to a branch the
compiler's code may be listed once or several times, and no rule has to know. Each instruction then counts as often as its source lines are said to run.
Rules name functions, and branches in them by a word of their condition; what is not found stops the model, so that it cannot outlive the kernels.
"""
from sass import passes, pipe_of

TYPES = ("bf16", "fp32")


def walk(code, loop, never=(), trips=None):
    """The blocks of the longest pass, each with how often it runs. never: spans of which no block may be passed that lies there
    (but for a fifth: the compiler moves what is cheap).
    trips(inner loop): how often it goes round, 1 by default."""
    header, body = loop
    ids = {id(b): n for n, b in enumerate(body)}   # in an order in which all but the way back leads on
    times = {id(b): 1.0 for b in body}
    for inner in code.inner(loop):
        for b in inner[1]:
            times[id(b)] *= trips(inner) if trips else 1.0

    def closed(block):   # where ways meet again belongs to none of them
        if all(opcode.split(".")[0] in ("BSYNC", "BRA") for opcode, _ in block.instructions):
            return False
        if any(opcode.startswith("CALL") for opcode, _ in block.instructions):   # of what is rare in a division
            return True
        return any(sum(passes(chain, span) for _, chain in block.instructions) >= 0.8 * len(block.instructions) for span in never)

    best, before, ends = {id(header): 0.0}, {}, []
    for b in body:
        if id(b) not in best or times[id(b)] == 0.0 or (b is not header and closed(b)):
            best.pop(id(b), None)
            continue
        best[id(b)] += len(b.instructions) * times[id(b)]
        for after in b.next:
            if after is header:
                ends.append(b)
            elif id(after) in ids and ids[id(after)] > ids[id(b)] and best[id(b)] > best.get(id(after), -1.0):
                best[id(after)], before[id(after)] = best[id(b)], b
    if not ends:
        raise SystemExit(f"model: error: no way through the loop at {header.labels} is left; tools/sass_model/loops.py must follow the kernels")
    at = max(ends, key=lambda b: best[id(b)])
    path = [(at, times[id(at)])]
    while at is not header:
        at = before[id(at)]
        path.append((at, times[id(at)]))
    return path[::-1]


def count(code, loop, tokens, never=(), rules=(), trips=None):
    """Instructions a token by pipe. rules: (span, how often); where several hold, the least."""
    counts = {}
    for block, times in walk(code, loop, never, trips):
        for opcode, chain in block.instructions:
            often = min([share for span, share in rules if passes(chain, span)], default=1.0)
            if often > 0:
                counts[pipe_of(opcode)] = counts.get(pipe_of(opcode), 0.0) + times * often / tokens
    return counts


def chacha8(code):
    """The loop of double rounds stays a loop, of four for ChaCha8."""
    return lambda inner: 4.0 if code.share(inner[1], "chacha.h:ChaChaRounds") > 0.9 else 1.0


def costs(code, often):
    """{loop: {type: {pipe: instructions a token}}}. often: how often branches are taken (rows.py)."""
    def rest(name, condition):   # what a function does if it has not returned from a branch
        file, _, last = code.branch(name, condition)
        return file, last + 1, code.function(name)[2]

    slow = [rest("row.cuh:LoadOctet", "row.aligned"), code.function("row.cuh:LoadLogit")]      # octets that are not whole, or not aligned
    narrow = rest("row.cuh:Unpack", "kFloat32")
    result = {}

    def add(name, loop, tokens, never=(), rules=(), only=TYPES):
        result.setdefault(name, {})
        for dtype in only:
            closed = slow + list(never) + [narrow] * (dtype == "fp32")
            result[name][dtype] = count(code, loop, tokens, closed, rules, chacha8(code))

    scan = "scan.cuh:ScanOctets"
    add("scan", code.loop(scan, VHMNMX=True), 32, only=("bf16",))    # four octets a pass
    add("scan", code.loop(scan, VHMNMX=False, without="row.cuh:LoadLogit"), 8, only=("fp32",))
    add("scan with sums", code.loop("scan.cuh:ScanSlice", MUFU_EX2=True, without="row.cuh:LoadLogit"), 16,
        rules=[(code.branch("scan.cuh:ScanSlice", "largest > max"), often["scan new largest"])])

    file = "choose.cuh:ListSlice"
    weigh, write, token = code.after(file, "float w[kOctet]"), code.after(file, "atomicAdd(&plan->listed, f"), code.after(file, "const float weight")
    add("list", code.loop(file), 8, rules=[(write, often["list octets"]), (token, often["list tokens"])])
    add("list, top-k", code.loop(file), 8, never=[code.branch(file, "total_wanted")],
        rules=[(weigh, often["top-k warps"]), (write, often["top-k warps"]), (token, often["top-k tokens"])])

    add("sum", code.loop("choose.cuh:SumSlice", without="choose.cuh:SumUnit"), 8)
    add("sum, partition", code.loop("choose.cuh:SumSlice", through="choose.cuh:SumUnit"), 64)

    file = "choose.cuh:RaceSlice"
    first = code.branch(file, "limit == Infinity()")
    add("race", code.loop(file), 16, never=[code.branch(file, "(sums)")], rules=[(first, often["race first"]), (code.after(file, "const Arrival arrival"), often["race exact"])])

    for name in ("sum", "sum, partition"):   # each token's weight becomes an integer once
        if abs(result[name]["bf16"].get("convert64", 0.0) - 1.0) > 0.01:
            raise SystemExit(f"model: error: '{name}' makes {result[name]['bf16'].get('convert64', 0.0):.2f} integers of a token's weight, not 1; the way through "
                             "its loop is not what tools/sass_model/loops.py thinks")
    return result


PLAYERS, UNROLLED = 128, 4   # kernels/finish.cuh


def tournament(code):
    """Instructions a playing thread of a tournament's layer, of 1,024 candidates; and of a candidate's word."""
    file, weight = "finish.cuh:PlayTournament", code.function("tournament.h:TournamentWeight")
    layer = code.loop(file, through="tournament.h:TournamentRatioByDoubles")
    inner = code.inner(layer)
    rounds = {id(b) for l in inner for b in l[1]}
    rest = [b for b in layer[1] if id(b) not in rounds and any(passes(chain, weight) for _, chain in b.instructions)]   # what four do not divide
    kept = (layer[0], [b for b in layer[1] if b not in rest])
    trips = lambda l: 1024 / PLAYERS / UNROLLED if code.share(l[1], "tournament.h:TournamentWeight") > 0 else 1.0
    word = code.loop(file, through="prf.h:WordOf", without="choose.cuh:WeighOctet")
    return sum(count(code, kept, 1, trips=trips).values()), sum(count(code, word, 1, trips=chacha8(code)).values())
