#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# Packet by packet: from the client's proof to the open connection (behaviours F13 to F20, F24, F25, F45, F47).
. "$(dirname "$0")/lab.sh"
lab_need python3
lab_enter "$0" "$@"
lab_build

cat > "$LAB_DIR/config.toml" << 'END'
[guard]
mode = "always"
server_retry_s = 1
server_retries = 2
END
lab_inline --config "$LAB_DIR/config.toml"
python3 "$LAB_ROOT/tests/wire_lab/opening_cases.py" || lab_fail "a behaviour is not as it must be"
lab_proxy_stop
lab_pass "opening the server's side, packet by packet"
