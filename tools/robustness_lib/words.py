"""What the edits take from elsewhere: WordNet's synonyms and Apertium's translations, unpacked from their Debian packages into a folder (nothing is installed), and words and passages by people."""
import functools
import os
import re
import subprocess
import tempfile

PACKAGES = ("wordnet-base", "apertium", "apertium-eng-spa", "apertium-lex-tools", "lttoolbox", "libapertium3", "libapertium-lex-tools1", "libirstlm1", "liblttoolbox3")


def fetch(folder):
    """The packages' files under `folder`, once."""
    if os.path.exists(os.path.join(folder, "usr", "share", "wordnet")):
        return
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as part:
        subprocess.run(["apt-get", "download", "-qq", *PACKAGES], check=True, cwd=part, stderr=subprocess.DEVNULL)
        for package in sorted(os.listdir(part), key=lambda name: name.startswith("wordnet")):  # WordNet last: it is what is looked for
            subprocess.run(["dpkg-deb", "-x", os.path.join(part, package), folder], check=True)


class WordNet:
    """Synonyms of single words of a form that the dictionary has as it stands."""

    def __init__(self, folder):
        self.folder = os.path.join(folder, "usr", "share", "wordnet")
        self.index, self.data = {}, {}
        for part in ("noun", "verb", "adj", "adv"):
            with open(os.path.join(self.folder, "data." + part), "rb") as f:
                self.data[part] = f.read()
            with open(os.path.join(self.folder, "index." + part)) as f:
                for line in f:
                    if line.startswith(" "):
                        continue
                    fields = line.split()
                    self.index.setdefault(fields[0], []).append((part, [int(offset) for offset in fields[-int(fields[2]):]]))

    @functools.lru_cache(maxsize=None)
    def synonyms(self, word):
        found = []
        for part, offsets in self.index.get(word, ()):
            for offset in offsets:
                fields = self.data[part][offset:self.data[part].index(b"|", offset)].decode().split()
                found += [fields[4 + 2 * i] for i in range(int(fields[3], 16))]
        plain = {re.sub(r"\(.*\)", "", w).lower() for w in found if "_" not in w}
        return sorted(plain - {word})


class Apertium:
    """Translation by rules, English to Spanish and back."""

    def __init__(self, folder):
        share = os.path.join(folder, "usr", "share", "apertium")
        self.environment = dict(os.environ, PATH=os.path.join(folder, "usr", "bin") + ":" + os.environ["PATH"],
                                LD_LIBRARY_PATH=os.pathsep.join(os.path.join(folder, "usr", "lib", d) for d in ("", "x86_64-linux-gnu")))
        self.pipes = []
        for mode in ("eng-spa", "spa-eng"):
            with open(os.path.join(share, "modes", mode + ".mode")) as f:
                pipe = f.read().strip().replace("/usr/share/apertium", share).replace("$1", "-n").replace("$2", "")
            self.pipes.append(f"apertium-destxt | {pipe} | apertium-retxt")

    def there_and_back(self, texts):
        """All texts at once, a blank line and a mark between them."""
        joined = "\n\n".join(f"0{i}0\n\n" + re.sub(r"\s*\n\s*", "\n", text) for i, text in enumerate(texts)) + "\n\n000\n"
        for pipe in self.pipes:
            joined = subprocess.run(["sh", "-c", pipe], input=joined, text=True, capture_output=True, check=True, env=self.environment).stdout
        pieces = re.split(r"^0\d+0\.?\s*$", joined, flags=re.M)[1:-1]
        if len(pieces) != len(texts):
            raise RuntimeError(f"{len(texts)} texts were translated and {len(pieces)} came back")
        return [re.sub(" +", " ", piece).strip() for piece in pieces]


def human_text(root):
    """Prose by people, of which nothing was generated: passages to paste into, words to put in."""
    with open(os.path.join(root, "tests", "calibration", "corpus", "prose.txt")) as f:
        return f.read().split()
