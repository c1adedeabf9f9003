#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# The configuration read again, many times, under load: rules of translation, services and their backends change, and no request fails; a backend that
# is taken out keeps its connections; what is wrong changes nothing and is said with file, line and key.
#   62_reload_wire.sh [RELOADS]: 30 unless told
. "$(dirname "$0")/lab.sh"
lab_need curl nginx python3
lab_enter "$0" "$@"
lab_build
reloads=${1:-30}

virtual=10.77.0.100 forwarded=10.77.0.150 pool=10.77.0.200
for address in $virtual $forwarded; do lab_in client ip neigh add $address lladdr "$(lab_mac server s0)" dev c0 || lab_fail "no neighbour"; done
for address in $pool 10.77.0.201; do lab_in server ip neigh add $address lladdr "$(lab_mac client c0)" dev s0 || lab_fail "no neighbour"; done
for i in 1 2 3; do lab_in server ip address add 10.77.0.1$i/24 dev s0 || lab_fail "no address"; done
lab_in client sh -c 'echo 10000 65000 > /proc/sys/net/ipv4/ip_local_port_range' || lab_fail "no port range"
lab_file one 500 > /dev/null
lab_http "$LAB_DIR/www"

config=$LAB_DIR/reload.toml
# write NUMBER: every reload has other ports in the pool, every other one a backend less, another rule first, and another order.
write() {
    local odd=$(($1 % 2)) i backends="1 2 3"
    [ $odd = 0 ] || backends="1 2"
    {
        printf '[timeouts]\nestablished = %s\n' $((3600 + $1))
        [ $odd = 0 ] || printf '[[rule]]\naction = "deny"\nfrom = "192.0.2.0/24"\n'
        [ $odd = 0 ] || printf '[[dnat]]\nto = "%s"\nproto = "tcp"\nports = 7\ntarget = "10.77.0.12"\n' $forwarded
        printf '[[dnat]]\nto = "%s"\nproto = "tcp"\nports = "81-82"\ntarget = "10.77.0.13"\ntarget_ports = 80\n' $virtual
        [ $odd = 0 ] || printf '[[snat]]\nclients = "outside"\nfrom = "192.0.2.0/24"\npool = ["10.77.0.201"]\n'
        printf '[[snat]]\nclients = "outside"\npool = ["%s"]\nports = "2000-%s"\n' $pool $((60000 + $1))
        printf '[[service]]\naddress = "%s"\nport = 80\nmode = "fullnat"\n' $virtual
        for i in $backends; do printf '[[service.backend]]\naddress = "10.77.0.1%s"\nport = 80\nweight = %s\n' "$i" $((1 + $1 % 3)); done
    } > "$config.new"
    mv "$config.new" "$config"
}
said() { [ "$(grep -c "$1" "$LAB_DIR/proxy.err")" -ge "$2" ]; }

write 0
lab_inline --config "$config" --guard always
mkfifo "$LAB_DIR/stop"
nsenter --net=/run/netns/client -- python3 "$LAB_ROOT/tests/wire_lab/reload_load.py" $virtual 80 200 4 81 82 > "$LAB_DIR/load.out" 2> "$LAB_DIR/load.err" < "$LAB_DIR/stop" &
load=$!
LAB_PIDS+=("$load")
exec 3> "$LAB_DIR/stop"
lab_until 10 grep -q running "$LAB_DIR/load.out" || lab_fail "no load: $(cat "$LAB_DIR/load.err")"
for ((n = 1; n <= reloads; ++n)); do
    write "$n"
    kill -HUP "$LAB_PROXY"
    lab_until 10 said "read again, and in force" "$n" || lab_fail "reload $n was not taken"
done

# refused PATTERN: what the file says now is refused in these words.
refusals=0
refused() {
    kill -HUP "$LAB_PROXY"
    refusals=$((refusals + 1))
    lab_until 10 said "stays as it was" $refusals || lab_fail "nothing was said about: $1"
    tail -n 1 "$LAB_DIR/proxy.err" | grep -q "$1" || lab_fail "said: $(tail -n 1 "$LAB_DIR/proxy.err")"
}
line=$(grep -n '^pool' "$config" | tail -n 1 | cut -d: -f1)
sed -i "${line}s/.*/pool = \"nonsense\"/" "$config" && refused "reload.toml:$line: snat.*pool: must be a list"
write "$reloads" && printf '[limits]\nflows_v4 = 1000\n' >> "$config"
refused "reload.toml:$(grep -n '^flows_v4' "$config" | cut -d: -f1): limits.flows_v4: cannot change while running, from 262144 to 1000"
rm "$config" && refused "reload.toml"

sleep 0.5
echo stop >&3
wait "$load" || lab_fail "the load: $(cat "$LAB_DIR/load.err")"
result=$(tail -n 1 "$LAB_DIR/load.out")
echo "$reloads reloads: $result"
python3 -c '
import json, sys
r = json.loads(sys.argv[1])
sys.exit(not (r["failed"] == 0 and r["requests"]["kept"] >= 400 and r["requests"]["new"] >= 50))' "$result" || lab_fail "requests failed"
lab_proxy_stop
lab_report "
expect(report['reloads'] == {'applied': $reloads, 'refused': $refusals}, 'reloads were not counted')
expect(sum(p['exhausted'] for p in report['nat']['pools']) == 0, 'a pool was exhausted')
" || lab_fail "the report"
lab_pass "$reloads reloads under load"
