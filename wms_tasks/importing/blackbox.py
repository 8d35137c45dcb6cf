"""
blackbox_exporter's modules as groups of a sites file: what each key of its http prober is called here.

Its reference: https://github.com/prometheus/blackbox_exporter/blob/master/CONFIGURATION.md. What has no counterpart is
noted, never dropped without a word. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from wms_tasks.errors import UsageError
from wms_tasks.importing.durations import prometheus_duration_ms
from wms_tasks.importing.expectations import READERS, Expectations, its
from wms_tasks.importing.notes import Notes
from wms_tasks.importing.shapes import items, mapping
from wms_tasks.sites.pairs import WITH_BODY
from wms_tasks.sites.sizes import format_size
from wms_tasks.sites.text_rules import check_header_name, check_header_value
from wms_tasks.sites.wording import shown

# Headers and the like whose values are secrets by their names.
_SECRET_NAME = re.compile(r"authoriz|cookie|token|secret|passw|api-?key|credential|signature|session", re.IGNORECASE)
_SCHEME = re.compile(r"(Basic|Bearer|Token|Digest|ApiKey)\s+", re.IGNORECASE)
_SIZE_UNITS = {"": 1, "B": 1, "KB": 1024, "KIB": 1024, "MB": 1024**2, "MIB": 1024**2, "GB": 1024**3, "GIB": 1024**3}
_SIZE = re.compile(r"([0-9.]+)\s*([A-Za-z]*)")
MAX_BODY_MIB = 8
_PROXY = "a probe uses no proxy"
_LOST = {
    "proxy_url": _PROXY,
    "proxy_from_environment": _PROXY,
    "proxy_connect_header": _PROXY,
    "no_proxy": _PROXY,
    "skip_resolve_phase_with_proxy": _PROXY,
    "oauth2": "OAuth 2 is not supported",
    "enable_http3": "HTTP/3 is not spoken",
    "fail_if_body_json_matches_cel": "CEL is not spoken (expect.json takes JMESPath)",
    "fail_if_body_json_not_matches_cel": "CEL is not spoken (expect.json takes JMESPath)",
}
_NEEDLESS = frozenset({"enable_http2", "ip_protocol_fallback"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A module: the keys of a group, and what is to be said. ``keys`` is None where no site can be made of it."""

    name: str
    keys: dict[str, Any] | None
    timeout_ms: int | None
    notes: Notes


def read_modules(root: Any, source: str) -> dict[str, Module]:
    """
    The modules of blackbox.yml, by name.

    Raises:
        UsageError: it is none.
    """
    modules = root.get("modules") if isinstance(root, dict) else None
    if not isinstance(modules, dict):
        raise UsageError(f"{source}: there are no modules: (is it blackbox_exporter's file?)")
    return {str(name): _module(str(name), written) for name, written in modules.items()}


def _module(name: str, written: Any) -> Module:
    notes = Notes(f"module {name}")
    written = mapping(written)
    if written.get("prober") != "http":
        notes.say(f"prober {shown(str(written.get('prober')))} is not supported: its targets are left out")
        return Module(name=name, keys=None, timeout_ms=None, notes=notes)
    reader = _HttpModule(notes, mapping(written.get("http")))
    return Module(name=name, keys=reader.keys(), timeout_ms=prometheus_duration_ms(written.get("timeout")), notes=notes)


