#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# Three machines in turn at one place: the second has the first one's secret and a steady clock of its own, the third another secret. Clients that
# were answered by the first complete through the second, and not through the third.
. "$(dirname "$0")/lab.sh"
lab_need python3 unshare
lab_enter "$0" "$@"
lab_build
unshare --time --monotonic 1000 true 2> "$LAB_DIR/time.err" || lab_skip "no time namespaces here: $(cat "$LAB_DIR/time.err")"

machine() { # SECRET SECONDS: its steady clock is ahead by so many, its wall clock is everybody's
    printf '[guard]\nmode = "always"\nsecret = "%s"\n' "$1" > "$LAB_DIR/config.toml"
    lab_bridge unshare --time --monotonic "$2" "$HALFPROXY_BIN" inline --outside out0 --inside in0 --config "$LAB_DIR/config.toml" \
        --report "$LAB_DIR/report.json"
}
[ -x "$HALFPROXY_BIN" ] || lab_skip "$HALFPROXY_BIN is not built"

machine 00112233445566778899aabbccddeeff 0
lab_spawn client clients python3 "$LAB_ROOT/tests/wire_lab/shared_secret_cases.py" "$LAB_DIR"
clients=$LAB_PID
asked() { lab_gone "$clients" || grep -qsx "answered by the first" "$LAB_DIR/clients.out"; }
tried() { lab_gone "$clients" || grep -qsx "completed through the second" "$LAB_DIR/clients.out"; }
lab_until 20 asked
lab_proxy_stop
machine 00112233445566778899aabbccddeeff 8640123
: > "$LAB_DIR/second"
lab_until 20 tried
lab_proxy_stop
lab_report 'expect(report["counters"]["cookies_valid"] == 8 and report["counters"]["cookies_sent"] == 0, "not the first one'"'"'s cookies")' ||
    lab_fail "the second machine's report disagrees: $(cat "$LAB_DIR/clients.out")"
machine 0f112233445566778899aabbccddeeff 8640123
: > "$LAB_DIR/third"
wait "$clients" || lab_fail "$(cat "$LAB_DIR"/clients.*)"
lab_proxy_stop
lab_report 'expect(report["counters"]["cookies_valid"] == 0 and report["counters"]["cookies_invalid"] == 2, "cookies of another secret")' ||
    lab_fail "the third machine's report disagrees"
lab_pass "a secret that machines share"
