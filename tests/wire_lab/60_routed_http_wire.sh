#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# Routed mode: between two networks, real stacks find each other through ARP and neighbour discovery; downloads arrive unharmed in every guard mode.
. "$(dirname "$0")/lab.sh"
lab_need curl sha256sum
lab_enter "$0" "$@"
lab_build
lab_route

declare -A sums=([one]=$(lab_file one 1) [small]=$(lab_file small 5000) [large]=$(lab_file large $((16 << 20))))
lab_http "$LAB_DIR/www"

download() { # URL NAME
    local got
    got=$(lab_in client curl -sS --max-time 20 "$1/$2" | sha256sum)
    [ "$got" = "${sums[$2]}" ] || { echo "wrong content: $1/$2" >&2; return 1; }
}
downloads() {
    local name
    for name in one small large; do
        download "http://$LAB_SERVER4" $name && download "http://[$LAB_SERVER6]" $name || return 1
    done
}
upload() { # of 2 MB, which the server refuses after reading its length
    head -c 2000000 /dev/zero > "$LAB_DIR/zeros"
    [ "$(lab_in client curl -sS --max-time 10 -o /dev/null -w '%{http_code}' --data-binary "@$LAB_DIR/zeros" "http://$LAB_SERVER4/one")" -ge 400 ]
}
hops() { # the server sees packets that came one hop; what the half proxy answers itself is of its own
    local ttl
    ttl=$(lab_in client ping -c 1 -W 2 $LAB_SERVER4 | sed -n 's/.*ttl=\([0-9]*\).*/\1/p')
    [ "$ttl" = 63 ]
}
lab_each_guard downloads
lab_each_guard upload
command -v ping > /dev/null && lab_each_guard hops
lab_report '
r = report["routing"]
expect(r["received"] == r["passed"] + r["answered"] + r["taken"] + r["dropped_on_arrival"], "a frame is not accounted for")
expect(r["neighbours"]["resolved"] >= 2, "no neighbour was resolved")
expect(r["dropped"]["neighbour_unresolved"] == 0, "a neighbour was not found")
expect(r["dropped"]["packet_too_big"] == 0, "a packet was too big")' || lab_fail "the report"
lab_pass "downloads and uploads between two networks, IPv4 and IPv6"
