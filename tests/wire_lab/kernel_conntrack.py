# SPDX-License-Identifier: BSL-1.0
"""The kernel's connection tracking as a function from packets to fates: two TUN devices, forwarding between them, and an nft rule that drops what
conntrack calls invalid. A packet written to one device has been decided when write() returns; it is then readable at the other, or not at all.

For a namespace of its own. Sysctls as the kernel has them: nf_conntrack_tcp_loose 1 unless told otherwise, nf_conntrack_tcp_be_liberal 0,
nf_conntrack_tcp_ignore_invalid_rst 0, nf_conntrack_tcp_max_retrans 3, nf_conntrack_checksum 1. But for its timeouts, from 10 seconds up: an hour each, so that
no entry ends because the machine is slow; our engine's clock stands still."""
import fcntl
import glob
import os
import socket
import struct
import subprocess

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000
NETLINK_NETFILTER = 12
CTNETLINK, GET, DELETE = 1 << 8, 1, 2
NLM_F_REQUEST, NLM_F_ACK, NLMSG_ERROR, NESTED = 1, 4, 2, 0x8000
ENOENT = 2

STATES = ["none", "syn_sent", "syn_recv", "established", "fin_wait", "close_wait", "last_ack", "time_wait", "close", "syn_sent2"]

RULES = """
table inet compare {
    chain through {
        type filter hook forward priority 0; policy accept;
        ct state invalid counter drop
        counter accept
    }
    chain own {
        type filter hook output priority 0; policy drop;
    }
}
"""


def run(*command, text=None):
    done = subprocess.run(command, input=text, text=True, capture_output=True)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")


def write(path, value):
    with open(path, "w", encoding="ascii") as file:
        file.write(value)


def attribute(kind, data):
    return struct.pack("HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def attributes(data):
    found = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("HH", data)
        found[kind & 0x3FFF] = data[4:length]
        data = data[(length + 3) & ~3:]
    return found


class Conntrack:
    """What conntrack knows, by netlink (libnfnetlink's attribute numbers: linux/netfilter/nfnetlink_conntrack.h)."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        self.socket.bind((0, 0))
        self.socket.settimeout(5)
        self.sequence = 0

    def ask(self, what, flags, family, body):
        self.sequence += 1
        payload = struct.pack("BBH", family, 0, 0) + body
        self.socket.send(struct.pack("IHHII", 16 + len(payload), CTNETLINK | what, flags, self.sequence, 0) + payload)
        answer = self.socket.recv(8192)
        kind, = struct.unpack_from("H", answer, 4)
        if kind == NLMSG_ERROR:
            return struct.unpack_from("i", answer, 16)[0], b""
        return 0, answer[20:]

    def entry(self, source, destination, source_port, destination_port):
        """State, whether the tuple's own sender opened it, and both directions' flags (IP_CT_TCP_FLAG_*); None when there is none."""
        first = 1 if len(source) == 4 else 3
        ip = attribute(first, source) + attribute(first + 1, destination)
        ports = attribute(1, bytes([socket.IPPROTO_TCP])) + attribute(2, struct.pack("!H", source_port)) + attribute(3, struct.pack("!H", destination_port))
        tuple_ = attribute(1 | NESTED, attribute(1 | NESTED, ip) + attribute(2 | NESTED, ports))
        error, answer = self.ask(GET, NLM_F_REQUEST, socket.AF_INET if len(source) == 4 else socket.AF_INET6, tuple_)
        if error == -ENOENT:
            return None
        if error:
            raise OSError(-error, "conntrack")
        found = attributes(answer)
        tcp = attributes(attributes(found[4])[1])
        opener = attributes(attributes(found[1])[2])[2]
        return STATES[tcp[1][0]], struct.unpack("!H", opener)[0] == source_port, tcp[4][0], tcp[5][0]

    def flush(self):
        error, _ = self.ask(DELETE, NLM_F_REQUEST | NLM_F_ACK, 0, b"")
        if error:
            raise OSError(-error, "conntrack flush")


class Tun:
    def __init__(self, name, addresses):
        self.file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(self.file, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
        run("ip", "link", "set", name, "addrgenmode", "none", "mtu", "9000")
        run("ip", "link", "set", name, "up")
        for prefix in addresses:
            run("ip", "-6" if ":" in prefix else "-4", "route", "add", prefix, "dev", name)

    def put(self, packet):
        os.write(self.file, packet)

    def get(self):
        """What has come out, or None."""
        try:
            return os.read(self.file, 10_000)
        except BlockingIOError:
            return None


class Kernel:
    """`outside` and `inside` are lists of prefixes."""

    def __init__(self, outside, inside):
        for setting in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            write(f"/proc/sys/net/{setting}", "1")
        run("nft", "-f", "-", text=RULES)  # first: nothing of the host's own may leave
        for timeout in glob.glob("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_*"):
            write(timeout, "3600")
        self.ends = [Tun("outside", outside), Tun("inside", inside)]
        self.conntrack = Conntrack()

    @staticmethod
    def set_loose(loose):
        write("/proc/sys/net/netfilter/nf_conntrack_tcp_loose", str(int(loose)))

    def passes(self, end, packet):
        """Whether a packet that comes in at `end` comes out at the other one, whole but for its hop limit."""
        self.ends[end].put(packet)
        out = self.ends[1 - end].get()
        if out is None:
            return False
        head = 40 if packet[0] >> 4 == 6 else 20
        if out[head:] != packet[head:]:
            raise AssertionError(f"another packet came out: {out.hex()} for {packet.hex()}")
        return True
