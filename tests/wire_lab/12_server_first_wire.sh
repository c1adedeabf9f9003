#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# Protocols in which the server speaks first work in every guard mode: the proxy must open the server side unasked.
. "$(dirname "$0")/lab.sh"
lab_need python3
lab_enter "$0" "$@"
lab_build

lab_spawn server banner python3 "$LAB_ROOT/tests/wire_lab/talk.py" banner-server 25
lab_until 5 lab_listens server 25 || lab_fail "the server does not listen"

server_first() {
    lab_in client timeout 20 python3 "$LAB_ROOT/tests/wire_lab/talk.py" banner-client "$1" 25 50
}
lab_each_guard server_first $LAB_SERVER4
lab_each_guard server_first $LAB_SERVER6
lab_pass "server speaks first"
