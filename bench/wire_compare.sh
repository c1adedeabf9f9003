#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# The half proxy on a wire beside others, in the same run and in turns: throughput, connections per second, latency.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=tests/wire_lab/lab.sh
. "$here/tests/wire_lab/lab.sh"

usage() {
    cat << 'TEXT'
usage: bench/wire_compare.sh [--rounds N] [--seconds S] [CONTENDER...]

  CONTENDER  inline-off inline-auto inline-always   the half proxy (HALFPROXY_BIN, build/bin/halfproxy)
             inline-one-ring  guard always, SYNs of a flood by the ring of all packets ([io] flood_ring_bytes = 0)
             inline-routed  the same as a router between two networks, guard off
             inline-service the same, with a virtual address (dnat) before the server
             bare           an AF_PACKET forwarder that looks at nothing (build/bench/bare_forwarder)
             kernel-bridge  the kernel's bridge
             nginx-stream   nginx as a TCP proxy
             haproxy        HAProxy in TCP mode
             nft-synproxy   the kernel's router with nftables' synproxy
             default: inline-always bare kernel-bridge nginx-stream nft-synproxy
  --rounds   how often each is measured, in turns (3)
  --seconds  of each measurement (3); each contender takes about five of them per round

Prints median (lowest to highest) of: iperf3 with one stream; wrk with a connection per request, 16 at a time; the
median latency of wrk's requests on one kept connection, and its requests/s on 16; for those that answer SYNs themselves,
SYN-ACKs/s under a flood, SYN-ACKs/s for each core that answering took, under a flood that leaves nothing unanswered, and
requests/s on 8 open connections beside a flood of more than anybody can answer. Let nothing else run meanwhile.
TEXT
}

rounds=3 seconds=3 contenders=()
arguments=("$@")
while (($#)); do
    case $1 in
        --rounds) rounds=$2; shift ;;
        --seconds) seconds=$2; shift ;;
        -h | --help) usage; exit 0 ;;
        inline-off | inline-auto | inline-always | inline-one-ring | inline-routed | inline-service | bare | kernel-bridge | nginx-stream | haproxy | nft-synproxy) contenders+=("$1") ;;
        *) usage >&2; exit 2 ;;
    esac
    shift
