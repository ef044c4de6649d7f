"""A student's process, seen from the judge: started, asked, watched and killed."""

import json
import os
import queue
import signal
import site
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tinyreptile_lite.cache import CannotBuild, cache_folder
from tinyreptile_lite.marking.coding import CodingError, Message, pack, receive
from tinyreptile_lite.marking.walls import MOST_BYTES, MOST_FILES, without

PACKAGE = Path(__file__).resolve().parent.parent
_RUN = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from {} import main; main()"
_WATCH = 0.2  # seconds between two looks at the folder


class Stopped(Exception):
    """The student's process did not answer, or is not there any more."""


def python_paths() -> list[str]:
    """Where the children find modules: here and in Python's own folders.

    Not in the working directory: a hand-in named ``numpy.py`` may lie there.
    """
    named = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    owned = [sys.prefix, sys.base_prefix, sys.exec_prefix, site.getusersitepackages()]
    own = [path for path in sys.path if any(path.startswith(one) for one in owned)]
    return list(dict.fromkeys([str(PACKAGE.parent), *map(os.path.abspath, named), *own]))


def command(module: str) -> list[str]:
    """Command that runs the ``main`` of one of the kit's modules, in any working directory."""
    python = [sys.executable, "-I", "-B", "-X", "utf8", "-c"]
    return [*python, _RUN.format(module), json.dumps(python_paths())]


def environment(folder: Path) -> dict[str, str]:
    """A clean environment: nothing of the teacher's but where the data is."""
    kept = {"LANG", "LC_ALL", "SYSTEMROOT", "TINYREPTILE_DATA", "PATH", "LD_LIBRARY_PATH"}
    own = {key: value for key, value in os.environ.items() if key in kept}
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    folders = dict.fromkeys(("HOME", "TMPDIR", "TEMP", "MPLCONFIGDIR"), str(folder))
    with suppress(CannotBuild):
        own["TINYREPTILE_CACHE"] = str(cache_folder())
    return own | threads | folders | {"MPLBACKEND": "Agg", "PYTHONUTF8": "1"}


def font_list() -> list[Path]:
    """Matplotlib's list of fonts; to make it again takes each process some seconds."""
    if named := os.environ.get("MPLCONFIGDIR"):
        folder = Path(named)
    elif sys.platform == "linux":
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "matplotlib"
    else:
        folder = Path.home() / ".matplotlib"
    return sorted(folder.glob("fontlist-*.json"))


def _readable() -> tuple[list[str], list[str]]:
    """What a student's process may read, and from where it may load libraries."""
    hidden = [PACKAGE / "exercises", PACKAGE / "marking"]
    hidden += [PACKAGE.parent / name for name in ("notebooks", "tests", "build", ".git")]
    packages = [path for path in python_paths() if "site-packages" in path]
    named = [sys.prefix, sys.base_prefix, sys.exec_prefix]
    prefixes = [path for path in named if path not in ("/usr", "/")]
    system = ["/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib", "/lib64", "/usr/share/fonts"]
    system += ["/usr/share/zoneinfo", "/etc/localtime", "/etc/fonts", "/etc/ld.so.cache"]
    roots = [*python_paths(), *prefixes, *system, str(PACKAGE)]
    roots += [str(PACKAGE.parent / name) for name in ("arduino", "data")]
    roots += [os.environ.get("TINYREPTILE_DATA", ""), *map(str, font_list())]
    libraries = list(packages)
    with suppress(CannotBuild):
        roots.append(str(cache_folder()))
        libraries.append(str(cache_folder()))
    source = str(PACKAGE.parent)  # a folder of much else if the kit runs from its sources
    kept = [Path(root).resolve() for root in roots if root and root != source]
    if "site-packages" in source:
        kept.append(PACKAGE.parent)
    return list(dict.fromkeys(p for root in kept for p in without(root, hidden))), libraries


class StudentProcess:
    """Runs cells and functions of a student behind walls.

    Parameters
    ----------
    folder : Path
        An empty folder for it alone.
    memory : int
        Bytes that it may use.
    cpu : int
        Seconds of the processor that it may use.
    start : float
        Seconds in which it must have started.

    Attributes
    ----------
    walls : list of str
        The walls that stand around it.

    Raises
    ------
    Stopped
        If it does not start.
    """

    def __init__(self, folder: Path, memory: int, cpu: int, start: float) -> None:
        self._folder, self.over = folder, ""
        self._process = subprocess.Popen(  # noqa: S603 - the kit's own module
            command("tinyreptile_lite.marking.student"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env=environment(folder),
            start_new_session=True,
        )
        self._answers: queue.Queue[Message | Exception | None] = queue.Queue(4)
        threading.Thread(target=self._listen, daemon=True).start()
        read, libraries = _readable()
        plan = {"folder": str(folder), "read": read, "libraries": libraries, "memory": memory}
        plan |= {"cpu": cpu, "copy": [str(path) for path in font_list()]}
        self._write(json.dumps(plan).encode() + b"\n")
        self.walls = self._await(start).part("walls")

    def _listen(self) -> None:
        stream: Any = self._process.stdout
        try:
            while message := receive(stream):
                self._answers.put(message)
            self._answers.put(None)
        except (CodingError, OSError, ValueError, MemoryError) as error:
            self._answers.put(error)

    def _write(self, data: bytes) -> None:
        """Write in a thread: a process that does not read must not hold the judge."""
        stream: Any = self._process.stdin

        def write() -> None:
            with suppress(OSError, ValueError):
                stream.write(data)
                stream.flush()

        threading.Thread(target=write, daemon=True).start()

    def ask(self, question: dict[str, Any], seconds: float) -> Message:
        """Ask one thing, and wait for the answer.

        Raises
        ------
        Stopped
            If there is none in time, or no valid one; the process is killed then.
        """
        if self.over:
            raise Stopped(self.over)
        self._write(pack(question)[0])
        return self._await(seconds)

    def _await(self, seconds: float) -> Message:
        end = time.monotonic() + seconds
        while True:
            try:
                answer = self._answers.get(timeout=max(0.0, min(_WATCH, end - time.monotonic())))
            except queue.Empty:
                if time.monotonic() >= end:
                    self.close(f"runs for more than {seconds:.0f} seconds")
                elif _too_much(self._folder):
                    self.close("writes too much into its folder")
                else:
                    continue
                raise Stopped(self.over) from None
            if isinstance(answer, Message):
                return answer
            self.close(self._end() if answer is None else "sends something that is no answer")
            raise Stopped(self.over)

    def _end(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            code = self._process.wait(2)
            if code == -getattr(signal, "SIGXCPU", 0) or code == -getattr(signal, "SIGKILL", 0):
                return "uses up its time or memory and is ended"
            return f"ends its process (exit code {code})"
        return "closes its process"

    def close(self, reason: str = "is closed") -> None:
        """Kill it, and all that it has started."""
        self.over = self.over or reason
        with suppress(OSError):
            if sys.platform == "win32":
                self._process.kill()
            else:
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(OSError, ValueError):
                if stream is not None and stream is not self._process.stdout:
                    stream.close()


def _too_much(folder: Path) -> bool:
    """Whether a folder holds more than is allowed, without looking at more than that."""
    size, count, folders = 0, 0, [str(folder)]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                count += 1
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    size += entry.stat(follow_symlinks=False).st_size
                if count > MOST_FILES or size > MOST_BYTES:
                    return True
    return False
