"""Modelled cycles of a Cortex-M4 with FPU, from the blocks of code that were executed.

Nobody can read off a program how long it takes, so there are three numbers. The middle one is for
comparing two programs, and the virtual board's clock follows it: the costs of the Arm Cortex-M4
Processor Technical Reference Manual r0p1 (Arm DDI 0439, now 100166), tables "Processor instruction
set summary" and "FPU instruction set", for memory without wait states; a branch that is taken adds
P = 2 cycles. A board should lie between the other two, by that manual's notes on timing and by what
is known of the chip, the nRF52840:

low     P = 1. A load or store right behind a load takes one cycle, if its address does not need
        what that loads; so does a store at a fixed offset. IT costs nothing, divisions are short
        and VDIV and VSQRT hidden by integer work. A VMOV between the two kinds of registers takes
        one cycle, as users measure; the manual's two are in the middle.
high    P = 3. One cycle more for what needs a result that the FPU has computed right before, for
        an address computed right before, and for a constant beside the code. Two wait states for
        such a constant, and for every 16 bytes of code that a block touches, as flash without
        the instruction cache has (two are assumed: no source was at hand); Mbed OS's start-up code
        (system_nrf52840.c) does not turn it on. Interrupts of clock and USB take 2 %: a guess.

Known from a board: a loop of nop, subs, bne takes 4, 5 or 6 cycles on this chip, as it lies at a
multiple of 16, 8 or 2 bytes (rust-embedded/cortex-m, issue 151). P = 1, 2, 3 gives just these.

Left out: Bluetooth's interrupts, other masters of the bus (EasyDMA), numbers in flash that are read
through a pointer (phi), addresses that are no multiple of their size, what sensors take on their
bus. None of this was run on a board.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from tinyreptile_lite.errors import needed


class Cost(NamedTuple):
    """Cycles: the least, those of the manual's table, and the most."""

    low: int
    middle: int
    high: int


REFILL = Cost(1, 2, 3)  # P in the manual: added to every branch that is taken
DIVIDE = 12  # SDIV and UDIV take 2 to 12: the longest
LINE_BYTES, WAIT_STATES = 16, 2  # of flash without the cache
INTERRUPTS = 2  # percent

# Cycles by mnemonic; what is not listed takes one.
FIXED = {
    "ldr": 2, "ldrb": 2, "ldrh": 2, "ldrsb": 2, "ldrsh": 2,
    "str": 2, "strb": 2, "strh": 2,
    "ldrd": 3, "strd": 3,
    "sdiv": DIVIDE, "udiv": DIVIDE,
    "vmla": 3, "vmls": 3, "vnmla": 3, "vnmls": 3, "vfma": 3, "vfms": 3, "vfnma": 3, "vfnms": 3,
    "vdiv": 14, "vsqrt": 14,
    "tbb": 2, "tbh": 2,
}  # fmt: skip
SHORTEST = {"sdiv": 2, "udiv": 2, "vdiv": 1, "vsqrt": 1, "vmov": 1}
# One cycle, and one more for each register that is moved, two for a d register.
MULTIPLE = {"ldm", "stm", "push", "pop", "vldm", "vstm", "vpush", "vpop"}
LOADS = {"ldr", "ldrb", "ldrh", "ldrsb", "ldrsh", "vldr"}
STORES = {"str", "strb", "strh", "vstr"}
BRANCHES = {"b", "bl", "bx", "blx", "cbz", "cbnz"}
CONDITIONS = {
    "eq", "ne", "hs", "lo", "cs", "cc", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le",
}  # fmt: skip
_KNOWN = FIXED.keys() | MULTIPLE | LOADS | STORES | BRANCHES | {"vmov"}
_REGISTER = re.compile(r"\b(?:[rsd]\d+|s[bpl]|fp|ip|lr|pc)\b")
_CORE_REGISTER = re.compile(r"\b(?:r\d+|s[bpl]|fp|ip|lr)\b")


