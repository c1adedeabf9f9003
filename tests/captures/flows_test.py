#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""`halfproxy flows` lists flows.pcap as flows.tsv expects, whose rows were reasoned out by hand in make_flows.py."""
import subprocess
import sys
import tempfile

from captures_support import HERE, Checks, from_json, require_program, rows_of, run, without_absent

COLUMNS = ('ts uid id.orig_h id.orig_p id.resp_h id.resp_p proto service duration orig_bytes resp_bytes conn_state missed_bytes '
           'history orig_pkts orig_ip_bytes resp_pkts resp_ip_bytes vlan server_name alpn ja4 http.method http.host http.uri')


def key(row):
    return (row['proto'], row['id.orig_h'], row['id.orig_p'], row['id.resp_h'], row['id.resp_p'], row['ts'])


def compare_rows(checks, expected, got):
    listed = {key(row): row for row in got}
    checks.equal('number of flows', len(expected), len(got))
    for row in expected:
        there = listed.get(key(row), {})
        checks.equal(f'{key(row)} is listed', True, bool(there))
        for name, value in row.items():
            checks.equal(f'{key(row)} {name}', value, there.get(name))


def check_names(checks, rows, again):
    uids = [row['uid'] for row in rows]
    checks.equal('every uid is there once', len(uids), len(set(uids)))
    checks.true('a uid is C and letters or digits', all(uid[0] == 'C' and uid.isalnum() for uid in uids))
    checks.equal('a second run gives the same bytes', True, again)


def packets(rows):
    return sum(int(row['orig_pkts']) + int(row['resp_pkts']) for row in rows)


def check_damage(checks, whole):
    """A capture that ends inside a record: the flows of what is whole, a message, exit 1."""
    data = (HERE / 'flows.pcap').read_bytes()
    with tempfile.NamedTemporaryFile(suffix='.pcap') as file:
        file.write(data[:-1])
        file.flush()
        cut = run('flows', file.name)
    checks.equal('exit of a cut capture', 1, cut.returncode)
    checks.true('the message names the file', file.name in cut.stderr.decode())
    checks.equal('packets of a cut capture', packets(whole) - 1, packets(rows_of(cut.stdout.decode())))
    checks.equal('exit of a missing capture', 2, run('flows', HERE / 'no_such.pcap').returncode)


def main():
    require_program()
    checks = Checks()
    made = subprocess.run([sys.executable, str(HERE / 'make_flows.py'), '--check'], stdout=subprocess.PIPE, check=False)
    checks.equal('flows.pcap and flows.tsv are what make_flows.py makes', (0, b''), (made.returncode, made.stdout))
    first, second = (run('flows', HERE / 'flows.pcap') for _ in range(2))
    checks.equal('exit', (0, b''), (first.returncode, first.stderr))
    text = first.stdout.decode()
    checks.equal('columns', COLUMNS.split(), text.split('\n', 1)[0].split('\t'))
    got = rows_of(text)
    compare_rows(checks, rows_of((HERE / 'flows.tsv').read_text()), got)
    check_names(checks, got, first.stdout == second.stdout)
    json_rows = from_json(run('flows', HERE / 'flows.pcap', 'json').stdout.decode(), None)
    checks.equal('JSON says what TSV says', without_absent(got, '-'), json_rows)
    check_damage(checks, got)
    checks.finish()


if __name__ == '__main__':
    main()
