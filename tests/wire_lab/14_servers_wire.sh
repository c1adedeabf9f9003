#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# What servers do to a guarded client: a port that is closed, a host that is silent, a restart with other TCP settings.
. "$(dirname "$0")/lab.sh"
lab_need python3
lab_enter "$0" "$@"
lab_build

cat > "$LAB_DIR/config.toml" << 'END'
[guard]
mode = "always"
server_retry_s = 1
server_retries = 1
END
lab_inline --config "$LAB_DIR/config.toml"
tests=$LAB_ROOT/tests/wire_lab
resets() { lab_in client python3 "$tests/talk.py" reset-client "$@"; } # ADDRESS PORT LEAST MOST

resets $LAB_SERVER4 81 0 0.9 && resets $LAB_SERVER6 81 0 0.9 || lab_fail "F17: a closed port"
echo "ok: F17 a closed port resets the client at once"

# Nobody has these addresses, but the cable leads to the server, which ignores what is not for it.
silent4=10.77.0.99 silent6=fd77::99
for address in $silent4 $silent6; do
    lab_in client ip neigh add $address lladdr "$(lab_mac server s0)" dev c0 || lab_fail "cannot add a neighbour"
done
resets $silent4 80 2.5 6 & first=$!
resets $silent6 80 2.5 6 && wait $first || lab_fail "F16: a silent server"
echo "ok: F16 a silent server's client is reset after the retries at 1 and 3 s"

serve() { # TIMESTAMPS SACK WINDOW_SCALING
    lab_in server sh -c "cd /proc/sys/net/ipv4; echo $1 > tcp_timestamps; echo $2 > tcp_sack; echo $3 > tcp_window_scaling"
    lab_spawn server transfers python3 "$tests/transfers.py" serve 7000
    lab_until 5 lab_listens server 7000 || lab_fail "the server does not listen"
}
for settings in "1 1 1" "0 0 0" "1 1 1"; do
    # shellcheck disable=SC2086
    serve $settings
    for address in $LAB_SERVER4 $LAB_SERVER6; do
        lab_in client python3 "$tests/transfers.py" fetch $address 7000 $((1 << 18)) 3 > "$LAB_DIR/fetched" || lab_fail "F23: a server restarted with $settings"
    done
    lab_stop "$LAB_PID"
done
echo "ok: F23 a server that restarts with other options breaks no connection, the first after it included"
lab_proxy_stop
lab_pass "closed, silent and restarted servers"
