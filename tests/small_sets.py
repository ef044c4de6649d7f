"""Small archives of the same trees as the real data sets, for tests that need no download."""

import io
import tarfile
import wave
import zipfile
import zlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from tinyreptile_lite.tasks import DATA_SETS, keywords

# Archive, alphabet, characters. Each set is split into training, validation and test.
CHARACTERS = {
    "images_background": {"Greek": 7, "Latin": 3, "Braille": 5},
    "images_evaluation": {"Tengwar": 4, "ULOG": 3},
    "images_background_small1": {"Greek": 7, "Latin": 3, "Early_Aramaic": 4},
    "images_background_small2": {"Latin": 3, "Japanese_(katakana)": 2, "Tagalog": 5},
}
SPEAKERS = [f"{7 * i:08x}" for i in range(9)]  # the last one says too little


@cache
def picture(alphabet: str, character: int, drawer: int, size: int = 105) -> bytes:
    """A PNG of black blots on white, of one bit, other ones for each drawing."""
    rng = np.random.default_rng(zlib.crc32(f"{alphabet} {character} {drawer}".encode()))
    blots = Image.fromarray((rng.random((9, 9)) < 0.7).astype(np.uint8) * 255)
    file = io.BytesIO()
    blots.resize((size, size), Image.Resampling.NEAREST).convert("1").save(file, "PNG")
    return file.getvalue()


def character_files(name: str) -> dict[str, bytes]:
    """Paths and pictures of one of the four archives."""
    return {
        f"{name}/{alphabet}/character{c:02}/{100 + c:04}_{drawer:02}.png": picture(
            alphabet, c, drawer
        )
        for alphabet, count in CHARACTERS[name].items()
        for c in range(1, count + 1)
        for drawer in range(1, 21)
    }


def recording(pitch: float, length: int = 16_000, channels: int = 1, rate: int = 16_000) -> bytes:
    """A WAV file with a tone in its middle, of 16 bits."""
    time = np.arange(length * channels)
    tone = 3_000 * np.sin(2 * np.pi * pitch * time / 16_000) * (abs(time - 8_000) < 3_000)
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(tone.astype("<i2").tobytes())
    return file.getvalue()


@cache
def clip_files() -> Mapping[str, bytes]:
    """Paths and recordings: eight speakers say seven words four times, the ninth three times."""
    return {
        f"./{word}/{speaker}_nohash_{n}.wav": recording(200 + 150 * w + 10 * s + n)
        for s, speaker in enumerate(SPEAKERS)
        for w, word in enumerate(keywords.WORDS[s % 2 : s % 2 + 7])
        for n in range(4 if speaker != SPEAKERS[-1] else 3)
    }


def write_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_tar(path: Path, files: Mapping[str, bytes], kind: str = "gz") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, f"w:{kind}") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def write_folder(path: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def write_all(folder: Path) -> Path:
    """A data folder with all sets."""
    for name in CHARACTERS:
        write_zip(folder / "omniglot" / f"{name}.zip", character_files(name))
    archive = DATA_SETS["keywords"].archives[0].name
    write_tar(folder / "speech_commands" / archive, {**clip_files(), "LICENSE": b"CC BY 4.0"})
    return folder
