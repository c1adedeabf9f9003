# SPDX-License-Identifier: BSL-1.0
"""announced_server.py PORT [CLIENT VIRTUAL VIRTUAL_PORT]: wants the header of the PROXY protocol, version 1 or 2, of who is really connected, or of that
client and virtual address behind a proxy that changes them; then speaks first, as talk.py's banner-server, and echoes a line."""
import ipaddress
import struct
import sys

from talk import BANNER, serve_each

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def announced(stream):
    """(source address, source port, destination address, destination port) of the header."""
    begin = stream.read(12)
    if begin == SIGNATURE:
        command, family, length = struct.unpack(">BBH", stream.read(4))
        if command != 0x21:
            raise ValueError(f"version and command {command:#x}")
        size = {0x11: 4, 0x21: 16}[family]
        content = stream.read(length)
        if length != 2 * size + 4:
            raise ValueError(f"length {length} for family {family:#x}")
        ports = struct.unpack(">HH", content[2 * size:])
        return ipaddress.ip_address(content[:size]), ports[0], ipaddress.ip_address(content[size:2 * size]), ports[1]
    words = (begin + stream.readline()).decode("ascii").split(" ")
    if words[0] != "PROXY" or words[1] not in ("TCP4", "TCP6") or len(words) != 6 or not words[5].endswith("\r\n"):
        raise ValueError(f"no header: {words}")
    return ipaddress.ip_address(words[2]), int(words[4]), ipaddress.ip_address(words[3]), int(words[5])


def plain(address):
    """Of a socket for both versions."""
    ip = ipaddress.ip_address(address)
    return ip.ipv4_mapped or ip if ip.version == 6 else ip


def serve(peer, wanted):
    stream = peer.makefile("rb")
    header = announced(stream)
    there, here = peer.getpeername(), peer.getsockname()
    true = (plain(there[0]), there[1], plain(here[0]), here[1])
    if wanted:
        client, virtual, port = wanted
        true = (ipaddress.ip_address(client), header[1], ipaddress.ip_address(virtual), int(port))
        if plain(there[0]) == true[0]:
            raise ValueError("the client is connected under its own address")
    if header != true:
        raise ValueError(f"the header says {header}, the truth is {true}")
    peer.sendall(BANNER)
    peer.sendall(stream.readline())


def main(port, *wanted):
    serve_each(port, lambda peer: serve(peer, wanted), "announced_server")


if __name__ == "__main__":
    main(*sys.argv[1:])
