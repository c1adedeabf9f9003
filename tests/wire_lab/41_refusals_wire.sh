#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# What cannot be opened is refused with exit status 2 and one message that names the thing and the remedy.
. "$(dirname "$0")/lab.sh"
lab_need setpriv
lab_enter "$0" "$@"
lab_build
[ -x "$HALFPROXY_BIN" ] || lab_skip "$HALFPROXY_BIN is not built"

refuses() { # PATTERN COMMAND...
    local pattern=$1 status
    shift
    lab_in proxy timeout 10 "$@" > "$LAB_DIR/out" 2> "$LAB_DIR/err"
    status=$?
    [ $status = 2 ] || lab_fail "exit status $status, not 2: $*"
    grep -qE -- "$pattern" "$LAB_DIR/err" || lab_fail "no '$pattern' in: $(cat "$LAB_DIR/err")"
    [ "$(wc -l < "$LAB_DIR/err")" -le 2 ] || lab_fail "more than one message: $(cat "$LAB_DIR/err")"
    [ ! -s "$LAB_DIR/out" ] || lab_fail "something on standard output: $(cat "$LAB_DIR/out")"
    echo "ok: $(cat "$LAB_DIR/err")"
}
refuses nosuch0 "$HALFPROXY_BIN" inline --outside nosuch0 --inside in0
refuses nosuch1 "$HALFPROXY_BIN" inline --outside out0 --inside nosuch1
refuses 'out0.*two interfaces' "$HALFPROXY_BIN" inline --outside out0 --inside out0
refuses "'?out0.*CAP_NET_RAW" setpriv --bounding-set=-net_raw,-net_admin "$HALFPROXY_BIN" inline --outside out0 --inside in0
[ "$(lab_in proxy ip -d -o link show out0 | grep -c 'promiscuity 0')" = 1 ] || lab_fail "out0 stayed promiscuous"
lab_pass "refusals"
