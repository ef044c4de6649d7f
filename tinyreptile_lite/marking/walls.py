"""Walls around a student's process: put up by the process itself, before it runs a student's code.

None of them needs the rights of an administrator, and none can be taken down again.

On Linux the kernel holds them:

- limits (`setrlimit`): memory, time of the processor, size of a file, open files;
- namespaces (`unshare`): no network, and an own file system in memory of 64 MB as its folder;
- Landlock: it reads Python, its packages and the kit without the solutions and checks, writes in
  its own folder, and sees no other file, whoever owns it;
- a filter of system calls (seccomp): no new process or program, no socket, no signal to others and
  no look into them.

A kernel may lack some of them (in a container for example); each is put up where it can be, and
`put_up` returns the names of those that stand. On macOS the limits hold, and on Windows not even
these. Everywhere, as a second wall, an audit hook of Python refuses the same things. It stops
slips and simple tricks, not an expert: native code passes below it. The judge moreover watches
time, the size of the folder and the answers from outside, on every system.
"""

import ctypes
import os
import platform
import stat
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

MOST_BYTES = 64 * 1024 * 1024  # in its folder, all files together
MOST_FILES = 1000
_OPEN_FILES = 128

LIMITS, NAMESPACES, LANDLOCK, SECCOMP, HOOK = (
    "limits",
    "namespaces",
    "Landlock",
    "seccomp",
    "audit hook",
)


def put_up(
    folder: Path, read: Sequence[str], libraries: Sequence[str], memory: int, cpu: int
) -> list[str]:
    """Close this process in.

    Parameters
    ----------
    folder : Path
        The only folder in which it may write; it becomes the working directory.
    read : sequence of str
        Files and folders that it may read.
    libraries : sequence of str
        Folders below which libraries may be loaded with `ctypes`.
    memory : int
        Bytes of address space.
    cpu : int
        Seconds of the processor.

    Returns
    -------
    list of str
        The walls that stand.
    """
    os.chdir(folder)
    walls = [
        (LIMITS, lambda: _limits(memory, cpu)),
        (NAMESPACES, lambda: _namespaces(folder)),
        (LANDLOCK, lambda: _landlock(folder, read)),
        ("end with the judge", die_with_parent),  # again: new namespaces forget it
        (SECCOMP, _seccomp),
    ]
    stand = [name for name, build in walls if _try(build)]
    if SECCOMP not in stand and LIMITS in stand:
        _no_processes()
    _audit(folder, read, libraries)
    return [*stand, HOOK]


def _try(build: Callable[[], bool]) -> bool:
    try:
        return build()
    except (OSError, AttributeError, ImportError, ValueError):
        return False


# Limits


def _limits(memory: int, cpu: int) -> bool:
    if sys.platform == "win32":
        return False
    import resource

    wanted = {
        resource.RLIMIT_CPU: cpu,
        resource.RLIMIT_FSIZE: MOST_BYTES,
        resource.RLIMIT_NOFILE: _OPEN_FILES,
        resource.RLIMIT_CORE: 0,
    }
    if sys.platform == "linux":  # macOS knows this limit, and does not let it be set
        wanted[resource.RLIMIT_AS] = memory
        wanted[resource.RLIMIT_MSGQUEUE] = 0
    for limit, most in wanted.items():
        hard = resource.getrlimit(limit)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(limit, (most, most))
    return True


def _no_processes() -> None:
    """Fork no more; on Linux this counts threads too, so it is for where seccomp is not."""
    import resource

    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


# Namespaces

_NEWNS, _NEWIPC, _NEWUSER, _NEWNET = 0x20000, 0x8000000, 0x10000000, 0x40000000
_PRIVATE = 0x4000 | 0x40000  # MS_REC | MS_PRIVATE
_NO_SPECIAL = 0x2 | 0x4 | 0x8  # MS_NOSUID | MS_NODEV | MS_NOEXEC
_PDEATHSIG, _NO_NEW_PRIVS, _SECCOMP = 1, 38, 22


def _libc() -> Any:
    if sys.platform != "linux":
        raise OSError("not Linux")
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def die_with_parent() -> bool:
    """Let the kernel kill this process when its parent ends; False where it cannot."""
    return sys.platform == "linux" and _libc().prctl(_PDEATHSIG, 9, 0, 0, 0) == 0


