#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# Our connection tracking against the kernel's, packet by packet, over random packets: README.md has the classes of differences.
#   60_kernel_wire.sh [--packets N] [--seed N] [--every-class] ...: see kernel_difference.py --help
#   60_kernel_wire.sh --mutations: each check of ours switched, one by one; every one must be found
. "$(dirname "$0")/lab.sh"
lab_need python3 nft
lab_enter "$0" "$@"

TRACK_PACKETS_BIN=${TRACK_PACKETS_BIN:-$(dirname "$SYN_FLOOD_BIN")/track_packets}
[ -x "$TRACK_PACKETS_BIN" ] || lab_skip "$TRACK_PACKETS_BIN is not built"
[ -w /dev/net/tun ] || lab_skip "there is no /dev/net/tun that may be opened"

compare() { python3 "$LAB_ROOT/tests/wire_lab/kernel_difference.py" --program "$TRACK_PACKETS_BIN" "$@"; }

# finds FLAGS...: a tracker that is wrong in this way differs in a way that has no class.
finds() {
    compare --first --show 0 "$@" > /dev/null
    [ $? = 3 ] || lab_fail "a tracker with $* was not found out"
    echo "ok: found out: $*"
}

if [ "${1:-}" = --mutations ]; then
    for check in state syn_ack seq_above ack_above rst_window rst_exact; do finds --without $check; done
    for check in overshoot seq_below ack_below syn_synchronized; do finds --with $check; done
    lab_pass "every mutation is found"
    exit 0
fi
compare "$@"
status=$?
[ $status = 77 ] && exit 77
[ $status = 0 ] || lab_fail "the kernel and we differ in a way that has no class"
[ $# = 0 ] || exit 0
finds --without rst_window --without rst_exact  # any RST closes
finds --without ack_above
lab_pass "20,000 packets decided as the kernel does, or differently for a reason"
