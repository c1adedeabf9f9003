#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# Downloads from a real HTTP server arrive unharmed in every guard mode, over IPv4 and IPv6, small and large.
. "$(dirname "$0")/lab.sh"
lab_need curl sha256sum
lab_enter "$0" "$@"
lab_build

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
upload() { # a request whose head does not fit one segment, with a body the server refuses after reading its length
    local status
    status=$(lab_in client curl -sS --max-time 10 -o /dev/null -w '%{http_code}' -H "X-Long: $(printf 'x%.0s' {1..6000})" "http://$LAB_SERVER4/one")
    [ "$status" = 200 ]
}
refused_port() { # a closed port is refused at once, not after a timeout
    local begin=$SECONDS
    lab_in client curl -sS --max-time 10 "http://$LAB_SERVER4:81/" 2> "$LAB_DIR/refused" && return 1
    [ $((SECONDS - begin)) -lt 5 ]
}
lab_each_guard downloads
lab_each_guard upload
lab_each_guard refused_port
lab_pass "downloads of 1 B, 5 kB and 16 MiB, IPv4 and IPv6"
