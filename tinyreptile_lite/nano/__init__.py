"""Boards: build a sketch, run it on the virtual Nano 33 BLE, or flash a real one."""

from tinyreptile_lite.nano.firmware import BuildError, Firmware, Memory, build
from tinyreptile_lite.nano.machine import BoardFault
from tinyreptile_lite.nano.virtual import VirtualNano

__all__ = ["BoardFault", "BuildError", "Firmware", "Memory", "VirtualNano", "build"]