class _HttpModule:
    """Reads ``http:`` of one module key by key."""

    def __init__(self, notes: Notes, written: Mapping[str, Any]) -> None:
        self._notes = notes
        self._written = written
        self._keys: dict[str, Any] = {}
        self._expectations = Expectations(notes)
        self._tls: dict[str, Any] = {}

    def keys(self) -> dict[str, Any]:
        """As they stand under a group."""
        for key, value in self._written.items():
            if value is None or value in ("", [], {}):
                continue
            self._read(key, value)
        self._drop_what_cannot_be()
        return self._keys | {
            key: value for key, value in (("tls", self._tls), ("expect", self._expectations.keys)) if value
        }

    def _drop_what_cannot_be(self) -> None:
        """What would never be sent or looked at; here such pairs are refused."""
        method, expect = self._keys.get("method", "GET"), self._expectations.keys
        if "body" in self._keys and method not in WITH_BODY:
            del self._keys["body"]
            self._notes.lost("body", f"{method} sends none here")
        for key in ("body_regexp", "body_not_regexp"):
            if method == "HEAD" and expect.pop(key, None):
                self._notes.lost(f"expect.{key}", "HEAD brings no body")
        if "auth" in self._keys and self._keys.get("headers", {}).pop("Authorization", None):
            self._notes.lost("headers.Authorization", "the other credentials are sent")
        if "key" in self._tls and "certificate" not in self._tls:
            del self._tls["key"]
            self._notes.lost("tls_config.key_file", "there is no cert_file")
        for key in ("headers", "not_headers"):
            if not expect.get(key, True):
                del expect[key]

    def _read(self, key: str, value: Any) -> None:
        if key in _LOST:
            if value is not False:
                self._notes.lost(key, _LOST[key])
        elif key in _READERS or key in READERS:
            try:
                self._read_known(key, value)
            except (AttributeError, TypeError):
                self._notes.lost(key, "it is not written as blackbox_exporter has it")
        elif key not in _NEEDLESS:
            self._notes.lost(key, "there is nothing like it here")

    def _read_known(self, key: str, value: Any) -> None:
        if key in READERS:
            READERS[key](self._expectations, value)
        else:
            _READERS[key](self, value)

    def method(self, value: Any) -> None:
        self._keys["method"] = str(value).upper()

    def headers(self, value: Any) -> None:
        for name, text in value.items():
            self._header(str(name), str(text), "headers")

    def more_headers(self, value: Any) -> None:
        for name, spec in value.items():
            for kind in ("values", "secrets", "files"):
                for text in items(spec.get(kind)):
                    if name in self._keys.get("headers", {}):
                        self._notes.lost(f"http_headers.{name}", "a header is sent once")
                    elif kind == "files":
                        self._set_header(name, self._notes.file(f"http_headers.{name}", text))
                    else:
                        self._header(str(name), str(text), "http_headers", secret=kind == "secrets")

    def _header(self, name: str, text: str, under: str, *, secret: bool = False) -> None:
        if name.lower() == "host":
            self._notes.lost(f"{under}.{name}", "the probe sends the url's host")
        elif name.lower() == "accept-encoding":
            self._notes.lost(f"{under}.{name}", "the probe sends it itself (compression: says which)")
        elif secret or _SECRET_NAME.search(name):
            scheme = _SCHEME.match(text)
            self._set_header(name, (scheme[0] if scheme else "") + self._notes.secret(name))
        else:
            self._set_header(name, plain(text))

    def _set_header(self, name: str, text: str) -> None:
        try:
            check_header_name(name)
            self._keys.setdefault("headers", {})[name] = check_header_value(text)
        except ValueError as error:
            self._notes.lost(f"headers.{name}", its(error))

    def body(self, value: Any) -> None:
        self._keys["body"] = self._notes.secret("body") if _SECRET_NAME.search(str(value)) else plain(str(value))

    def body_file(self, value: Any) -> None:
        self._keys["body"] = self._notes.file("body_file", value)

    def basic(self, value: Any) -> None:
        if "username_file" in value or "username_ref" in value:
            self._notes.lost("basic_auth.username_file", "a username is written in the file")
        password = self._secret_or_file(value, "basic_auth", "password")
        self._keys["auth"] = {"basic": {"username": str(value.get("username", "user")), "password": password}}

    def authorization(self, value: Any) -> None:
        credentials = self._secret_or_file(value, "authorization", "credentials")
        kind = str(value.get("type", "Bearer"))
        if kind.lower() == "bearer":
            self._keys["auth"] = {"bearer": credentials}
        else:
            self._set_header("Authorization", f"{plain(kind)} {credentials}")

    def bearer(self, value: Any) -> None:  # noqa: ARG002 - a secret, not carried over
        self._keys["auth"] = {"bearer": self._notes.secret("bearer_token")}

    def bearer_file(self, value: Any) -> None:
        self._keys["auth"] = {"bearer": self._notes.file("bearer_token_file", value)}

    def _secret_or_file(self, value: Mapping[str, Any], under: str, key: str) -> str:
        if path := value.get(f"{key}_file"):
            return self._notes.file(f"{under}.{key}_file", path)
        return self._notes.secret(f"{under}.{key}")

    def tls(self, value: Any) -> None:
        for key, written in value.items():
            if written in (None, "", False):
                continue
            ours = {"ca_file": "ca", "cert_file": "certificate", "key_file": "key"}.get(key)
            if ours:
                self._tls[ours] = self._notes.file(f"tls_config.{key}", written)
            elif key == "ca":
                self._tls["ca"] = str(written)
            elif key == "server_name":
                self._tls["server_name"] = str(written)
            elif key == "insecure_skip_verify":
                self._tls["verify"] = False
            elif key in {"min_version", "max_version"} and (version := re.fullmatch("TLS1([0-3])", str(written))):
                self._tls[key] = f"1.{version[1]}"
            else:
                self._notes.lost(f"tls_config.{key}", "there is nothing like it here")
        if self._tls.get("verify") is False and self._tls.pop("ca", None):
            self._notes.lost("tls_config.ca_file", "insecure_skip_verify leaves it without use")

    def follow(self, value: Any) -> None:
        if value is False:
            self._keys["follow_redirects"] = False

    def no_follow(self, value: Any) -> None:
        if value is True:
            self._keys["follow_redirects"] = False

    def compression(self, value: Any) -> None:
        if value == "identity":
            self._keys["compression"] = []
        elif value in {"gzip", "br", "deflate"}:
            self._keys["compression"] = [value]
        else:
            self._notes.lost("compression", f"{shown(str(value))} is none of gzip, br, deflate, identity")

    def size(self, value: Any) -> None:
        match = _SIZE.fullmatch(str(value).strip())
        unit = _SIZE_UNITS.get(match[2].upper()) if match else None
        if match is None or unit is None:
            self._notes.lost("body_size_limit", f"{shown(str(value))} is no size")
            return
        size_bytes = int(float(match[1]) * unit)
        if size_bytes > MAX_BODY_MIB * 1024**2:
            self._notes.say(f"body_size_limit is above {MAX_BODY_MIB} MiB, the most: that much is read")
        if size_bytes:
            self._keys["max_body"] = format_size(min(size_bytes, MAX_BODY_MIB * 1024**2))

    def family(self, value: Any) -> None:
        number = str(value).removeprefix("ip")
        falls_back = self._written.get("ip_protocol_fallback", True)
        if number in {"4", "6"}:
            self._keys["ip"] = f"prefer_{number}" if falls_back else number


def plain(text: str) -> str:
    """`text` as it is written where references are looked for."""
    return text.replace("${", "$${").strip()


_READERS: dict[str, Callable[[_HttpModule, Any], None]] = {
    "method": _HttpModule.method,
    "headers": _HttpModule.headers,
    "http_headers": _HttpModule.more_headers,
    "body": _HttpModule.body,
    "body_file": _HttpModule.body_file,
    "basic_auth": _HttpModule.basic,
    "authorization": _HttpModule.authorization,
    "bearer_token": _HttpModule.bearer,
    "bearer_token_file": _HttpModule.bearer_file,
    "tls_config": _HttpModule.tls,
    "follow_redirects": _HttpModule.follow,
    "no_follow_redirects": _HttpModule.no_follow,
    "compression": _HttpModule.compression,
    "body_size_limit": _HttpModule.size,
    "preferred_ip_protocol": _HttpModule.family,
}
