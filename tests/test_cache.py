"""What is compiled is kept whole: a damaged entry is made again, a cache is never half written."""

import ctypes
import os
import subprocess
import sys

import pytest
from compilers import BOARD

from tinyreptile_lite import cache
from tinyreptile_lite.cache import CannotBuild, cached
from tinyreptile_lite.core import build as core_build
from tinyreptile_lite.nano import VirtualNano
from tinyreptile_lite.nano import build as build_sketch

DAMAGES = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "flipped": lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
}
damages = pytest.mark.parametrize("damage", DAMAGES)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYREPTILE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def spoil(path, damage):
    data = path.read_bytes()
    path.write_bytes(DAMAGES[damage](data))
    return data


def one(folder):
    (folder / "made.txt").write_text("what was made\n")
    (folder / "left.txt").write_text("not needed any more\n")


@damages
@pytest.mark.parametrize("name", ["made.txt", cache.HASHES])
def test_a_damaged_entry_is_made_again(home, name, damage):
    place = cached("kind", "key", ["made.txt"], one)
    data = spoil(place / name, damage)
    assert cached("kind", "key", ["made.txt"], one) == place
    assert (place / name).read_bytes() == data
    assert sorted(p.name for p in place.iterdir()) == sorted(["made.txt", cache.HASHES])
    assert list(place.parent.iterdir()) == [place]


@pytest.mark.parametrize("name", ["made.txt", cache.HASHES])
def test_an_incomplete_entry_is_made_again(home, name):
    place = cached("kind", "key", ["made.txt"], one)
    (place / name).unlink()
    cached("kind", "key", ["made.txt"], one)
    assert (place / name).exists()


def test_a_sound_entry_is_not_made_again(home):
    place = cached("kind", "key", ["made.txt"], one)
    assert cached("kind", "key", ["made.txt"], lambda _: pytest.fail("made again")) == place


def test_what_cannot_be_made_leaves_nothing(home):
    def broken(folder):
        one(folder)
        raise CannotBuild("no")

    with pytest.raises(CannotBuild, match="no"):
        cached("kind", "key", ["made.txt"], broken)
    assert list((home / "kind").iterdir()) == []


def test_another_process_that_was_faster_wins(home):
    def slow(folder):
        (folder / "made.txt").write_text("too late\n")
        cached("kind", "key", ["made.txt"], one)

    place = cached("kind", "key", ["made.txt"], slow)
    assert (place / "made.txt").read_text() == "what was made\n"


# ---- Shared libraries ----------------------------------------------------------------------------


@pytest.fixture
def source(tmp_path):
    (tmp_path / "one.c").write_text("int one(void) { return 1; }\n")
    return tmp_path / "one.c"


@damages
def test_a_damaged_library_is_made_again(home, source, damage):
    library = core_build.shared_library("one", [source], source.parent)
    data = spoil(library, damage)
    assert core_build.shared_library("one", [source], source.parent) == library
    assert len(library.read_bytes()) == len(data)
    assert ctypes.CDLL(str(library)).one() == 1


def test_processes_that_mend_at_once_do_not_disturb_each_other(home, source):
    library = core_build.shared_library("one", [source], source.parent)
    spoil(library, "cut")
    script = (
        "import ctypes, pathlib, sys\n"
        "from tinyreptile_lite.core.build import shared_library\n"
        "source = pathlib.Path(sys.argv[1])\n"
        "library = shared_library('one', [source], source.parent)\n"
        "sys.exit(ctypes.CDLL(str(library)).one() - 1)\n"
    )
    command = [sys.executable, "-c", script, str(source)]
    workers = [subprocess.Popen(command) for _ in range(4)]
    assert [worker.wait() for worker in workers] == [0] * 4
    assert list(library.parent.parent.iterdir()) == [library.parent]


# ---- Firmware ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sketch(tmp_path_factory):
    folder = tmp_path_factory.mktemp("book") / "Blink"
    folder.mkdir()
    (folder / "Blink.ino").write_text(
        "int spare;\nvoid setup() { int unused; Serial.println(micros()); }\nvoid loop() {}\n"
    )
    return folder


@pytest.fixture(scope="module")
def firmware_cache(tmp_path_factory, sketch):
    """A cache with one firmware, shared by the tests below, as filling it takes a while."""
    folder = tmp_path_factory.mktemp("firmware")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINYREPTILE_CACHE", str(folder))
        build_sketch(sketch, compiler=BOARD[-1])
    return folder


def ran(sketch):
    """What a board does with the sketch: what it sends, and how many instructions it takes."""
    firmware = build_sketch(sketch, compiler=BOARD[-1])
    board = VirtualNano(firmware)
    board.run(5)
    return board.serial.text, board.instructions, firmware.warnings


@damages
@pytest.mark.parametrize("name", ["firmware.elf", "warnings.txt"])
def test_a_damaged_firmware_is_made_again(firmware_cache, sketch, monkeypatch, name, damage):
    monkeypatch.setenv("TINYREPTILE_CACHE", str(firmware_cache))
    before = ran(sketch)
    (place,) = (firmware_cache / "firmware").iterdir()
    spoil(place / name, damage)
    assert ran(sketch) == before


@damages
def test_damaged_objects_are_made_again(firmware_cache, sketch, monkeypatch, damage):
    """A linker takes an empty object without a word, and then the count is another."""
    monkeypatch.setenv("TINYREPTILE_CACHE", str(firmware_cache))
    before = ran(sketch)
    (place,) = (firmware_cache / "firmware").iterdir()
    (place / "firmware.elf").unlink()
    for entry in (firmware_cache / "objects").iterdir():
        spoil(entry / "object.o", damage)
    assert ran(sketch) == before


# ---- A cache that may not be written -------------------------------------------------------------


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path, monkeypatch, refuses):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("TINYREPTILE_CACHE", str(tmp_path / "file"))
    with refuses("file", "set TINYREPTILE_CACHE", error=CannotBuild):
        cached("kind", "key", ["made.txt"], one)


def test_a_computer_without_a_home_is_one_line(tmp_path, monkeypatch, refuses):
    for name in ("TINYREPTILE_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA", "HOME", "USERPROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as for a user without an entry
    with refuses("no home folder", "set TINYREPTILE_CACHE", error=CannotBuild):
        cached("kind", "key", ["made.txt"], one)
