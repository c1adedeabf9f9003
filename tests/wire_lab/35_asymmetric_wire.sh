#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# challenge_reset where the server's answers go past the proxy, as with asymmetric return and DSR, real stacks at both ends:
#
#     client c0 ── out0 [ proxy ] in0 ── s0 server      what the client sends
#            c1 ────────────────────────s1              what the server sends, on a second cable
. "$(dirname "$0")/lab.sh"
lab_need curl sha256sum python3
lab_enter "$0" "$@"
lab_build

lab_cable client c1 server s1 || lab_skip "cannot make a second cable"
lab_in client sh -c 'for i in all default c0 c1; do echo 0 > /proc/sys/net/ipv4/conf/$i/rp_filter; done' &&
    lab_in client ip link set c1 up && lab_in server ip link set s1 up &&
    lab_in server ip route add $LAB_CLIENT4/32 dev s1 && lab_in server ip -6 route add $LAB_CLIENT6/128 dev s1 || lab_fail "no second way"
for address in $LAB_CLIENT4 $LAB_CLIENT6; do
    lab_in server ip neigh replace "$address" lladdr "$(lab_mac client c1)" dev s1 || lab_fail "no neighbour on the second cable"
done
for address in $LAB_SERVER4 $LAB_SERVER6; do
    lab_in client ip neigh replace "$address" lladdr "$(lab_mac server s0)" dev c0 || lab_fail "no neighbour on the first cable"
done
sum=$(lab_file file $((4 << 20)))
lab_http "$LAB_DIR/www"

lab_spawn server agreed python3 "$LAB_ROOT/tests/wire_lab/agreed.py" serve 81
lab_until 5 lab_listens server 81 || lab_fail "the second server does not listen"

download() { # URL: by a client that comes again when its connection is reset, as browsers do
    [ "$(lab_in client curl -sS --retry 3 --retry-delay 1 --retry-all-errors --max-time 10 "$1" 2> "$LAB_DIR/curl.err" | sha256sum)" = "$sum" ]
}

for by in client proxy; do
    exempt_s=$([ $by = client ] && echo 1 || echo 2)  # longer than a client takes that comes again a second after its reset
    cat > "$LAB_DIR/config.toml" << END
[guard]
mode = "always"
method = "challenge_reset"
reset_by = "$by"
exempt_s = $exempt_s
[tracking]
asymmetric = true
END
    lab_inline --config "$LAB_DIR/config.toml"
    for host in $LAB_SERVER4 $LAB_SERVER6; do
        [[ $host == *:* ]] && url="http://[$host]/file" || url="http://$host/file"
        for ((i = 0; i < 3; ++i)); do download "$url" || lab_fail "download $i from $host, reset by $by: $(cat "$LAB_DIR/curl.err")"; done
        options=$(lab_in client python3 "$LAB_ROOT/tests/wire_lab/agreed.py" ask "$host" 81) || lab_fail "no connection to $host"
        [ "$options" = "client: timestamps SACK scaling 10 10; server: timestamps SACK scaling 10 10" ] ||
            lab_fail "options of $host did not pass end to end: $options"
        echo "ok: $host, reset by $by, $options"
    done
    sleep $exempt_s.1
    download http://$LAB_SERVER4/file || lab_fail "a client whose exemption was over, reset by $by"
    lab_proxy_stop
    lab_report '
counters = report["counters"]
expect(report["io"]["inside"]["received"] < 20, "the answers of the server passed the proxy")
expect(counters["flows_one_sided"] >= 9, "connections were not followed one-sided")
expect(3 <= counters["cookies_valid"] <= 12, "the clients were to prove themselves whenever their exemption was over")
expect(counters["handshakes_completed"] == 0, "a connection was spliced")' || lab_fail "the report disagrees (reset by $by)"
done
lab_pass "challenge_reset past which the server answers"
