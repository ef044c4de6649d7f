"""The virtual board's processor and memory: a thin shell around the Unicorn emulator."""

import ctypes
import struct
from collections.abc import Callable
from typing import Any

from tinyreptile_lite.errors import KitError, needed
from tinyreptile_lite.nano.counter import FLASH_SIZE
from tinyreptile_lite.nano.image import FLASH_START, RAM_BYTES, RAM_START, STACK_BYTES, Image
from tinyreptile_lite.nano.registers import AT, PERIPHERAL_BASE, PERIPHERAL_BYTES

STACK_PAINT = 0xA5  # what unused stack holds, so that the high-water mark can be seen
_SYSTEM_BASE, _SYSTEM_BYTES = 0xE000_E000, 0x1000  # the processor's own registers
_TRANSLATION_BUFFER = 32 << 20  # bytes of the emulator's own memory; its default is 1 GB
_NOWHERE = 0xFFFF_FFFF  # where execution would end by itself
_RETURN = 0x100  # where an interrupt's function returns to; no sketch has code there
_FRAME = 0x68  # bytes that the processor puts on the stack for an interrupt


class BoardFault(KitError):
    """The sketch did what the processor cannot do.

    `address` was accessed, or is that of the instruction; `function` did it, if that is known.
    """

    def __init__(self, message: str, address: int, function: str | None) -> None:
        super().__init__(message)
        self.address = address
        self.function = function


