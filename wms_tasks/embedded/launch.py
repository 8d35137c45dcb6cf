"""
Run as a script between `process.py` and a service: give up root if asked, ask for the parent-death signal, exec.

Stands alone on the standard library, so that ``python -I -S`` starts it in some 20 ms and no third import happens
after the uid has changed. The order is fixed by the kernel: a change of credentials clears the parent-death signal
(prctl(2), PR_SET_PDEATHSIG), so it is asked for last; and whoever asks may already have lost the parent, so the
parent is looked at after that. Its one argument is JSON, see `main`.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import stat
import sys
from typing import Any, NoReturn

# linux/prctl.h and linux/capability.h; part of the kernel's stable interface.
PR_SET_PDEATHSIG = 1
PR_SET_SECUREBITS = 28
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
SECBIT_NO_SETUID_FIXUP = 1 << 2
CAPABILITY_VERSION_3 = 0x20080522
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2

# What a shell's `nohup` or `&`, or a signal mask of the parent's, would otherwise hand down to the service.
RESET_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilitySets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def fail(message: str) -> NoReturn:
    """End with one line, which lands in the service's log."""
    sys.stderr.write(f"FATAL: {message}\n")
    sys.stderr.flush()
    os._exit(126)


def _prctl(libc: ctypes.CDLL, *arguments: int) -> bool:
    padded = [ctypes.c_ulong(a) for a in (*arguments, 0, 0, 0, 0)[:5]]
    return bool(libc.prctl(*padded) == 0)


def _set_capability(libc: ctypes.CDLL, capability: int | None) -> bool:
    """Make `capability` the only one left, and one that survives exec; None: none is left, and no more can be had."""
    mask = 0 if capability is None else 1 << capability
    header = _CapabilityHeader(CAPABILITY_VERSION_3, 0)
    sets = (_CapabilitySets * 2)(_CapabilitySets(mask, mask, mask), _CapabilitySets(0, 0, 0))
    if libc.capset(ctypes.byref(header), ctypes.byref(sets)) != 0:
        return False
    return capability is None or _prctl(libc, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability)


def _usable(program: str, reach: list[str], capability: int | None = None) -> bool:
    """Whether this process, as it is now, can read and run `program` and get to each path of `reach`."""
    try:
        os.close(os.open(program, os.O_RDONLY))
        for path in reach:
            os.stat(path)  # noqa: PTH116 - pathlib is an import this script does not need
        return capability == CAP_DAC_OVERRIDE or bool(os.stat(program).st_mode & stat.S_IXOTH)  # noqa: PTH116
    except PermissionError:
        return False


def _reached_in_child(libc: ctypes.CDLL, uid: int, program: str, reach: list[str], capability: int | None) -> bool:
    """Try it out in a child, because a capability once given up cannot be had again."""
    child = os.fork()
    if child == 0:
        os.setresuid(uid, uid, uid)
        allowed = _set_capability(libc, capability)
        os._exit(0 if allowed and _usable(program, reach, capability) else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def become(libc: ctypes.CDLL, uid: int, program: str, reach: list[str]) -> None:
    """
    Give up root for `uid`, keeping no capability, unless that uid cannot get to the files.

    A checkout under /root or in a 0700 folder is such a case; there the right to read and search (else, where files
    themselves are closed to others, to pass all file modes) is kept instead of opening anybody's folders. Without
    SECBIT_NO_SETUID_FIXUP access(2), which Postgres asks about its own binary, would not count it.
    """
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    fixup_off = _prctl(libc, PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP)
    if not fixup_off:
        os.setresuid(uid, uid, uid)
        if _usable(program, reach):
            return
        fail(f"uid {uid} cannot get to {program} or {reach[0]}, and this root may not hand it the right to")
    for capability in (None, CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE):
        if _reached_in_child(libc, uid, program, reach, capability):
            os.setresuid(uid, uid, uid)
            _set_capability(libc, capability)
            return
    fail(f"uid {uid} cannot get to {program} or {reach[0]}: move the project to a folder that others may enter")


def main() -> None:
    """
    Do one order: ``argv`` (absolute program first), ``env``, ``parent`` (pid), ``death_signal``, ``uid`` (None: stay
    who we are), ``reach`` (paths the program must get to).
    """
    order: dict[str, Any] = json.loads(sys.argv[1])
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in RESET_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    os.umask(0o077)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if order["uid"] is not None:
            become(libc, order["uid"], order["argv"][0], order["reach"])
        if not _prctl(libc, PR_SET_PDEATHSIG, order["death_signal"]):
            fail("the kernel refuses a parent-death signal")
    if os.getppid() != order["parent"]:
        fail("whoever started this service has ended")
    try:
        os.execve(order["argv"][0], order["argv"], order["env"])
    except OSError as error:
        fail(f"cannot run {order['argv'][0]}: {error.strerror}")


if __name__ == "__main__":
    main()
