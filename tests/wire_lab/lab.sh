# SPDX-License-Identifier: BSL-1.0
# A lab on one machine: client - proxy - server in network namespaces joined by veth pairs. To be sourced.
#
#     client c0 10.77.0.1/24 fd77::1/64 ── out0 [ proxy ] in0 ── s0 server 10.77.0.2/24 fd77::2/64
#
# lab_enter moves the script into a namespace of its own first, so the namespaces have fixed names, nobody else sees
# them, and the kernel removes them when the last process in them ends, however that happens.
# shellcheck shell=bash

LAB_CLIENT4=10.77.0.1 LAB_SERVER4=10.77.0.2
LAB_CLIENT6=fd77::1 LAB_SERVER6=fd77::2
LAB_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
HALFPROXY_BIN=${HALFPROXY_BIN:-$LAB_ROOT/build/bin/halfproxy}
SYN_FLOOD_BIN=${SYN_FLOOD_BIN:-$(dirname "$HALFPROXY_BIN")/../tests/syn_flood}
LAB_PIDS=()

lab_skip() { echo "SKIP: $*"; exit 77; }
lab_fail() {
    echo "FAILED: $*" >&2
    [ -n "${LAB_DIR:-}" ] && [ -s "$LAB_DIR/proxy.err" ] && sed 's/^/  proxy: /' "$LAB_DIR/proxy.err" >&2
    exit 1
}

# lab_need TOOL...: skip unless all are installed.
lab_need() {
    local tool
    for tool; do command -v "$tool" > /dev/null || lab_skip "$tool is not installed"; done
}

# lab_enter SCRIPT ARGUMENTS...: run the script again inside new user (unless root), network and mount namespaces.
lab_enter() {
    [ -n "${HALFPROXY_LAB_OUTER_NET:-}" ] && return 0
    lab_need ip unshare nsenter mount
    local flags=(--net --mount) why
    [ "$(id -u)" = 0 ] || flags=(--user --map-root-user "${flags[@]}")
    why=$(unshare "${flags[@]}" mount -t tmpfs lab /run 2>&1) || lab_skip "namespaces are forbidden here: $why"
    HALFPROXY_LAB_OUTER_NET=$(readlink /proc/self/ns/net) || lab_skip "cannot read /proc/self/ns/net"
    export HALFPROXY_LAB_OUTER_NET
    exec unshare "${flags[@]}" -- bash "$@"
}

# lab_in NAMESPACE COMMAND...: run it there in the foreground.
lab_in() { local ns=$1; shift; nsenter --net="/run/netns/$ns" -- "$@"; }

# lab_spawn NAMESPACE NAME COMMAND...: the same in the background, output to LAB_DIR/NAME.{out,err}; its pid in LAB_PID.
lab_spawn() {
    local ns=$1 name=$2
    shift 2
    nsenter --net="/run/netns/$ns" -- "$@" > "$LAB_DIR/$name.out" 2> "$LAB_DIR/$name.err" < /dev/null &
    LAB_PID=$!
    LAB_PIDS+=("$LAB_PID")
}

lab_alive() { kill -0 "$1" 2> /dev/null; }

# lab_until SECONDS COMMAND...: true as soon as the command succeeds.
lab_until() {
    local end=$((SECONDS + $1))
    shift
    until "$@" > /dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.05
    done
}

# lab_stop PID [SECONDS]: SIGTERM, then SIGKILL when it does not end in time; its exit status in LAB_STATUS.
lab_stop() {
    kill -TERM "$1" 2> /dev/null
    lab_until "${2:-5}" lab_gone "$1" || kill -KILL "$1" 2> /dev/null
    wait "$1" 2> /dev/null
    LAB_STATUS=$?
}
lab_gone() { ! lab_alive "$1"; }

lab_cleanup() {
    local pid
    for pid in "${LAB_PIDS[@]}"; do kill -TERM "$pid" 2> /dev/null; done
    sleep 0.1
    for pid in "${LAB_PIDS[@]}"; do kill -KILL "$pid" 2> /dev/null; done
    wait 2> /dev/null
    rm -rf "${LAB_DIR:?}"
}

lab_namespace() { : > "/run/netns/$1" && unshare --net="/run/netns/$1" true; }

# lab_cable NS1 IF1 NS2 IF2: a veth pair, offloads as the kernel sets them, no IPv6 chatter of its own.
lab_cable() {
    ip link add "$2" netns "$1" type veth peer name "$4" netns "$3" || return 1
    lab_in "$1" ip link set "$2" addrgenmode none && lab_in "$3" ip link set "$4" addrgenmode none
}

