"""Another user of the same computer, for tests that run as root."""

import encodings.idna  # noqa: F401 - a stranger may not be able to read it later
import os
import sys
import traceback
from collections.abc import Callable

import pytest

NOBODY = 65534
needs_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be another user"
)


def as_stranger(work: Callable[[], str]) -> str:
    """Do the work as another user, in a process that may touch nothing of ours."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    if (pid := os.fork()) == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            answer = work()
        except BaseException:
            answer = traceback.format_exc()
        os.write(writer, answer.encode()[-60_000:])
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read().decode()
    os.waitpid(pid, 0)
    return answer
