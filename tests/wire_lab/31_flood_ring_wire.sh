#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# While a flood lasts SYNs come by a ring of their own: two floods with a pause between them, downloads during, right after and long after each,
# and ports that are used again at once, whose RST and SYN come by different rings.
. "$(dirname "$0")/lab.sh"
lab_need curl sha256sum python3
lab_enter "$0" "$@"
lab_build

sum=$(lab_file file $((1 << 18)))
lab_http "$LAB_DIR/www"
printf '[io]\nflood_per_s = 5000\n' > "$LAB_DIR/flood.toml"
lab_inline --guard always --config "$LAB_DIR/flood.toml"

downloads() { lab_download "http://$LAB_SERVER4/file" "$1" "$sum" || lab_fail "$LAB_WRONG of $1 downloads failed $2"; }
reuse() { # COUNT: connections from one port, each reset by its client and followed by the next at once; prints how many were answered
    lab_in client python3 -c '
import socket, struct, sys
answered = 0
for _ in range(int(sys.argv[2])):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.bind(("", 7777))
        s.settimeout(0.9)  # a lost SYN is sent again after a second
        s.connect((sys.argv[1], 80))
        s.sendall(b"GET /nothing HTTP/1.0\r\n\r\n")
        answered += s.recv(4) == b"HTTP"
print(answered)' "$LAB_SERVER4" "$1"
}
for round in 1 2; do
    lab_flood "flood$round" --rate 30000 --seconds 20
    sleep 0.5
    downloads 40 "under flood $round"
    [ "$(reuse 100)" = 100 ] || lab_fail "a port could not be used again at once under flood $round"
    lab_stop "$LAB_PID"
    downloads 20 "right after flood $round"
    # A SYN that comes alone waits for four milliseconds, or for a tick of an older kernel's clock; the machine adds what it pleases.
    late=$(awk '$1 > 0.2' "$LAB_DIR/connect.s" | wc -l)
    [ "$late" -le 2 ] || lab_fail "$late of 20 connections took over 0.2 s right after flood $round"
    sleep 1.5
    downloads 20 "long after flood $round"
done
lab_proxy_stop
lab_report '
outside = report["io"]["outside"]
sent = sum(json.load(open(f"{directory}/flood{round}.out"))["sent"] for round in (1, 2))
expect(outside["flood_received"] > 0.8 * (sent - outside["kernel_drops"]), "the flood did not come by its ring")
expect(outside["received"] - outside["flood_received"] > 1000, "what is no SYN came by it, too")
expect(report["io"]["inside"]["flood_received"] == 0, "the server sends no SYNs")' || lab_fail "the report disagrees"
lab_pass "SYNs of a flood by a ring of their own"
