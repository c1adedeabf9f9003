#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""The README's snippets are the files they name, its table of drop reasons is the enum's, and the program takes its
configuration. `--write` writes the first two."""
import os, re, subprocess, sys

root = os.environ.get('HALFPROXY_SOURCE_DIR') or os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
readme = os.path.join(root, 'README.md')


def read(path):
    with open(os.path.join(root, path), encoding='utf-8') as f:
        return f.read()


def drop_reasons():
    """From the X macro: name and sentence, in order."""
    text = read('include/halfproxy/core/verdict.hpp')
    rows = re.findall(r'X\((\w+),\s*"([^"]*)"\)', text)
    assert len(rows) > 20, 'the list of drop reasons was not found'
    lines = ['| reason | what it says |', '|---|---|'] + [f'| `{n}` | {t} |' for n, t in rows if n != 'none']
    return '\n'.join(lines) + '\n'


def filled(text):
    def file_block(match):
        fence = match.group(3)
        shown = re.sub(r'\A# SPDX.*\n# .*\n', '', read(match.group(2)))
        return f'<!-- {match.group(1)} {match.group(2)} -->\n```{fence}\n{shown}```\n<!-- end -->'

    text, files = re.subn(r'<!-- (snippet|output) (\S+) -->\n```(\w*)\n.*?```\n<!-- end -->', file_block, text, flags=re.S)
    text, tables = re.subn(r'<!-- drop reasons -->\n.*?<!-- end -->',
                           lambda _: f'<!-- drop reasons -->\n{drop_reasons()}<!-- end -->', text, flags=re.S)
    assert files >= 2 and tables == 1, 'a marker is missing'
    return text


now = read('README.md')
want = filled(now)
if '--write' in sys.argv:
    with open(readme, 'w', encoding='utf-8') as f:
        f.write(want)
elif now != want:
    line = next(i for i, (a, b) in enumerate(zip(now.splitlines() + [''], want.splitlines() + ['']), 1) if a != b)
    sys.exit(f'README.md:{line}: is not what its source says; run tests/checks/readme_check.py --write')

program = os.environ.get('HALFPROXY_BIN', '')
if os.access(program, os.X_OK):
    r = subprocess.run([program, 'check', '--config', os.path.join(root, 'tests/tool/readme.toml')], capture_output=True, text=True)
    if r.returncode != 0:
        sys.exit(f'the configuration of README.md is refused: {r.stderr}')
