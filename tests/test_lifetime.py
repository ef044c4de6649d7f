"""Children end when their parent does: parents are really killed here."""

import os
import subprocess
import sys
import time

import pytest

START = {
    "a pool": """
from concurrent.futures import ProcessPoolExecutor
from tinyreptile_lite.lifetime import end_with_parent
if __name__ == "__main__":
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(2, mp_context=spawn, initializer=end_with_parent)
    jobs = [pool.submit(time.sleep, 300) for _ in range(2)]
    pids = list(pool._processes)
""",
    "a process": """
from subprocess import PIPE, Popen
child = "import time, tinyreptile_lite.lifetime as it; it.end_with_parent(); print(1, flush=True)"
child = Popen([sys.executable, "-c", child + "; time.sleep(300)"], stdin=PIPE, stdout=PIPE)
pids = [child.pid] if child.stdout.readline() else []
""",
    "compare": """
import threading
from tinyreptile_lite.experiment import compare
if __name__ == "__main__":
    work = ("sine", ["reptile"], range(4), 10**6, 1)
    threading.Thread(target=compare, args=work, kwargs={"jobs": 2}).start()
    while len(pids := [child.pid for child in multiprocessing.active_children()]) < 2:
        time.sleep(0.01)
""",
}
BEFORE = "import multiprocessing, sys, time\n"
AFTER = """
if __name__ == "__main__":
    print(*pids, flush=True)
    time.sleep(300)
"""


def lives(pid: int) -> bool:
    """Whether a process runs; a dead one that nobody has waited for does not."""
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return shown.stdout.strip()[:1] not in ("", "Z")


@pytest.mark.skipif(os.name != "posix", reason="looks for processes with ps")
@pytest.mark.parametrize("kind", START)
def test_children_end_with_a_parent_that_is_killed(kind, tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(BEFORE + START[kind] + AFTER)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert pids and all(map(lives, pids))
        parent.kill()
    end = time.monotonic() + 30
    while any(map(lives, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(lives, pids))
