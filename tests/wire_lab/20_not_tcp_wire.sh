#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# What is no TCP passes: ARP and neighbour discovery, echo requests, fragments, datagrams, an unknown EtherType.
. "$(dirname "$0")/lab.sh"
lab_need ping python3
lab_enter "$0" "$@"
lab_build

talk=$LAB_ROOT/tests/wire_lab/talk.py
lab_spawn server echo python3 "$talk" echo-server 7

resolves() { # ADDRESS: forgets the neighbour, so that it must be asked for again
    lab_in client ip neigh flush all && lab_in server ip neigh flush all
    lab_in client ping -q -c 1 -W 3 "$1" > /dev/null && lab_in client ip neigh show | grep -q "^$1 .*lladdr"
}
neighbours() { resolves $LAB_SERVER4 && resolves $LAB_SERVER6; }
pings() { # 4000 bytes come in fragments
    local size
    for size in 0 56 1400 4000; do
        lab_in client ping -q -c 3 -i 0.01 -W 3 -s $size $LAB_SERVER4 > /dev/null || return 1
        lab_in client ping -q -c 3 -i 0.01 -W 3 -s $size $LAB_SERVER6 > /dev/null || return 1
    done
}
datagrams() {
    local address
    for address in $LAB_SERVER4 $LAB_SERVER6; do
        lab_in client python3 "$talk" echo-client $address 7 200 1 && lab_in client python3 "$talk" echo-client $address 7 50 4000 || return 1
    done
}
unknown_ethertype() { # IEEE 802 local experimental EtherType, counted by the receiving interface
    rm -f "$LAB_DIR/ether"  # the last one's "listening" is not this one's
    lab_in server python3 -c '
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88b5))
s.bind(("s0", 0x88b5)); s.settimeout(5)
print("listening", flush=True)
assert s.recv(2000)[14:].startswith(b"not known to anybody"), "changed"
' > "$LAB_DIR/ether" & local pid=$!
    lab_until 5 grep -q listening "$LAB_DIR/ether" || return 1
    lab_in client python3 -c '
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(("c0", 0))
s.send(b"\xff" * 6 + b"\x02\0\0\0\0\1" + b"\x88\xb5" + b"not known to anybody".ljust(60))
'
    wait $pid
}
all() { neighbours && pings && datagrams && unknown_ethertype; }
lab_each_guard all
lab_pass "everything that is not TCP passes"
