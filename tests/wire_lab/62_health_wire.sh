#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# Health checks through routed ports: a server killed under load is taken out in time and returns; one that answers wrongly loses its connections; each kind of check meets a real server.
. "$(dirname "$0")/lab.sh"
lab_need python3
lab_enter "$0" "$@"
lab_build
lab_route

virtual=10.78.1.100 virtual6=fd78:1::100
for i in 1 2 3; do lab_in server ip address add 10.78.2.1$i/24 dev s0 || lab_fail "cannot add an address"; done
declare -A web
serve() { # NUMBER
    mkdir -p "$LAB_DIR/www$1" && echo "server $1" > "$LAB_DIR/www$1/who"
    lab_spawn server "web$1" python3 -u -m http.server 8080 --bind "10.78.2.1$1" --directory "$LAB_DIR/www$1"
    web[$1]=$LAB_PID
}
for i in 1 2 3; do serve $i; done
lab_spawn server web6 python3 -u -m http.server 8086 --bind fd78:2::2 --directory "$LAB_DIR/www1"
lab_spawn server udp python3 -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("10.78.2.11", 5353))
while True:
    data, who = s.recvfrom(2000)
    s.sendto(b"yes, " + data if data == b"are you there" else b"no", who)'

service() { # ADDRESS PORT BACKENDS HEALTH LINES...
    local backend
    printf '[[service]]\naddress = "%s"\nport = %s\n%s\n[service.health]\ninterval_s = 0.2\ntimeout_s = 0.15\njitter_percent = 0\nrise = 2\nfall = 2\n' "$1" "$2" "${5:-}"
    printf '%s\n' "$4"
    for backend in $3; do printf '[[service.backend]]\naddress = "%s"\n' "$backend"; done
}
{
    cat "$LAB_DIR/routed.toml"
    # Passive checks would be quicker: here the active ones are tried alone.
    service $virtual 80 "10.78.2.11 10.78.2.12 10.78.2.13" $'kind = "http"\npath = "/who"\nport = 8080\nbody = "server"' $'passive_failures = 0\non_down = "reset"' |
        sed 's/^address = "10.78.2.*/&\nport = 8080/'
    service $virtual6 80 fd78:2::2 $'kind = "http"\npath = "/who"\nstatus = 200\nport = 8086'
    service $virtual 81 "10.78.2.11 10.78.2.14" $'kind = "tcp"\nport = 8080'
    service $virtual 82 "10.78.2.11 10.78.2.14" 'kind = "icmp"'
    service $virtual 83 10.78.2.11 $'kind = "udp"\nport = 5353\nsend = "are you there"\nexpect = "yes, "'
    service $virtual 84 10.78.2.11 $'kind = "http"\npath = "/nowhere"\nport = 8080'
    service $virtual 85 10.78.2.11 $'kind = "tcp"\nport = 9'
} > "$LAB_DIR/health.toml"
LAB_CONFIG=(--config "$LAB_DIR/health.toml")
for i in 1 2 3; do lab_until 10 lab_in server bash -c ": < /dev/tcp/10.78.2.1$i/8080" || lab_fail "server $i did not start"; done

lab_inline --guard "${LAB_GUARD:-off}"
says() { grep -q "$1" "$LAB_DIR/proxy.err"; }
lab_until 3 says '10.78.2.11:84 is down: status 404' || lab_fail "a page that is not there was found"
lab_until 3 says '10.78.2.11:85 is down: connection refused' || lab_fail "a port that is closed was found open"
lab_until 5 says '10.78.2.14:81 is down: no answer in time' || lab_fail "who is not there answered"
lab_until 5 says '10.78.2.14:82 is down: no answer in time' || lab_fail "who is not there answered an echo request"

mkfifo "$LAB_DIR/go"
lab_in client python3 "$(dirname "$0")/health_load.py" requests $virtual 80 < "$LAB_DIR/go" > "$LAB_DIR/requests" 2>&1 &
load=$!
LAB_PIDS+=($load)
exec 7> "$LAB_DIR/go"
answered() { [ "$(grep -c "server $1" "$LAB_DIR/requests")" -ge "$2" ]; }
for i in 1 2 3; do lab_until 5 answered $i 10 || lab_fail "server $i takes no part: $(tail -3 "$LAB_DIR/requests")"; done

