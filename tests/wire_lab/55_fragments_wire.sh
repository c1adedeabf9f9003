#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# Datagrams of 4,000 bytes both ways: as the kernel cuts them up, and with their fragments in every order, the last one first on the way back.
. "$(dirname "$0")/lab.sh"
lab_need python3
lab_enter "$0" "$@"
lab_build

talk=$LAB_ROOT/tests/wire_lab/talk.py cut=$LAB_ROOT/tests/wire_lab/fragments.py
lab_spawn server echo python3 "$talk" echo-server 7
lab_spawn server serve python3 "$cut" serve s0 "$(lab_mac client c0)" 9
lab_until 5 grep -q serving "$LAB_DIR/serve.out" || lab_fail "the server did not start: $(cat "$LAB_DIR/serve.err")"

in_order() { lab_in client python3 "$talk" echo-client $LAB_SERVER4 7 20 4000 && lab_in client python3 "$talk" echo-client $LAB_SERVER6 7 20 4000; }
in_every_order() {
    lab_in client python3 "$cut" ask c0 "$(lab_mac server s0)" $LAB_CLIENT4 $LAB_SERVER4 9 24 4000 &&
        lab_in client python3 "$cut" ask c0 "$(lab_mac server s0)" $LAB_CLIENT6 $LAB_SERVER6 9 24 4000
}
both() { in_order && in_every_order; }
lab_inline
both || { cat "$LAB_DIR"/serve.err >&2; lab_fail "datagrams in fragments do not arrive"; }
lab_proxy_stop
lab_report '
c = report["counters"]
expect(c["fragments_held"] > 100, "fragments have waited for their first")
expect(c["fragments_released"] == c["fragments_held"], "all that waited has left")
expect(sum(c["dropped"].values()) == 0, "nothing was dropped")
' || lab_fail "the report is not as it must be"
lab_pass "datagrams in fragments, in any order"
