#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# Packet by packet: errors about packets of a spliced connection (behaviour F41).
. "$(dirname "$0")/lab.sh"
lab_need python3
lab_enter "$0" "$@"
lab_build

cat > "$LAB_DIR/config.toml" << 'END'
[guard]
mode = "always"
END
lab_inline --config "$LAB_DIR/config.toml"
python3 "$LAB_ROOT/tests/wire_lab/icmp_cases.py" || lab_fail "a behaviour is not as it must be"
lab_proxy_stop
lab_pass "ICMP errors, packet by packet"
