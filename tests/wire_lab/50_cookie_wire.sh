#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# Packet by packet: the SYN-ACK of the guard, and what the server is told of the client's SYN (behaviours F1 to F9, F12).
. "$(dirname "$0")/lab.sh"
lab_need python3
lab_enter "$0" "$@"
lab_build

cat > "$LAB_DIR/config.toml" << 'END'
[guard]
mode = "always"
ecn = true
END
lab_inline --config "$LAB_DIR/config.toml"
python3 "$LAB_ROOT/tests/wire_lab/cookie_cases.py" || lab_fail "a behaviour is not as it must be"
lab_proxy_stop
lab_pass "the cookie, packet by packet"
