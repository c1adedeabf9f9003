# SPDX-License-Identifier: BSL-1.0
"""Runs the comparison with other programs' answers, and holds its differences against the tables of README.md."""
import fnmatch
import os
import pathlib
import re
import subprocess
import sys
import tempfile

from captures_support import HERE, PROGRAM, require_program, shared_captures

DIFFERENCE = re.compile(r'^  (?P<capture>\S+) (?P<what>.*?) ?(?P<field>[\w.]+|quic \w+): expected (?P<rest>.*)$')
TOTAL = re.compile(r'^(\d+) of (\d+) equal .*, (\d+) captures did not run$', re.MULTILINE)


def explained(verb):
    """(capture pattern, field pattern) of the verb's table."""
    section = (HERE / 'README.md').read_text().split(f'## {verb}: ', 1)[1].split('\n## ', 1)[0]
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in section.splitlines() if line.startswith('|')]
    return [(capture, field) for capture, field, _ in rows[2:]]


def run_slices(folder, verb):
    """What compare.py prints, of as many slices of the captures as there are processors, side by side."""
    names = (folder / 'dev.list').read_text().splitlines()
    slices = min(os.cpu_count() or 1, 8)
    with tempfile.TemporaryDirectory() as lists:
        running = []
        for i in range(slices):
            path = pathlib.Path(lists) / f'{i}.list'
            path.write_text('\n'.join(names[i::slices]) + '\n')
            command = [sys.executable, str(folder / 'compare.py'), verb, '--bin', PROGRAM, '--show', '1000000', '--list', str(path)]
            running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return [process.communicate()[0] for process in running]


def compare(verb, least_compared):
    """Exits 0 when every difference is explained, and at least so many values were compared."""
    require_program()
    folder = shared_captures()
    table = explained(verb)
    equal = compared = not_run = 0
    differences, unexplained = [], []
    for output in run_slices(folder, verb):
        differences += [line for line in output.splitlines() if ': expected ' in line]
        total = TOTAL.search(output)
        numbers = [int(group) for group in total.groups()] if total else [0, 0, 1]
        equal, compared, not_run = equal + numbers[0], compared + numbers[1], not_run + numbers[2]
        print('\n'.join(line for line in output.splitlines() if line.startswith('DID NOT RUN')), end='')
    for line in differences:
        found = DIFFERENCE.match(line)
        known = found and any(fnmatch.fnmatchcase(found['capture'], capture) and fnmatch.fnmatchcase(found['field'], field)
                              for capture, field in table)
        if not known:
            unexplained.append(line)
    print('\n'.join(unexplained[:40]))
    print(f'{equal} of {compared} equal, {len(differences)} differences, {len(unexplained)} of them not explained in README.md')
    complete = compared >= least_compared and not not_run and compared - equal == len(differences)
    if not complete:
        print(f'{not_run} captures did not run; expected none, and at least {least_compared} values compared')
    sys.exit(0 if complete and not unexplained else 1)
