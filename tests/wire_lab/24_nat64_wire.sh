#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# A client that speaks only IPv6 reaches a server that speaks only IPv4 through NAT64, guarded and not: downloads of large segments, ping, datagrams.
. "$(dirname "$0")/lab.sh"
lab_need python3 curl sha256sum ping
lab_enter "$0" "$@"
lab_build

# The client has no IPv4, and sends what goes to the prefix to the server's link address; the server sends what goes to the pool to the client's.
POOL=10.77.0.64 PREFIX=64:ff9b::
lab_in client ip addr del $LAB_CLIENT4/24 dev c0
lab_in client ip -6 route add $PREFIX/96 via $LAB_SERVER6 dev c0 || lab_fail "no route"
lab_in server ip neigh add $POOL lladdr "$(lab_mac client c0)" dev s0 || lab_fail "no neighbour"
server6=$PREFIX$LAB_SERVER4

sum=$(lab_file large $((8 << 20)))
lab_http "$LAB_DIR/www"
lab_spawn server echo python3 "$LAB_ROOT/tests/wire_lab/talk.py" echo-server 7
cat > "$LAB_DIR/nat64.toml" << END
[nat64]
hosts = "$POOL/26"
side = "outside"
END

for guard in off always; do
    lab_inline --guard $guard --config "$LAB_DIR/nat64.toml"
    lab_in client ping -6 -c 3 -i 0.2 -W 2 -s 1000 $server6 > "$LAB_DIR/ping" || lab_fail "ping: $(cat "$LAB_DIR/ping")"
    [ "$(lab_in client curl -sS -g --max-time 20 "http://[$server6]/large" | sha256sum)" = "$sum" ] || lab_fail "wrong content, --guard $guard"
    upload=$(lab_in client curl -sS -g --max-time 20 -o /dev/null -w '%{http_code}' --data-binary "@$LAB_DIR/www/large" "http://[$server6]/large")
    [ "$upload" = 405 ] || [ "$upload" = 413 ] || [ "$upload" = 501 ] || lab_fail "an upload ended with $upload"
    lab_in client timeout 20 python3 "$LAB_ROOT/tests/wire_lab/talk.py" echo-client $server6 7 20 1000 || lab_fail "datagrams, --guard $guard"
    begin=$SECONDS
    lab_in client curl -sS -g --max-time 10 "http://[$server6]:81/" 2> "$LAB_DIR/refused" && lab_fail "a closed port answered"
    [ $((SECONDS - begin)) -lt 5 ] || lab_fail "a closed port is not refused at once"
    lab_proxy_stop
    lab_report '
nat64 = report["edge"]["nat64"]
expect(nat64["hosts"] == 1, "one host, one address")
expect(nat64["to_v4"] > 50 and nat64["to_v6"] > 50, "nothing was translated")
expect(sum(nat64["refused"].values()) == 0, "something was refused")' || lab_fail "the report, --guard $guard"
    echo "ok: --guard $guard"
done
lab_pass "NAT64"
