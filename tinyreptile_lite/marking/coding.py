"""Values as bytes and back, between a check and the process that runs a student's functions.

The side that reads trusts nothing: it makes numbers, strings, bytes, arrays of numbers, lists,
tuples, sets, dicts, `Samples`, `Network`, and the kit's own layers and learners, and nothing else.
No class is looked up by a name that the other side chooses.

A message is the length of its head (8 bytes), the length of its arrays (8 bytes), the head (JSON)
and the arrays, one after the other. An array that occurs twice is sent once, so that what was the
same array is the same array on the other side as well.
"""

import json
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from math import prod
from typing import Any, BinaryIO

import numpy as np

from tinyreptile_lite import few_shot, image_layers, layers, learners
from tinyreptile_lite.network import Network
from tinyreptile_lite.tasks.base import Samples, Task

MOST = 64 * 1024 * 1024  # bytes of one message
_MOST_HEAD = 8 * 1024 * 1024  # a head of lists needs fifty times its bytes when it is read
_DEPTH = 50  # of lists in lists
_DIGITS = 1000  # of a whole number
_KINDS = "biufcUS"  # of arrays: numbers and text, no objects


class CodingError(Exception):
    """A value that cannot be sent, or bytes that are no message."""


KIT = {
    kind.__name__: kind
    for room in (layers, image_layers, learners, few_shot)
    for kind in vars(room).values()
    if isinstance(kind, type) and is_dataclass(kind) and kind.__module__ == room.__name__
} | {"Task": Task}


def pack(value: Any) -> tuple[bytes, list[np.ndarray]]:
    """Turn a value into a message.

    Returns
    -------
    message : bytes
    arrays : list of ndarray
        The arrays of the value, in the order of the message; `Message.arrays` has the same.

    Raises
    ------
    CodingError
        If the value holds something else than data, or is too large.
    """
    writer = _Writer()
    head = json.dumps({"value": writer.write(value, 0), "arrays": writer.table}).encode()
    body = b"".join(array.tobytes() for array in writer.arrays)
    if len(head) > _MOST_HEAD or len(head) + len(body) > MOST:
        raise CodingError("a value that is too large: more than 64 MB, or lists of more than 8 MB")
    sizes = len(head).to_bytes(8, "big") + len(body).to_bytes(8, "big")
    return sizes + head + body, writer.arrays


class _Writer:
    def __init__(self) -> None:
        self.arrays: list[np.ndarray] = []
        self.table: list[list[Any]] = []
        self._seen: dict[int, int] = {}
        self._bytes = 0

    def write(self, value: Any, depth: int) -> Any:
        """Give the JSON form of a value: a plain one, or a list that begins with its kind."""
        if depth > _DEPTH:
            raise CodingError("lists in lists without end")
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, np.generic):
            return ["scalar", self._array(np.asarray(value))]
        if isinstance(value, int):
            return _whole(value)
        if isinstance(value, float):
            return float(value)
        if isinstance(value, str):
            return str(value)
        if isinstance(value, bytes | bytearray):
            return [type(value).__name__, self._array(np.frombuffer(bytes(value), np.uint8))]
        if isinstance(value, np.ndarray):
            return ["array", self._array(value)]
        return self._composed(value, depth + 1)

    def _composed(self, value: Any, depth: int) -> Any:
        if isinstance(value, Samples):
            return ["Samples", [self.write(one, depth) for one in value]]
        for several in (list, tuple, set, frozenset):
            if isinstance(value, several):
                return [several.__name__, [self.write(one, depth) for one in value]]
        if isinstance(value, dict):
            pairs = [[self.write(k, depth), self.write(v, depth)] for k, v in value.items()]
            return ["dict", pairs]
        if isinstance(value, Network):
            parts = [value.layers, value.loss_function.name, value.input_shape]
            return ["Network", [self.write(one, depth) for one in parts]]
        if isinstance(value, np.random.Generator):
            return ["Generator", self.write(value.bit_generator.state, depth)]
        if KIT.get(type(value).__name__) is type(value):
            named = {one.name: getattr(value, one.name) for one in fields(value)}
            return ["kit", [type(value).__name__, self.write(named, depth)]]
        kind = "a function" if callable(value) else f"a {type(value).__name__}"
        raise CodingError(f"{kind}, which is no plain data")

    def _array(self, array: np.ndarray) -> int:
        if id(array) in self._seen:
            return self._seen[id(array)]
        if array.dtype.kind not in _KINDS:
            raise CodingError(f"an array of {array.dtype}, which is no array of numbers")
        self._bytes += array.nbytes
        if self._bytes > MOST:
            raise CodingError("a value of more than 64 MB")
        self.arrays.append(array)
        self.table.append([array.dtype.str, list(array.shape), bool(array.flags.writeable)])
        self._seen[id(array)] = len(self.arrays) - 1
        return self._seen[id(array)]


def _whole(value: int) -> int:
    if value.bit_length() > 3 * _DIGITS:
        raise CodingError(f"a number of more than {_DIGITS} digits")
    return int(value)


def receive(stream: BinaryIO) -> "Message | None":
    """Read one message; None at the end of the stream.

    Raises
    ------
    CodingError
        If what comes is no message.
    """
    sizes = _exactly(stream, 16, at_end=b"")
    if not sizes:
        return None
    head, body = int.from_bytes(sizes[:8], "big"), int.from_bytes(sizes[8:], "big")
    if head > _MOST_HEAD or head + body > MOST:
        raise CodingError("a message that is too large")
    return Message(_exactly(stream, head), _exactly(stream, body))


