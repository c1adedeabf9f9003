#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# The half proxy at work in a few minutes: installs what is missing, builds, runs it live under a SYN flood, replays a capture.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export HALFPROXY_BIN=$here/build/bin/halfproxy SYN_FLOOD_BIN=$here/build/tests/syn_flood
capture=$here/examples/data/quickstart.pcap
downloads=200 megabyte=1048576 flood_rate=65000 flood_seconds=90

usage() {
    cat << 'TEXT'
usage: examples/quickstart.sh [--keep]

  Builds Release in build/, then, in network namespaces of its own (no root needed where users may make them):
  a client, a half proxy as a bridge with --guard always, a web server; 200 downloads of 1 MiB, each compared by
  SHA-256, while a SYN flood from random sources hits the same port. Then replays a capture and prints its flow log.

  --keep   leave the namespaces, the half proxy and the web server up to play with, and say how

Exit status: 0 when every download was right, 2 when packages are missing that may not be installed.
TEXT
}

build() {
    # shellcheck source=tests/support/packages.sh
    . "$here/tests/support/packages.sh"
    install_packages build test live || exit
    local generator=()
    [ -f "$here/build/CMakeCache.txt" ] || generator=(-G Ninja)
    cmake -S "$here" -B "$here/build" "${generator[@]}" -DCMAKE_BUILD_TYPE=Release > "$log" 2>&1 &&
        cmake --build "$here/build" --target halfproxy syn_flood --parallel "$(nproc)" >> "$log" 2>&1 && return
    tail -n 40 "$log" >&2
    echo "The build failed; all of its output: $log" >&2
    exit 1
}

# --- live, inside a namespace of its own -------------------------------------------------------------------------------

live() {
    lab_build
    local sum begin seconds flood
    sum=$(lab_file file $megabyte)
    lab_http "$LAB_DIR/www"
    lab_inline --guard always
    lab_download "http://$LAB_SERVER4/file" 5 "$sum" || lab_fail "no download succeeds even without a flood"
    before=$(lab_memory "$LAB_PROXY" VmRSS)
    lab_flood flood --rate $flood_rate --seconds $flood_seconds
    flood=$LAB_PID
    begin=$(date +%s.%N)
    lab_download "http://$LAB_SERVER4/file" $downloads "$sum"
    seconds=$(echo "$(date +%s.%N) $begin" | awk '{print $1 - $2}')
    lab_stop "$flood"
    after=$(lab_memory "$LAB_PROXY" VmRSS)
    lab_proxy_stop
    table "$((downloads - LAB_WRONG))" "$seconds"
    [ "$keep" = no ] || stay
    return $((LAB_WRONG != 0))
}

table() { # RIGHT SECONDS
    python3 - "$LAB_DIR" "$downloads" "$1" "$2" "$before" "$after" << 'PYTHON'
import json
import sys

folder, wanted, right, seconds, before, after = sys.argv[1:]
report = json.load(open(folder + "/report.json"))
flood = json.load(open(folder + "/flood.out"))
connects = sorted(float(line) * 1000 for line in open(folder + "/connect.s") if line[0].isdigit())
counters, ports = report["counters"], report["io"]
resident = [int(before), int(after)]


def percentile(share):
    return f"{connects[min(len(connects) - 1, int(share * len(connects)))]:.2f} ms" if connects else "none connected"


def row(name, value):
    print(f"  {name:<34}{value}")


def count(number):
    return f"{number:,}"


print()
row("SYN flood offered", f"{count(round(flood['packets_per_second']))} SYN/s, {count(flood['sent'])} in all")
row("SYNs seen", count(report["syns_seen"]))
row("cookies sent", count(report["cookies_sent"]))
row("cookies validated", count(report["cookies_valid"]))
row("flows now / at most", f"{count(report['flows']['now'])} / {count(report['flows']['peak'])}")
row("packets forwarded", count(counters["forwarded"]))
dropped = {reason: number for reason, number in counters["dropped"].items() if number}
row("packets dropped, by reason", ", ".join(f"{reason} {count(number)}" for reason, number in dropped.items()) or "none")
row("lost before the half proxy", f"{count(sum(p['kernel_drops'] for p in ports.values()))} (receive ring full)")
row("downloads right", f"{right} of {wanted}, by SHA-256")
row("goodput", f"{int(right) * 8 * 1.048576 / float(seconds):.0f} Mbit/s over {float(seconds):.1f} s")
row("connect latency p50 / p99", f"{percentile(0.5)} / {percentile(0.99)}")
row("memory before / after the flood", f"{resident[0] / 1024:.1f} / {resident[1] / 1024:.1f} MiB resident")
print()
if flood["packets_per_second"] < 50000:
    print("  This machine offered less than the 50,000 SYN/s aimed for: it was busy, or is slow.")
PYTHON
}

