#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# --guard auto lets SYNs pass until a flood fills the half-open count, then challenges: downloads work before and during it.
. "$(dirname "$0")/lab.sh"
lab_need curl sha256sum python3
lab_enter "$0" "$@"
lab_build

sum=$(lab_file file $((1 << 20)))
lab_http "$LAB_DIR/www"
lab_inline --guard auto
lab_download "http://$LAB_SERVER4/file" 20 "$sum" || lab_fail "$LAB_WRONG of 20 downloads failed before the flood"
lab_flood flood --rate 40000 --seconds 45
flood=$LAB_PID
sleep 1
lab_download "http://$LAB_SERVER4/file" 50 "$sum" || lab_fail "$LAB_WRONG of 50 downloads failed under the flood"
lab_stop "$flood"
lab_proxy_stop
lab_report '
flood = json.load(open(directory + "/flood.out"))
passed = report["syns_seen"] - report["cookies_sent"]
expect(report["guard"] == {"state": "active", "activations": 1}, "the guard was to become active, once")
expect(report["guard_transitions"]["global"] == {"active": 1, "grace": 0, "ready": 0}, "the transitions were to be counted")
expect(1024 <= passed <= 1024 + 20 + 64 + 100, "%d SYNs passed before the guard was active" % passed)
spared = report["counters"]["syns_exempt"]
expect(1 <= report["cookies_valid"] <= 10, "the client was to prove itself once, and then be exempt for 30 s at a time")
expect(40 <= report["cookies_valid"] + spared <= 60, "the downloads under the flood met no active guard")' || lab_fail "the report disagrees"
lab_pass "the guard switches itself on"
