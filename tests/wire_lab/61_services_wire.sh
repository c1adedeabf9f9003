#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# A virtual address with three web servers behind it: every request is served, all take part, whoever refuses is left out, and clients come back.
. "$(dirname "$0")/lab.sh"
lab_need curl python3
lab_enter "$0" "$@"
lab_build

virtual=10.77.0.100
# A bridge answers for nobody: the client is told where the virtual address is.
lab_in client ip neigh add $virtual lladdr "$(lab_mac server s0)" dev c0 || lab_fail "cannot add a neighbour"
for i in 1 2 3 4; do
    lab_in server ip address add 10.77.0.1$i/24 dev s0 || lab_fail "cannot add an address"
done
for i in 1 2 3; do
    mkdir -p "$LAB_DIR/www$i" && echo "server $i" > "$LAB_DIR/www$i/who"
    lab_spawn server web$i python3 -u -m http.server 8080 --bind 10.77.0.1$i --directory "$LAB_DIR/www$i"
    lab_until 5 lab_in server curl -s --max-time 1 http://10.77.0.1$i:8080/who || lab_fail "server $i did not start"
done

backends() {
    local i
    for i in 1 2 3 4; do printf '[[service.backend]]\naddress = "10.77.0.1%s"\nport = 8080\n' $i; done
}
{
    printf '[[service]]\naddress = "%s"\nport = 80\npassive_failures = 1\nfirst_inhibition_s = 60\n' $virtual
    backends
    printf '[[service]]\naddress = "%s"\nport = 81\npassive_failures = 1\nfirst_inhibition_s = 60\npersistence_s = 60\n' $virtual
    backends
} > "$LAB_DIR/dnat.toml"
{
    sed 's/^passive_failures/mode = "fullnat"\npassive_failures/' "$LAB_DIR/dnat.toml"
    printf '[[snat]]\nclients = "outside"\npool = ["10.77.0.200"]\n'
} > "$LAB_DIR/fullnat.toml"
# Servers must find the pool's address beyond the bridge; it is the client's station that the bridge lies before.
lab_in server ip neigh add 10.77.0.200 lladdr "$(lab_mac client c0)" dev s0 || lab_fail "cannot add a neighbour"

ask() { lab_in client curl -s --max-time 5 "http://$virtual:$1/who"; }
# Nobody listens at the fourth: its first RST leaves it out, and that client asks again.
run() {
    local answers="$LAB_DIR/answers" i
    : > "$answers"
    for i in $(seq 40); do ask 80 >> "$answers" || true; done
    [ "$(wc -l < "$answers")" -ge 39 ] || { echo "answers: $(sort "$answers" | uniq -c)" >&2; return 1; }
    for i in 1 2 3; do [ "$(grep -c "server $i" "$answers")" -ge 10 ] || { echo "server $i took no part" >&2; return 1; }; done
    ask 81 > "$LAB_DIR/one" || ask 81 > "$LAB_DIR/one"
    for i in $(seq 10); do [ "$(ask 81)" = "$(cat "$LAB_DIR/one")" ] || { echo "the client was sent elsewhere" >&2; return 1; }; done
}
for mode in dnat fullnat; do
    for LAB_GUARD in off always; do
        lab_inline --config "$LAB_DIR/$mode.toml" --guard $LAB_GUARD
        run || lab_fail "mode $mode with --guard $LAB_GUARD"
        lab_proxy_stop
        lab_report '
backends = report["services"][0]["backends"]
expect(backends[3]["state"] == "inhibited", "whoever refuses is still asked")
expect(all(b["opened"] >= 10 for b in backends[:3]), "a backend was left out")
' || lab_fail "the report of mode $mode with --guard $LAB_GUARD"
        echo "ok: mode $mode, --guard $LAB_GUARD"
    done
done
lab_pass "three servers behind a virtual address"
