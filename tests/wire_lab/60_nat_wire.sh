#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# Address translation with real stacks: inside hosts appear as the pool, a forwarded port reaches its server, queries and errors come back.
. "$(dirname "$0")/lab.sh"
lab_need curl ping python3
lab_enter "$0" "$@"
lab_build

talk=$LAB_ROOT/tests/wire_lab/talk.py
pool4=10.77.0.100 pool6=fd77::100 forwarded4=10.77.0.200 forwarded6=fd77::200
# A bridge answers for nobody: the outside host is told where these are.
for address in $pool4 $pool6 $forwarded4 $forwarded6; do
    lab_in client ip neigh add $address lladdr "$(lab_mac server s0)" dev c0 || lab_fail "cannot add a neighbour"
done
cat > "$LAB_DIR/nat.toml" << END
[[dnat]]
to = "$forwarded4"
proto = "tcp"
ports = "8000-8009"
target = "$LAB_SERVER4"
target_ports = 80
[[dnat]]
to = "$forwarded6"
proto = "tcp"
ports = "8000-8009"
target = "$LAB_SERVER6"
target_ports = 80
[[snat]]
pool = ["$pool4"]
[[snat]]
pool = ["$pool6"]
END
sum=$(lab_file data 300000)
lab_http "$LAB_DIR/www"
lab_spawn client echo python3 "$talk" echo-server 7
lab_spawn client web python3 -u -m http.server 8080 --bind :: --directory "$LAB_DIR/www"
lab_until 5 lab_listens client 8080 || lab_fail "the outside web server did not start"

refused() { # an ICMP port unreachable must find its socket
    lab_in server python3 -c '
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], 9)); s.settimeout(5); s.send(b"x")
try: s.recv(9)
except ConnectionRefusedError: sys.exit(0)
sys.exit(1)' "$1"
}
outwards() {
    local address
    for address in $LAB_CLIENT4 $LAB_CLIENT6; do
        lab_in server ping -q -c 3 -i 0.01 -W 3 $address > /dev/null || return 1
        lab_in server python3 "$talk" echo-client $address 7 50 1000 && lab_in server python3 "$talk" echo-client $address 7 10 4000 || return 1  # in fragments
        refused $address || return 1
    done
    [ "$(lab_in server curl -sS --max-time 10 http://$LAB_CLIENT4:8080/data | sha256sum)" = "$sum" ] || return 1
    [ "$(lab_in server curl -sS --max-time 10 "http://[$LAB_CLIENT6]:8080/data" | sha256sum)" = "$sum" ] || return 1
    grep -q "$pool4 .*GET /data" "$LAB_DIR/web.err" && grep -q "$pool6 .*GET /data" "$LAB_DIR/web.err" && ! grep -q "$LAB_SERVER4 \|$LAB_SERVER6 " "$LAB_DIR/web.err"
}
inwards() {
    lab_download "http://$forwarded4:8003/data" 20 "$sum" && lab_download "http://[$forwarded6]:8009/data" 20 "$sum"
}
all() { outwards && inwards; }
for LAB_GUARD in off always; do
    lab_inline --config "$LAB_DIR/nat.toml" --guard $LAB_GUARD
    all || lab_fail "translation with --guard $LAB_GUARD"
    lab_proxy_stop
    lab_report '
nat = report["nat"]
expect(nat["mappings_made"] >= 8, "mappings are missing")
expect(all(p["exhausted"] == 0 for p in nat["pools"]), "a pool was exhausted")
expect(sum(p["given"] for p in nat["pools"]) == nat["mappings_made"], "ports and mappings differ")
' || lab_fail "the report with --guard $LAB_GUARD"
    echo "ok: --guard $LAB_GUARD: addresses translated both ways"
done
lab_pass "real stacks through address translation"
