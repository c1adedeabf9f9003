#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""`halfproxy dissect` lists each capture of this folder as expected/<name>.tsv says, in TSV and JSON.

`dissect_test.py --accept` writes the expectations anew; read their difference before you commit it.
"""
import sys

from captures_support import HERE, Checks, from_json, require_program, rows_of, run, without_absent

COLUMNS = ('frame.number frame.len eth.type vlan.id ip.version ip.src ip.dst ip.proto ip.ttl ip.frag_offset ip.mf srcport dstport '
           'tcp.seq tcp.ack tcp.flags tcp.window tcp.len tcp.options.mss tcp.options.wscale tcp.options.sack_perm '
           'tcp.options.sack tcp.options.tsval tcp.options.tsecr ip.checksum l4.checksum error')
DAMAGED = {'truncated.pcap', 'truncated.pcapng', 'damaged_length.pcap'}
EXPECTED = HERE / 'expected'


def captures():
    return sorted(path for path in HERE.iterdir() if path.suffix in ('.pcap', '.pcapng'))


def accept():
    EXPECTED.mkdir(exist_ok=True)
    for path in captures():
        (EXPECTED / (path.name + '.tsv')).write_bytes(run('dissect', path).stdout)


def check(checks, path):
    result = run('dissect', path)
    text = result.stdout.decode()
    damaged = path.name in DAMAGED
    checks.equal(f'{path.name}: exit', 1 if damaged else 0, result.returncode)
    checks.equal(f'{path.name}: a message that names it', damaged, path.name in result.stderr.decode())
    expected = rows_of((EXPECTED / (path.name + '.tsv')).read_text())
    got = rows_of(text)
    checks.equal(f'{path.name}: columns', COLUMNS.split(), text.split('\n', 1)[0].split('\t'))
    checks.equal(f'{path.name}: rows', len(expected), len(got))
    for want, there in zip(expected, got):
        for name, value in want.items():
            checks.equal(f'{path.name}: frame {want["frame.number"]} {name}', value, there.get(name))
    json_rows = from_json(run('dissect', path, 'json').stdout.decode(), None)
    checks.equal(f'{path.name}: JSON says what TSV says', without_absent(got, ''), json_rows)
    with open(path, 'rb') as stream:
        piped = run('dissect', '-', stdin=stream)
    checks.equal(f'{path.name}: the same through a pipe', result.stdout, piped.stdout)


def main():
    require_program()
    if sys.argv[1:] == ['--accept']:
        return accept()
    checks = Checks()
    for path in captures():
        check(checks, path)
    used = {value for path in captures() for row in rows_of((EXPECTED / (path.name + '.tsv')).read_text())
            for value in row.items() if value[1]}
    checks.equal('columns with no value in any capture', set(), set(COLUMNS.split()) - {name for name, _ in used})
    for value in ('good', 'bad', 'partial', 'unverified'):
        checks.true(f'l4.checksum {value} is in a capture', ('l4.checksum', value) in used)
    return checks.finish()


if __name__ == '__main__':
    main()
