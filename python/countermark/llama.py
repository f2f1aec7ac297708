"""Marking what llama-cpp-python generates.

    mark = LlamaMark("epoch.cmkb", passphrase_file="secret")          # libcountermark_llama.so: built beside the programs, where libllama is found
    llm = llama_cpp.Llama("model.gguf")
    mark.attach(llm)
    with mark.serving(llm, account="org-1", request="r-17"):          # from your own authentication
        answer = llm.create_chat_completion(messages, temperature=0.8, top_p=0.95)
    mark.counters()                                                   # {"marked": 187, "start": 2, …}

or, where a chain of samplers is built by hand, its last one:

    llama_cpp.llama_sampler_chain_add(chain, mark.sampler("org-1", temperature=0.8, top_p=0.95))

The sampler does temperature, top-k, top-p and min-p itself, after penalties, logit processors and grammars, and chooses. It must find the libllama that llama_cpp uses: another copy in the
same process is an error.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import stat
from collections.abc import Iterator, Sequence
from types import MethodType
from typing import Any, NoReturn

from countermark.errors import DeniedError, Error, InvalidArgumentError, NotFoundError, PolicyError, UnknownAccountError
from countermark.hook import CAUSES

LIBRARY = "libcountermark_llama.so.0"
LIBRARY_VARIABLE = "COUNTERMARK_LLAMA_LIBRARY"

# A GGUF's vocabulary may be padded beyond the tokenizer's. A wrong epoch's differs by more, or is larger.
_MOST_PADDING = 1024
_NO_SEED = 0xFFFFFFFF  # LLAMA_DEFAULT_SEED
_ERROR_SIZE = 512


class _Options(ctypes.Structure):
    """countermark_llama_options."""

    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("account", ctypes.c_char_p),
        ("request", ctypes.c_char_p),
        ("temperature", ctypes.c_float),
        ("top_k", ctypes.c_int32),
        ("top_p", ctypes.c_float),
        ("min_p", ctypes.c_float),
        ("seeded", ctypes.c_int32),
        ("seed", ctypes.c_uint64),
    ]


class _Counters(ctypes.Structure):
    """countermark_llama_counters."""

    _fields_ = [(name, ctypes.c_uint64) for name in ("marked", "start", "greedy", "repeated_window", "forced", "tail", "fault", "off")]


class LlamaMark:
    """An epoch's keys, and the samplers made with them. A `Llama` belongs to one thread at a time, and so do its samplers."""

    def __init__(self, bundle: str | os.PathLike[str], *, passphrase_file: str | os.PathLike[str], library: str | os.PathLike[str] | None = None) -> None:
        """bundle: what `watermark-keys bundle` wrote. library: libcountermark_llama.so; without, COUNTERMARK_LLAMA_LIBRARY, and else where the loader looks.

        Errors: NotFoundError, DeniedError (a passphrase that others may read), InvalidArgumentError (another libllama), Error with the library's own line.
        """
        import llama_cpp.llama_cpp

        self._handle: int | None = None
        self._llama = llama_cpp.llama_cpp  # loaded first: the library then binds to this libllama
        self._library = _load(library)
        self._library.countermark_llama_sampler_init.restype = self._llama.llama_sampler_p_ctypes
        theirs, ours = (ctypes.cast(lib.llama_sampler_init, ctypes.c_void_p).value for lib in (self._llama._lib, self._library))
        if theirs != ours:
            raise InvalidArgumentError("libcountermark_llama.so is linked to another libllama than llama_cpp's: build it against that one, or name its folder by LLAMA_CPP_LIB_PATH")
        error = ctypes.create_string_buffer(_ERROR_SIZE)
        descriptor = _private(passphrase_file)
        try:
            self._handle = self._library.countermark_llama_open_bundle(os.fsencode(bundle), descriptor, error, _ERROR_SIZE)
        finally:
            os.close(descriptor)
        if not self._handle:
            raise Error(_text(error))
        self._finished = dict.fromkeys(CAUSES, 0)
        self._running: dict[int, Any] = {}  # samplers in chains that are not freed yet, by the chain's id
        self._accounts: dict[int, tuple[str, str | None]] = {}  # of attached models, by id

    @property
    def vocabulary(self) -> int:
        """Tokens that the epoch was made for."""
        return int(self._library.countermark_llama_vocabulary(self._open()))

    def sampler(
        self,
        account: str,
        *,
        request: str | None = None,
        temperature: float = 0.8,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        seed: int | None = None,
        prompt: Sequence[int] = (),
    ) -> Any:
        """A `llama_sampler *` of llama_cpp's, for the end of a chain, which frees it.

        account: a label registered in the epoch, or countermark.BASE_ONLY. request: the request's own label, for a request channel. top_k 0, top_p 1, min_p 0: off. seed: plain draws
        repeat. prompt: the prompt's tokens, if the host does not put them through `llama_sampler_accept`; a request raised to the entropy floor draws from them.

        Errors: UnknownAccountError, PolicyError (below the floor of an epoch that denies), InvalidArgumentError.
        """
        if "\0" in account or "\0" in (request or ""):  # C would read another, shorter label
            raise InvalidArgumentError("a label holds a NUL")
        options = self._library.countermark_llama_default_options()
        options.account, options.request = account.encode(), None if request is None else request.encode()
        options.temperature, options.top_k, options.top_p, options.min_p = temperature, top_k, top_p, min_p
        if seed is not None:
            options.seeded, options.seed = 1, seed % (1 << 64)
        error = ctypes.create_string_buffer(_ERROR_SIZE)
        made = self._library.countermark_llama_sampler_init(self._open(), ctypes.byref(options), error, _ERROR_SIZE)
        if not made:
            line = _text(error)
            kind = UnknownAccountError if line.startswith("unknown account") else PolicyError if "policy" in line else InvalidArgumentError
            raise kind(line)
        for token in prompt:
            self._llama.llama_sampler_accept(made, token)
        return made

    def counters_of(self, sampler: Any) -> dict[str, int]:
        """What became of a sampler's tokens, by cause. Errors: InvalidArgumentError for a sampler of somebody else's."""
        counters = _Counters()
        if self._library.countermark_llama_sampler_counters(sampler, ctypes.byref(counters)) != 0:
            raise InvalidArgumentError("not one of countermark's samplers")
        return {name: int(getattr(counters, name)) for name in CAUSES}

    def counters(self) -> dict[str, int]:
        """The sums of all answers of attached models, of the one that runs as far as it has come."""
        sums = dict(self._finished)
        for sampler in list(self._running.values()):
            for name, value in self.counters_of(sampler).items():
                sums[name] += value
        return sums

    def attach(self, llm: Any) -> None:
        """From now on everything that this `llama_cpp.Llama` samples is marked, and nothing is sampled outside of `serving`.

        Its own chain is kept up to the grammar; then comes the mark in the place of top-k, top-p, min-p, temperature and dist. Mirostat is refused. Errors: InvalidArgumentError: the model's
        vocabulary is not the epoch's.
        """
        padding = llm.n_vocab() - self.vocabulary
        if not 0 <= padding <= _MOST_PADDING:
            raise InvalidArgumentError(f"the epoch is for a vocabulary of {self.vocabulary} tokens, and the model has {llm.n_vocab()}")
        prompts: list[list[int]] = [[]]
        generate = llm.generate

        @functools.wraps(generate)
        def generate_marked(tokens: Sequence[int], *args: Any, **kwargs: Any) -> Any:
            prompts[0] = list(tokens)
            return generate(tokens, *args, **kwargs)

        llm.generate = generate_marked
        llm._init_sampler = MethodType(functools.partial(_init_sampler, self, prompts), llm)

    @contextlib.contextmanager
    def serving(self, llm: Any, account: str, request: str | None = None) -> Iterator[None]:
        """Whose answers an attached model gives in this block."""
        before = self._accounts.get(id(llm))
        self._accounts[id(llm)] = (account, request)
        try:
            yield
        finally:
            if before is None:
                del self._accounts[id(llm)]
            else:
                self._accounts[id(llm)] = before

    def close(self) -> None:
        """Wipes the keys. Samplers made before go on working."""
        if self._handle:
            self._library.countermark_llama_close(self._handle)
        self._handle = None

    def __enter__(self) -> LlamaMark:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):
            self.close()

    def __repr__(self) -> str:
        return f"<countermark.llama.LlamaMark: {'open' if self._handle else 'closed'}>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a LlamaMark holds keys: it is neither pickled nor copied")

    def _open(self) -> int:
        if not self._handle:
            raise InvalidArgumentError("this LlamaMark is closed")
        return self._handle

    def _add(self, chain: Any, llm: Any, prompt: Sequence[int], parameters: dict[str, Any]) -> None:
        """Puts the mark at the end of a chain of llama_cpp's."""
        served = self._accounts.get(id(llm))
        if served is None:
            raise InvalidArgumentError("whose answer is this? Generate inside `with mark.serving(llm, account=…)`")
        account, request = served
        key = id(chain)
        seed = None if llm._seed == _NO_SEED else llm._seed
        made = self.sampler(account, request=request, seed=seed, prompt=prompt, **parameters)
        self._llama.llama_sampler_chain_add(chain.sampler, made)

        def finish() -> None:
            del self._running[key]
            for name, value in self.counters_of(made).items():
                self._finished[name] += value

        self._running[key] = made
        chain._exit_stack.callback(finish)  # before the chain frees it, whenever that is


