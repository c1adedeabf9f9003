# SPDX-License-Identifier: BSL-1.0
# Jumbo frames: MTU 9000 with the offloads on and off.
. "$(dirname "$0")/lab.sh"
lab_need curl ping ethtool
lab_enter "$0" "$@"
lab_build

for place in "client c0" "proxy out0" "proxy in0" "server s0"; do
    # shellcheck disable=SC2086
    set -- $place
    lab_in "$1" ip link set "$2" mtu 9000 || lab_fail "cannot set the MTU of $2"
done
sum=$(lab_file file $((40 << 20)))
lab_http "$LAB_DIR/www"
jumbo() {
    lab_in client ping -q -c 2 -i 0.01 -W 3 -M do -s 8900 $LAB_SERVER4 > /dev/null || return 1
    [ "$(lab_in client curl -sS --max-time 20 "http://$LAB_SERVER4/file" | sha256sum)" = "$sum" ] &&
        [ "$(lab_in client curl -sS --max-time 20 "http://[$LAB_SERVER6]/file" | sha256sum)" = "$sum" ]
}
lab_each_guard jumbo
for place in "client c0" "server s0"; do
    # shellcheck disable=SC2086
    set -- $place
    lab_in "$1" ethtool -K "$2" tx off tso off gso off gro off > /dev/null || lab_fail "cannot switch offloads off"
done
lab_each_guard jumbo
lab_pass "MTU 9000, offloads on and off"