def _namespaces(folder: Path) -> bool:
    libc, user, group = _libc(), os.getuid(), os.getgid()
    _checked(libc.unshare(_NEWUSER | _NEWNET | _NEWIPC | _NEWNS))
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    _checked(libc.mount(b"none", b"/", None, _PRIVATE, None))
    size = f"size={MOST_BYTES},nr_inodes={MOST_FILES},mode=700".encode()
    _checked(libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", _NO_SPECIAL, size))
    os.chdir(folder)  # the same path now leads into the memory
    return True


# Landlock: linux/landlock.h

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
# write, remove, make folders, files and links, truncate; no devices, sockets or pipes
_CHANGE = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 12 | 1 << 14
_BITS = (0, 13, 14, 15, 15, 16, 16)  # rights that each version of Landlock knows
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/urandom", "/dev/random")


def _landlock(folder: Path, read: Sequence[str]) -> bool:
    libc = _libc()
    version = _checked(libc.syscall(_CREATE, None, 0, 1))
    known = (1 << _BITS[min(version, len(_BITS) - 1)]) - 1
    net, scopes = (3 if version >= 4 else 0), (3 if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    rules = _checked(libc.syscall(_CREATE, struct.pack("QQQ", known, net, scopes), size, 0))
    try:
        for path in read:
            _allow(libc, rules, path, _READ_FILE | _READ_DIR)
        for path in _DEVICES:
            _allow(libc, rules, path, (_READ_FILE | 1 << 1) & known)
        _allow(libc, rules, str(folder), (_READ_FILE | _READ_DIR | _CHANGE) & known)
        _checked(libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0))
        _checked(libc.syscall(_RESTRICT, rules, 0))
    finally:
        os.close(rules)
    return True


def _allow(libc: Any, rules: int, path: str, rights: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # not there, or closed to this user anyway
        return
    try:
        if not stat.S_ISDIR(os.fstat(opened).st_mode):
            rights &= ~(_READ_DIR | _CHANGE) | 1 << 1  # the kernel refuses rights of folders
        _checked(libc.syscall(_ADD, rules, 1, struct.pack("=Qi", rights, opened), 0))
    finally:
        os.close(opened)


# Seccomp: a program for the kernel that looks at each system call, linux/filter.h

_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_REFUSE, _MISSING = 0x00050000 | 1, 0x00050000 | 38  # EPERM; ENOSYS, after which libc tries another
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _FIRST, _SECOND = 0, 4, 16, 24  # where they are in seccomp_data (little-endian)
_THREAD = 0x10000  # CLONE_THREAD
_X32 = 0x40000000

# x86-64 and arm64 (also of riscv64) number their calls differently; -1: there is none.
_CALLS: dict[str, tuple[int, int]] = {
    "fork": (57, -1),
    "vfork": (58, -1),
    "execve": (59, 221),
    "execveat": (322, 281),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    "kill": (62, 129),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setattr": (314, 274),
    "sched_setaffinity": (203, 122),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "setsid": (112, 157),
    "setpgid": (109, 154),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "mount_setattr": (442, 442),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "open_by_handle_at": (304, 265),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "kexec_load": (246, 104),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "acct": (163, 89),
    "personality": (135, 92),
}
_CLONE, _CLONE3, _TGKILL, _PRLIMIT, _FCNTL, _IOCTL, _PRCTL = (
    (56, 220),
    (435, 435),
    (234, 131),
    (302, 261),
    (72, 25),
    (16, 29),
    (157, 167),
)
# They would let the kernel send a signal to another process, or type into a terminal.
_OWNERS = (8, 10, 15)  # F_SETOWN, F_SETSIG, F_SETOWN_EX
_IOCTLS = (0x8901, 0x8902, 0x5412, 0x541C)  # FIOSETOWN, SIOCSPGRP, TIOCSTI, TIOCLINUX

Instruction = tuple[int, int, int, int]


def _if_equal(value: int, then: Sequence[Instruction]) -> Iterator[Instruction]:
    """If the loaded number is this, do; each ``then`` ends with a return."""
    yield (_EQUAL, 0, len(then), value)
    yield from then


def _argument_is(place: int, values: Sequence[int], action: int) -> list[Instruction]:
    """Return the action if the argument is one of the values, else the other one."""
    other = _REFUSE if action == _ALLOW else _ALLOW
    tests = [(_EQUAL, len(values) - i, 0, value) for i, value in enumerate(values)]
    return [(_LOAD, 0, 0, place), *tests, (_RETURN, 0, 0, other), (_RETURN, 0, 0, action)]


def _program(machine: int, arch: int) -> list[Instruction]:
    own, refuse = os.getpid(), [(_RETURN, 0, 0, _REFUSE)]
    program: list[Instruction] = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, arch),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if machine == 0:  # the same calls once more, with other numbers
        program += [(_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _REFUSE)]
    for numbers in _CALLS.values():
        if numbers[machine] >= 0:
            program += _if_equal(numbers[machine], refuse)
    threads = [
        (_LOAD, 0, 0, _FIRST),
        (_ANY_BIT, 1, 0, _THREAD),
        (_RETURN, 0, 0, _REFUSE),
        (_RETURN, 0, 0, _ALLOW),
    ]
    program += _if_equal(_CLONE[machine], threads)
    program += _if_equal(_CLONE3[machine], [(_RETURN, 0, 0, _MISSING)])
    program += _if_equal(_TGKILL[machine], _argument_is(_FIRST, [own], _ALLOW))
    program += _if_equal(_PRLIMIT[machine], _argument_is(_FIRST, [0, own], _ALLOW))
    program += _if_equal(_FCNTL[machine], _argument_is(_SECOND, _OWNERS, _REFUSE))
    program += _if_equal(_IOCTL[machine], _argument_is(_SECOND, _IOCTLS, _REFUSE))
    program += _if_equal(_PRCTL[machine], _argument_is(_FIRST, [_PDEATHSIG], _REFUSE))
    return [*program, (_RETURN, 0, 0, _ALLOW)]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _seccomp() -> bool:
    known = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7), "riscv64": (1, 0xC00000F3)}
    if sys.platform != "linux" or platform.machine() not in known:
        return False
    code = b"".join(struct.pack("HBBI", *one) for one in _program(*known[platform.machine()]))
    text = ctypes.create_string_buffer(code, len(code))
    program, libc = _Program(len(code) // 8, ctypes.addressof(text)), _libc()
    _checked(libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0))
    _checked(libc.prctl(_SECCOMP, 2, ctypes.byref(program), 0, 0))
    return True


