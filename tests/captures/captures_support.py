# SPDX-License-Identifier: BSL-1.0
"""What the capture tests share: where the program is, running it, reading its rows, and the captures beside the project."""
import csv
import io
import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PROGRAM = os.environ.get('HALFPROXY_BIN', str(ROOT / 'build' / 'bin' / 'halfproxy'))
SKIPPED = 77


def skip(reason):
    print(f'skipped: {reason}')
    sys.exit(SKIPPED)


def require_program():
    if not os.access(PROGRAM, os.X_OK):
        skip(f'{PROGRAM} is not built')


def run(verb, capture, form='tsv', **more):
    return subprocess.run([PROGRAM, verb, '--in', str(capture), '--format', form], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=120, check=False, **more)


def rows_of(tsv):
    return list(csv.DictReader(io.StringIO(tsv), delimiter='\t', quoting=csv.QUOTE_NONE))


def from_json(text, absent):
    """JSON rows as the strings that TSV has."""
    def written(value):
        return {True: '1', False: '0'}[value] if isinstance(value, bool) else str(value)
    rows = []
    for line in text.splitlines():
        row = json.loads(line, parse_float=str)
        rows.append({name: written(value) for name, value in row.items() if value != absent})
    return rows


def without_absent(rows, absent):
    return [{name: value for name, value in row.items() if value != absent} for row in rows]


def shared_captures():
    """The folder of captures with other programs' answers, which is no part of the project; skips when it is not there."""
    folder = pathlib.Path(os.environ.get('HALFPROXY_CAPTURES') or ROOT.parent / 'shared' / 'captures')
    if not (folder / 'compare.py').exists():
        skip(f'no captures with expected answers in {folder}; HALFPROXY_CAPTURES names another folder')
    return folder


class Checks:
    """Collects failures, so that one run shows all of them."""

    def __init__(self):
        self.count, self.failures = 0, []

    def equal(self, what, expected, got):
        self.count += 1
        if expected != got:
            self.failures.append(f'{what}: expected {expected!r}, got {got!r}')

    def true(self, what, condition):
        self.equal(what, True, bool(condition))

    def finish(self):
        for failure in self.failures[:40]:
            print(failure)
        print(f'{self.count} checks, {len(self.failures)} failures')
        sys.exit(1 if self.failures or not self.count else 0)
