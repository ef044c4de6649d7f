"""WristAdapt keeps its weights: over a reset, over bad luck, and as a file on the computer."""

import re
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from tinyreptile_lite.errors import KitError
from tinyreptile_lite.nano import VirtualNano, build
from tinyreptile_lite.nano.flash import ENDURANCE, ERASE_US, PROGRAM_US
from tinyreptile_lite.nano.recording import Saver
from tinyreptile_lite.tasks import find_family
from tinyreptile_lite.wire.local import network_id

ARDUINO = Path(__file__).parents[1] / "arduino"
SKETCH = ARDUINO / "WristAdapt"
START, BYTES, PAGE = 0xEB000, 0x14000, 4096  # as in tr_flash.h
SLOT, HEADER = BYTES // 2, 68


@pytest.fixture(scope="module")
def firmware():
    return build(SKETCH)


@pytest.fixture
def board(firmware):
    board = VirtualNano(firmware)
    board.run(100)
    return board


@pytest.fixture(scope="module")
def one_lesson(firmware, tmp_path_factory):
    """A file of the flash in which one lesson is kept, and its weights."""
    board, path = VirtualNano(firmware), tmp_path_factory.mktemp("kept") / "flash"
    learnt = keep(board)
    board.flash.save(path)
    return path, learnt


def weights(board):
    return board.read_variable("weights")


def phi(board):
    return board.read_variable("phi")


def teach(board, label=1):
    board.serial.write_line(str(label))
    board.run_until(", loss ", limit_ms=10_000)


def keep(board, label=1):
    """Teach one exercise, and wait until it is kept."""
    teach(board, label)
    board.run_until("kept: it outlives a reset", limit_ms=20_000)
    return weights(board)


def restart(board):
    """What the sketch says at its start."""
    board.reset()
    board.run_until("ready")
    return board.serial.text


@pytest.mark.parametrize("name", ["WristAdapt", "HelloTinyReptile"])
def test_a_sketch_knows_its_networks_id(name):
    family = {"WristAdapt": "wrist", "HelloTinyReptile": "sine"}[name]
    said = re.search(r"#define PHI_ID \{(.*?)\}", (ARDUINO / name / "phi.h").read_text())
    assert bytes(int(byte, 16) for byte in said[1].split(",")) == network_id(
        find_family(family).network()
    )


def test_what_was_learnt_outlives_a_reset(board):
    assert np.array_equal(weights(board), phi(board))
    teach(board)
    teach(board, 2)
    assert "going on" not in restart(board)  # the ten seconds were not over
    assert np.array_equal(weights(board), phi(board))
    assert not board.flash.erasures

    board.serial.write_line("m")
    learnt = keep(board)
    assert "going on with what was learnt before; r forgets it" in restart(board)
    assert np.array_equal(weights(board), learnt)
    board.serial.write_line("m")  # how it was worn was kept too
    board.run_until("the other arm: axes +x-y-z-")


def test_keeping_takes_its_time_and_both_slots_wear_alike(board, one_lesson):
    board.flash.load(one_lesson[0])
    teach(board)
    board.run(9_900)
    began = board.time_us
    board.run_until("kept")
    pages = -(-(HEADER + len(weights(board)) * 4) // PAGE)
    words = HEADER // 4 + len(weights(board))
    assert board.time_us - began > pages * ERASE_US + words * PROGRAM_US
    slots = (START, START + SLOT)
    assert board.flash.erasures == {
        slot + PAGE * page: 1 for slot in slots for page in range(pages)
    }
    assert max(board.flash.erasures.values()) < ENDURANCE


def test_r_forgets_what_is_stored_as_well(board, one_lesson):
    board.flash.load(one_lesson[0])
    assert "going on" in restart(board)
    keep(board, 2)
    board.serial.write_line("r")
    board.run_until("forgotten: back to phi")
    assert np.array_equal(weights(board), phi(board))
    assert board.read_memory(START, BYTES) == b"\xff" * BYTES
    assert restart(board).startswith("ready")
    assert np.array_equal(weights(board), phi(board))


@pytest.mark.parametrize("operations", [0, 1, 9, 5000, 8826, 8827, 8840, 17_000, None])
def test_r_does_not_forget_how_it_is_worn_even_if_power_fails(board, operations):
    board.serial.write_line("a-x+y-z-")
    keep(board)
    first = weights(board)
    if operations is not None:
        board.flash.lose_power_after(operations)
    board.serial.write_line("r")
    board.run(4_000)
    said = restart(board)
    assert "going on" in said
    assert board.read_variable("worn", "uint8")[:8].tobytes() == b"-x+y-z-\0"
    known = [each.tobytes() for each in (first, phi(board))]
    assert weights(board).tobytes() in known
    assert operations is not None or weights(board).tobytes() == known[1]
    if operations is None:
        assert first[:8].tobytes() not in board.read_memory(START, BYTES)


def rewrite(board, **fields):
    """Change the first record's header, and make its CRC right again."""
    header = bytearray(board.read_memory(START, HEADER))
    for at, content in fields.values():
        header[at : at + len(content)] = content
    header[60:64] = struct.pack("<I", zlib.crc32(header[:60]))
    board.flash.erase(START)
    board.flash.program(START, bytes(header))


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ((8, b"another!"), "the stored weights belong to another network"),
        ((20, struct.pack("<I", 7)), "the stored weights belong to another network"),
        ((24, b"\0\0\0\0"), "the stored weights are damaged: wrong CRC"),
        ((4, b"\x02"), "the stored weights have another format"),
    ],
)
def test_what_is_not_its_own_is_one_sentence_and_phi(board, one_lesson, field, words):
    board.flash.load(one_lesson[0])
    rewrite(board, field=field)
    said = restart(board).splitlines()
    assert said[0] == words
    assert len(said) == 2
    assert np.array_equal(weights(board), phi(board))


