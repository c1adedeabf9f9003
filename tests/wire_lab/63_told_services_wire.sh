#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# Backends of a service that goes in another name learn who their clients are: nginx from the PROXY protocol, a server that speaks first as well, and
# whoever looks at TCP options from the ACK that completes the handshake.
. "$(dirname "$0")/lab.sh"
lab_need python3 curl sha256sum
command -v nginx > /dev/null || lab_skip "nginx is not installed"
lab_enter "$0" "$@"
lab_build

virtual=10.77.0.100 pool=10.77.0.200
lab_in client ip neigh add $virtual lladdr "$(lab_mac server s0)" dev c0 && lab_in server ip neigh add $pool lladdr "$(lab_mac client c0)" dev s0 ||
    lab_fail "cannot add neighbours"
sum=$(lab_file large $((2 << 20)))
cat > "$LAB_DIR/nginx.conf" << END
user root; worker_processes 1; daemon off; pid $LAB_DIR/nginx.pid; error_log $LAB_DIR/nginx.log;
events { worker_connections 512; }
http { log_format who '\$proxy_protocol_addr \$proxy_protocol_port \$remote_addr'; access_log $LAB_DIR/who.log who; sendfile on;
       client_body_temp_path $LAB_DIR/n1; proxy_temp_path $LAB_DIR/n2; fastcgi_temp_path $LAB_DIR/n3; uwsgi_temp_path $LAB_DIR/n4;
       scgi_temp_path $LAB_DIR/n5;
       server { listen 8080 proxy_protocol; listen 8081; root $LAB_DIR/www; } }
END
lab_spawn server http nginx -c "$LAB_DIR/nginx.conf" -e "$LAB_DIR/nginx.log"
lab_spawn server announced python3 "$LAB_ROOT/tests/wire_lab/announced_server.py" 2525 $LAB_CLIENT4 $virtual 25
lab_until 5 lab_listens server 8081 && lab_until 5 lab_listens server 2525 || lab_fail "the servers did not start: $(cat "$LAB_DIR"/*.err)"

service() { # PORT BACKEND_PORT LINE
    printf '[[service]]\naddress = "%s"\nport = %s\nmode = "fullnat"\n%s\n[[service.backend]]\naddress = "%s"\nport = %s\n' $virtual "$1" "$3" $LAB_SERVER4 "$2"
}
{
    printf '[[snat]]\nclients = "outside"\npool = ["%s"]\n' $pool
    service 80 8080 'proxy_protocol = "v1"'
    service 81 8080 'proxy_protocol = "v2"'
    service 25 2525 'proxy_protocol = "v2"'
    service 82 8081 'client_option = 254'
} > "$LAB_DIR/told.toml"

logged() { grep -q "^$LAB_CLIENT4 [0-9]* $pool\$" "$LAB_DIR/who.log"; }
http() { # PORT
    : > "$LAB_DIR/who.log"
    [ "$(lab_in client curl -sS --max-time 10 "http://$virtual:$1/large" | sha256sum)" = "$sum" ] || return 1
    lab_until 2 logged || { cat "$LAB_DIR/who.log" >&2; return 1; }
}
told() {
    lab_spawn server option python3 "$LAB_ROOT/tests/wire_lab/told_option.py" s0 254 8081 3
    local pid=$LAB_PID i port ports=()
    lab_until 5 grep -qx listening "$LAB_DIR/option.out" || return 1
    for i in 1 2 3; do
        port=$(lab_in client curl -sS --max-time 10 -o "$LAB_DIR/got" -w '%{local_port}' "http://$virtual:82/large") && [ "$(sha256sum < "$LAB_DIR/got")" = "$sum" ] || return 1
        ports+=("told $LAB_CLIENT4 $port")
    done
    wait "$pid" || return 1
    [ "$(grep told "$LAB_DIR/option.out")" = "$(printf '%s\n' "${ports[@]}")" ] || { cat "$LAB_DIR/option.out" >&2; return 1; }
}
for guard in off always; do
    lab_inline --guard $guard --config "$LAB_DIR/told.toml"
    http 80 && http 81 || lab_fail "nginx, --guard $guard"
    lab_in client timeout 10 python3 "$LAB_ROOT/tests/wire_lab/talk.py" banner-client $virtual 25 10 ||
        lab_fail "server speaks first, --guard $guard: $(cat "$LAB_DIR/announced.err")"
    [ ! -s "$LAB_DIR/announced.err" ] || lab_fail "a header is wrong: $(cat "$LAB_DIR/announced.err")"
    told || lab_fail "the TCP option, --guard $guard"
    lab_proxy_stop
    lab_report '
c = report["counters"]
expect(c["clients_announced"] >= 12, "not every client was announced")
expect(c["announcements_failed"] == 0, "an announcement failed")' || lab_fail "the report, --guard $guard"
    echo "ok: --guard $guard"
done
lab_pass "the PROXY protocol and a TCP option, through a service in another name"
