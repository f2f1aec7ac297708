"""Machine code as nvdisasm -c -gi lists it: instructions, and the source lines each came from, innermost first, through all inlining."""
import os
import re

INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]+\*/\s+(?:@!?U?P[0-9T]+\s+)?([A-Z0-9_.]+)")
PLACE = re.compile(r'//## File "([^"]+)", line (\d+)')

# The pipe that an opcode keeps busy. Unnamed ones: "other", which costs issue alone.
PIPES = {
    "fp32": "FADD FMUL FFMA IMAD HADD2 HFMA2 HMUL2",   # integer multiply-adds run where fp32 does, at half the rate: see pipe_of
    "int": "LOP3 SHF IADD3 VIADD ISETP SEL FSETP FSEL FMNMX LEA PRMT IMNMX VIMNMX PLOP3 MOV IABS VIADDMNMX",
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


class Code:
    """One kernel. `instructions`: (opcode, ((file, line), …)). `lines(file, pattern)`: the numbers of the source lines that match."""

    def __init__(self, listing, kernel, root):
        self.root = root
        self.sources = {}
        self.instructions = []
        inside = fresh = False
        chain = []
        for line in listing.splitlines():
            if line.startswith(".text."):
                inside = kernel in line
                continue
            if not inside:
                continue
            place = PLACE.search(line)
            if place:
                if fresh:
                    chain, fresh = [], False
                chain.append((os.path.basename(place[1]), int(place[2])))
                continue
            instruction = INSTRUCTION.match(line)
            if instruction:
                fresh = True
                self.instructions.append((instruction[1], tuple(chain)))
        if not self.instructions:
            raise SystemExit(f"model: error: the listing has no kernel {kernel}")

    def source(self, file):
        if file not in self.sources:
            for folder in ("kernels", "include/countermark/mark"):
                path = os.path.join(self.root, folder, file)
                if os.path.exists(path):
                    with open(path) as f:
                        self.sources[file] = f.read().splitlines()
                    break
            else:
                self.sources[file] = []
        return self.sources[file]

    def text(self, place):
        lines = self.source(place[0])
        return lines[place[1] - 1] if place[1] <= len(lines) else ""

    def function(self, file, name):
        """(first, last) line of the function that is defined as `name(…) … {` and ends with a brace in its column."""
        lines = self.source(file)
        for i, line in enumerate(lines):
            if re.search(rf"\b{name}\(", line) and not line.lstrip().startswith("//") and (line.startswith("__device__") or line.startswith("COUNTERMARK_HD")):
                for j in range(i, len(lines)):
                    if lines[j].startswith("}"):
                        return i + 1, j + 1
        raise SystemExit(f"model: error: {file} has no function {name}; tools/sass_model/loops.py must follow the kernels")
