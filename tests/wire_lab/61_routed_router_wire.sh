#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# Routed mode as the neighbours see it: announcements, ping, TTL, path MTU, a server that changes its link address, one that is not there.
. "$(dirname "$0")/lab.sh"
lab_need python3
lab_enter "$0" "$@"
lab_build
lab_route 'neighbour_reachable_s = 1'
ends=$LAB_ROOT/tests/wire_lab/routed_ends.py

# The server's network is narrower.
lab_in server ip link set s0 mtu 1400 && lab_in proxy ip link set in0 mtu 1400 || lab_fail "cannot narrow the server's network"

lab_spawn client announced python3 "$ends" announced c0 10.78.1.1 fd78:1::1 8
announced=$LAB_PID
lab_until 5 grep -qx listening "$LAB_DIR/announced.out" || lab_fail "nobody listens for announcements"
lab_inline --guard off
wait "$announced" || lab_fail "addresses were not announced: $(cat "$LAB_DIR/announced.err")"
echo "ok: both addresses are announced at start"

lab_spawn server echo python3 "$ends" echo 7000
lab_until 5 grep -qx listening "$LAB_DIR/echo.out" || lab_fail "no echo server"
client() { lab_in client python3 "$ends" "$@"; }
client ping 10.78.1.1 10.78.2.1 fd78:1::1 fd78:2::1 || lab_fail "our addresses do not answer ping"
echo "ok: ping to every address of ours"
client asks $LAB_SERVER4 7000 100 && client asks $LAB_SERVER6 7000 100 || lab_fail "the server does not answer"
client hop $LAB_SERVER4 10.78.1.1 && client hop $LAB_SERVER6 fd78:1::1 || lab_fail "traceroute does not show us"
echo "ok: a packet whose hops end here is answered from our address"
client too_big $LAB_SERVER4 7000 1400 && client too_big $LAB_SERVER6 7000 1400 || lab_fail "the path MTU is not told"
echo "ok: the path MTU is told, and kept to"

# Hosts that are not there: asked for three times, a second apart. Meanwhile the rest.
lab_spawn client nobody4 python3 "$ends" unreachable 10.78.2.99
nobody4=$LAB_PID
lab_spawn client nobody6 python3 "$ends" unreachable fd78:2::99
nobody6=$LAB_PID

# Another link address, as after a failover that nobody announces.
lab_in server ip link set s0 address 02:00:00:00:77:77 || lab_fail "cannot change the server's link address"
sleep 1
again() {
    client asks $LAB_SERVER6 7000 100 &
    local six=$!
    client asks $LAB_SERVER4 7000 100 &
    local four=$!
    wait "$six" && wait "$four"
}
lab_until 8 again || lab_fail "the server is not found at its new link address"
echo "ok: a next hop that has moved is found again"

wait "$nobody4" && wait "$nobody6" || lab_fail "no word of a host that is not there: $(cat "$LAB_DIR"/nobody*.err)"
client no_route 198.51.100.1 && client no_route 2001:db8::1 || lab_fail "no word of a missing route"
client closed 10.78.1.1 && client closed fd78:1::1 || lab_fail "our own ports are not closed"
echo "ok: what cannot be delivered is told"
lab_proxy_stop
lab_report '
r = report["routing"]
expect(r["announcements_sent"] >= 4, "no announcements")
expect(r["echo_replies"] >= 4, "no echo replies")
expect(r["hops_exceeded_sent"] >= 2, "no time exceeded")
expect(r["too_big_sent"] >= 2 and r["dropped"]["packet_too_big"] >= 2, "no too big")
expect(r["dropped"]["neighbour_unresolved"] >= 2, "the unresolved next hop is not counted")
expect(r["dropped"]["no_route"] >= 2, "the missing route is not counted")
expect(r["neighbours"]["resolved"] >= 4 and r["neighbours"]["failed"] >= 2, "neighbours")
expect(r["received"] == r["passed"] + r["answered"] + r["taken"] + r["dropped_on_arrival"], "a frame is not accounted for")' || lab_fail "the report"
lab_pass "announcements, ping, hops, path MTU, moved and missing next hops"