def test_kept_weights_that_are_no_numbers_are_told(board, one_lesson):
    board.flash.load(one_lesson[0])
    bad = bytearray(board.read_memory(START + HEADER, 4 * len(phi(board))))
    bad[:4] = struct.pack("<f", np.nan)
    header = bytearray(board.read_memory(START, HEADER))
    header[24:28] = struct.pack("<I", zlib.crc32(bad))
    header[60:64] = struct.pack("<I", zlib.crc32(header[:60]))
    for page in range(0, SLOT, PAGE):
        board.flash.erase(START + page)
    board.flash.program(START, bytes(header + bad))
    said = restart(board).splitlines()
    assert said[0] == "what was kept holds NaN or huge numbers: back to phi" and len(said) == 2
    assert np.array_equal(weights(board), phi(board))


def test_a_flipped_bit_costs_only_the_last_lesson(board, one_lesson):
    path, first = one_lesson
    board.flash.load(path)
    restart(board)
    keep(board, 2)
    bits = board.read_memory(START + SLOT + 5000, 4)
    board.flash.program(START + SLOT + 5000, bytes(byte & 0xFE & byte << 1 for byte in bits))
    assert board.read_memory(START + SLOT + 5000, 4) != bits
    said = restart(board)
    assert "one of two stored records is damaged; the other one is used" in said
    assert np.array_equal(weights(board), first)


@pytest.mark.parametrize("cut", [4, 5000, 9 + 8807 + 16])  # a page, a weight, the mark at the end
def test_power_lost_while_keeping_leaves_the_last_good_weights(board, one_lesson, cut):
    path, first = one_lesson
    board.flash.load(path)
    restart(board)
    teach(board, 2)
    assert not np.array_equal(weights(board), first)
    board.flash.lose_power_after(cut)
    board.run(12_000)
    assert board.stopped
    assert "going on with what was learnt before" in restart(board)
    assert np.array_equal(weights(board), first)


def saved(board, command, path):
    """Let a command's answer go into a file."""
    saver = Saver(path)
    board.serial.listener = saver.take
    board.serial.write_line(command)
    board.run_until(lambda _: saver.done)
    return path


def test_the_weights_come_as_csv_and_as_c_to_the_last_bit(board, tmp_path):
    teach(board)
    read = np.loadtxt(saved(board, "w", tmp_path / "weights.csv"), np.float32)
    assert read.tobytes() == weights(board).tobytes()
    copy = tmp_path / "WristAdapt"
    shutil.copytree(SKETCH, copy)
    (copy / "phi.c").unlink()
    saved(board, "c", copy / "phi.c")
    firmware = build(copy)
    assert not firmware.warnings
    other = VirtualNano(firmware)
    assert phi(other).tobytes() == weights(board).tobytes()


BIG = 'extern "C" const char big[];\nvoid setup() {\n  if (big[millis()] == 2) return;'
UICR = "typedef struct {{ unsigned NRFFW[1]; }} uicr;\nstatic const uicr it = {{{{{}u}}}};\n"