@cache
def _base(mnemonic: str) -> str:
    """Strip width, type and condition: ``vldmia.f32`` is ``vldm``, ``beq.w`` is ``b``."""
    name = mnemonic.split(".")[0]
    for suffix in ("", *(c for c in CONDITIONS if name.endswith(c))):
        short = name.removesuffix(suffix)
        for end in ("", "ia", "db"):
            stem = short.removesuffix(end)
            if stem in _KNOWN:
                return stem
    return name


def cost(mnemonic: str, operands: str) -> int:
    """Cycles of one instruction that does not branch away, given as capstone prints it.

    Examples
    --------
    >>> cost("vmul.f32", "s0, s1, s2"), cost("vldmia", "r1!, {s0, s1}")
    (1, 3)
    """
    name = _base(mnemonic)
    if name in MULTIPLE:
        moved = operands[operands.index("{") + 1 : operands.index("}")].split(",")
        return 1 + sum(2 if register.strip().startswith("d") else 1 for register in moved)
    if name in ("vldr", "vstr"):
        return 3 if operands.startswith("d") else 2
    if name == "vmov" and _CORE_REGISTER.search(operands):
        return 2
    return FIXED.get(name, 1)


class _Instruction:
    """One instruction as text, and what the one behind it must know."""

    def __init__(self, mnemonic: str, operands: str) -> None:
        self.name, self.middle = _base(mnemonic), cost(mnemonic, operands)
        self.registers = _REGISTER.findall(operands)
        self.result = self.registers[0] if self.registers else ""
        self.moves = self.name in LOADS | STORES | MULTIPLE | {"ldrd", "strd"}
        inside = operands.partition("[")[2] or operands.partition(",")[0]
        self.address = _REGISTER.findall(inside) if self.moves else []
        self.computes_float = ".f" in mnemonic and self.name not in ("vmov", "vcmp", "vcmpe")
        self.computes = not self.moves and self.name not in BRANCHES and self.name[0] != "v"

    def cost(self, before: "_Instruction | None") -> Cost:
        """Cycles after the instruction `before`; None if this is the first one of a block."""
        low = high = self.middle
        if self.name.startswith("it"):
            low = 0
        elif self.name in STORES and len(self.address) == 1:
            low -= 1
        elif before and before.name in LOADS and self.name in LOADS | STORES:
            low -= before.result not in self.address
        else:
            low = min(low, SHORTEST.get(self.name, low))
        if before and before.computes_float:
            high += before.result in self.registers
        if before and before.computes:
            high += before.result in self.address
        if "pc" in self.address:
            high += 1 + WAIT_STATES
        return Cost(low, self.middle, high)


def _decoded(code: bytes) -> list[_Instruction]:
    capstone = needed("capstone", "capstone")
    decoder = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB + capstone.CS_MODE_MCLASS)
    return [_Instruction(name, operands) for *_, name, operands in decoder.disasm_lite(code, 0)]


def straight(code: bytes) -> list[Cost]:
    """Cycles of each instruction in a block of code, without flash and branch."""
    found = _decoded(code)
    return [one.cost(before) for one, before in zip(found, [None, *found], strict=False)]


class Executed(NamedTuple):
    """What was executed: instructions, counted, and cycles, modelled, with their range."""

    instructions: int
    cycles: int
    low: int
    high: int


@dataclass(frozen=True)
class Block:
    """A block of straight code and how often it ran."""

    address: int
    size: int  # bytes
    runs: int
    falls: int  # how often the block right behind it came next: its branch was not taken


def model(blocks: Iterable[Block], read: Callable[[int, int], bytes]) -> Executed:
    """Turn executed blocks of code into instructions and modelled cycles.

    The blocks are those of `VirtualNano.blocks`; `read` is the board's `read_memory`.
    """
    instructions = low = middle = high = 0
    for block in blocks:
        costs = straight(read(block.address, block.size))
        least, table, most = (sum(part) for part in zip(*costs, strict=True))
        lines = -(-(block.address % LINE_BYTES + block.size) // LINE_BYTES)
        taken = block.runs - block.falls
        instructions += block.runs * len(costs)
        low += block.runs * least + taken * REFILL.low
        middle += block.runs * table + taken * REFILL.middle
        high += block.runs * (most + WAIT_STATES * lines) + taken * REFILL.high
    return Executed(instructions, middle, low, high * (100 + INTERRUPTS) // 100)
