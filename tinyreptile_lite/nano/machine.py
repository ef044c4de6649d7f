"""The virtual board's processor and memory: a thin shell around the Unicorn emulator."""

import ctypes
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


class BoardFault(KitError):
    """The sketch did what the processor cannot do.

    Attributes
    ----------
    address : int
        The address that was accessed, or of the instruction.
    function : str or None
        The function that did it.
    """

    def __init__(self, message: str, address: int, function: str | None) -> None:
        super().__init__(message)
        self.address = address
        self.function = function


class Machine:
    """Processor, flash, RAM, and one page of device registers.

    Parameters
    ----------
    image : Image
        What to load into the flash.
    """

    def __init__(self, image: Image) -> None:
        unicorn = needed("unicorn", "unicorn")
        self._image = image
        self._error = unicorn.UcError
        self._fault: tuple[int, int] | None = None  # address, size
        self._failure: BaseException | None = None
        self.flash = (ctypes.c_ubyte * FLASH_SIZE)()
        self.ram = (ctypes.c_ubyte * RAM_BYTES)()
        self.uc = uc = unicorn.Uc(
            unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS
        )
        self._registers = {
            name: getattr(unicorn.arm_const, f"UC_ARM_REG_{name}") for name in ("SP", "LR", "PC")
        }
        uc.ctl_set_cpu_model(unicorn.arm_const.UC_CPU_ARM_CORTEX_M4)
        uc.ctl_set_tcg_buffer_size(_TRANSLATION_BUFFER)
        can_read, can_write, can_run = (
            unicorn.UC_PROT_READ,
            unicorn.UC_PROT_WRITE,
            unicorn.UC_PROT_EXEC,
        )
        uc.mem_map_ptr(0, FLASH_SIZE, can_read | can_run, ctypes.addressof(self.flash))
        uc.mem_map_ptr(RAM_START, RAM_BYTES, can_read | can_write, ctypes.addressof(self.ram))
        uc.mmio_map(PERIPHERAL_BASE, PERIPHERAL_BYTES, self._on_read, None, self._on_write, None)
        uc.mmio_map(_SYSTEM_BASE, _SYSTEM_BYTES, lambda *_: 0, None, lambda *_: None, None)
        uc.hook_add(unicorn.UC_HOOK_MEM_INVALID, self._on_invalid)
        self._fresh = uc.context_save()
        ctypes.memset(self.flash, 0xFF, FLASH_SIZE)
        for address, data in image.segments:
            memory, offset = self.locate(address, len(data))
            ctypes.memmove(ctypes.addressof(memory) + offset, data, len(data))

    def connect(
        self, read: Callable[[str, int], int], write: Callable[[str, int, int], None]
    ) -> None:
        """Set what is called with a register's name and pin, and with the value written to it."""
        self._device_read, self._device_write = read, write

    def reset(self) -> None:
        """Clear RAM, paint the stack, and read the first two words of the image.

        All registers start as they were made: after a fault, what an IT block was about to skip
        would else be skipped in the new run.
        """
        self.uc.context_restore(self._fresh)
        ctypes.memset(self.ram, 0, RAM_BYTES)
        ctypes.memset(self.ram, STACK_PAINT, STACK_BYTES)
        start = bytes(self.flash[FLASH_START : FLASH_START + 8])
        self._set("SP", int.from_bytes(start[:4], "little"))
        self._pc = int.from_bytes(start[4:], "little")

    def run(self) -> None:
        """Execute until the counter stops the emulator."""
        self._fault = self._failure = None
        try:
            self.uc.emu_start(self._pc, _NOWHERE)
        except self._error as error:
            self._raise_fault(error)
        self._pc = self._get("PC") | 1
        if self._failure:
            raise self._failure

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

    def _get(self, register: str) -> int:
        return int(self.uc.reg_read(self._registers[register]))

    def _set(self, register: str, value: int) -> None:
        self.uc.reg_write(self._registers[register], value)

    # An exception must not travel through the emulator's own frames: it is kept and raised later.
    def _on_read(self, uc: Any, offset: int, size: int, _: object) -> int:
        try:
            return self._device_read(*AT.get(offset, ("", 0)))
        except BaseException as failure:
            self._stop(failure)
            return 0

    def _on_write(self, uc: Any, offset: int, size: int, value: int, _: object) -> None:
        try:
            self._device_write(*AT.get(offset, ("", 0)), value)
        except BaseException as failure:
            self._stop(failure)

    def _stop(self, failure: BaseException) -> None:
        self._failure = failure
        self.uc.emu_stop()

    def _on_invalid(
        self, uc: Any, access: int, address: int, size: int, value: int, _: object
    ) -> bool:
        self._fault = (address, size)
        return False

    def _raise_fault(self, error: Exception) -> None:
        """Say in one sentence what went wrong, where, and in which function."""
        pc = self._get("PC")
        at = self._image.function_at
        function = at(pc) or at(self._get("LR") & ~1)
        where = f" in {function}()" if function else f" near 0x{pc:08X}"
        if self._fault is None:
            text = f"the sketch executed something that is no instruction at 0x{pc:08X}{where}"
            raise BoardFault(text, pc, function) from error
        address, _ = self._fault
        raise BoardFault(f"{_describe(address, pc)}{where}", address, function) from error


def _describe(address: int, pc: int) -> str:
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