# Leaves everything up: a new half proxy (the old one has reported), and scripts to enter and to remove it.
stay() {
    lab_inline --guard always
    lab_spawn proxy holder sleep infinity
    trap - EXIT
    local enter="nsenter --target $LAB_PID --mount"
    [ "$HALFPROXY_LAB_UID" = 0 ] || enter="nsenter --target $LAB_PID --user --preserve-credentials --mount"
    printf '#!/bin/sh\nns=$1; shift\nexec %s -- nsenter --net=/run/netns/"$ns" -- "$@"\n' "$enter" > "$LAB_DIR/in"
    printf '#!/bin/sh\nkill %s 2> /dev/null\nrm -rf %s\n' "${LAB_PIDS[*]}" "$LAB_DIR" > "$LAB_DIR/remove"
    chmod +x "$LAB_DIR/in" "$LAB_DIR/remove"
    cat << TEXT
The namespaces client, proxy and server are still up. To play:

  $LAB_DIR/in client curl -o /dev/null -w '%{speed_download} B/s\n' http://$LAB_SERVER4/file
  $LAB_DIR/in client bash                      # a shell on the client; also: proxy, server
  kill -TERM $LAB_PROXY && cat $LAB_DIR/proxy.err $LAB_DIR/report.json    # drain and report

To remove it all:

  $LAB_DIR/remove

TEXT
}

# --- the capture: anywhere ---------------------------------------------------------------------------------------------

replay() {
    local out
    out=$(mktemp -d) || return 1
    echo "A capture through the same engine, offline: examples/data/quickstart.pcap"
    "$HALFPROXY_BIN" replay --in "$capture" --out-client "$out/client.pcap" --out-server "$out/server.pcap" --report "$out/report.json" \
        > "$out/log" 2>&1 || { cat "$out/log" >&2; rm -rf "$out"; return 1; }
    sed 's/^/  /' "$out/log"
    rm -rf "$out"
    echo "Its flow log (halfproxy flows; some of the columns):"
    "$HALFPROXY_BIN" flows --in "$capture" | python3 -c '
import csv, sys
columns = "id.orig_h id.orig_p id.resp_h id.resp_p proto duration orig_bytes resp_bytes conn_state history".split()
rows = [columns] + [[flow[c] for c in columns] for flow in csv.DictReader(sys.stdin, delimiter="\t")]
widths = [max(len(row[i]) for row in rows) for i in range(len(columns))]
for row in rows: print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())'
}

keep=no
for argument; do
    case $argument in
        --keep) keep=yes ;;
        --live-part) ;;  # this very script, called by itself inside the namespace
        -h | --help) usage; exit 0 ;;
        *) usage >&2; exit 2 ;;
    esac
done
# shellcheck source=tests/wire_lab/lab.sh
. "$here/tests/wire_lab/lab.sh"
if [[ " $* " == *" --live-part "* ]]; then
    export HALFPROXY_LAB_UID=${HALFPROXY_LAB_UID:-$(id -u)}
    lab_enter "$0" "$@"
    live
    exit
fi

log=$here/build/quickstart.log
mkdir -p "$here/build"
echo "Building (Release, in build/) ..."
build
echo "Live: client - half proxy (--guard always) - web server, $downloads downloads of 1 MiB under a SYN flood ..."
bash "$0" --live-part "$@"
status=$?
if [ $status = 77 ]; then
    echo "The live part is left out, for the reason above; the capture part needs no namespaces."
    status=0
fi
replay || status=1
exit $status