def _init_sampler(
    mark: LlamaMark,
    prompts: list[list[int]],
    llm: Any,
    top_k: int = 40,
    top_p: float = 0.95,
    min_p: float = 0.05,
    typical_p: float = 1.0,
    temp: float = 0.80,
    repeat_penalty: float = 1.0,
    frequency_penalty: float = 0.0,
    presence_penalty: float = 0.0,
    tfs_z: float = 1.0,
    mirostat_mode: int = 0,
    mirostat_eta: float = 0.1,
    mirostat_tau: float = 5.0,
    penalize_nl: bool = True,
    logits_processor: Any = None,
    grammar: Any = None,
) -> Any:
    """llama_cpp.Llama._init_sampler with another end."""
    if mirostat_mode:
        raise InvalidArgumentError("mirostat chooses by itself and leaves text unmarked: mirostat_mode=0")
    # What it builds for a temperature below 0 is penalties, processors, grammar and dist: all that comes before the mark, and one to take off.
    chain = type(llm)._init_sampler(
        llm,
        temp=-1.0,
        repeat_penalty=repeat_penalty,
        frequency_penalty=frequency_penalty,
        presence_penalty=presence_penalty,
        logits_processor=logits_processor,
        grammar=grammar,
    )
    n = mark._llama.llama_sampler_chain_n(chain.sampler)
    mark._llama.llama_sampler_free(mark._llama.llama_sampler_chain_remove(chain.sampler, n - 1))
    if 0 < typical_p < 1:
        chain.add_typical(typical_p, 1)
    parameters = {"temperature": temp, "top_k": max(top_k, 0), "top_p": min(top_p, 1.0), "min_p": max(min_p, 0.0)}
    if temp < 0:  # llama_cpp's "as the model says"
        parameters = {"temperature": 1.0}
    mark._add(chain, llm, prompts[0], parameters)
    return chain


