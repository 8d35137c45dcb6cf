"""
A program as our image runs it: no capability, and nothing may be written but below the folders that are named.

``python tests/read_only.py FOLDER... -- COMMAND``. The kernel sees to it (Landlock, from Linux 5.13 on), also for root:
what would be EROFS on a read-only root file system is EACCES here.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
RULE_PATH_BENEATH = 1
ABI_ONLY = 1
NO_NEW_PRIVS, CAPBSET_DROP = 38, 24
LAST_CAPABILITY = 63
# LANDLOCK_ACCESS_FS_*: write, remove, make (of any kind), refer, truncate. Reading and executing stay as they are.
WRITE_FILE, TRUNCATE = 1 << 1, 1 << 14
CHANGES = WRITE_FILE | TRUNCATE | sum(1 << bit for bit in range(4, 14))
# What a container has beside its root file system: devices, and memory that processes share.
DEVICES = ("/dev/null", "/dev/shm")

_libc = ctypes.CDLL(None, use_errno=True)


class PathBeneath(ctypes.Structure):
    """struct landlock_path_beneath_attr"""

    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def available() -> bool:
    """Whether this kernel can, with all that is asked for."""
    return int(_libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ABI_ONLY)) >= 3


def command(*folders: Path) -> list[str]:
    """What goes before a command, so that it may write below these folders alone."""
    return [sys.executable, str(Path(__file__).resolve()), *map(str, folders), "--"]


def restrict(folders: list[str]) -> None:
    """For this process and all that it starts, for good."""
    for capability in range(LAST_CAPABILITY + 1):
        _libc.prctl(CAPBSET_DROP, capability, 0, 0, 0)  # those of root, from the next exec on; others have none
    handled = ctypes.c_uint64(CHANGES)
    ruleset = _checked(_libc.syscall(CREATE_RULESET, ctypes.byref(handled), ctypes.c_size_t(8), 0))
    for folder in (*folders, *DEVICES):
        fd = os.open(folder, os.O_PATH)
        access = CHANGES if Path(folder).is_dir() else WRITE_FILE | TRUNCATE
        rule = PathBeneath(allowed_access=access, parent_fd=fd)
        _checked(_libc.syscall(ADD_RULE, ruleset, RULE_PATH_BENEATH, ctypes.byref(rule), 0))
        os.close(fd)
    _checked(_libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0))
    _checked(_libc.syscall(RESTRICT_SELF, ruleset, 0))


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), "landlock")
    return result


if __name__ == "__main__":
    at = sys.argv.index("--")
    restrict(sys.argv[1:at])
    os.execvp(sys.argv[at + 1], sys.argv[at + 1 :])
