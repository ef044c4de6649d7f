"""What server and nodes say to each other, as Flower's records.

Parameters travel as the plain bytes of little-endian float32, with no pickle and no NumPy file.
What comes from the other side is checked before anything is made of it; `KitError` says what is
wrong with it, or why the other side refuses.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np

from tinyreptile_lite import few_shot
from tinyreptile_lite.clients import Order
from tinyreptile_lite.errors import KitError, unknown_name
from tinyreptile_lite.flower.api import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from tinyreptile_lite.learners import Adam, Learned, Learner, MinibatchSGD, OnlineSGD
from tinyreptile_lite.network import Network
from tinyreptile_lite.partial import PartialSGD

FORMAT = "float32, little-endian"
ANY = "*"  # in a node's list of devices: it can play every device of the family
_LEARNERS = {
    kind.__name__: kind for kind in (OnlineSGD, MinibatchSGD, Adam, PartialSGD, *few_shot.LEARNERS)
}


class Visit(NamedTuple):
    """One visit to a device, wherever that is played: with phi this decides the answer."""

    device: str
    order: Order


def write_visit(phi: np.ndarray, visit: Visit, net: Network) -> RecordDict:
    """Pack phi, the device and the order.

    Raises `KitError` if the device shall keep something for its next visit, as nodes keep nothing.
    """
    if isinstance(visit.order.learner, PartialSGD) and visit.order.learner.feedback:
        raise KitError(
            "Flower's nodes keep nothing between two visits; train without error feedback"
        )
    order = asdict(visit.order)
    learner = order.pop("learner") | {"kind": type(visit.order.learner).__name__}
    ask = ConfigRecord({"network": net.fingerprint(), "device": visit.device} | order)
    return RecordDict({"phi": _pack(phi), "visit": ask, "learner": ConfigRecord(learner)})


def read_visit(content: RecordDict, net: Network) -> tuple[np.ndarray, Visit]:
    """Unpack what `write_visit` packed."""
    ask, learner = _config(content, "visit"), dict(_config(content, "learner"))
    if ask.get("network") != net.fingerprint():
        raise KitError("this node has another network; install the same version on all machines")
    numbers = {name: _value(ask, name, int) for name in ("round", "sample_count", "seed")}
    order = Order(learner=_learner(learner.pop("kind", None), learner), **numbers)
    return _unpack(content, "phi", net), Visit(_value(ask, "device", str), order)


def _learner(kind: Any, settings: dict[str, Any]) -> Learner:
    if kind not in _LEARNERS:
        raise unknown_name("learner", kind, _LEARNERS)
    try:
        return _LEARNERS[kind](**settings)
    except TypeError:
        raise KitError(f"{kind} has no such settings: {', '.join(settings)}") from None


def write_update(update: Learned) -> RecordDict:
    """Pack what a client learned; raises `KitError` if that cannot be used."""
    if not (np.isfinite(update.params).all() and np.isfinite(update.loss)):
        raise KitError("the weights are no longer finite; lower the inner rate")
    loss = ConfigRecord({"loss": float(update.loss)})
    return RecordDict({"params": _pack(update.params), "update": loss})


def write_devices(names: list[str]) -> RecordDict:
    """Pack the names of the devices that a node can play."""
    return RecordDict({"devices": ConfigRecord({"names": names})})


def write_refusal(reason: str) -> RecordDict:
    """Pack why a node cannot do what was asked."""
    return RecordDict({"refusal": ConfigRecord({"reason": reason})})


def read_update(reply: Message, net: Network) -> Learned:
    """Unpack what a client learned."""
    content = _content(reply)
    loss = _value(_config(content, "update"), "loss", float)
    if not np.isfinite(loss):
        raise KitError(f"the loss is {loss}")
    return Learned(_unpack(content, "params", net), loss)


def read_devices(reply: Message) -> frozenset[str]:
    """Unpack the names of the devices that a node can play."""
    names = _value(_config(_content(reply), "devices"), "names", list)
    if not all(isinstance(name, str) for name in names):
        raise KitError("the devices' names are no text")
    return frozenset(names)


def _content(reply: Message) -> RecordDict:
    """Return what a reply holds, or raise what it says instead."""
    if reply.has_error():
        raise KitError(_line(reply.error.reason or "no reason given"))
    if not reply.has_content():
        raise KitError("the answer is empty")
    if "refusal" in reply.content:
        raise KitError(_line(_value(_config(reply.content, "refusal"), "reason", str)))
    return reply.content


def _line(text: str) -> str:
    """Make what somebody else wrote fit into one line of a log."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:300]


def _pack(params: np.ndarray) -> ArrayRecord:
    data = np.ascontiguousarray(params, "<f4").tobytes()
    return ArrayRecord({"params": Array("float32", (len(params),), FORMAT, data)})


def _unpack(content: RecordDict, name: str, net: Network) -> np.ndarray:
    record = content.get(name)
    array = record.get("params") if isinstance(record, ArrayRecord) else None
    if array is None or (array.dtype, array.stype) != ("float32", FORMAT):
        raise KitError(f"{name} is no array of {FORMAT}")
    if array.shape != (net.size,) or len(array.data) != 4 * net.size:
        raise KitError(
            f"{name} has shape {array.shape} and {len(array.data)} bytes; "
            f"this network has {net.size} weights"
        )
    params = np.frombuffer(array.data, "<f4").astype(np.float32)
    if not np.isfinite(params).all():
        raise KitError(f"{name} holds NaN or infinite values")
    return params


def _config(content: RecordDict, name: str) -> Mapping[str, Any]:
    record = content.get(name)
    if not isinstance(record, ConfigRecord):
        raise KitError(f"the record {name} is missing")
    return record


def _value(record: Mapping[str, Any], name: str, kind: type) -> Any:
    value = record.get(name)
    if type(value) is not kind:
        raise KitError(f"{name} is {value!r}, not of type {kind.__name__}")
    return value
