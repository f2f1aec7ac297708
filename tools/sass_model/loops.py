"""The hot loops of SampleRows, by the source lines that call them, and how often what is in them runs.

A loop's instructions are those whose chain of source lines goes through one call. Each counts as often as the product of the weights of its lines says;
a line without a rule counts once. Rules name source by a pattern; one that matches nothing stops the model, so that it cannot outlive the kernels.
"""
import re

from sass import pipe_of

TYPES = ("bf16", "fp32")


class Loop:
    def __init__(self, code, name, tokens, call, rules, without=(), inside=None):
        """tokens: how many a static pass of the loop works on. call: (file, pattern of the line, within function). inside: another such call, further out."""
        self.code, self.name, self.tokens = code, name, tokens
        self.calls = self.places(*call)
        self.inside = set(self.places(*inside)) if inside else None
        self.without = {p for w in without for p in self.places(*w)}
        self.rules = [(set(self.places(file, pattern, function)), weight) for file, pattern, function, weight in rules]

    def places(self, file, pattern, function):
        first, last = self.code.function(file, function) if function else (1, len(self.code.source(file)))
        found = [(file, n) for n in range(first, last + 1) if re.search(pattern, self.code.text((file, n)))]
        if not found:
            raise SystemExit(f"model: error: no line of {file} matches {pattern!r}" + (f" in {function}" if function else "") + "; tools/sass_model/loops.py must follow the kernels")
        return found

    def count(self, dtype):
        """Instructions a token by pipe."""
        counts = {}
        for opcode, chain in self.code.instructions:
            if not any(place in self.calls for place in chain) or any(place in self.without for place in chain):
                continue
            if self.inside is not None and not any(place in self.inside for place in chain):
                continue
            times = 1.0
            for places, weight in self.rules:
                if any(place in places for place in chain):
                    times *= weight(dtype) if callable(weight) else weight
            if times > 0:
                pipe = pipe_of(opcode)
                counts[pipe] = counts.get(pipe, 0.0) + times / self.tokens
        return counts


def only(*types):
    return lambda dtype: 1.0 if dtype in types else 0.0


def within(code, file, function, first, last):
    """A pattern-free rule's places: from the line that matches `first` to the one that matches `last`, in `function`."""
    begin, end = code.function(file, function)
    inside, places = False, []
    for n in range(begin, end + 1):
        text = code.text((file, n))
        inside = inside or bool(re.search(first, text))
        if inside:
            places.append((file, n))
            if re.search(last, text):
                return places
    raise SystemExit(f"model: error: {file}, {function}: no lines from {first!r} to {last!r}; tools/sass_model/loops.py must follow the kernels")


