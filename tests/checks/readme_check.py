#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""The README's snippets are the files they name, its tables are made from the sources that decide (none of the fifty
behaviours is without a test), and the program takes its
configuration. `--write` writes the first two."""
import glob, os, re, subprocess, sys

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


def macro_rows(text, macro, columns):
    """The arguments of X(...) in a list macro, string literals without their quotes."""
    body = text.split(f'#define {macro}(X)', 1)[1].split('\n\n', 1)[0].replace('\\\n', ' ')
    argument = r'\s*(?:"([^"]*)"|(\w+))\s*'
    rows = [[a or b for a, b in re.findall(argument, row)] for row in re.findall(r'X\(((?:[^"()]|"[^"]*")*)\)', body)]
    assert rows and all(len(row) == columns for row in rows), f'{macro} is not what was expected'
    return rows


def bad_input():
    """What becomes of packets that should not be: the cases of the test that feeds them."""
    text = read('tests/wire/bad_input_cases.hpp')
    rows = [row[2:] for row in macro_rows(text, 'HALFPROXY_BAD_INPUT', 7)]
    rows += [row[1:] for row in macro_rows(text, 'HALFPROXY_BAD_FLAGS', 6)]
    lines = ['| packet | opens a flow? | on its flow | why |', '|---|---|---|---|']
    for what, off, challenged, established, why in rows:
        first = f'`{off}`' if off == challenged else f'`{off}`, challenged `{challenged}`'
        lines.append(f'| {what} | {first} | {f"`{established}`" if established else ""} | {why} |')
    return '\n'.join(lines) + '\n'


def behaviours():
    """Test names that begin with F and a number, or several: TEST_CASE("F13 ..."), @case("F13 ...") and what scripts print."""
    found = {n: [] for n in range(1, 51)}
    begins = r'(?:(?:TEST_CASE|@case)\("|echo "ok: )'
    for kind in ('cpp', 'py', 'sh'):
        for path in sorted(set(glob.glob(os.path.join(root, 'tests', '*', f'*.{kind}'))) - set(glob.glob(os.path.join(root, 'tests', 'checks', '*')))):
            for text in re.findall(begins + r'((?:F\d+ )+[^"$]*)"', read(os.path.relpath(path, root))):
                sentence = re.sub(r'^(F\d+ )+', '', text)
                for number in re.findall(r'F(\d+) ', text[:len(text) - len(sentence)]):
                    found[int(number)].append((sentence, os.path.relpath(path, root)))
    missing = [f'F{n}' for n, proofs in found.items() if not proofs]
    if missing:
        sys.exit(f'no test is named after {", ".join(missing)}')
    lines = ['| | what holds | where it is proved |', '|---|---|---|']
    for n, proofs in found.items():
        files = ', '.join(f'`{p}`' for p in dict.fromkeys(p.removeprefix('tests/') for _, p in proofs))
        lines.append(f'| F{n} | {proofs[0][0].replace("|", "or")} | {files} |')
    return '\n'.join(lines) + '\n'


def tcp_checks():
    """From the X macro: the checks of loose and strict."""
    rows = macro_rows(read('include/halfproxy/track/tcp_checks.hpp'), 'HALFPROXY_TCP_CHECKS', 4)
    mark = {'true': 'x', 'false': ''}
    lines = ['| `check_…` | loose | strict | what must hold |', '|---|---|---|---|']
    lines += [f'| `{name}` | {mark[loose]} | {mark[strict]} | {text} |' for name, loose, strict, text in rows if name != 'answer_seen']
    return '\n'.join(lines) + '\n'


TABLES = {'drop reasons': drop_reasons, 'bad input': bad_input, 'behaviours': behaviours, 'tcp checks': tcp_checks}


def filled(text):
    def file_block(match):
        fence = match.group(3)
        shown = re.sub(r'\A# SPDX.*\n# .*\n', '', read(match.group(2)))
        return f'<!-- {match.group(1)} {match.group(2)} -->\n```{fence}\n{shown}```\n<!-- end -->'

    text, files = re.subn(r'<!-- (snippet|output) (\S+) -->\n```(\w*)\n.*?```\n<!-- end -->', file_block, text, flags=re.S)
    assert files >= 2, 'a marker is missing'
    for name, table in TABLES.items():
        text, found = re.subn(f'<!-- {name} -->\n.*?<!-- end -->', lambda _: f'<!-- {name} -->\n{table()}<!-- end -->', text, flags=re.S)
        assert found == 1, f'there is no place for the table of {name}'
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
    for sample in re.findall(r'<!-- snippet (\S+\.toml) -->', now):
        r = subprocess.run([program, 'check', '--config', os.path.join(root, sample)], capture_output=True, text=True)
        if r.returncode != 0:
            sys.exit(f'{sample}, which README.md shows, is refused: {r.stderr}')
