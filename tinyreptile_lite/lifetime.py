"""A child process ends when its parent does, even if that was killed and could tell nobody.

The child waits in a thread for the end of a pipe whose other end the parent holds. Nobody writes to
it: the operating system closes it, whatever the parent ends of.
"""

import multiprocessing
import os
import threading

TOLD = "TINYREPTILE_ENDS_WITH_INPUT"  # in the environment, for `end_if_told`


def end_with_parent() -> None:
    """Let this process end at once when its parent has ended.

    For a process of `multiprocessing` (as the ``initializer`` of a pool, for example), or one that
    was started with ``stdin=subprocess.PIPE`` and reads nothing from there.
    """
    threading.Thread(target=_end_after_parent, daemon=True).start()


def end_if_told() -> None:
    """Do so if the environment says that standard input is such a pipe.

    Grandchildren inherit both, so those that others start can end with their grandparent.
    """
    if os.environ.get(TOLD):
        end_with_parent()


def _end_after_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
    else:
        while os.read(0, 1024):
            pass
    os._exit(1)
