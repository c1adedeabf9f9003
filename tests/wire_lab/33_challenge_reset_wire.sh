#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# challenge_reset with real stacks: the client's kernel proves itself with a RST and sends its SYN again, so curl sees a delay
# at most; the options it offers reach the server; a flood leaves no flow.
. "$(dirname "$0")/lab.sh"
lab_need curl sha256sum python3
lab_enter "$0" "$@"
lab_build

sum=$(lab_file file $((1 << 20)))
lab_http "$LAB_DIR/www"
cat > "$LAB_DIR/config.toml" << 'END'
[guard]
mode = "always"
method = "challenge_reset"
exempt_s = 1
END
lab_inline --config "$LAB_DIR/config.toml"

# connects HOST SECONDS: one download, right, whose connect took at most so long.
connects() {
    lab_download "http://$1/file" 1 "$sum" || lab_fail "the download from $1 failed"
    python3 -c 'import sys; took = float(open(sys.argv[1]).read()); print("connected in %.0f ms" % (1000 * took)); sys.exit(took > float(sys.argv[2]))' \
        "$LAB_DIR/connect.s" "$2" || lab_fail "the connect to $1 took too long"
}

# options_of HOST: what a client and the server agree upon; 7 is timestamps, SACK and window scaling (linux/tcp.h, TCPI_OPT_*).
options_of() {
    lab_in client python3 -c 'import socket, sys
with socket.create_connection((sys.argv[1], 80), 5) as peer: print(peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[5] & 7)' "$1"
}

# One SYN timeout is 1 s (RFC 6298 section 2.1); Linux sends its SYN again within a few milliseconds.
for host in "$LAB_SERVER4" "$LAB_SERVER6"; do
    [[ $host == *:* ]] && url="[$host]" || url=$host
    connects "$url" 1.5
    [ "$(options_of "$host")" = 7 ] || lab_fail "timestamps, SACK and window scale of $host did not pass end to end"
    connects "$url" 1.5
done
# A stateful firewall on the client's way that drops what it calls invalid: the challenge, the RST and the connection pass it.
if command -v nft > /dev/null && lab_in client nft -f - 2> "$LAB_DIR/nft.err" << 'END'
table inet firewall {
    chain incoming {
        type filter hook input priority 0
        ct state invalid counter drop
    }
    chain outgoing {
        type filter hook output priority 0
        ct state invalid counter drop
    }
}
END
then
    for _ in 1 2 3; do
        sleep 1.2  # no longer exempt
        connects "$LAB_SERVER4" 1.5
    done
    lab_in client nft delete table inet firewall
else
    echo "without a firewall at the client: no nft, or no conntrack here: $(cat "$LAB_DIR/nft.err" 2> /dev/null)"
fi
sleep 1.2
connects "$LAB_SERVER4" 1.5

lab_flood flood --rate 40000 --count 80000 --seconds 20
lab_until 30 lab_gone "$LAB_PID" || lab_fail "the flood does not end"
connects "$LAB_SERVER4" 3
lab_proxy_stop
lab_report '
flood = json.load(open(directory + "/flood.out"))
counters = report["counters"]
expect(3 <= counters["cookies_valid"] <= 9, "the client was to prove itself whenever its exemption was over")
expect(counters["syns_exempt"] >= 6, "the SYNs after the proof were not exempt")
expect(counters["cookies_sent"] > 0.1 * flood["sent"], "the flood was not challenged")
expect(report["flows"]["opened"] <= 12, "the flood opened flows")
expect(counters["handshakes_completed"] == 0, "a connection was spliced")' || lab_fail "the report disagrees"
lab_pass "challenge_reset"