lab_host() { # NAMESPACE INTERFACE IPV4 IPV6
    lab_in "$1" ip link set lo up
    lab_in "$1" ip addr add "$3/24" dev "$2" && lab_in "$1" ip link set "$2" up &&
        lab_in "$1" ip -6 addr add "$4/64" dev "$2" nodad
}

lab_carriers() { ! { lab_in client ip -o link && lab_in proxy ip -o link && lab_in server ip -o link; } | grep -q NO-CARRIER; }

# lab_build: makes the three namespaces and removes all of it when the script ends.
lab_build() {
    mount -t tmpfs lab /run && mkdir -p /run/netns || lab_skip "cannot mount a private /run"
    LAB_DIR=$(mktemp -d "${TMPDIR:-/tmp}/halfproxy-lab.$$.XXXXXX") || lab_fail "no temporary folder"
    trap lab_cleanup EXIT
    trap 'exit 130' INT TERM HUP
    ip link set lo up
    local ns
    for ns in client proxy server; do lab_namespace "$ns" || lab_skip "cannot make the namespace $ns"; done
    lab_cable client c0 proxy out0 && lab_cable proxy in0 server s0 || lab_skip "cannot make veth pairs"
    lab_host client c0 $LAB_CLIENT4 $LAB_CLIENT6 && lab_host server s0 $LAB_SERVER4 $LAB_SERVER6 || lab_fail "cannot set addresses"
    lab_in proxy ip link set out0 up && lab_in proxy ip link set in0 up || lab_fail "cannot bring the proxy's ports up"
    lab_until 5 lab_carriers || lab_fail "the cables have no carrier"
    # The mark by which the flood generator knows a namespace made for it, and which network it must not be in.
    echo "$HALFPROXY_LAB_OUTER_NET" > /run/halfproxy-lab
    export HALFPROXY_LAB_MARK=/run/halfproxy-lab
}

lab_proxy_is_ready() { grep -qsx ready "$LAB_DIR/proxy.out" || ! lab_alive "$LAB_PROXY"; }

# lab_bridge COMMAND...: start a program that joins out0 and in0 and says "ready"; its pid in LAB_PROXY.
lab_bridge() {
    rm -f "$LAB_DIR/proxy.out"  # an earlier one's "ready" is not this one's
    lab_spawn proxy proxy "$@"
    LAB_PROXY=$LAB_PID
    lab_until 30 lab_proxy_is_ready && lab_alive "$LAB_PROXY" || lab_fail "the proxy did not get ready: $*"
}

