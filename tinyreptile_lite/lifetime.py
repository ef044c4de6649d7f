"""A child process ends when its parent does, even if that was killed and could tell nobody.

The child waits in a thread for the end of a pipe whose other end the parent holds. Nobody writes to
it: the operating system closes it, whatever the parent ends of.
"""

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """Let this process end at once when its parent has ended.

    For a process of `multiprocessing` (as the ``initializer`` of a pool, for example), or one that
    was started with ``stdin=subprocess.PIPE`` and reads nothing from there.
    """
    threading.Thread(target=_end_after_parent, daemon=True).start()


def _end_after_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
    else:
        while os.read(0, 1024):
            pass
    os._exit(1)
