"""Modelled cycles of a Cortex-M4 with FPU, from the blocks of code that were executed.

The costs are those of the Arm Cortex-M4 Processor Technical Reference Manual (Arm DDI 0439), tables
"Cortex-M4 instruction set summary" and "FPU instruction set", for memory without wait states. Where
the manual gives a range, the model takes one value, named below. It leaves out what makes the real
core faster (neighbouring loads that overlap, stores hidden by the write buffer) and slower (flash
wait states, a result needed by the very next instruction). So a figure made with it is called
modelled: good for comparing two programs, not a measurement of a board.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import capstone

from tinyreptile_lite.nano.counter import Block

PIPELINE_REFILL = 2  # P in the manual, 1 to 3: added to every branch that is taken
DIVIDE = 12  # SDIV and UDIV take 2 to 12: the longest

# Cycles by mnemonic; what is not listed takes one.
FIXED = {
    "ldr": 2, "ldrb": 2, "ldrh": 2, "ldrsb": 2, "ldrsh": 2,
    "str": 2, "strb": 2, "strh": 2,
    "ldrd": 3, "strd": 3,
    "mla": 2, "mls": 2,
    "sdiv": DIVIDE, "udiv": DIVIDE,
    "vmla": 3, "vmls": 3, "vnmla": 3, "vnmls": 3, "vfma": 3, "vfms": 3, "vfnma": 3, "vfnms": 3,
    "vdiv": 14, "vsqrt": 14,
    "tbb": 2, "tbh": 2,
}  # fmt: skip
# One cycle, and one more for each register that is moved, two for a d register.
MULTIPLE = {"ldm", "stm", "push", "pop", "vldm", "vstm", "vpush", "vpop"}
BRANCHES = {"b", "bl", "bx", "blx", "cbz", "cbnz", "tbb", "tbh"}
CONDITIONS = {
    "eq", "ne", "hs", "lo", "cs", "cc", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le",
}  # fmt: skip


def _base(mnemonic: str) -> str:
    """Strip width, type and condition: ``vldmia.f32`` is ``vldm``, ``beq.w`` is ``b``."""
    name = mnemonic.split(".")[0]
    for suffix in ("", *(c for c in CONDITIONS if name.endswith(c))):
        short = name.removesuffix(suffix)
        for end in ("", "ia", "db"):
            stem = short.removesuffix(end)
            if stem in FIXED or stem in MULTIPLE or stem in BRANCHES:
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
    if name == "vmov" and operands.count(",") >= 2:  # two core registers, a double or two singles
        return 2
    return FIXED.get(name, 1)


class Executed(NamedTuple):
    """What a program has executed: instructions, counted, and cycles, modelled."""

    instructions: int
    cycles: int


def model(blocks: Iterable[Block], read: Callable[[int, int], bytes]) -> Executed:
    """Turn executed blocks of code into instructions and modelled cycles.

    The blocks are those of `VirtualNano.blocks`; `read` is the board's `read_memory`.
    """
    decoder = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB + capstone.CS_MODE_MCLASS)
    instructions = cycles = 0
    for block in blocks:
        code = list(decoder.disasm_lite(read(block.address, block.size), block.address))
        instructions += block.runs * len(code)
        cycles += block.runs * sum(cost(mnemonic, operands) for *_, mnemonic, operands in code)
        last, operands = code[-1][2:]
        # `pop {pc}` is a branch, `ldr r0, [pc, #4]` is none.
        if _base(last) in BRANCHES or "pc" in operands.partition("[")[0]:
            cycles += (block.runs - block.falls) * PIPELINE_REFILL
    return Executed(instructions, cycles)
