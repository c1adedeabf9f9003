#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""The captures the project ships are byte for byte what make_captures.py makes."""
import pathlib
import subprocess
import sys

script = pathlib.Path(__file__).resolve().parent / 'make_captures.py'
sys.exit(subprocess.run([sys.executable, str(script), '--check'], check=False).returncode)
