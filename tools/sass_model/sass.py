"""Machine code as nvdisasm -c -gi lists it: basic blocks, the source lines each instruction came from (innermost first, through all inlining), and loops."""
import os
import re

INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]+\*/\s+(@!?U?P[0-9T]+\s+)?([A-Z0-9_.]+)([^;]*)")
PLACE = re.compile(r'//## File "([^"]+)", line (\d+)')
LABEL = re.compile(r"^(\.L_x_\d+):")
TARGET = re.compile(r"`\((\.L_x_\d+)\)")
LEADS_ON = ("EXIT", "RET", "BRX", "JMP", "BRA")   # ends a block

# The pipe that an opcode keeps busy. Unnamed ones: "other", which costs issue alone.
PIPES = {
    "fp32": "FADD FMUL FFMA IMAD HADD2 HFMA2 HMUL2",   # integer multiply-adds run where fp32 does, at half the rate: see pipe_of
    "int": "LOP3 SHF IADD3 VIADD ISETP SEL FSETP FSEL FMNMX LEA PRMT IMNMX VIMNMX PLOP3 MOV IABS VIADDMNMX HMNMX2 VHMNMX",
    "fp64": "DADD DMUL DFMA DSETP",
    "mufu": "MUFU",
    "convert": "FRND I2F F2F I2FP",
    "lsu": "LDG STG LDS STS LDL STL LD ST ATOMG ATOMS RED SHFL REDUX",
}
PIPE_OF = {op: pipe for pipe, ops in PIPES.items() for op in ops.split()}


def pipe_of(opcode):
    """The pipe of a full opcode, as "F2I.U64.TRUNC"."""
    head = opcode.split(".")[0]
    if head == "F2I":
        return "convert64" if ".U64" in opcode or ".S64" in opcode else "convert"
    if head == "IMAD" and not any(part in opcode for part in (".MOV", ".SHL", ".IADD")):
        return "int"
    return PIPE_OF.get(head, "other")


def passes(chain, span):
    file, first, last = span
    return any(f == file and first <= n <= last for f, n in chain)


class Block:
    """Instructions that run one after another: (opcode, ((file, line), …)). `next`: the blocks that may follow."""

    def __init__(self):
        self.instructions, self.labels, self.next = [], [], []


