#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# --guard auto: a trickle of clients loses no connection while a flood switches the guard on, and while it goes off again through grace.
. "$(dirname "$0")/lab.sh"
lab_need python3
lab_enter "$0" "$@"
lab_build

cat > "$LAB_DIR/config.toml" << 'END'
[guard]
mode = "auto"
half_open_on = 200
half_open_off = 20
unanswered_s = 1
min_active_s = 1
grace_s = 2
exempt_s = 0
[timeouts]
syn_sent = 2
syn_received = 2
END
crowd=$LAB_ROOT/tests/wire_lab/crowd.py
lab_spawn server crowd python3 "$crowd" serve 80
lab_until 5 lab_listens server 80 || lab_fail "the server does not listen"
lab_inline --config "$LAB_DIR/config.toml"
lab_spawn client trickle python3 "$crowd" trickle $LAB_SERVER4 80 14
trickle=$LAB_PID
lab_in client python3 "$crowd" connect $LAB_SERVER4 80 20 || lab_fail "connections before the flood"
lab_flood flood --rate 10000 --seconds 3
lab_until 60 lab_gone "$trickle" || lab_fail "the trickle does not end"
wait "$trickle" || lab_fail "a client was lost: $(cat "$LAB_DIR/trickle.out")"
cat "$LAB_DIR/trickle.out"
lab_proxy_stop
lab_report '
expect(report["guard"]["activations"] >= 1, "the flood did not switch the guard on")
expect(report["guard"]["state"] == "ready", "the guard is not off again: " + report["guard"]["state"])
expect(report["cookies_valid"] > 0, "no client met an active guard")
expect(report["flows"]["opened"] - report["cookies_valid"] > 0, "no client met a guard that was off")' || lab_fail "the report disagrees"
lab_pass "no connection is lost while the guard goes on and off"
