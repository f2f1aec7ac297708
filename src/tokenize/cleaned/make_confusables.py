#!/usr/bin/env python3
"""Makes confusables.inc: letters of other scripts that look like one letter of Latin, Cyrillic or Greek, from ICU's confusables data (UTS #39).

    python3 src/tokenize/cleaned/make_confusables.py

Two letters are confusable where their skeletons are equal. UTS #39's skeleton itself cleans no text (it turns m into rn); what is taken from it
is which letters share one. Of a target script's everyday letters (TARGETS) with the same skeleton one stands for all: of the letter's own case, and then
of the earlier range, and then of the lowest code point. Only letters that NFKC leaves alone are listed, and none of a joining script or one that does not
space its words: an invisible character may be needed beside those, and would no longer be beside what took their place.
"""
import ctypes
import ctypes.util
import os
import re
import unicodedata

HERE = os.path.dirname(os.path.abspath(__file__))
TARGETS = {
    "Latin": [(0x41, 0x7A), (0xC0, 0xFF)],
    "Cyrillic": [(0x410, 0x44F), (0x400, 0x45F), (0x490, 0x491)],
    "Greek": [(0x386, 0x3CE)],
}


def open_icu():
    i18n = ctypes.CDLL(ctypes.util.find_library("icui18n"))
    uc = ctypes.CDLL(ctypes.util.find_library("icuuc"))
    version = re.search(r"\.(\d+)", ctypes.util.find_library("icui18n")[len("libicui18n.so"):]).group(1)
    return i18n, uc, version


I18N, UC, VERSION = open_icu()


def call(library, name):
    return getattr(library, f"{name}_{VERSION}")


def unicode_version():
    out = (ctypes.c_uint8 * 4)()
    call(UC, "u_getUnicodeVersion")(out)
    return "%d.%d" % (out[0], out[1])


def script_of(code_point):
    error = ctypes.c_int(0)
    script = call(UC, "uscript_getScript")(code_point, ctypes.byref(error))
    name = call(UC, "uscript_getName")
    name.restype = ctypes.c_char_p
    return name(script).decode()


def needs_unseen(code_point):
    joining_type, line_break, complex_context = 0x1007, 0x1008, 24
    return call(UC, "u_getIntPropertyValue")(code_point, joining_type) != 0 or call(UC, "u_getIntPropertyValue")(code_point, line_break) == complex_context


def skeletons():
    checker_open = call(I18N, "uspoof_open")
    checker_open.restype = ctypes.c_void_p
    skeleton = call(I18N, "uspoof_getSkeletonUTF8")
    skeleton.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_char_p, ctypes.c_int32, ctypes.c_char_p, ctypes.c_int32, ctypes.c_void_p]
    error = ctypes.c_int(0)
    checker = checker_open(ctypes.byref(error))
    for code_point in range(0x110000):
        # general categories by ICU: unicodedata may be of another version
        if 0xD800 <= code_point < 0xE000 or not 1 <= call(UC, "u_charType")(code_point) <= 5:
            continue
        text = chr(code_point).encode()
        buffer = ctypes.create_string_buffer(256)
        length = skeleton(checker, 0, text, len(text), buffer, 256, ctypes.byref(error))
        assert error.value <= 0, error.value
        yield code_point, buffer.raw[:length]


def category(code_point):
    return {1: "upper", 2: "lower"}.get(call(UC, "u_charType")(code_point), "other")


def plainness(code_point, script, source):
    return (category(code_point) != category(source), range_of(code_point, script), code_point)


def range_of(code_point, script):
    return next((i for i, (first, last) in enumerate(TARGETS[script]) if first <= code_point <= last), None)


def main():
    groups = {}
    for code_point, skeleton in skeletons():
        if unicodedata.normalize("NFKC", chr(code_point)) == chr(code_point) and not needs_unseen(code_point):
            groups.setdefault(skeleton, []).append(code_point)
    rows = []
    for members in groups.values():
        by_script = {script: [c for c in members if script_of(c) == script and range_of(c, script) is not None] for script in TARGETS}
        for code_point in members:
            own = script_of(code_point)
            targets = []
            for script, letters in by_script.items():
                best = min(letters, key=lambda c: plainness(c, script, code_point), default=None)
                # A small letter does not become a capital, nor the other way; a letter without case may become either.
                differs = best is not None and {category(best), category(code_point)} == {"upper", "lower"}
                targets.append(0 if own == script or best is None or differs else best)
            if any(targets):
                rows.append((code_point, targets))
    rows.sort()
    with open(os.path.join(HERE, "confusables.inc"), "w", encoding="ascii") as file:
        file.write(f"// Made by make_confusables.py from ICU {VERSION}, Unicode {unicode_version()}: letter, and what it looks like in Latin, Cyrillic, Greek (0: nothing).\n")
        cells = ["{0x%X, {0x%X, 0x%X, 0x%X}}," % (c, *t) for c, t in rows]
        for i in range(0, len(cells), 4):
            file.write(" ".join(cells[i:i + 4]) + "\n")
    print(len(rows), "letters")


if __name__ == "__main__":
    main()
