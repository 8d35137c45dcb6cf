"""What a person may do about an outcome: which setting opens a blocked address, and the like. Pure."""

from __future__ import annotations

from wms_tasks.commands.check.run import Checked
from wms_tasks.result import Reason

_FOR_A_FILE = {
    "--allow-network CIDR": "allow_networks:",
    "--allow-port PORT": "allow_ports:",
    "--ca FILE": "tls.ca:",
    "--max-redirects N": "max_redirects:",
    "--timeout TIME": "timeout:",
    "--max-body SIZE": "max_body:",
}


def hint_for(checked: Checked) -> str | None:
    """One line; None where nothing but the site itself can help."""
    words = _words(checked)
    if words is None:
        return None
    options, what = words
    if checked.enabled is not None:
        keys = " or ".join(_FOR_A_FILE[option] for option in options)
        return f"{what}: {' or '.join(options)} for this check, {keys} of the site for good"
    return f"{what}: {' or '.join(options)}"


def _words(checked: Checked) -> tuple[tuple[str, ...], str] | None:
    """The options that help, and what for."""
    detail = checked.verdict.detail or ""
    match checked.verdict.reason:
        case Reason.BLOCKED_ADDRESS:
            option = "--allow-port PORT" if "WMS_ALLOW_PORTS" in detail else "--allow-network CIDR"
            return (option,), "to connect there all the same"
        case Reason.TLS_UNTRUSTED:
            return ("--ca FILE",), "if an authority of your own signs it"
        case Reason.TOO_MANY_REDIRECTS:
            return ("--max-redirects N",), "to follow more"
        case Reason.TIMEOUT | Reason.CONNECT_TIMEOUT:
            return ("--timeout TIME",), "to wait longer"
        case Reason.TOO_LARGE:
            return ("--max-body SIZE",), "to read more of the body"
    return None