# lab_route: client and server in networks of their own, the proxy between them as their router: 10.78.1.0/24 and fd78:1::/64 outside,
# 10.78.2.0/24 and fd78:2::/64 inside, the proxy at .1 and the ends at .2 of each. Every half proxy that is started then gets LAB_DIR/routed.toml,
# whose [io] section begins with the arguments, one line each.
LAB_CONFIG=()
lab_route() { # LINES...
    LAB_CLIENT4=10.78.1.2 LAB_SERVER4=10.78.2.2 LAB_CLIENT6=fd78:1::2 LAB_SERVER6=fd78:2::2
    local end
    for end in "client c0 1" "server s0 2"; do
        set_end() { lab_in "$1" ip addr flush dev "$2" && lab_host "$1" "$2" "10.78.$3.2" "fd78:$3::2" &&
            lab_in "$1" ip route add default via "10.78.$3.1" && lab_in "$1" ip -6 route add default via "fd78:$3::1"; }
        # shellcheck disable=SC2086
        set_end $end || lab_fail "cannot make a network of its own for $end"
    done
    {
        printf '[io]\nmode = "routed"\n'
        [ $# = 0 ] || printf '%s\n' "$@"
        printf '[[io.address]]\nport = "%s"\naddress = "%s"\n' outside 10.78.1.1/24 outside fd78:1::1/64 inside 10.78.2.1/24 inside fd78:2::1/64
    } > "$LAB_DIR/routed.toml"
    LAB_CONFIG=(--config "$LAB_DIR/routed.toml")
}

# lab_inline FLAGS...: the half proxy itself.
lab_inline() {
    [ -x "$HALFPROXY_BIN" ] || lab_skip "$HALFPROXY_BIN is not built"
    lab_bridge "$HALFPROXY_BIN" inline --outside out0 --inside in0 --report "$LAB_DIR/report.json" "${LAB_CONFIG[@]}" "$@"
}

# lab_proxy_stop: SIGTERM; it must report and end with 0.
lab_proxy_stop() {
    lab_alive "$LAB_PROXY" || lab_fail "the proxy ended by itself"
    lab_stop "$LAB_PROXY" 10
    [ "$LAB_STATUS" = 0 ] || lab_fail "the proxy ended with $LAB_STATUS after SIGTERM"
}

# lab_each_guard FUNCTION ARGUMENTS...: calls it once for each guard mode, with a half proxy of that mode running.
lab_each_guard() {
    for LAB_GUARD in off auto always; do
        lab_inline --guard $LAB_GUARD
        "$@" || lab_fail "$* with --guard $LAB_GUARD"
        lab_proxy_stop
        echo "ok: --guard $LAB_GUARD: $*"
    done
}

# lab_listens NAMESPACE PORT: somebody listens there on TCP.
lab_listens() { lab_in "$1" ss -Hltn "sport = :$2" | grep -q .; }

# lab_http FOLDER: a real HTTP server on port 80 of the server, IPv4 and IPv6: nginx, or else Python's.
lab_http() {
    if command -v nginx > /dev/null; then
        cat > "$LAB_DIR/nginx.conf" << END
user root; worker_processes 1; daemon off; pid $LAB_DIR/nginx.pid; error_log $LAB_DIR/nginx.log;
events { worker_connections 8192; }
http { access_log off; sendfile on; keepalive_requests 1000000; client_body_temp_path $LAB_DIR/n1; proxy_temp_path $LAB_DIR/n2;
       fastcgi_temp_path $LAB_DIR/n3; uwsgi_temp_path $LAB_DIR/n4; scgi_temp_path $LAB_DIR/n5;
       server { listen 80 backlog=4096 reuseport; listen [::]:80 backlog=4096 reuseport; root $1; } }
END
        lab_spawn server http nginx -c "$LAB_DIR/nginx.conf" -e "$LAB_DIR/nginx.log"
    else
        lab_spawn server http python3 -m http.server 80 --bind :: --directory "$1"
    fi
    LAB_HTTP=$LAB_PID
    lab_until 5 lab_listens server 80 || lab_fail "the HTTP server did not start: $(cat "$LAB_DIR"/http.err)"
}

# lab_file NAME BYTES: random content in LAB_DIR/www; its SHA-256 on stdout.
lab_file() {
    mkdir -p "$LAB_DIR/www"
    head -c "$2" /dev/urandom > "$LAB_DIR/www/$1"
    sha256sum < "$LAB_DIR/www/$1"
}

# lab_mac NAMESPACE INTERFACE: its link address.
lab_mac() { lab_in "$1" ip -o link show "$2" | sed 's/.*link\/ether \([^ ]*\).*/\1/'; }

# lab_flood NAME FLAGS...: floods the server's port 80 from the client in the background; JSON in LAB_DIR/NAME.out.
lab_flood() {
    local name=$1
    shift
    [ -x "$SYN_FLOOD_BIN" ] || lab_skip "$SYN_FLOOD_BIN is not built"
    lab_spawn client "$name" "$SYN_FLOOD_BIN" --interface c0 --to-mac "$(lab_mac server s0)" --to "$LAB_SERVER4" "$@"
}

# lab_download URL COUNT SHA256: by that many processes of curl, 4 at a time; true when all are right. LAB_WRONG counts the
# others; LAB_DIR/connect.s holds the seconds each connect took.
lab_download() {
    local script='sum=$(curl -sS --max-time 30 -w "%{stderr}%{time_connect}\n" "$1" 2> "$2/connect.$3" | sha256sum); [ "$sum" = "$4" ] || echo wrong'
    rm -f "$LAB_DIR"/connect.*
    LAB_WRONG=$(seq "$2" | lab_in client xargs -P 4 -I{} bash -c "$script" download "$1" "$LAB_DIR" {} "$3" | wc -l)
    cat "$LAB_DIR"/connect.* > "$LAB_DIR/connect.s"
    [ "$LAB_WRONG" = 0 ]
}

# lab_memory PID FIELD: of /proc/PID/status, in kB: VmRSS, RssAnon, VmData.
lab_memory() { awk -v field="$2:" '$1 == field {print $2}' "/proc/$1/status"; }

# lab_report PYTHON: checks LAB_DIR/report.json with expect(condition, message).
lab_report() {
    python3 -c '
import json, sys
directory = sys.argv[1]
report = json.load(open(directory + "/report.json"))
failures = []
def expect(condition, message):
    if not condition: failures.append(message)
exec(sys.argv[2])
if failures: print(json.dumps(report, indent=1), *failures, sep="\n", file=sys.stderr)
sys.exit(bool(failures))' "$LAB_DIR" "$1"
}

# lab_pass: the last line of a test that got this far.
lab_pass() { echo "PASSED: $*"; }
