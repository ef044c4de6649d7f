"""All hand-ins of a folder: a judge for each, several at a time, with progress."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinyreptile_lite.errors import KitError
from tinyreptile_lite.marking.handin import HandIn
from tinyreptile_lite.marking.judge import BUDGETS, START
from tinyreptile_lite.marking.process import command, font_list, python_paths

_JUDGE = "tinyreptile_lite.marking.judge"


@dataclass(frozen=True)
class Verdict:
    """One exercise of one hand-in: its points, and why."""

    number: int
    title: str
    points: float
    of: float
    sentence: str


@dataclass
class Marked:
    """A hand-in and what was found.

    Attributes
    ----------
    hand_in : HandIn
    notebook : str
        Of which notebook of the course it is; empty if of none.
    reason : str
        Why nothing, or not everything, could be marked; else empty.
    notes : list of str
        What was odd about it.
    verdicts : list of Verdict
    walls : list of str
        What stood around its process; empty if it had none.
    whole : bool
        Whether it was marked to its end.
    """

    hand_in: HandIn
    notebook: str = ""
    reason: str = ""
    notes: list[str] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    walls: list[str] = field(default_factory=list)
    whole: bool = False

    @property
    def points(self) -> float:
        """Sum over the exercises."""
        return sum(one.points for one in self.verdicts)

    @property
    def of(self) -> float:
        """What could have been reached."""
        return sum(one.of for one in self.verdicts)


@dataclass(frozen=True)
class Marker:
    """How hand-ins are marked.

    Attributes
    ----------
    notebooks : Path
        Folder of the kit's solved notebooks.
    names : sequence of str
        Those that have exercises.
    seconds : float
        For one exercise or cell; a hand-in has three times as much.
    memory : int
        Bytes for a student's process.
    seed : int
        Of the random cases; the same for all hand-ins.
    """

    notebooks: Path
    names: Sequence[str]
    seconds: float
    memory: int
    seed: int

    def mark_all(self, hand_ins: Sequence[HandIn], jobs: int, progress: bool) -> list[Marked]:
        """Mark all hand-ins, in their order.

        On Ctrl-C all processes are ended, and nothing is left of them.
        """
        from tqdm import tqdm

        _make_font_list()
        with tempfile.TemporaryDirectory(prefix="marking-", ignore_cleanup_errors=True) as rooms:
            judges = _Judges()
            pool = ThreadPoolExecutor(min(jobs, len(hand_ins)) or 1)
            try:
                marks = [
                    pool.submit(self._mark, one, Path(rooms) / str(i), judges)
                    for i, one in enumerate(hand_ins)
                ]
                bar = tqdm(
                    as_completed(marks),
                    "marking",
                    len(marks),
                    unit=" hand-ins",
                    disable=not progress,
                    file=sys.stderr,
                )
                for done in bar:
                    bar.set_postfix_str(done.result().hand_in.student[:20])
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
                judges.end()
                pool.shutdown()
            return [one.result() for one in marks]

    def _mark(self, hand_in: HandIn, room: Path, judges: "_Judges") -> Marked:
        (room / "judge").mkdir(parents=True)
        job = {
            "path": str(hand_in.path.absolute()),
            "file": hand_in.file,
            "notebooks": str(self.notebooks.absolute()),
            "names": list(self.names),
            "folder": str(room / "student"),
            "seed": self.seed,
            "seconds": self.seconds,
            "memory": self.memory,
        }
        limit = 2 * START + 3 * BUDGETS * self.seconds
        lines, over = judges.run(job, room / "judge", limit)
        marked = Marked(hand_in)
        for line in lines:
            _take(marked, line)
        if not marked.whole and not marked.reason:
            marked.reason = f"could not be marked to its end: {over}"
        return marked


def _take(marked: Marked, line: dict[str, Any]) -> None:
    """Add one line of a judge to what is known."""
    if "failed" in line:
        raise KitError(line["failed"])
    if "nothing" in line:
        marked.reason = line["nothing"]
    elif "number" in line:
        marked.verdicts.append(Verdict(**line))
    else:
        for name, value in line.items():
            setattr(marked, name, value)


class _Judges:
    """The judges that run; they are ended together."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock, self._ended = threading.Lock(), False

    def run(
        self, job: dict[str, Any], folder: Path, limit: float
    ) -> tuple[list[dict[str, Any]], str]:
        """Let a judge do a job; returns its lines, and how it ended."""
        with self._lock:
            if self._ended:
                return [], "stopped"
            judge = subprocess.Popen(  # noqa: S603 - the kit's own module
                command(_JUDGE),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=folder,
                env=_environment(),
                start_new_session=True,
            )
            self._running.add(judge)
        alarm = threading.Timer(limit, _end, [judge])
        alarm.start()
        try:
            assert judge.stdin and judge.stdout
            with suppress(OSError):  # it may have ended already
                judge.stdin.write(json.dumps(job).encode() + b"\n")
                judge.stdin.flush()
            text = judge.stdout.read()
            code = judge.wait()
        finally:
            alarm.cancel()
            _end(judge)
            with self._lock:
                self._running.discard(judge)
        return _lines(text), f"its judge ended with code {code}"

    def end(self) -> None:
        """End all judges, and start no more."""
        with self._lock:
            self._ended = True
            running = list(self._running)
        for judge in running:
            _end(judge)


def _environment() -> dict[str, str]:
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return os.environ | threads


def _lines(text: bytes) -> list[dict[str, Any]]:
    found = []
    for line in text.splitlines():
        with suppress(ValueError):  # the last one of a judge that was killed
            found.append(json.loads(line))
    return found


def _end(judge: subprocess.Popen[bytes]) -> None:
    """End a judge: at the end of its input it ends the student's process, and itself."""
    with suppress(OSError, ValueError):
        if judge.stdin:
            judge.stdin.close()
    try:
        judge.wait(3)
    except subprocess.TimeoutExpired:
        with suppress(OSError):
            if sys.platform == "win32":
                judge.kill()
            else:
                os.killpg(judge.pid, signal.SIGKILL)
        judge.wait()


def _make_font_list() -> None:
    """Let Matplotlib list the fonts once, and not in each of the students' processes."""
    if importlib.util.find_spec("matplotlib") is not None and not font_list():
        paths = os.pathsep.join(python_paths())
        subprocess.run(
            [sys.executable, "-c", "import matplotlib.font_manager"],
            env=os.environ | {"PYTHONPATH": paths},
            capture_output=True,
        )