killed=$EPOCHREALTIME
kill -KILL "${web[2]}"
lab_until 5 says '10.78.2.12:8080 is down: connection refused' || lab_fail "a server that is gone was not taken out"
down=$EPOCHREALTIME
sleep 0.5
serve 2 7>&-  # it must not keep the clients going
back=$EPOCHREALTIME
lab_until 10 says '10.78.2.12:8080 is up: body as expected' || lab_fail "a server that is back was not taken in"
up=$EPOCHREALTIME
sleep 0.3
exec 7>&-
lab_until 5 lab_gone $load || lab_fail "the clients did not end"
python3 - "$LAB_DIR/requests" "$killed" "$down" "$back" "$up" << 'END' || lab_fail "the requests"
import sys
lines = [line.split(" ", 1) for line in open(sys.argv[1])]
killed, down, back, up = map(float, sys.argv[2:])
rows = [(float(begun), result.strip()) for begun, result in lines]
failed = [row for row in rows if not row[1].startswith("server ")]
faults = [f"{len(failed)} failed, of which at {begun - killed:+.3f} s: {result}" for begun, result in failed if not killed - 0.05 < begun < down]
if not failed: faults.append("no request noticed that a server was killed: there was no load")
if down - killed > 2 * 0.2 + 0.6: faults.append(f"taken out after {down - killed:.2f} s")  # fall intervals, and a machine that is busy
if any(down < begun < back and result == "server 2" for begun, result in rows): faults.append("who was dead answered")
if not any(begun > up - 0.1 and result == "server 2" for begun, result in rows): faults.append("who is back takes no part")
print(f"{len(rows)} requests, {len(failed)} failed until the server was taken out after {down - killed:.2f} s; back {up - back:.2f} s after its start")
if faults: print(*faults, sep="\n", file=sys.stderr)
sys.exit(bool(faults))
END

mkfifo "$LAB_DIR/ask"
lab_in client python3 "$(dirname "$0")/health_load.py" idle $virtual 80 6 < "$LAB_DIR/ask" > "$LAB_DIR/idle" 2>&1 &
LAB_PIDS+=($!)
exec 8> "$LAB_DIR/ask"
lab_until 5 grep -q open "$LAB_DIR/idle" || lab_fail "no idle connections"
echo "maintenance" > "$LAB_DIR/www3/who"
lab_until 5 says '10.78.2.13:8080 is down: body without what is expected' || lab_fail "a server in maintenance was not taken out"
sleep 0.1
echo >&8
exec 8>&-
six() { [ "$(wc -l < "$LAB_DIR/idle")" = 7 ]; }
lab_until 5 six || lab_fail "idle connections: $(cat "$LAB_DIR/idle")"
[ "$(grep -c 'failed: ConnectionResetError' "$LAB_DIR/idle")" = 2 ] && [ "$(grep -c 'server [12]' "$LAB_DIR/idle")" = 4 ] ||
    lab_fail "on_down = \"reset\": $(cat "$LAB_DIR/idle")"

# What checks know outlives a reload: the report below is of both.
kill -HUP "$LAB_PROXY"
lab_until 5 says 'read again, and in force' || lab_fail "no reload"
sleep 0.5

lab_proxy_stop
lab_report '
health = report["health"]
found = {b["service"].rsplit(":", 1)[1] + " " + b["backend"].rsplit(":", 1)[0]: (b["state"], b["last"], b["transitions"]) for b in health["backends"] if "fd78" not in b["service"]}
expect(found == {"80 10.78.2.11": ("up", "body as expected", 0), "80 10.78.2.12": ("up", "body as expected", 2), "80 10.78.2.13": ("down", "body without what is expected", 1),
                 "81 10.78.2.11": ("up", "connected", 0), "81 10.78.2.14": ("down", "no answer in time", 1),
                 "82 10.78.2.11": ("up", "answered", 0), "82 10.78.2.14": ("down", "no answer in time", 1), "83 10.78.2.11": ("up", "answered", 0),
                 "84 10.78.2.11": ("down", "status 404", 1), "85 10.78.2.11": ("down", "connection refused", 1)}, f"checks: {found}")
six = [b for b in health["backends"] if "fd78" in b["service"]]
expect([(b["state"], b["last"], b["bad"]) for b in six] == [("up", "status 200", 0)], "the server of IPv6")
expect(health["packets_taken"] > 100 and sum(health["dropped"].values()) == 0, "packets of checks")
states = [b["state"] for b in report["services"][0]["backends"]]
expect(states == ["up", "up", "down"], f"the engine knows {states}")
' || lab_fail "the report"
lab_pass "health checks of every kind, through the ports"
