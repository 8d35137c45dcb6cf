"""
The table: every reason that a probe can end with, every option that has a say in it, every option of
blackbox_exporter's that docs/sites.md has an answer to. What is not in it stands below it, with where it is tested.
"""

from __future__ import annotations

from tests.cases.case import Case, down, skipped, up
from wms_tasks.result import Reason

CA = {"ca": "${file:ca.pem}"}
SHORT = {"timeout": "500ms"}
ME = {"certificate": "${file:me.pem}", "key": "${file:me.key}"}
_TOKEN = "${WMS_SECRET_TOKEN}"

_NAMES_AND_CONNECTIONS: tuple[Case, ...] = (
    up("page", "plain/", robots="respect"),
    down("no such name", "http://nothing.invalid/", Reason.DNS),
    down("nobody listens", "refusing/", Reason.CONNECT_REFUSED),
    down("nobody listens, robots.txt first", "refusing/", Reason.CONNECT_REFUSED, robots="respect"),
    down("nobody answers", "black-hole/", Reason.CONNECT_TIMEOUT, **SHORT),
    down(
        "no way there", "http://255.255.255.255/", Reason.CONNECT_FAILED, allow_networks="255.255.255.255"
    ),  # TCP has no broadcasts
    up("ip: 4", "localhost/", ip="4", row="preferred_ip_protocol: ip4"),
    down("ip: 6", "plain/", Reason.DNS, ip="6"),
    up("ip: prefer_6", "plain/", ip="prefer_6", row="preferred_ip_protocol: ip6"),
)

_GUARD: tuple[Case, ...] = (
    skipped("private address", "http://10.0.0.1/", Reason.BLOCKED_ADDRESS),
    skipped("private address, robots.txt first", "http://10.0.0.2/", Reason.BLOCKED_ADDRESS, robots="respect"),
    skipped("metadata service", "http://169.254.169.254/", Reason.BLOCKED_ADDRESS),
    skipped("closed port", "http://127.0.0.77:6669/", Reason.BLOCKED_ADDRESS),
    down("opened port", "http://127.0.0.77:6669/", Reason.CONNECT_REFUSED, allow_ports="6669"),
    down("redirect to metadata", "plain/to-metadata", Reason.BLOCKED_ADDRESS),
    down("redirect to metadata in decimal", "plain/to-decimal", Reason.BLOCKED_ADDRESS),
    down("redirect to metadata in octal", "plain/to-octal", Reason.BLOCKED_ADDRESS),
)

_ANSWERS: tuple[Case, ...] = (
    down("timeout", "plain/hang", Reason.TIMEOUT, row="timeout", **SHORT),
    down("dripping body", "plain/drip", Reason.TIMEOUT, status_code=200, **SHORT),
    down("endless interim answers", "plain/interim", Reason.TIMEOUT, **SHORT),
    down("reset", "plain/reset", Reason.RESET),
    down("closed without a word", "plain/close", Reason.RESET),
    down("cut in the body", "plain/cut", Reason.RESET, status_code=200),
    down("not HTTP", "plain/not-http", Reason.PROTOCOL),
    down("a header of 1 MiB", "plain/large-header", Reason.PROTOCOL),
    down("10,000 headers", "plain/many-headers", Reason.PROTOCOL),
    down("bad chunks", "plain/bad-chunks", Reason.PROTOCOL, status_code=200),
    down("no gzip", "plain/no-gzip", Reason.PROTOCOL, status_code=200),
    down(
        "a body without an end that decodes to nothing",
        "plain/no-end",
        Reason.TOO_LARGE,
        status_code=200,
        max_body="1KiB",
    ),
    down("redirect to a file", "plain/to-file", Reason.PROTOCOL, status_code=302),
)

_REDIRECTS: tuple[Case, ...] = (
    up("redirect", "plain/twice"),
    up("follow_redirects: false", "plain/moved", status_code=302, follow_redirects=False, expect={"status": "302"},
       row="follow_redirects"),
    down("redirect that is not followed", "plain/moved", Reason.STATUS, status_code=302, follow_redirects=False),
    down("redirect loop", "plain/loop", Reason.TOO_MANY_REDIRECTS, status_code=302),
    down("max_redirects", "plain/twice", Reason.TOO_MANY_REDIRECTS, status_code=302, max_redirects=1),
)  # fmt: skip

