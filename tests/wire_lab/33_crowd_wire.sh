#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# Behaviour F43: 2,000 connections succeed beside a flood of SYNs, of ACKs, and of SYN-ACKs from the server's own address, and memory
# stays as it is. Arguments: the flood's packets per second (60,000; 20,000 where a sanitizer slows the proxy), and which floods.
. "$(dirname "$0")/lab.sh"
lab_need python3
lab_enter "$0" "$@"
lab_build

[ $# -ge 2 ] || set -- "${1:-}" syn ack synack
rate=${1:-$([ -n "${HALFPROXY_SANITIZE:-}" ] && echo 20000 || echo 60000)}
crowd=$LAB_ROOT/tests/wire_lab/crowd.py
lab_spawn server crowd python3 "$crowd" serve 80
lab_until 5 lab_listens server 80 || lab_fail "the server does not listen"
connect() { lab_in client python3 "$crowd" connect $LAB_SERVER4 80 "$1"; }

# A sanitizer keeps books of its own; a record per packet of the flood would still show many times over.
allowance_kb=$([ -n "${HALFPROXY_SANITIZE:-}" ] && echo 4096 || echo 0)
memory() { echo $(($(lab_memory "$LAB_PROXY" RssAnon) + $(lab_memory "$LAB_PROXY" VmData))); }
beside() { # MODE FLOOD...: what starts it
    local mode=$1 before grown
    shift
    lab_inline --guard always
    connect 200 > /dev/null || lab_fail "200 connections before the $mode flood"
    before=$(memory)
    "$@" --rate "$rate" --seconds 120
    connect 2000 || lab_fail "2,000 connections beside the $mode flood"
    lab_stop "$LAB_PID"
    grown=$(($(memory) - before))
    lab_proxy_stop
    sed "s/^/$mode flood: /" "$LAB_DIR/$mode.out"
    [ $grown -le "$allowance_kb" ] || lab_fail "memory grew by $grown kB under the $mode flood"
    lab_report "
flood = json.load(open(directory + '/$mode.out'))
expect(flood['packets_per_second'] > 10000, 'no flood worth the name')
expect(2200 <= report['flows']['opened'] <= 2300, 'flows opened by the flood')
expect(report['flows']['peak'] <= 2300, 'flows held by the flood')" || lab_fail "the report disagrees ($mode)"
    echo "ok: F43 2,000 connections beside a flood ($mode), memory as it was"
}
from_server() {
    lab_spawn server synack "$SYN_FLOOD_BIN" --interface s0 --to-mac "$(lab_mac client c0)" --to $LAB_CLIENT4 --server $LAB_SERVER4 --mode synack "$@"
}
for flood in "${@:2}"; do
    case $flood in
        synack) beside synack from_server ;;
        *) beside "$flood" lab_flood "$flood" --mode "$flood" ;;
    esac
done
lab_pass "crowds beside floods"
