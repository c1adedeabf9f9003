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

# A cable past the proxy, for what the same two hosts take without it.
DIRECT4=10.76.0.2 DIRECT6=fd76::2
lab_cable client d0 server d1 && lab_host client d0 10.76.0.1 fd76::1 && lab_host server d1 $DIRECT4 $DIRECT6 || lab_fail "no cable past the proxy"
lab_inline --guard always
as_fast() { lab_in client timeout 60 python3 "$LAB_ROOT/tests/wire_lab/talk.py" direct-client "$1" "$2" 25 200; }
as_fast $LAB_SERVER4 $DIRECT4 && as_fast $LAB_SERVER6 $DIRECT6 || lab_fail "F48: the guard delays a server that speaks first"
lab_proxy_stop
echo "ok: F48 a server that speaks first is heard through the guard within 2 ms of the direct time"
lab_pass "server speaks first"
