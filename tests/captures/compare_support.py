# SPDX-License-Identifier: BSL-1.0
"""Runs the comparison with other programs' answers, and holds its differences against the tables of README.md."""
import fnmatch
import re
import subprocess
import sys

from captures_support import HERE, PROGRAM, require_program, shared_captures

DIFFERENCE = re.compile(r'^  (?P<capture>\S+) (?P<what>.*?) ?(?P<field>[\w.]+|quic \w+): expected (?P<rest>.*)$')
TOTAL = re.compile(r'^(\d+) of (\d+) equal .*, (\d+) captures did not run$', re.MULTILINE)


def explained(verb):
    """(capture pattern, field pattern) of the verb's table."""
    section = (HERE / 'README.md').read_text().split(f'## {verb}: ', 1)[1].split('\n## ', 1)[0]
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in section.splitlines() if line.startswith('|')]
    return [(capture, field) for capture, field, _ in rows[2:]]


def compare(verb, least_compared):
    """Exits 0 when every difference is explained, and at least so many values were compared."""
    require_program()
    folder = shared_captures()
    result = subprocess.run([sys.executable, str(folder / 'compare.py'), verb, '--bin', PROGRAM, '--show', '1000000'],
                            stdout=subprocess.PIPE, text=True, check=False)
    table = explained(verb)
    differences = [line for line in result.stdout.splitlines() if ': expected ' in line]
    unexplained = []
    for line in differences:
        found = DIFFERENCE.match(line)
        known = found and any(fnmatch.fnmatchcase(found['capture'], capture) and fnmatch.fnmatchcase(found['field'], field)
                              for capture, field in table)
        if not known:
            unexplained.append(line)
    total = TOTAL.search(result.stdout)
    print('\n'.join(unexplained[:40]))
    print(result.stdout[total.start():].strip() if total else result.stdout[-2000:])
    print(f'{len(differences)} differences, {len(unexplained)} of them not explained in README.md')
    equal, compared, not_run = (int(group) for group in total.groups()) if total else (0, 0, 1)
    complete = compared >= least_compared and not not_run and compared - equal == len(differences)
    if not complete:
        print(f'expected at least {least_compared} values compared, and every capture to run')
    sys.exit(0 if complete and not unexplained else 1)