class Code:
    """One kernel: `blocks`, the first being where it starts, and `loops`."""

    def __init__(self, listing, kernel, root):
        self.root = root
        self.sources, self.spans = {}, {}
        self.blocks = self._read(listing, kernel)
        if not self.blocks:
            raise SystemExit(f"model: error: the listing has no kernel {kernel}")
        self.loops = self._loops()

    def _read(self, listing, kernel):
        blocks, jumps = [], []
        inside = fresh = False
        chain, labels, block, ended = [], [], None, True
        for line in listing.splitlines():
            if line.startswith(".text."):
                inside = kernel in line
                continue
            if not inside:
                continue
            label = LABEL.match(line)
            if label:
                labels.append(label[1])
                continue
            place = PLACE.search(line)
            if place:
                if fresh:
                    chain, fresh = [], False
                chain.append((os.path.basename(place[1]), int(place[2])))
                continue
            instruction = INSTRUCTION.match(line)
            if not instruction:
                continue
            fresh = True
            guard, opcode, operands = instruction.groups()
            if block is None or labels or ended:
                block = Block()
                block.labels = labels
                blocks.append(block)
                jumps.append((None, True))
                labels, ended = [], False
            block.instructions.append((opcode, tuple(chain)))
            head = opcode.split(".")[0]
            if head in LEADS_ON:
                ended = True
                target = TARGET.search(operands)
                # A branch may leave its predicate to its operands. BRA.DIV is for warps that have diverged before a shuffle: none has here.
                sometimes = guard is not None or re.match(r"\s*!?U?P\d", operands) is not None or ".DIV" in opcode
                jumps[-1] = (target[1] if head == "BRA" and target and ".DIV" not in opcode else None, sometimes)
        at = {name: block for block in blocks for name in block.labels}
        for i, (block, (target, falls)) in enumerate(zip(blocks, jumps)):
            if target in at:
                block.next.append(at[target])
            if falls and i + 1 < len(blocks):
                block.next.append(blocks[i + 1])
        return blocks

    def _loops(self):
        """Natural loops: [(header, set of blocks)], of the edges that lead back to a block that dominates their start."""
        order, seen, stack = [], set(), [(self.blocks[0], iter(self.blocks[0].next))]
        seen.add(id(self.blocks[0]))
        while stack:   # depth first; `order` is postorder
            block, following = stack[-1]
            for after in following:
                if id(after) not in seen:
                    seen.add(id(after))
                    stack.append((after, iter(after.next)))
                    break
            else:
                order.append(block)
                stack.pop()
        order.reverse()
        number = {id(b): n for n, b in enumerate(order)}
        before = {id(b): [] for b in order}
        for b in order:
            for after in b.next:
                before[id(after)].append(b)
        dominator = {0: 0}
        changed = True
        while changed:   # Cooper, Harvey and Kennedy: A Simple, Fast Dominance Algorithm
            changed = False
            for n, b in enumerate(order[1:], 1):
                new = None
                for p in (number[id(p)] for p in before[id(b)]):
                    if p not in dominator:
                        continue
                    a = p
                    while new is not None and a != new:
                        while a > new:
                            a = dominator[a]
                        while new > a:
                            new = dominator[new]
                    new = a
                if dominator.get(n) != new:
                    dominator[n], changed = new, True
        loops = {}
        for b in order:
            for header in b.next:
                n = number[id(b)]
                while n > number[id(header)]:
                    n = dominator[n]
                if n != number[id(header)]:
                    continue
                body = loops.setdefault(id(header), (header, {id(header): header}))[1]
                queue = [b]
                while queue:
                    at = queue.pop()
                    if id(at) not in body:
                        body[id(at)] = at
                        queue += before[id(at)]
        return [(header, sorted(body.values(), key=lambda b: number[id(b)])) for header, body in loops.values()]

    def share(self, blocks, name):
        """How much of the blocks' instructions came through a function."""
        span = self.function(name)
        through = [passes(chain, span) for block in blocks for _, chain in block.instructions]
        return sum(through) / len(through)

    def loop(self, name, **wanted):
        """The longest loop that lies in a function. wanted: opcodes, "_" for ".", and whether the loop has them; `through`, `without`: other functions."""
        found = []
        for header, body in self.loops:
            if self.share(body, name) < 0.9:
                continue
            opcodes = [opcode + "." for block in body for opcode, _ in block.instructions]
            if all(any(o.startswith(op.replace("_", ".") + ".") for o in opcodes) == has for op, has in wanted.items() if op not in ("through", "without")) \
                    and (wanted.get("through") is None or self.share(body, wanted["through"]) > 0) and (wanted.get("without") is None or self.share(body, wanted["without"]) == 0):
                found.append((len(opcodes), header, body))
        if not found:
            raise SystemExit(f"model: error: {name} has no such loop as tools/sass_model/loops.py looks for: {wanted}")
        return max(found, key=lambda f: f[0])[1:]

    def inner(self, loop):
        """The loops in a loop."""
        ids = {id(b) for b in loop[1]}
        return [l for l in self.loops if id(l[0]) in ids and l[0] is not loop[0]]

    def source(self, file):
        if file not in self.sources:
            for folder in ("kernels", "include/countermark/mark"):
                path = os.path.join(self.root, folder, file)
                if os.path.exists(path):
                    with open(path) as f:
                        self.sources[file] = f.read().splitlines()
                    break
            else:
                raise SystemExit(f"model: error: no {file} in kernels or include/countermark/mark")
        return self.sources[file]

    def function(self, name):
        """The lines of the function or method `name` as (file, first, last): from where it is defined to the brace in its column."""
        file, name = name.split(":")
        if (file, name) not in self.spans:
            lines = self.source(file)
            for i, line in enumerate(lines):
                if not re.search(rf"\b{name}\(", line) or not re.match(r"\s*(__device__|COUNTERMARK_HD)\b", line):
                    continue
                if line.rstrip().endswith("}"):
                    self.spans[file, name] = (file, i + 1, i + 1)
                else:
                    indent = line[:len(line) - len(line.lstrip())]
                    last = next(j for j in range(i, len(lines)) if lines[j].startswith(indent + "}"))
                    self.spans[file, name] = (file, i + 1, last + 1)
                break
            else:
                raise SystemExit(f"model: error: {file} has no function {name}; tools/sass_model/loops.py must follow the kernels")
        return self.spans[file, name]

    def branch(self, name, condition):
        """The lines of what `if (…condition…)` or `for (…)` guards in a function, as (file, first, last); without the line of the condition where braces follow."""
        file, first, last = self.function(name)
        lines = self.source(file)
        for i in range(first - 1, last):
            if condition not in lines[i] or not re.match(r"\s*(}?\s*(else )?if|for|while)\b", lines[i]):
                continue
            if not lines[i].split("//")[0].rstrip().endswith("{"):
                return file, i + 1, i + 1
            indent = lines[i][:len(lines[i]) - len(lines[i].lstrip())]
            return file, i + 2, next(j for j in range(i + 1, last) if re.match(indent + "}", lines[j]))
        raise SystemExit(f"model: error: {name} has no branch on {condition}; tools/sass_model/loops.py must follow the kernels")

    def after(self, name, text):
        """The lines of a function from the last that has `text` to the end of the braces it stands in."""
        file, first, last = self.function(name)
        lines = self.source(file)
        for i in range(last - 1, first - 2, -1):
            if text in lines[i]:
                depth = len(lines[i]) - len(lines[i].lstrip())
                return file, i + 1, next(j for j in range(i + 1, last) if lines[j].strip() and lines[j][0] != "#" and len(lines[j]) - len(lines[j].lstrip()) < depth)
        raise SystemExit(f"model: error: {name} has no {text}; tools/sass_model/loops.py must follow the kernels")
