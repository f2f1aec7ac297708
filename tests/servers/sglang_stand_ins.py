"""Stand-ins for what SGLang imports and this test does not use: packages for GPUs, HTTP and pictures. SGLang's own classes, torch, msgspec and numpy are the real ones."""
import importlib.abc
import importlib.machinery
import sys
import types

import torch  # noqa: F401 - before the finder: it looks for triton itself

NAMES = {"einops", "fastapi", "partial_json_parser", "triton", "torchvision", "IPython", "aiohttp", "pybase64", "zmq", "tvm_ffi", "openai", "loguru", "compressed_tensors"}


class _Meta(type):
    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return _made(name)

    def __getitem__(cls, _):
        return cls


def _made(name):
    """A class, so that it can be a base, an annotation and an isinstance's argument; called, it is a decorator that changes nothing."""

    def new(_, *args, **keywords):
        return args[0] if len(args) == 1 and callable(args[0]) and not keywords else lambda *inner, **__: inner[0] if inner else None

    return _Meta(name, (), {"__new__": new, "__init_subclass__": classmethod(lambda cls, **_: None),
                        "__get_pydantic_core_schema__": classmethod(lambda cls, *_: {"type": "any"})})


class _Module(types.ModuleType):
    __path__: list = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return _made(name)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if name.partition(".")[0] in NAMES else None

    def create_module(self, spec):
        return _Module(spec.name)

    def exec_module(self, module):
        module.__version__ = "3.4.0"


sys.meta_path.insert(0, _Finder())
