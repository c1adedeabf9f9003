#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""TCP flows are listed as in Zeek's published conn.log rows, but for the differences that README.md explains."""
from compare_support import compare

if __name__ == '__main__':
    compare('flows', 170)