def test_a_sketch_that_reaches_the_pages_is_told_so(tmp_path):
    copy = tmp_path / "WristAdapt"
    shutil.copytree(SKETCH, copy)
    (copy / "big.c").write_text("const char big[850000] = {1};\n")
    text = (copy / "WristAdapt.ino").read_text()
    (copy / "WristAdapt.ino").write_text(text.replace("void setup() {", BIG))
    board = VirtualNano(copy)
    board.run_until("ready")
    assert board.serial.text.startswith("nothing can be kept: the sketch is so large")
    teach(board)
    board.run(12_000)
    assert "kept" not in board.serial.text.split("ready")[1]
    for command, answer in (("r", "forgotten: back to phi"), ("w", "--- end")):
        board.serial.write_line(command)
        board.run_until(answer)
    assert not board.flash.erasures


@pytest.mark.parametrize(("loader", "refused"), [(0xFFFFFFFF, 0), (0xE0000, 0), (0xF4000, 1)])
def test_another_boot_loaders_pages_are_not_touched(tmp_path, loader, refused):
    """The register in which the chip notes where its boot loader is, played by a variable."""
    copy = tmp_path / "WristAdapt"
    shutil.copytree(SKETCH, copy)
    (copy / "nrf.h").write_text(UICR.format(loader) + "#define NRF_UICR (&it)\n")
    board = VirtualNano(copy)
    board.run_until("ready")
    assert board.serial.text.count("this boot loader may use the pages for it") == refused


# ---- The flash of the virtual board --------------------------------------------------------------


@pytest.fixture
def writer(tmp_path):
    """Build a sketch that runs some lines with `flash`, an mbed::FlashIAP, and shows `x`."""

    def make(lines):
        (tmp_path / "Writer").mkdir()
        (tmp_path / "Writer" / "Writer.ino").write_text(
            "#include <FlashIAP.h>\nmbed::FlashIAP flash;\n"
            f"void setup() {{ int x = 0; flash.init(); {lines} Serial.println(x); }}\n"
            "void loop() {}\n"
        )
        board = VirtualNano(tmp_path / "Writer")
        board.run(1000)
        return board

    return make


def test_a_sketch_erases_programs_and_reads_flash(writer):
    board = writer(
        "unsigned char data[] = {1, 2, 3, 4, 5, 6}, back[6];\n"
        "x += flash.erase(0xff000, 4096);\n"
        "x += flash.program(data + 1, 0xff004, 5);\n"  # from any address, filled up to words
        "x += flash.read(back, 0xff004, 6);\n"
        "for (int i = 0; i < 6; i++) { Serial.print(back[i]); Serial.print(' '); }\n"
        "Serial.print(*(const volatile unsigned int *)0xff004, HEX); Serial.print(' ');\n"
        "x += 10 * flash.program(data, 0xff002, 4);\n"
        "x += 100 * flash.erase(0xff000, 100);\n"
        "x += 1000 * flash.erase(0x100000, 4096);\n"
        "x += 10000 * flash.read(back, 0xffffe, 4);\n"
    )
    assert board.serial.text.strip() == "2 3 4 5 6 255 5040302 -11110"
    assert board.time_us > ERASE_US + 2 * PROGRAM_US
    board.reset()
    assert board.read_memory(0xFF004, 5) == bytes([2, 3, 4, 5, 6])


def test_a_sketch_cannot_erase_itself(writer):
    with pytest.raises(KitError, match="its own program in flash, at 0x00010000"):
        writer("x = flash.erase(0x10000, 4096);")


def test_what_was_learnt_from_another_phi_is_not_taken(one_lesson, tmp_path):
    """Else a sketch with new weights would go on with the old ones."""
    sketch = shutil.copytree(SKETCH, tmp_path / "WristAdapt")
    text = (sketch / "phi.c").read_text()
    first = re.search(r"phi\[PHI_WEIGHTS\] = \{\s*(\S+?)f,", text)[1]
    (sketch / "phi.c").write_text(text.replace(f"{first}f,", "0.125f,", 1))
    board = VirtualNano(build(sketch, libraries=ARDUINO / "libraries"))
    board.flash.load(one_lesson[0])
    assert "what was kept began with another phi" in restart(board)
    assert np.array_equal(weights(board), phi(board)) and weights(board)[0] == 0.125
    learnt = keep(board)
    assert "going on with what was learnt before" in restart(board)
    assert np.array_equal(weights(board), learnt)
