"""Boards: build a sketch, run it on the virtual Nano 33 BLE, or flash a real one."""

from tinyreptile_lite.nano.compilers import BuildError
from tinyreptile_lite.nano.firmware import Firmware, build
from tinyreptile_lite.nano.image import Memory
from tinyreptile_lite.nano.machine import BoardFault
from tinyreptile_lite.nano.microphone import read_wav
from tinyreptile_lite.nano.sketch import sketch_folder
from tinyreptile_lite.nano.virtual import VirtualNano

__all__ = [
    "BoardFault",
    "BuildError",
    "Firmware",
    "Memory",
    "VirtualNano",
    "build",
    "read_wav",
    "sketch_folder",
]
