#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# Services in routed mode, backends found by ARP: dsr and ipip with answers that pass us by, transparent, a backend beside the clients, and a hairpin of NAT.
. "$(dirname "$0")/lab.sh"
lab_need curl python3 sha256sum ethtool
lab_enter "$0" "$@"
[ -w /dev/net/tun ] || lab_skip "no /dev/net/tun that may be opened"
lab_build
lab_route 'bypass_qdisc = false'  # see 62_service_modes_wire.sh

# b1 and b2 on a switch inside. The client is on it too, by a second cable, where answers to its address .2 go; those to .3 come back through us.
lab_in server ip addr flush dev s0
lab_in server ip link add switch type bridge && lab_in server ip link set s0 master switch && lab_in server ip link set switch up || lab_skip "no bridges here"
lab_in proxy ethtool -K in0 tx off > /dev/null || lab_fail "cannot have the kernel finish checksums"
lab_cable client c1 server pc && lab_in server ip link set pc master switch up || lab_fail "cannot make a second cable"
lab_in client ip addr add 10.78.2.250/24 dev c1 && lab_in client ip link set c1 up && lab_in client ip addr add 10.78.1.3/24 dev c0 &&
    lab_in client ip addr add 10.78.1.4/24 dev c0 || lab_fail "cannot set the client's addresses"
no_filter() { lab_in "$1" bash -c 'for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > "$f"; done'; }
no_filter client
dsr=10.78.1.101 ipip=10.78.1.102 transparent=10.78.1.103 beside=10.78.1.104 forwarded=10.78.1.150
for i in 1 2; do
    lab_namespace b$i && lab_cable b$i e0 server p$i && lab_in server ip link set p$i master switch up || lab_fail "cannot make backend $i"
    lab_in b$i ip link set lo up
    lab_in b$i ip addr add 10.78.2.1$i/24 dev e0 && lab_in b$i ip link set e0 up && lab_in b$i ip route add default via 10.78.2.1 &&
        lab_in b$i ip route add 10.78.1.2 via 10.78.2.250 || lab_fail "cannot set up backend $i"
    for address in $dsr $ipip $transparent; do lab_in b$i ip addr add $address/32 dev lo; done
    lab_spawn b$i web$i python3 "$LAB_ROOT/tests/wire_lab/named_server.py" server$i 80
    lab_spawn b$i tunnel$i python3 "$LAB_ROOT/tests/wire_lab/tunnel_end.py"
done
lab_spawn client web3 python3 "$LAB_ROOT/tests/wire_lab/named_server.py" server3 80
for i in 1 2; do
    lab_until 5 lab_listens b$i 80 && lab_until 5 grep -qx listening "$LAB_DIR/tunnel$i.out" || lab_fail "backend $i did not start: $(cat "$LAB_DIR"/{web,tunnel}$i.err)"
    no_filter b$i
done
lab_until 5 lab_listens client 80 || lab_fail "the backend beside the client did not start"

service() { # ADDRESS MODE BACKENDS...
    printf '[[service]]\naddress = "%s"\nport = 80\nmode = "%s"\n' "$1" "$2"
    shift 2
    printf '[[service.backend]]\naddress = "%s"\n' "$@"
}
{
    printf '[guard]\nmode = "off"\n[tracking]\nasymmetric = "detect"\n'
    service $dsr dsr 10.78.2.11 10.78.2.12
    service $ipip ipip 10.78.2.11 10.78.2.12
    service $transparent transparent 10.78.2.11 10.78.2.12
    service $beside fullnat 10.78.1.4
    printf '[[snat]]\nclients = "outside"\nto = "10.78.1.4"\npool = ["10.78.1.200"]\n'
    printf '[[snat]]\nfrom = "10.78.2.0/24"\npool = ["10.78.1.201"]\n'
    printf '[[dnat]]\nto = "%s"\nproto = "tcp"\nports = "8000"\ntarget = "10.78.2.12"\ntarget_ports = "80"\n' $forwarded
} >> "$LAB_DIR/routed.toml"
lab_inline

head -c 300000 /dev/urandom > "$LAB_DIR/content"
sum=$(sha256sum < "$LAB_DIR/content" | cut -d ' ' -f 1)
reached() { # ADDRESS FROM
    local seen
    seen=$(for i in 1 2; do lab_in client curl -sS --max-time 5 --interface "$2" "http://$1/"; done | sort)
    [ "$seen" = "$(printf 'server%s '"$2"'\n' 1 2)" ] || { echo "$1: $seen" >&2; return 1; }
    lab_in client curl -sS --max-time 5 --interface "$2" --data-binary @"$LAB_DIR/content" "http://$1/" | grep -qx "server1 $sum" || { echo "$1: content" >&2; return 1; }
}
reached $dsr 10.78.1.2 || lab_fail "mode dsr"
reached $ipip 10.78.1.2 || lab_fail "mode ipip: $(cat "$LAB_DIR"/tunnel?.err)"
reached $transparent 10.78.1.3 || lab_fail "mode transparent"
echo "ok: dsr, ipip, transparent: every backend by its address, 300 kB sent whole"
[ "$(lab_in client curl -sS --max-time 5 --interface 10.78.1.2 http://$beside/)" = "server3 10.78.1.200" ] || lab_fail "a backend beside the client"
echo "ok: in and out through one port"
[ "$(lab_in b1 curl -sS --max-time 5 http://$forwarded:8000/)" = "server2 10.78.1.201" ] || lab_fail "hairpin"
echo "ok: a hairpin, which routed mode has unless it is switched off"
lab_proxy_stop
lab_report '
c = report["counters"]
expect(c["tunnelled"] > 100, "hardly anything was tunnelled")
expect(c["flows_one_sided"] >= 6, "answers came through us")
expect(c["dropped"]["wrong_side"] == 0, "a packet came from the wrong side")
expect(report["routing"]["dropped"]["neighbour_unresolved"] == 0, "a backend was not found")' || lab_fail "the report"
lab_pass "services in routed mode"