_REQUESTS: tuple[Case, ...] = (
    up("method", "plain/head", method="HEAD", row="method"),
    up("body", "plain/post", method="POST", body="question", row="body"),
    up("body from a file", "plain/post-file", method="POST", body="key=${file:token}", row="body_file"),
    up("header", "plain/header", headers={"X-Plain": "as written"}, row="headers"),
    down("without the header", "plain/header", Reason.STATUS, status_code=400),
    up("header from a variable", "plain/header-variable", headers={"X-Secret": f"a {_TOKEN}"}, row="http_headers"),
    up("header from a file", "plain/header-file", headers={"X-Secret": "${file:token}"}, row="http_headers"),
    up("secret in the query", f"plain/query?a=1&key={_TOKEN}&file=${{file:token}}"),
    skipped("query without its secret", "plain/query?key=${WMS_SECRET_NOT_SET}", Reason.SECRET),
    skipped("secret that is not there", "plain/", Reason.SECRET, headers={"X": "${WMS_SECRET_NOT_SET}"}),
    up("basic", "plain/basic", auth={"basic": {"username": "me", "password": _TOKEN}}, row="basic_auth (username"),
    up("bearer", "plain/bearer", auth={"bearer": "${file:token}"}, row="authorization (type: Bearer)"),
    up("other scheme", "plain/other-scheme", headers={"Authorization": f"ApiKey {_TOKEN}"},
       row="authorization (another type)"),
    up("gzip", "plain/gzip", expect={"body_regexp": "^in gzip$"}),
    up("br", "plain/br", compression="br", expect={"body_regexp": "^in brotli$"}, row="compression"),
    up("deflate", "plain/deflate", compression=["deflate", "br"], expect={"body_regexp": "^in deflate$"}),
    up("identity", "plain/identity", compression=[], row="compression"),
    up("large", "plain/large", expect={"body_regexp": "x$"}),
    down("max_body", "plain/large", Reason.TOO_LARGE, status_code=200, max_body="1KiB",
         expect={"body_regexp": "y"}, row="body_size_limit"),
    down("gzip bomb", "plain/bomb", Reason.TOO_LARGE, status_code=200, expect={"body_regexp": "x"}),
    up("gzip bomb of which nothing is expected", "plain/bomb"),
    down("evidence: none", "plain/error", Reason.STATUS, status_code=503, evidence="none"),
    down("evidence: headers", "plain/error", Reason.STATUS, status_code=503, evidence="headers"),
    down("evidence: body", "plain/error", Reason.STATUS, status_code=503, evidence="body"),
)  # fmt: skip

_EXPECTATIONS: tuple[Case, ...] = (
    down("status", "plain/missing", Reason.STATUS, status_code=404),
    up("status as expected", "plain/missing", status_code=404, expect={"status": ["200", "404"]},
       row="valid_status_codes"),
    up("HTTP/1.0", "plain/1.0", expect={"http_version": "1.0"}),
    up("http_version", "plain/", expect={"http_version": "1.1"}, row="valid_http_versions"),
    down("another http_version", "plain/1.0", Reason.HTTP_VERSION, status_code=200, expect={"http_version": "1.1"}),
    down("tls: forbidden", "tls/", Reason.SCHEME, status_code=200, shown=True, tls=CA, expect={"tls": "forbidden"},
         row="fail_if_ssl"),
    up("tls: forbidden over http", "plain/", expect={"tls": "forbidden"}, row="fail_if_ssl"),
    down("tls: required", "plain/", Reason.SCHEME, status_code=200, expect={"tls": "required"}, row="fail_if_not_ssl"),
    down("tls: required, and a redirect to http", "tls/to-http", Reason.SCHEME, status_code=200, tls=CA,
         expect={"tls": "required"}),
    up("tls: required over https", "tls/", tls=CA, expect={"tls": "required"}, row="fail_if_not_ssl"),
    up("body_regexp", "plain/", expect={"body_regexp": ["systems (go|ready)", "^all"]},
       row="fail_if_body_not_matches_regexp"),
    down("another body_regexp", "plain/", Reason.REGEXP, status_code=200, expect={"body_regexp": ["go", "stop"]},
         row="fail_if_body_not_matches_regexp"),
    down("body_not_regexp", "plain/", Reason.REGEXP, status_code=200, expect={"body_not_regexp": "go$"},
         row="fail_if_body_matches_regexp"),
    up("header as expected", "plain/", expect={"headers": {"X-Cache": "^HIT$"}}, row="fail_if_header_not_matches"),
    up("header that may lack", "plain/", expect={"headers": {"X-Other": {"regexp": "a", "may_lack": True}}},
       row="fail_if_header_not_matches"),
    down("header that lacks", "plain/", Reason.HEADER, status_code=200, expect={"headers": {"X-Other": "a"}},
         row="fail_if_header_not_matches"),
    down("not_headers", "plain/", Reason.HEADER, status_code=200, expect={"not_headers": {"X-Cache": "HIT"}},
         row="fail_if_header_matches (allow_missing: true)"),
    up("not_headers of one that is not there", "plain/", expect={"not_headers": {"X-Other": "a"}},
       row="fail_if_header_matches (allow_missing: true)"),
    down("not_headers, and it must be there", "plain/", Reason.HEADER, status_code=200,
         expect={"not_headers": {"X-Other": "a"}, "headers": {"X-Other": ".*"}},
         row="fail_if_header_matches (allow_missing: false)"),
    up("json", "plain/json", expect={"json": ["status == 'ok'", "!(errors)"]},
       row="fail_if_body_json_not_matches_cel"),
    down("json that is not so", "plain/json", Reason.JSON, status_code=200,
         expect={"json": "!(max_by(queues, &lag).lag > `50`)"}, row="fail_if_body_json_matches_cel"),
    down("no json", "plain/", Reason.JSON, status_code=200, expect={"json": "@"}),
    up("slow", "plain/slow", reason=Reason.SLOW, expect={"slow": "100ms"}),
    up("certificate_days", "tls-soon/", reason=Reason.TLS_EXPIRING, tls=CA, expect={"certificate_days": 30}),
    up("certificate_days left", "tls/", tls=CA, expect={"certificate_days": 30}),
    down("certificate_days over http", "plain/", Reason.SCHEME, status_code=200, expect={"certificate_days": 30}),
)  # fmt: skip