def costs(code, often):
    """{loop: {type: {pipe: instructions a token}}}. often: how often branches are taken (rows.py)."""
    unpack = [
        ("row.cuh", r"words\[i\] << 16|0xFFFF0000u", "Unpack", only("bf16")),
        ("row.cuh", r"__half2float|__half_raw|low\.x|high\.x", "Unpack", 0.0),
        ("row.cuh", r"__half2float|__bfloat162float|static_cast<const float\*>", "LoadLogit", 0.0),   # octets are read whole
        ("row.cuh", r"first \+ i < row\.vocabulary", "LoadOctet", 0.0),
    ]
    # +∞ among the logits is asked once an octet, not once a token: the compiler lists an octet's weighing once for each answer.
    weigh = unpack + [("row.cuh", r"if \(infinite\) return", None, 0.0), ("choose.cuh", r"if \(!\(w\[i\] >= lowest\)\)", "WeighOctet", 0.5)]
    tail = [("row.cuh", r"for \(; at < end; at \+= kStride\)|^    LoadOctet\(row, at, z\);", "EachOctet")]
    result = {}

    def loop(name, *args, extra=(), **more):
        made = Loop(code, name, *args, **more)
        made.rules += [(set(places), weight) for places, weight in extra]
        result[name] = {dtype: made.count(dtype) for dtype in TYPES}

    # The octets after the loop's tail call the same function once more from a line of their own.
    begin, end = code.function("row.cuh", "EachOctet")
    last_call = [n for n in range(begin, end + 1) if re.search(r"fn\(at, z\);", code.text(("row.cuh", n)))][-1]
    after_tail = [((("row.cuh", last_call),), 0.0)]

    for name, sums in (("scan", 0.0), ("scan with sums", 1.0)):
        loop(name, 16, ("scan.cuh", r"EachOctet\(row, begin, end", "ScanSlice"),
             unpack + [("scan.cuh", r"if \(sums\) sum \*= exp2f", "ScanSlice", sums * often["scan new largest"]),
                       ("scan.cuh", r"first = static_cast<uint32_t>\(at \+ i\)|if \(z\[i\] == largest\)", "ScanSlice", often["scan new largest"]),
                       ("scan.cuh", r"sum \+= exp2f", "ScanSlice", sums)],
             without=tail, extra=after_tail)

    for name, weighed, listed in (("list", 1.0, often["list octets"]), ("list, top-k", often["top-k warps"], often["top-k warps"])):
        body = within(code, "choose.cuh", "ListSlice", r"float w\[kOctet\];", r"^    \}$")
        writes = within(code, "choose.cuh", "ListSlice", r"uint32_t place = atomicAdd", r"^  \}\);$")
        twice = within(code, "choose.cuh", "ListSlice", r"if \(w\[i\] >= work\.lowest\) \{", r"listed_sum \+=")   # once for each answer, as above
        loop(name, 16, ("choose.cuh", r"EachOctet\(row, begin, end", "ListSlice"), weigh, without=tail, extra=after_tail + [(body, weighed), (writes, listed), (twice, 0.5)])

    rounds = [("chacha.h", r"ChaChaQuarterRound\(s|for \(int i = 0; i < kRounds", "ChaChaRounds", 4.0)]   # the loop of double rounds stays a loop
    units = [("choose.cuh", r"ChaCha8Block", "SumUnit")]
    for name, tilted in (("sum", 0.0), ("sum, partition", 1.0)):   # an octet's summing is listed once for tilted rows and once for others
        picked = within(code, "choose.cuh", "SumUnit", r"if \(tilted\) \{", r"^    \}$")
        loop(name, 8, ("choose.cuh", r"const UnitSums unit = SumUnit", "SumSlice"),
             weigh + [("choose.cuh", r"if \(!\(w\[i\] > 0|const uint64_t weight|sums\.plain \+=|\+\+sums\.count|sums\.drawn \+=", "SumUnit", 0.5),
                      ("choose.cuh", r"const uint8_t byte", "SumUnit", tilted), ("partition.h", r"return byte < green|return w \* red_factor", None, 2 * tilted)],
             without=units, extra=[(picked, tilted)])
    block = Loop(code, "words", 64, ("choose.cuh", r"ChaCha8Block", "SumUnit"), rounds, inside=("choose.cuh", r"const UnitSums unit = SumUnit", "SumSlice")).count("bf16")
    for dtype in TYPES:
        for pipe, n in block.items():
            result["sum, partition"][dtype][pipe] = result["sum, partition"][dtype].get(pipe, 0.0) + n

    exact = within(code, "choose.cuh", "RaceSlice", r"const Arrival arrival = ", r"limit = fminf")
    loop("race", 16, ("sample.cu", r"RaceSlice\(row", None), weigh + rounds,
         extra=[(exact, often["race exact"]), ([("choose.cuh", n) for _, n in within(code, "choose.cuh", "RaceSlice", r"best = BlockFirst", r"^}")], 0.0)])
    for name in ("list", "sum", "sum, partition", "race"):   # each token's weight becomes an integer once: what is listed twice has been seen
        if abs(result[name]["bf16"].get("convert64", 0.0) - 1.0) > 0.05:
            raise SystemExit(f"model: error: '{name}' makes {result[name]['bf16'].get('convert64', 0.0):.2f} integers of a token's weight, not 1; the compiler "
                             "lists its body otherwise than tools/sass_model/loops.py thinks")
    return result


def tournament(code):
    """Instructions a thread of a tournament's layer, of 1,024 candidates among 256 threads; and of a candidate's word."""
    candidate = within(code, "finish.cuh", "PlayTournament", r"const uint32_t word = field->words\[i\];", r"ones \+= w;$")
    layer = Loop(code, "layer", 1, ("finish.cuh", r"for \(int layer = 0", "PlayTournament"), [])
    layer.calls = within(code, "finish.cuh", "PlayTournament", r"for \(int layer = 0", r"BlockSum2\(&sum, &ones")
    # Four candidates a pass, then two, then one: listed seven times, run for four.
    layer.rules = [(set(candidate), 4 / 7)]
    block = Loop(code, "word", 1, ("choose.cuh", r"ChaCha8Block", "SumUnit"), [("chacha.h", r"ChaChaQuarterRound\(s|for \(int i = 0; i < kRounds", "ChaChaRounds", 4.0)],
                 inside=("choose.cuh", r"const UnitSums unit = SumUnit", "SumSlice"))
    return sum(layer.count("bf16").values()), sum(block.count("bf16").values())