done
[ ${#contenders[@]} != 0 ] || contenders=(inline-always bare kernel-bridge nginx-stream nft-synproxy)
lab_need iperf3 wrk nginx python3 pgrep chrt taskset
lab_enter "$0" "${arguments[@]}"
lab_build
results=$LAB_DIR/results
lab_file one 1 > /dev/null
lab_http "$LAB_DIR/www"

# A second network on each cable, for contenders that route or proxy between two.
lab_in client ip addr add 10.80.0.2/24 dev c0 && lab_in client ip route add 10.81.0.0/24 via 10.80.0.1 || lab_fail "no second network"
lab_in server ip addr add 10.81.0.2/24 dev s0 && lab_in server ip route add 10.80.0.0/24 via 10.81.0.1 || lab_fail "no second network"
routed() { lab_in proxy ip addr add 10.80.0.1/24 dev out0 && lab_in proxy ip addr add 10.81.0.1/24 dev in0; }
unrouted() { lab_in proxy ip addr flush dev out0 && lab_in proxy ip addr flush dev in0; }
set_proxy() { lab_in proxy sh -c "echo $2 > /proc/sys/$1"; }
# A stack steps about ten ports from connection to connection, so among 28,000 it comes to old ones again after two seconds.
lab_in client sh -c 'echo 1024 65535 > /proc/sys/net/ipv4/ip_local_port_range' || lab_fail "cannot widen the client's port range"

# start_CONTENDER sets `target`, the address the client uses; stop_CONTENDER undoes it.
start_inline() {
    case $1 in
        routed | service) start_routed "$1"; return ;;
        one-ring)
            printf '[io]\nflood_ring_bytes = 0\n' > "$LAB_DIR/one-ring.toml"
            lab_inline --guard always --config "$LAB_DIR/one-ring.toml"
            ;;
        *) lab_inline --guard "$1" ;;
    esac
    target=$LAB_SERVER4
}
start_routed() {
    printf '[io]\nmode = "routed"\n' > "$LAB_DIR/routed.toml"
    printf '[[io.address]]\nport = "%s"\naddress = "%s"\n' outside 10.80.0.1/24 inside 10.81.0.1/24 >> "$LAB_DIR/routed.toml"
    target=10.81.0.2
    [ "$1" = routed ] || {
        target=10.80.0.100
        printf '[[service]]\naddress = "%s"\nport = "any"\n[[service.backend]]\naddress = "10.81.0.2"\n' $target >> "$LAB_DIR/routed.toml"
    }
    lab_inline --guard off --config "$LAB_DIR/routed.toml"
}
start_bare() { lab_bridge "${BARE_FORWARDER_BIN:-$(dirname "$HALFPROXY_BIN")/../bench/bare_forwarder}" out0 in0; target=$LAB_SERVER4; }
start_kernel-bridge() {
    lab_in proxy ip link add bridge0 type bridge && lab_in proxy ip link set bridge0 up &&
        lab_in proxy ip link set out0 master bridge0 && lab_in proxy ip link set in0 master bridge0 || return 1
    target=$LAB_SERVER4
}
stop_kernel-bridge() { lab_in proxy ip link del bridge0; }
start_nginx-stream() {
    local module
    module=$(ls /usr/lib/nginx/modules/ngx_stream_module.so 2> /dev/null) || return 1
    cat > "$LAB_DIR/stream.conf" << END
load_module $module; user root; worker_processes 1; daemon off; pid $LAB_DIR/stream.pid; error_log $LAB_DIR/stream.log;
events { worker_connections 8192; }
stream { server { listen 80 backlog=4096; proxy_pass 10.81.0.2:80; } server { listen 5201; proxy_pass 10.81.0.2:5201; } }
END
    routed && lab_spawn proxy stream nginx -c "$LAB_DIR/stream.conf" -e "$LAB_DIR/stream.log" && LAB_PROXY=$LAB_PID
    target=10.80.0.1
    lab_until 5 lab_listens proxy 80
}
stop_nginx-stream() { lab_stop "$LAB_PROXY"; unrouted; }
start_haproxy() {
    command -v haproxy > /dev/null || return 1
    cat > "$LAB_DIR/haproxy.cfg" << END
global
    maxconn 8192
    nbthread 1
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen http
    bind :80 backlog 4096
    server one 10.81.0.2:80
listen iperf
    bind :5201
    server one 10.81.0.2:5201
END
    routed && lab_spawn proxy haproxy haproxy -db -f "$LAB_DIR/haproxy.cfg" && LAB_PROXY=$LAB_PID
    target=10.80.0.1
    lab_until 5 lab_listens proxy 80
}
stop_haproxy() { lab_stop "$LAB_PROXY"; unrouted; }
# A pair of ports that conntrack still remembers never connects through it: the translation of the old connection spoils the cookie, and
# what is over is remembered for 120 s. So that its speed is measured and not that fault, closed connections are forgotten after a second, and
# its own SYN-ACKs are not tracked.
start_nft-synproxy() {
    routed && set_proxy net/ipv4/ip_forward 1 && set_proxy net/netfilter/nf_conntrack_tcp_loose 0 || return 1
    local state
    for state in fin_wait close_wait last_ack time_wait close; do set_proxy net/netfilter/nf_conntrack_tcp_timeout_$state 1 || return 1; done
    # So that it can answer a flood's sources, too, to the station that they seem to be.
    lab_in proxy ip neigh replace 10.80.0.9 lladdr $absent dev out0 nud permanent && lab_in proxy ip route replace default via 10.80.0.9 || return 1
    target=10.81.0.2
    lab_in proxy nft -f - << 'END'
table ip compare {
    chain early { type filter hook prerouting priority raw; iif "out0" tcp flags syn / fin,syn,rst,ack notrack; }
    chain answers { type filter hook output priority raw; tcp flags syn,ack / syn,ack notrack; }
    chain passing {
        type filter hook forward priority filter;
        iif "out0" tcp dport 1-65535 ct state invalid,untracked synproxy mss 1460 wscale 7 timestamp sack-perm
        ct state invalid drop
    }
}
END
}
stop_nft-synproxy() { lab_in proxy nft delete table ip compare; set_proxy net/ipv4/ip_forward 0; unrouted; }
stop_other() { lab_stop "$LAB_PROXY"; }

