#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# Servers are told who their clients are by the PROXY protocol, guarded and not: nginx logs the client's address and serves it unharmed, and
# a server that reads the header and then speaks first does not hang.
. "$(dirname "$0")/lab.sh"
lab_need python3 curl sha256sum
lab_enter "$0" "$@"
lab_build

sum=$(lab_file large $((8 << 20)))
cat > "$LAB_DIR/proxy.toml" << END
[[splice.backend]]
address = "$LAB_SERVER4"
port = 80
proxy_protocol = "v1"
[[splice.backend]]
address = "$LAB_SERVER6"
port = 80
proxy_protocol = "v2"
[[splice.backend]]
address = "$LAB_SERVER4"
port = 25
proxy_protocol = "v2"
[[splice.backend]]
address = "$LAB_SERVER6"
port = 25
proxy_protocol = "v1"
END
lab_spawn server announced python3 "$LAB_ROOT/tests/wire_lab/announced_server.py" 25
lab_until 5 lab_listens server 25 || lab_fail "the server does not listen"

if command -v nginx > /dev/null; then
    cat > "$LAB_DIR/nginx.conf" << END
user root; worker_processes 1; daemon off; pid $LAB_DIR/nginx.pid; error_log $LAB_DIR/nginx.log;
events { worker_connections 512; }
http { log_format who '\$proxy_protocol_addr \$proxy_protocol_port \$remote_addr \$remote_port'; access_log $LAB_DIR/who.log who; sendfile on;
       client_body_temp_path $LAB_DIR/n1; proxy_temp_path $LAB_DIR/n2; fastcgi_temp_path $LAB_DIR/n3; uwsgi_temp_path $LAB_DIR/n4;
       scgi_temp_path $LAB_DIR/n5;
       server { listen 80 proxy_protocol; listen [::]:80 proxy_protocol; root $LAB_DIR/www; } }
END
    lab_spawn server http nginx -c "$LAB_DIR/nginx.conf" -e "$LAB_DIR/nginx.log"
    lab_until 5 lab_listens server 80 || lab_fail "nginx did not start: $(cat "$LAB_DIR"/http.err)"
fi

logged() { # ADDRESS: the last request's client, by header and by packet, which a bridge does not change
    local header_addr header_port addr port
    read -r header_addr header_port addr port < <(tail -n 1 "$LAB_DIR/who.log")
    [ "$header_addr" = "$1" ] && [ "$addr" = "$1" ] && [ "$header_port" = "$port" ]
}
http() { # URL CLIENT
    local i
    [ "$(lab_in client curl -sS --max-time 20 "$1/large" | sha256sum)" = "$sum" ] || { echo "wrong content: $1" >&2; return 1; }
    for i in 1 2 3 4 5; do
        lab_in client curl -sS --max-time 20 -o /dev/null "$1/nowhere-$i" || return 1
        lab_until 2 logged "$2" || { tail -n 1 "$LAB_DIR/who.log" >&2; return 1; }
    done
}
server_first() { lab_in client timeout 20 python3 "$LAB_ROOT/tests/wire_lab/talk.py" banner-client "$1" 25 20; }

for guard in off always; do
    lab_inline --guard $guard --config "$LAB_DIR/proxy.toml"
    if command -v nginx > /dev/null; then
        http "http://$LAB_SERVER4" $LAB_CLIENT4 || lab_fail "nginx over IPv4, --guard $guard"
        http "http://[$LAB_SERVER6]" $LAB_CLIENT6 || lab_fail "nginx over IPv6, --guard $guard"
    fi
    server_first $LAB_SERVER4 && server_first $LAB_SERVER6 || lab_fail "server speaks first, --guard $guard: $(cat "$LAB_DIR/announced.err")"
    lab_proxy_stop
    lab_report '
c = report["counters"]
expect(c["clients_announced"] >= 40, "not every client was announced")
expect(c["announcements_failed"] == 0, "an announcement failed")' || lab_fail "the report, --guard $guard"
    echo "ok: --guard $guard"
done
lab_pass "PROXY protocol, versions 1 and 2, IPv4 and IPv6"