_TLS: tuple[Case, ...] = (
    up("ca", "tls/", tls=CA, row="tls_config.ca_file"),
    down("another authority", "tls-stranger/", Reason.TLS_UNTRUSTED, shown=True, tls=CA),
    down("the system's authorities", "tls/", Reason.TLS_UNTRUSTED, shown=True),
    down("ca that is none", "tls/", Reason.TLS_OTHER, tls={"ca": "${file:no.pem}"}),
    down("expired", "tls-expired/", Reason.TLS_EXPIRED, shown=True, tls=CA),
    down("not yet valid", "tls-early/", Reason.TLS_EXPIRED, shown=True, tls=CA),
    down("wrong host", "tls-other-host/", Reason.TLS_HOSTNAME, shown=True, tls=CA),
    down("self-signed", "tls-self-signed/", Reason.TLS_UNTRUSTED, shown=True, tls=CA),
    down("missing intermediate", "tls-gap/", Reason.TLS_UNTRUSTED, shown=True, tls=CA),
    up("server_name", "tls-other-host/", tls=CA | {"server_name": "shop.example"}, row="tls_config.server_name"),
    down("wrong server_name", "tls-other-host/", Reason.TLS_HOSTNAME, shown=True,
         tls=CA | {"server_name": "other.example"}),
    up("verify: false, expired", "tls-expired/", tls={"verify": False}, row="tls_config.insecure_skip_verify"),
    up("verify: false, self-signed", "tls-self-signed/", tls={"verify": False}),
    down("weak version", "tls-1.1/", Reason.TLS_OTHER, tls=CA),
    up("weak version that is asked for", "tls-1.1/", tls=CA | {"min_version": "1.0", "max_version": "1.1"}),
    up("min_version", "tls-1.3/", tls=CA | {"min_version": "1.3"}, row="tls_config.min_version"),
    down("min_version that the server has not", "tls-1.2/", Reason.TLS_OTHER, tls=CA | {"min_version": "1.3"}),
    down("max_version that the server has not", "tls-1.3/", Reason.TLS_OTHER, tls=CA | {"max_version": "1.2"}),
    up("client certificate", "tls-client/", tls=CA | ME, row="tls_config.cert_file"),
    down("no client certificate", "tls-client/", Reason.TLS_OTHER, shown=True, tls=CA),
    down("a stranger's client certificate", "tls-client/", Reason.TLS_OTHER, shown=True,
         tls=CA | {"certificate": "${file:other.pem}", "key": "${file:other.key}"}),
    down("a client certificate with another's key", "tls-client/", Reason.TLS_OTHER,
         tls=CA | {"certificate": "${file:me.pem}", "key": "${file:other.key}"}),
    down("https where http is spoken", "https-to-http/", Reason.TLS_OTHER),
)  # fmt: skip

_ROBOTS: tuple[Case, ...] = (
    up("robots.txt allows it", "robots/", robots="respect"),
    skipped("robots.txt forbids it", "robots/private", Reason.ROBOTS, robots="respect"),
    up("robots: ignore", "robots/private", robots="ignore"),
    skipped("robots.txt fails", "robots-broken/", Reason.ROBOTS_UNREACHABLE, robots="respect"),
)

CASES: tuple[Case, ...] = (
    *_NAMES_AND_CONNECTIONS,
    *_GUARD,
    *_ANSWERS,
    *_REDIRECTS,
    *_REQUESTS,
    *_EXPECTATIONS,
    *_TLS,
    *_ROBOTS,
)

# Reasons that one probe alone does not end with, and where they are tested.
ELSEWHERE = {
    Reason.RATE_LIMITED: "tests/integration/test_politeness.py",
    Reason.OFFLINE: "tests/integration/test_politeness.py",
    Reason.WORKER_TOO_OLD: "tests/acceptance/test_roles_tasks.py",
    Reason.EXPIRED: "tests/acceptance/test_ledger.py",
    Reason.NOT_PUBLISHED: "tests/acceptance/test_ledger.py",
    Reason.SCHEDULER_DOWN: "tests/unit/test_ledger_why.py",
    Reason.BROKER_DOWN: "tests/unit/test_ledger_why.py",
    Reason.WORKER_LOST: "tests/unit/test_ledger_missed.py",
    Reason.REJECTED: "tests/unit/test_ledger_why.py",
    Reason.LOST_IN_KAFKA: "tests/unit/test_ledger_why.py",
    Reason.UNKNOWN: "tests/unit/test_ledger_why.py",
}

# Fields that have no say in what one probe comes to.
OF_THE_SCHEDULE = frozenset(
    {"site_id", "name", "url", "interval_seconds", "jitter_seconds", "retries", "spacing_seconds", "tags"}
)
