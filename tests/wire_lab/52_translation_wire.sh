#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# Packet by packet: what each end sees of the other on the open connection (behaviours F21, F22, F26 to F28).
. "$(dirname "$0")/lab.sh"
lab_need python3
lab_enter "$0" "$@"
lab_build

cat > "$LAB_DIR/config.toml" << 'END'
[guard]
mode = "always"
END
lab_inline --config "$LAB_DIR/config.toml"
python3 "$LAB_ROOT/tests/wire_lab/translation_cases.py" || lab_fail "a behaviour is not as it must be"
lab_proxy_stop
lab_pass "the open connection, packet by packet"
