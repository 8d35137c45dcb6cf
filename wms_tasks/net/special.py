"""
The addresses and ports that are not for everybody, with what they are. Data only; guard.py decides by it.

Our own list: `ipaddress` calls 64:ff9b::a9fe:a9fe, 2002:a9fe:a9fe::1, ::7f00:1 and 224.0.0.1 global.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from wms_tasks.ranges import Network

# The IANA special-purpose address registries (RFC 6890), multicast, and what was special once. The narrower ones first.
SPECIAL_NETWORKS: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(network), name)
    for network, name in (
        ("255.255.255.255/32", "the broadcast address"),
        ("0.0.0.0/8", "this host (RFC 1122)"),
        ("10.0.0.0/8", "private (RFC 1918)"),
        ("100.64.0.0/10", "carrier-grade NAT's (RFC 6598)"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private (RFC 1918)"),
        ("192.0.0.0/24", "reserved (RFC 6890)"),
        ("192.0.2.0/24", "documentation's (RFC 5737)"),
        ("192.88.99.0/24", "a 6to4 relay (RFC 7526)"),
        ("192.168.0.0/16", "private (RFC 1918)"),
        ("198.18.0.0/15", "benchmarks' (RFC 2544)"),
        ("198.51.100.0/24", "documentation's (RFC 5737)"),
        ("203.0.113.0/24", "documentation's (RFC 5737)"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved (RFC 1112)"),
        ("::/128", "this host (RFC 4291)"),
        ("::1/128", "loopback"),
        ("::/96", "IPv4-compatible (RFC 4291)"),
        ("::ffff:0:0/96", "IPv4-mapped (RFC 4291)"),
        ("::ffff:0:0:0/96", "IPv4-translated (RFC 2765)"),
        ("64:ff9b::/96", "NAT64 (RFC 6052)"),
        ("64:ff9b:1::/48", "local NAT64 (RFC 8215)"),
        ("100::/64", "discarded (RFC 6666)"),
        ("2001::/32", "Teredo (RFC 4380)"),
        ("2001:2::/48", "benchmarks' (RFC 5180)"),
        ("2001::/23", "reserved (RFC 2928)"),
        ("2001:db8::/32", "documentation's (RFC 3849)"),
        ("2002::/16", "6to4 (RFC 3056)"),
        ("3fff::/20", "documentation's (RFC 9637)"),
        ("5f00::/16", "segment routing's (RFC 9602)"),
        ("fc00::/7", "private (RFC 4193)"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local (RFC 3879)"),
        ("ff00::/8", "multicast"),
    )
)

# The rest of IPv6 has not been given out (RFC 4291), so nobody to probe is there.
GLOBAL_UNICAST = ip_network("2000::/3")

# IPv6 networks whose last 32 bits are an IPv4 address; 6to4 and Teredo, which hide theirs elsewhere, `ipaddress` knows.
# 64:ff9b:1::/48 may be cut in several ways (RFC 6052, 2.2); this is the usual one, a /96 of it.
ENDING_IN_IPV4 = tuple(
    ip_network(network) for network in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48")
)

# Where clouds hand credentials to whoever asks from inside; from the providers' documentation.
METADATA_SERVICES = frozenset(
    ip_address(address)
    for address in (
        *("169.254.169.254", "fd00:ec2::254", "fd20:ce::254"),  # AWS, Azure, Google and most others; AWS; Google
        *("169.254.170.2", "169.254.170.23", "fd00:ec2::23"),  # AWS ECS tasks, EKS pods
        "168.63.129.16",  # Azure's WireServer, a public address
        *("100.100.100.200", "192.0.0.192", "fd00:c1::a9fe:a9fe"),  # Alibaba; Oracle
        *("169.254.42.42", "fd00:42::42", "169.254.0.23", "169.254.10.10"),  # Scaleway; Tencent
        *("fe80::a9fe:a9fe", "fd00:a9fe:a9fe::1"),  # OpenStack; Akamai
    )
)

# What speaks no HTTP and might take a request for its own language: https://fetch.spec.whatwg.org/#port-blocking
_BROWSERS_REFUSE = """
    0 1 7 9 11 13 15 17 19 20 21 22 23 25 37 42 43 53 69 77 79 87 95 101 102 103 104 109 110 111 113 115 117 119 123 135
    137 139 143 161 179 389 427 465 512 513 514 515 526 530 531 532 540 548 554 556 563 587 601 636 989 990 993 995 1719
    1720 1723 2049 3659 4045 4190 5060 5061 6000 6566 6665 6666 6667 6668 6669 6679 6697 10080
"""
# They often ask nobody for a password; some of them speak HTTP. None from 32768 to 60999, where Linux takes ports for
# anything.
_STORES_AND_BROKERS = {
    "ActiveMQ": (61613, 61616),
    "AMQP": (5671, 5672),
    "Cassandra": (9042, 9160),
    "CockroachDB": (26257,),
    "CouchDB": (5984,),
    "Docker": (2375, 2376),
    "Elasticsearch": (9200, 9300),
    "etcd": (2379, 2380),
    "Kafka": (9092, 9093, 9094),
    "memcached": (11211,),
    "MongoDB": (27017, 27018, 27019),
    "MQTT": (1883, 8883),
    "MySQL": (3306,),
    "NATS": (4222,),
    "Neo4j": (7687,),
    "Oracle": (1521,),
    "Postgres": (5432,),
    "Redis": (6379, 6380, 16379, 26379),
    "RethinkDB": (28015,),
    "SQL Server": (1433, 1434),
    "ZooKeeper": (2181,),
}
SPECIAL_PORTS = {int(port): "one that browsers refuse too" for port in _BROWSERS_REFUSE.split()} | {
    port: f"{name}'s" for name, ports in _STORES_AND_BROKERS.items() for port in ports
}