# The audit hook of Python, everywhere

_REFUSED = (
    ("socket.", "network"),
    ("subprocess.", "other programs"),
    ("os.system", "other programs"),
    ("os.exec", "other programs"),
    ("os.spawn", "other programs"),
    ("os.posix_spawn", "other programs"),
    ("os.startfile", "other programs"),
    ("os.fork", "other processes"),
    ("pty.spawn", "other programs"),
    ("os.kill", "signals"),
    ("signal.pthread_kill", "signals"),
    ("_winapi.", "other programs"),
    ("winreg.", "the registry"),
    ("ctypes.string_at", "raw memory"),
    ("ctypes.wstring_at", "raw memory"),
    ("syslog.", "the system's log"),
)
_CHANGES = {
    "os.remove": 1,
    "os.rmdir": 1,
    "os.mkdir": 1,
    "os.rename": 2,
    "os.link": 2,
    "os.symlink": 2,
    "os.truncate": 1,
    "os.chmod": 1,
    "os.chown": 1,
    "os.utime": 1,
    "os.setxattr": 1,
    "os.removexattr": 1,
    "os.chflags": 1,
    "shutil.rmtree": 1,
    "sqlite3.connect": 1,
}
_LISTS = ("os.listdir", "os.scandir", "os.getxattr", "os.listxattr")


def _audit(folder: Path, read: Sequence[str], libraries: Sequence[str]) -> None:
    roots, shared = [[os.path.realpath(one) for one in some] for some in (read, libraries)]
    own = os.path.realpath(folder)
    # Kept by the closure: the student's code may rebind the names of these modules.
    real, inside, writing = os.path.realpath, _inside, os.O_WRONLY | os.O_RDWR | os.O_CREAT
    isdir = os.path.isdir

    def check_path(path: Any, changes: bool) -> None:
        if isinstance(path, int) or path is None:
            return
        whole = real(os.fsdecode(path))
        allowed = inside(whole, [own]) or whole in _DEVICES
        if not (allowed or (not changes and inside(whole, roots))):
            raise PermissionError(f"{os.fsdecode(path)} is closed while a hand-in is marked")

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = args
            check_path(path, bool((flags or 0) & writing))
            if mode is None and not isinstance(path, int) and isdir(path):
                raise PermissionError("folders cannot be opened while a hand-in is marked")
        elif event in _CHANGES:
            for path in args[: _CHANGES[event]]:
                check_path(path, True)
        elif event in _LISTS:
            check_path(args[0] if args else ".", False)
        elif event == "ctypes.dlopen":
            if not args[0] or not inside(real(os.fsdecode(args[0])), shared):
                raise PermissionError("libraries are closed while a hand-in is marked")
        else:
            for start, what in _REFUSED:
                if event.startswith(start):
                    raise PermissionError(f"{what} are closed while a hand-in is marked")

    sys.addaudithook(hook)


def _inside(path: str, roots: Sequence[str]) -> bool:
    return any(path == root or path.startswith(root.rstrip(os.sep) + os.sep) for root in roots)


def without(root: Path, hidden: Sequence[Path]) -> list[str]:
    """List what is below a folder as few paths, without some that are in it."""
    if root in hidden:
        return []
    if not any(root in path.parents for path in hidden) or not root.is_dir():
        return [str(root)]
    return [path for child in sorted(root.iterdir()) for path in without(child, hidden)]
