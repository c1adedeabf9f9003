#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Seeds for a fuzz target from the project's captures: seeds.py TARGET CAPTURES CORPUS."""
import pathlib
import struct
import sys


def packets(content):
    """Of a little-endian or big-endian pcap; of anything else, nothing."""
    for order in '<>':
        if len(content) >= 24 and struct.unpack(order + 'I', content[:4])[0] in (0xa1b2c3d4, 0xa1b23c4d):
            at = 24
            while at + 16 <= len(content):
                length = struct.unpack(order + 'I', content[at + 8:at + 12])[0]
                yield content[at + 16:at + 16 + length]
                at += 16 + length


def main():
    if len(sys.argv) != 4:
        sys.exit('usage: seeds.py TARGET CAPTURES CORPUS')
    target, corpus = sys.argv[1], pathlib.Path(sys.argv[3])
    seeds = set()
    for path in sorted(pathlib.Path(sys.argv[2]).glob('*.pcap*')):
        content = path.read_bytes()
        if target == 'fuzz_pcap_reader':
            seeds.add(content[:4096])
        elif target == 'fuzz_tcp_options':
            seeds.update(packet[54:94] for packet in packets(content) if packet[12:14] == b'\x08\0')
        else:
            seeds.update(packet[:512] for packet in packets(content))
    for number, seed in enumerate(sorted(seeds)):
        (corpus / f'seed-{number}').write_bytes(seed)


if __name__ == '__main__':
    main()
