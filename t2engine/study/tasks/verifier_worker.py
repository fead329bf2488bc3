"""The process that a verifier runs in: it loads one function and answers calls until it is killed.

Messages are pairs of texts, an outcome and what it said, so that nothing of the function's own
has to cross.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

READY, CANNOT_LOAD = "ready", "cannot load"
TRUE, FALSE = "true", "false"
RAISED, NO_TRUTH = "raised", "neither true nor false"
MAX_MESSAGE = 500
FILE_MODULE = "verifier_from_file"  # never the name of another module


def serve(connection: Connection, source: str) -> None:
    os.setsid()  # a group of its own, which ends with it
    os.dup2(sys.stderr.fileno(), 1)  # standard output is for results
    sys.stdout = sys.stderr
    try:
        function = load(source)
    except BaseException as error:  # whatever somebody's module raises
        connection.send((CANNOT_LOAD, describe(error)))
        return
    connection.send((READY, ""))
    while True:
        try:
            arguments = connection.recv()
        except EOFError:
            return
        connection.send(call(function, arguments))


def call(function: Callable[..., Any], arguments: tuple[str, str, str]) -> tuple[str, str]:
    try:
        value = function(*arguments)
    except BaseException as error:  # whatever it raises is an outcome
        return RAISED, describe(error)
    if isinstance(value, bool):
        return (TRUE if value else FALSE), ""
    return NO_TRUTH, f"returned a value of type {type(value).__name__}, not bool"


def load(source: str) -> Callable[..., Any]:
    module_name, separator, name = source.rpartition(":")
    if not (separator and module_name and name):
        raise ValueError("expected a colon between module or file and function")
    path = Path(module_name)
    if path.suffix == ".py":
        if not path.is_file():
            raise ValueError(f"no file {path}")
        sys.path.insert(0, str(path.resolve().parent))
        spec = importlib.util.spec_from_file_location(FILE_MODULE, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[FILE_MODULE] = module
        spec.loader.exec_module(module)
    else:
        sys.path.insert(0, os.getcwd())
        module = importlib.import_module(module_name)
    function = getattr(module, name)
    if not callable(function):
        raise TypeError(f"{name} is of type {type(function).__name__}, not a function")
    return function


def describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:MAX_MESSAGE]