class Machine:
    """Processor, flash with an image in it, RAM, and one page of device registers."""

    # To be set: called with a register's name and pin, the second also with the value.
    read_register: Callable[[str, int], int]
    write_register: Callable[[str, int, int], None]

    def __init__(self, image: Image) -> None:
        unicorn = needed("unicorn", "unicorn")
        self._unicorn = unicorn
        self._image = image
        self._fault: int | None = None  # address
        self._failure: BaseException | None = None
        self.flash = (ctypes.c_ubyte * FLASH_SIZE)()
        self.ram = (ctypes.c_ubyte * RAM_BYTES)()
        mode = unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS
        self.uc = uc = unicorn.Uc(unicorn.UC_ARCH_ARM, mode)
        uc.ctl_set_cpu_model(unicorn.arm_const.UC_CPU_ARM_CORTEX_M4)
        uc.ctl_set_tcg_buffer_size(_TRANSLATION_BUFFER)
        read_run = unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC
        read_write = unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE
        uc.mem_map_ptr(0, FLASH_SIZE, read_run, ctypes.addressof(self.flash))
        uc.mem_map_ptr(RAM_START, RAM_BYTES, read_write, ctypes.addressof(self.ram))
        uc.mmio_map(PERIPHERAL_BASE, PERIPHERAL_BYTES, self._on_read, None, self._on_write, None)
        uc.mmio_map(_SYSTEM_BASE, _SYSTEM_BYTES, lambda *_: 0, None, lambda *_: None, None)
        uc.hook_add(unicorn.UC_HOOK_MEM_INVALID, self._on_invalid)
        self._fresh = uc.context_save()
        ctypes.memset(self.flash, 0xFF, FLASH_SIZE)
        for address, data in image.segments:
            memory, offset = self.locate(address, len(data))
            ctypes.memmove(ctypes.addressof(memory) + offset, data, len(data))

    def reset(self) -> None:
        """Clear RAM, paint the stack, and read the first two words of the image.

        All registers start as they were made: after a fault, what an IT block was about to skip
        would else be skipped in the new run.
        """
        self.uc.context_restore(self._fresh)
        ctypes.memset(self.ram, 0, RAM_BYTES)
        ctypes.memset(self.ram, STACK_PAINT, STACK_BYTES)
        stack, self._pc = struct.unpack("<II", self.read(FLASH_START, 8))
        self.uc.reg_write(self._unicorn.arm_const.UC_ARM_REG_SP, stack)

    def run(self, end: int = _NOWHERE) -> None:
        """Execute until the counter stops the emulator, or up to an address."""
        self._fault = self._failure = None
        try:
            self.uc.emu_start(self._pc, end)
        except self._unicorn.UcError as error:
            raise self._explained() from error
        self._pc = self._register("PC") | 1
        if self._failure:
            raise self._failure

    def interrupt(self, function: int, go_on: Callable[[], None]) -> None:
        """Call a function of the sketch, between two blocks of code, as an interrupt does.

        `go_on` is called before it begins, and whenever the counter has stopped the emulator.
        """
        uc, arm = self.uc, self._unicorn.arm_const
        before, pc, stack = uc.context_save(), self._pc, self._register("SP")
        uc.context_restore(self._fresh)
        uc.reg_write(arm.UC_ARM_REG_SP, (stack - _FRAME) & ~7)
        uc.reg_write(arm.UC_ARM_REG_LR, _RETURN | 1)
        self._pc = function | 1
        while self._pc != _RETURN | 1:
            go_on()
            self.run(_RETURN)
        uc.context_restore(before)
        self._pc = pc

    def locate(self, address: int, size: int) -> tuple[Any, int]:
        """Return the memory that holds a range of addresses, and the offset in it."""
        for memory, start in ((self.flash, 0), (self.ram, RAM_START)):
            if start <= address and address + size <= start + len(memory):
                return memory, address - start
        raise KitError(f"{size} bytes at 0x{address:08X} are neither flash nor RAM")

    def read(self, address: int, size: int) -> bytes:
        """Return bytes from flash or RAM."""
        memory, offset = self.locate(address, size)
        return bytes(memory[offset : offset + size])

    def write(self, address: int, data: bytes) -> None:
        """Overwrite bytes in RAM."""
        memory, offset = self.locate(address, len(data))
        if memory is not self.ram:
            raise KitError(f"address 0x{address:08X} is flash and cannot be written")
        memory[offset : offset + len(data)] = list(data)

    def _register(self, name: str) -> int:
        return int(self.uc.reg_read(getattr(self._unicorn.arm_const, f"UC_ARM_REG_{name}")))

    def _on_read(self, uc: Any, offset: int, size: int, _: object) -> int:
        return self._ask(self.read_register, offset)

    def _on_write(self, uc: Any, offset: int, size: int, value: int, _: object) -> None:
        self._ask(self.write_register, offset, value)

    def _ask(self, device: Callable[..., Any], offset: int, *value: int) -> int:
        """Ask a device; an exception must not travel through the emulator: `run` raises it."""
        try:
            return device(*AT.get(offset, ("", 0)), *value)
        except BaseException as failure:
            self._failure = failure
            self.uc.emu_stop()
            return 0

    def _on_invalid(self, uc: Any, access: int, address: int, *_: object) -> bool:
        self._fault = address
        return False

    def _explained(self) -> BoardFault:
        """Say in one sentence what went wrong, where, and in which function."""
        pc, link = self._register("PC"), self._register("LR")
        function = self._image.function_at(pc) or self._image.function_at(link & ~1)
        where = f" in {function}()" if function else f" near 0x{pc:08X}"
        address = pc if self._fault is None else self._fault
        return BoardFault(f"{_describe(self._fault, pc)}{where}", address, function)


def _describe(address: int | None, pc: int) -> str:
    if address is None:
        return f"the sketch executed something that is no instruction at 0x{pc:08X}"
    name = f"0x{address:08X}"
    if RAM_START - STACK_BYTES <= address < RAM_START:
        return (
            f"the stack needs more than its {STACK_BYTES:,} bytes (address {name}); "
            "make large arrays static,"
        )
    if address == pc & ~1:
        return f"the sketch jumped to {name}, where there is no code,"
    if address < FLASH_SIZE:
        return f"the sketch wrote to flash at {name}"
    last = RAM_START + RAM_BYTES - 1
    if last < address < last + (1 << 20):
        return f"the sketch used address {name}, past the end of the RAM at 0x{last:08X},"
    return f"the sketch used address {name}, which is neither flash nor RAM,"