def _load(library: str | os.PathLike[str] | None) -> ctypes.CDLL:
    name = os.fspath(library) if library is not None else os.environ.get(LIBRARY_VARIABLE) or LIBRARY
    try:
        lib = ctypes.CDLL(name)
        lib.countermark_llama_sampler_init.argtypes = [ctypes.c_void_p, ctypes.POINTER(_Options), ctypes.c_char_p, ctypes.c_size_t]
    except (OSError, AttributeError) as error:
        raise NotFoundError(f"{name}: {error}; name libcountermark_llama.so by library=… or {LIBRARY_VARIABLE}") from None
    size = ctypes.c_size_t
    lib.countermark_llama_open_bundle.restype = ctypes.c_void_p
    lib.countermark_llama_open_bundle.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, size]
    lib.countermark_llama_close.restype = None
    lib.countermark_llama_close.argtypes = [ctypes.c_void_p]
    lib.countermark_llama_vocabulary.restype = ctypes.c_uint32
    lib.countermark_llama_vocabulary.argtypes = [ctypes.c_void_p]
    lib.countermark_llama_default_options.restype = _Options
    lib.countermark_llama_default_options.argtypes = []
    lib.countermark_llama_sampler_counters.restype = ctypes.c_int
    lib.countermark_llama_sampler_counters.argtypes = [ctypes.c_void_p, ctypes.POINTER(_Counters)]
    return lib


def _private(path: str | os.PathLike[str]) -> int:
    """A descriptor of a file that nobody but its owner may read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise NotFoundError(f"{os.fspath(path)}: {error.strerror}") from None
    if stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
        os.close(descriptor)
        raise DeniedError(f"{os.fspath(path)}: others may read the passphrase: chmod 600")
    return descriptor


def _text(error: ctypes.Array[ctypes.c_char]) -> str:
    return error.value.decode(errors="replace")
