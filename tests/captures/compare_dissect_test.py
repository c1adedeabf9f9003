#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Every packet of 1,612 captures is dissected as Wireshark does, but for the differences that README.md explains."""
from compare_support import compare

if __name__ == '__main__':
    compare('dissect', 2_376_000)
