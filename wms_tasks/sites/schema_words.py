"""
What is said of each key, by where the key stands: what it is where it is not written, and what it may be. In
docs/reference/sites.md as it stands here, in an editor (schema.py) as one line without links.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")


class Words(NamedTuple):
    """``default`` is what stands for a key that is not written; None where it must be."""

    default: str | None
    text: str

    @property
    def line(self) -> str:
        """All of it without links."""
        default = "" if self.default in {None, "none"} else f" By default {self.default}."
        return _LINK.sub(r"\1", self.text) + default


WORDS = {
    "sites": Words("none", "What is watched."),
    "defaults": Words("none", "What the sites of this file share; a site's own key wins."),
    "groups": Words("none", "Sets of defaults by name; a site says `group: name`. They go before the defaults."),
    "hosts": Words("none", "How often a host may be asked, by all workers together: `shop.example: {spacing: 250ms}`."),
    "site.name": Words(
        None, "Up to 200 characters, no control characters. Each name once; letter case and width make no difference."
    ),
    "site.id": Words(
        "the name",
        "What the history belongs to: with an `id` a rename keeps it. Same rules as `name`; one site's `id` may not be "
        "another's name if that one has no `id`.",
    ),
    "site.enabled": Words("`true`", "`false`: checked, not probed."),
    "site.url": Words(
        None,
        "`http://` or `https://` with a host. No user and password, no spaces; "
        "[references](../sites.md#a-secret-in-a-urls-query) in its query only.",
    ),
    "site.group": Words(
        "none", "The [group](../sites.md#groups) it takes its keys from, where it has none of its own."
    ),
    "defaults.method": Words(
        "`GET`",
        "`GET`, `HEAD`, `OPTIONS`, `POST`, `PUT`, `PATCH` or `DELETE`. The last four "
        "[must bear being repeated](../sites.md#methods-that-change-something).",
    ),
    "defaults.headers": Words(
        "none",
        "Up to 50 names and values; values may hold [references](../sites.md#secrets), as `${WMS_SECRET_NAME}` or "
        "`${file:name}`. [Some are refused](../sites.md#headers-that-are-refused).",
    ),
    "defaults.body": Words(
        "none",
        "Text, sent as UTF-8, up to 64 KiB; only with `POST`, `PUT`, `PATCH` and `DELETE`. May hold references. Its "
        "`Content-Type` is written under `headers`.",
    ),
    "defaults.auth": Words(
        "none",
        "`{basic: {username: me, password: '${WMS_SECRET_SHOP}'}}` or `{bearer: '${file:shop/token}'}`. Password and "
        "token are references and nothing else.",
    ),
    "defaults.tls": Words("the system's authorities, verified", "How https is [spoken](../sites.md#tls)."),
    "defaults.compression": Words(
        "`gzip`", "The encodings that are asked for: `gzip`, `br`, `deflate`, or a list of them; `[]`: none."
    ),
    "defaults.follow_redirects": Words(
        "`true`", "`false`: a redirect is the answer, and its status is what `expect.status` is about."
    ),
    "defaults.max_redirects": Words(
        "`5`",
        "`0` to `10`; more than that are a failure. `0` is `follow_redirects: false`. A redirect whose status is "
        "expected is never followed.",
    ),
    "defaults.ip": Words(
        "`any`",
        "`4` or `6`: only that family; `prefer_4`, `prefer_6`: that one first, the other one where it does not answer.",
    ),
    "defaults.max_body": Words(
        "`1MiB`",
        "How much of a body is read, decoded: `1B` to `8MiB`. Each probe under way may hold as much, and some ten "
        "times that while `expect.json` looks at it.",
    ),
    "defaults.evidence": Words(
        "`headers`",
        "What a result that is not up keeps of the answer: `headers` (without `Set-Cookie`), `body` (its first 2 KiB "
        "too), or `none`.",
    ),
    "defaults.interval": Words("`60s`", "`1s` to `1d`."),
    "defaults.timeout": Words(
        "`10s`, or 0.8 of a shorter interval",
        "`100ms` to `30s`, for all of a probe: name, connection, answer, redirects.",
    ),
    "defaults.jitter": Words(
        "a tenth of the interval",
        "From `0s`. Each slot's probe starts that much later at most, always the same for one slot.",
    ),
    "defaults.retries": Words("`1`", "`0` to `10`: how often a failure that may pass is tried again inside the slot."),
    "defaults.robots": Words(
        "`respect`",
        "`respect`: robots.txt is asked, a page it forbids is not probed. `ignore`: for sites of your own.",
    ),
    "defaults.tags": Words("none", "A list of up to 50 words."),
    "defaults.allow_networks": Words(
        "none",
        "Networks that are [closed to probes](../sites.md#addresses-that-are-not-for-probes) and open to this site's: "
        'an address (`10.1.2.3`), a network (`10.0.0.0/8`, `"fd00::/8"`), or a list of up to 50.',
    ),
    "defaults.allow_ports": Words(
        "none",
        "Ports that are closed to probes and open to this site's: `8080`, `9000-9100`, or a list of up to 50.",
    ),
    "defaults.expect": Words(
        "`status: 2xx`", "What an answer must be for the site to be [up](../sites.md#what-is-expected)."
    ),
    "host.spacing": Words("`1s`", "The least time between two requests to the host: `1ms` to `1h`."),
    "auth.basic": Words("none", "A username, and a password by reference."),
    "auth.bearer": Words("none", "A token, by reference."),
    "auth.basic.username": Words(None, "As it is, without a colon."),
    "auth.basic.password": Words(None, "A reference: `${WMS_SECRET_NAME}` or `${file:name}`."),
    "tls.ca": Words(
        "the system's", "The authorities to trust instead: PEM text, or a reference to it, as `${file:ca.pem}`."
    ),
    "tls.certificate": Words(
        "none",
        "The certificate we show: a reference to its PEM text, with those between it and its authority.",
    ),
    "tls.key": Words("in `certificate`", "A reference to its key."),
    "tls.server_name": Words("the url's host", "The name that is sent (SNI) and that the certificate must have."),
    "tls.min_version": Words("OpenSSL's", "The least version of TLS: `1.0` to `1.3`."),
    "tls.max_version": Words("OpenSSL's", "The greatest version of TLS: `1.0` to `1.3`."),
    "tls.verify": Words("`true`", "`false`: any certificate will do. It is reported all the same."),
    "expect.status": Words("`2xx`", "A code (`100` to `599`), a class (`1xx` to `5xx`), or a list of them."),
    "expect.http_version": Words("any", "`1.0`, `1.1`, or both."),
    "expect.tls": Words("any", "`required` or `forbidden`: whether the answer, after all redirects, comes over https."),
    "expect.body_regexp": Words(
        "none",
        "A pattern of [google-re2](https://github.com/google/re2/wiki/Syntax), up to 1 KiB, that is found somewhere in "
        "the body; or a list of up to 20, of which all are.",
    ),
    "expect.body_not_regexp": Words("none", "One or up to 20 patterns; none of them is found."),
    "expect.headers": Words(
        "none",
        "Up to 20 headers of the answer with the pattern that each matches: `{Content-Type: '^text/html'}`. `{X-Cache: "
        "{regexp: HIT, may_lack: true}}`: the header need not be there.",
    ),
    "expect.not_headers": Words("none", "Up to 20 headers with a pattern that each does not match."),
    "expect.json": Words(
        "none",
        "A [JMESPath](https://jmespath.org/) expression, up to 1 KiB, that is true of the body; or a list of up to 20, "
        "of which all are.",
    ),
    "expect.certificate_days": Words(
        "none",
        "`0` to `3650`. With fewer days until the first certificate of the chain ends, the site is up, with the reason "
        "`tls_expiring`. `0`: not looked at.",
    ),
    "expect.slow": Words(
        "none",
        "`1ms` to below the timeout. With a longer response time the site is up, with the reason `slow`.",
    ),
    "expect.headers.regexp": Words(None, "A pattern (google-re2)."),
    "expect.headers.may_lack": Words("`false`", "`true`: the header need not be there."),
}
DESCRIPTIONS = {key: words.line for key, words in WORDS.items()}