def _exactly(stream: BinaryIO, size: int, at_end: bytes | None = None) -> bytes:
    parts, left = [], size
    while left:
        part = stream.read(left)
        if not part:
            if at_end is not None and left == size:
                return at_end
            raise CodingError("half a message")
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


class Message:
    """A message that was read, but not yet believed.

    Attributes
    ----------
    arrays : list of ndarray
        What stands for the arrays of the message; putting another array in the place of one
        before `value` is called lets the value hold that one.
    """

    def __init__(self, head: bytes, body: bytes) -> None:
        try:
            tree = json.loads(head)
            self._tree = tree["value"]
            self.arrays = _arrays(tree["arrays"], body)
        except (ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
            raise CodingError("bytes that are no message") from error

    def part(self, key: str) -> Any:
        """One value of a message that is a dict with this key; None if there is none."""
        try:
            kind, pairs = self._tree
            found = [value for name, value in pairs if name == key] if kind == "dict" else []
        except (ValueError, TypeError):
            raise CodingError("bytes that are no message") from None
        return self.value(found[0]) if found else None

    def value(self, tree: Any = None) -> Any:
        """Make the value, or that of a part of the head."""
        try:
            return self._read(self._tree if tree is None else tree, 0)
        except CodingError:
            raise
        except Exception as error:  # the kit's own classes refuse in many ways
            raise CodingError("bytes that are no message") from error

    def _read(self, tree: Any, depth: int) -> Any:
        if depth > 2 * _DEPTH:
            raise CodingError("lists in lists without end")
        if not isinstance(tree, list):
            if isinstance(tree, dict):
                raise CodingError("bytes that are no message")
            return tree
        kind, inside = tree
        return _READERS[kind](self, inside, depth + 1)

    def _all(self, trees: list[Any], depth: int) -> list[Any]:
        return [self._read(tree, depth) for tree in trees]


def _arrays(table: list[list[Any]], body: bytes) -> list[np.ndarray]:
    arrays, at = [], 0
    for name, shape, writeable in table:
        dtype = np.dtype(str(name))
        if dtype.kind not in _KINDS or any(not 0 <= size <= MOST for size in shape):
            raise ValueError(name)
        size = prod(shape) * dtype.itemsize
        part = body[at : at + size]
        if len(part) != size:
            raise ValueError(size)
        array = np.frombuffer(part, dtype).reshape(shape) if size else np.empty(shape, dtype)
        if writeable:
            array = array.copy()
        arrays.append(array)
        at += size
    return arrays


def _generator(message: Message, inside: Any, depth: int) -> np.random.Generator:
    state = message._read(inside, depth)
    generator = np.random.default_rng(0)  # PCG64: another kind of state is refused by it
    generator.bit_generator.state = state
    return generator


def _kit(message: Message, inside: Any, depth: int) -> Any:
    name, named = inside
    return KIT[name](**message._read(named, depth))


_READERS: dict[str, Callable[[Message, Any, int], Any]] = {
    "scalar": lambda m, i, d: m.arrays[i].reshape(())[()],
    "array": lambda m, i, d: m.arrays[i],
    "bytes": lambda m, i, d: m.arrays[i].tobytes(),
    "bytearray": lambda m, i, d: bytearray(m.arrays[i].tobytes()),
    "list": lambda m, i, d: m._all(i, d),
    "tuple": lambda m, i, d: tuple(m._all(i, d)),
    "set": lambda m, i, d: set(m._all(i, d)),
    "frozenset": lambda m, i, d: frozenset(m._all(i, d)),
    "dict": lambda m, i, d: {m._read(k, d): m._read(v, d) for k, v in i},
    "Samples": lambda m, i, d: Samples(*m._all(i, d)),
    "Network": lambda m, i, d: Network(*m._all(i, d)),
    "Generator": _generator,
    "kit": _kit,
}


def copy_back(old: Any, new: Any, same: Callable[[np.ndarray, np.ndarray], None]) -> None:
    """Do to the arguments of a call what was done to their copies, so that it is seen.

    Parameters
    ----------
    old, new
        An argument, and what its copy was after the call.
    same : callable
        Told of each pair of arrays ``(old, new)`` that are one.
    """
    if isinstance(old, np.ndarray) and isinstance(new, np.ndarray):
        if old.shape == new.shape and old.dtype == new.dtype:
            if old.flags.writeable:
                old[...] = new
            same(old, new)
    elif isinstance(old, np.random.Generator) and isinstance(new, np.random.Generator):
        old.bit_generator.state = new.bit_generator.state
    elif type(old) is not type(new):
        return
    elif isinstance(old, list | bytearray):
        _copy_items(old, new, same)
    elif isinstance(old, dict):
        for key in old.keys() & new.keys():
            copy_back(old[key], new[key], same)
        kept = {key: _kept(old.get(key), value) for key, value in new.items()}
        old.clear()
        old.update(kept)
    elif isinstance(old, set):
        old.clear()
        old.update(new)
    elif isinstance(old, tuple):
        for one, other in zip(old, new, strict=False):
            copy_back(one, other, same)


def _copy_items(old: Any, new: Any, same: Callable[[np.ndarray, np.ndarray], None]) -> None:
    for one, other in zip(old, new, strict=False):
        copy_back(one, other, same)
    beyond = [None] * len(new)
    old[:] = [_kept(one, other) for one, other in zip([*old, *beyond], new, strict=False)]


def _kept(old: Any, new: Any) -> Any:
    """The old object where it is what the new one is, else the new one."""
    if isinstance(old, np.ndarray):
        fits = isinstance(new, np.ndarray) and (old.shape, old.dtype) == (new.shape, new.dtype)
        return old if fits and old.flags.writeable else new
    kept = isinstance(old, list | dict | set | bytearray) and type(old) is type(new)
    return old if kept else new