wrk_() { lab_in client wrk -t 1 -d "${seconds}s" "$@" "http://$target/one"; }
answered() { lab_in client awk '/^ *c0:/{sub(/.*:/, ""); print $2}' /proc/net/dev; }

# What answering costs is the processor time of all that the flood sets to work: the generator (in whose system calls the kernel receives and routes
# what it sent, and the whole synproxy runs), the contender's process, and ksoftirqd, which takes over what is left. From that goes the time of the same flood when nobody
# answers. The machine's busy ticks, which this script once took, hold whatever else ran, to the hundredth of a second.
# The flood comes from a station that is not there, so the client's host drops each answer at its first look: what it would do with one is no cost of
# the contender's, and was the same for all of them.
# All processors are kept busy meanwhile, by loops that run only where nobody else wants to: else one that shares its core with another (of a virtual
# machine nobody knows) is slower by a third for a contender that has a process of its own, and not for one that works in the generator's system calls.
# It is measured at the whole flood where that leaves nothing unanswered, else at 95 % of what the contender answers at most: a packet that finds a ring full
# costs, too, and of those there were as many as the generator happened to make (as RFC 2544 section 26.1 asks for the rate at which nothing is lost).
absent=02:00:00:00:00:77 unbounded=10000000 busy=()
keep_busy() {
    local cpu
    for cpu in $(seq 0 $(($(nproc) - 1))); do
        lab_spawn client "busy$cpu" chrt --idle 0 taskset -c "$cpu" bash -c 'while :; do :; done'
        busy+=("$LAB_PID")
    done
}
let_rest() {
    local pid
    for pid in "${busy[@]}"; do lab_stop "$pid"; done
    busy=()
}
worked_ns() { # by the contender and ksoftirqd so far
    local pids
    pids=$(pgrep -x 'ksoftirqd/[0-9]+'; [ -z "${LAB_PROXY:-}" ] || ! lab_alive "$LAB_PROXY" || echo "$LAB_PROXY")
    for pid in $pids; do cat /proc/"$pid"/task/*/schedstat; done 2> /dev/null | awk '{ sum += $1 } END { printf "%.0f", sum }'
}
flood_from_absent() { # MAC RATE SECONDS LAUNCHER...: of SYNs to the contender
    local mac=$1 rate=$2 seconds=$3
    shift 3
    "$@" "$SYN_FLOOD_BIN" --interface c0 --from-mac $absent --to-mac "$mac" --to "$target" --rate "$rate" --seconds "$seconds"
}
flood() { # MAC RATE: prints packets sent, packets that came back, and the seconds of processor time it all took
    local came worked
    came=$(answered) worked=$(worked_ns)
    flood_from_absent "$1" "$2" "$seconds" lab_in client > "$LAB_DIR/flood.out" || return 1
    sed 's/.*"sent": \([0-9]*\).*"processor_seconds": \([0-9.]*\).*/\1 \2/' "$LAB_DIR/flood.out" |
        awk -v came=$(($(answered) - came)) -v worked=$(($(worked_ns) - worked)) '{ print $1, came, $2 + worked / 1e9 }'
}
syns() { # CONTENDER: sets `most`, what it answers per second at most; `calm`, what became of a flood that it answers whole, and `rate`, that flood's
    local all
    most=0 mac=''
    case $1 in
        inline-always | inline-one-ring) mac=$(lab_mac server s0) ;;
        nft-synproxy) mac=$(lab_mac proxy out0) ;;
        *) return ;;
    esac
    rate=$unbounded
    keep_busy
    calm=$(flood "$mac" $rate)
    read -r most all < <(echo "$calm" | awk -v s="$seconds" '{ print int($2 / s), ($2 >= 0.99 * $1) }')
    if [ "${most:-0}" -ge 100 ] && [ "$all" != 1 ]; then
        rate=$((most * 95 / 100))
        calm=$(flood "$mac" $rate)
    fi
    let_rest
}
per_core() { # the same flood when nobody is there; prints SYN-ACKs per second, and per second of a core
    [ "${most:-0}" -ge 100 ] || { echo nan nan; return; }
    local nobody
    keep_busy
    nobody=$(flood 02:00:00:00:00:88 "$rate")
    let_rest
    echo "$calm $nobody $most" | awk '{
        cores = $3 - $6 * $1 / $4
        if ($2 < 0.99 * $1) print "only " $2 " of " $1 " SYNs were answered" > "/dev/stderr"
        print $7, (cores > 0 ? $2 / cores : "nan") }'
}
requests_in_flood() { # on 8 connections that are open before as many floods begin as there are processors and one more
    local number requests floods=()
    [ -n "$mac" ] || { echo nan; return; }
    lab_spawn client requests python3 "$here/bench/wire/kept_requests.py" "$target" 8 1 "$seconds"
    requests=$LAB_PID
    lab_until 10 grep -qs open "$LAB_DIR/requests.out" || { echo nan; return; }
    for number in $(seq 0 "$(nproc)"); do
        flood_from_absent "$mac" $unbounded $((seconds + 10)) lab_spawn client "flood$number"
        floods+=("$LAB_PID")
    done
    wait "$requests"
    for number in "${floods[@]}"; do lab_stop "$number"; done
    tail -n 1 "$LAB_DIR/requests.out" | grep -x '[0-9]*' || echo nan
}
measure() { # NAME: sets `line`
    lab_spawn server iperf iperf3 -s -1
    local iperf=$LAB_PID gbit connections latency requests
    lab_until 5 lab_listens server 5201
    gbit=$(lab_in client timeout 60 iperf3 -J -t "$seconds" -c $target |
        python3 -c 'import json,sys; print(json.load(sys.stdin)["end"]["sum_received"]["bits_per_second"] / 1e9)' 2> /dev/null)
    lab_stop "$iperf"
    connections=$(wrk_ -c 16 -H 'Connection: close' | awk '/^Requests\/sec/{print $2}')
    latency=$(wrk_ -c 1 --latency | awk '$1 == "50%" {v = $2; if (v ~ /ms$/) print v * 1000; else print v + 0}')
    requests=$(wrk_ -c 16 | awk '/^Requests\/sec/{print $2}')
    line="$1 ${gbit:-nan} ${connections:-nan} ${latency:-nan} ${requests:-nan}"
    syns "$1"
    flooded=$(requests_in_flood)
}
answers() { [ "$(lab_in client curl -s -o /dev/null -w '%{http_code}' --max-time 2 "http://$target/one")" = 200 ]; }

target=$LAB_SERVER4
for ((round = 1; round <= rounds; ++round)); do
    for contender in "${contenders[@]}"; do
        kind=${contender%%-*} argument=${contender#*-}
        case $contender in inline-*) ;; *) kind=$contender argument='' ;; esac
        line=''
        if "start_$kind" "$argument" && lab_until 5 answers; then
            measure "$contender"
        else
            echo "$contender does not work here" >&2
        fi
        if declare -F "stop_$kind" > /dev/null; then "stop_$kind"; else stop_other; fi
        [ -z "$line" ] || echo "$line $(per_core) ${flooded:-nan}" >> "$results"
    done
    echo "round $round of $rounds done" >&2
done
python3 - "$results" "${contenders[@]}" << 'PYTHON'
import statistics
import sys

path, *contenders = sys.argv[1:]
rows = [line.split() for line in open(path)]
print(f"{'':<15}{'iperf3 Gbit/s':>23}{'connections/s':>26}{'request p50 us':>22}{'requests/s (16)':>28}{'SYN-ACKs/s':>32}{'SYN-ACKs/s per core':>32}{'requests/s (8) in flood':>28}")
for name in contenders:
    cells = []
    for column, digits in ((1, 2), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0), (7, 0)):
        values = [v for row in rows if row[0] == name for v in [float(row[column])] if v == v]
        cells.append(f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})" if values else "-")
    print(f"{name:<15}{cells[0]:>23}{cells[1]:>26}{cells[2]:>22}{cells[3]:>28}{cells[4]:>32}{cells[5]:>32}{cells[6]:>28}")
PYTHON
