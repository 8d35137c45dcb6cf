"""
What people write who know another monitor, or our keys from another place: the words that help them on. Used by
read.py only.
"""

from __future__ import annotations

_EXPECT = "it belongs under expect:"
_TLS = "it belongs under tls:"
_AUTH = "it belongs under auth:"
_TOP = "it belongs at the top level"
_SITE = "it belongs to each site"
_TLS_VERSIONS = {
    f"{name}1{dot}{n}": f"1.{n}" for name in ("tls", "tlsv", "tls ") for dot in ("", ".") for n in range(4)
}

# A key that is right, but elsewhere: what to do with it.
HOMES = {
    "status": _EXPECT,
    "http_version": _EXPECT,
    "body_regexp": _EXPECT,
    "body_not_regexp": _EXPECT,
    "not_headers": _EXPECT,
    "json": _EXPECT,
    "certificate_days": _EXPECT,
    "slow": _EXPECT,
    "ca": _TLS,
    "certificate": _TLS,
    "key": _TLS,
    "server_name": _TLS,
    "min_version": _TLS,
    "max_version": _TLS,
    "verify": _TLS,
    "basic": _AUTH,
    "bearer": _AUTH,
    "username": "it belongs under auth: {basic: …}",
    "password": "it belongs under auth: {basic: …}",
    "regexp": "it belongs to a header under expect: {headers: …}",
    "may_lack": "it belongs to a header under expect: {headers: …}",
    "spacing": "it belongs under the top-level hosts:, as `example.com: {spacing: 2s}`",
    "defaults": _TOP,
    "hosts": _TOP,
    "groups": _TOP,
    "name": _SITE,
    "id": _SITE,
    "enabled": _SITE,
    "url": _SITE,
    "group": _SITE,
}
# What other monitors call our keys, where the spelling is too far off to be guessed.
ELSEWHERE = {
    "period": "interval",
    "every": "interval",
    "schedule": "interval",
    "frequency": "interval",
    "labels": "tags",
    "target": "url",
    "endpoint": "url",
    "address": "url",
    "title": "name",
    "allow_network": "allow_networks",
    "allow_port": "allow_ports",
    "allowed_networks": "allow_networks",
    "allowed_ports": "allow_ports",
    "code": "status",
    "status_code": "status",
    "status_codes": "status",
    "valid_status_codes": "status",
    "valid_http_versions": "http_version",
    "regex": "body_regexp",
    "pattern": "body_regexp",
    "contains": "body_regexp",
    "expected_body": "body_regexp",
    "not_contains": "body_not_regexp",
    # blackbox_exporter says when a probe fails, we say what must be.
    "fail_if_body_not_matches_regexp": "body_regexp",
    "fail_if_body_matches_regexp": "body_not_regexp",
    "fail_if_header_not_matches": "headers",
    "fail_if_header_matches": "not_headers",
    "fail_if_body_json_not_matches_cel": "json",
    "fail_if_body_json_matches_cel": "json",
    "fail_if_ssl": "tls",
    "fail_if_not_ssl": "tls",
    "allow_missing": "may_lack",
    "jmespath": "json",
    "body_size_limit": "max_body",
    "http_headers": "headers",
    "body_file": "body",
    "basic_auth": "auth",
    "authorization": "auth",
    "bearer_token": "auth",
    "bearer_token_file": "auth",
    "password_file": "password",
    "tls_config": "tls",
    "insecure_skip_verify": "verify",
    "ca_file": "ca",
    "cert_file": "certificate",
    "cert": "certificate",
    "key_file": "key",
    "sni": "server_name",
    "no_follow_redirects": "follow_redirects",
    "preferred_ip_protocol": "ip",
    "ip_protocol": "ip",
    "max_response_time": "slow",
}
# What people write, YAML's words for true and false above all, where another word is wanted.
MEANT = {
    "robots": dict.fromkeys(("no", "false", "off"), "ignore") | dict.fromkeys(("yes", "true", "on"), "respect"),
    "tls": dict.fromkeys(("no", "false", "off"), "forbidden") | dict.fromkeys(("yes", "true", "on"), "required"),
    "evidence": dict.fromkeys(("no", "false", "off"), "none") | dict.fromkeys(("yes", "true", "on"), "headers"),
    "compression": dict.fromkeys(("identity", "none", "no", "false", "off"), "[]") | {"brotli": "br"},
    "ip": {"ip4": "4", "ipv4": "4", "ip6": "6", "ipv6": "6"},
    "http_version": {"http/1.0": "1.0", "http/1.1": "1.1", "1": "1.0"},
    "min_version": _TLS_VERSIONS,
    "max_version": _TLS_VERSIONS,
}
EXAMPLES = {
    "tags": "tags: [shop, eu]",
    "status": "status: [2xx, 404]",
    "http_version": 'http_version: ["1.1"]',
    "body_regexp": "body_regexp: [open, 'v[0-9]+']",
    "body_not_regexp": "body_not_regexp: [sold out]",
    "json": "json: \"status == 'ok'\"",
    "headers": "headers: {Accept: text/html}",
    "expect.headers": "headers: {Content-Type: '^text/html'}",
    "not_headers": "not_headers: {Server: Apache}",
    "allow_networks": "allow_networks: [10.0.0.0/8]",
    "allow_ports": "allow_ports: [8080, 9000-9100]",
    "compression": "compression: [gzip, br]",
    "auth": "auth: {bearer: '${WMS_SECRET_TOKEN}'}",
    "basic": "basic: {username: me, password: '${WMS_SECRET_PASSWORD}'}",
    "tls": "tls: {server_name: shop.example}",
    "expect.tls": "tls: required",
    "expect": "expect: {status: 2xx}",
}
