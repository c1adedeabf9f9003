#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# Floods of ACKs with false cookies and of SYN-ACKs open no flow and do not reach the server; downloads go on.
. "$(dirname "$0")/lab.sh"
lab_need curl sha256sum python3
lab_enter "$0" "$@"
lab_build

sum=$(lab_file file $((1 << 20)))
lab_http "$LAB_DIR/www"
received() { lab_in server awk '/^ *s0:/{sub(/.*:/, ""); print $2}' /proc/net/dev; }
quiet() { # MODE: nobody but the flood sends, so nearly nothing may arrive at the server
    local before after
    before=$(received)
    lab_flood "flood-$1" --mode "$1" --rate 40000 --count 80000 --seconds 20
    lab_until 30 lab_gone "$LAB_PID" || lab_fail "the flood does not end"
    after=$(received)
    [ $((after - before)) -lt 200 ] || lab_fail "$((after - before)) packets of the $1 flood reached the server"
}
downloads_meanwhile() {
    lab_flood "flood2-$1" --mode "$1" --rate 40000 --seconds 30
    lab_download "http://$LAB_SERVER4/file" 50 "$sum" || lab_fail "$LAB_WRONG of 50 downloads failed under the $1 flood"
    lab_stop "$LAB_PID"
}
for mode in ack synack; do
    lab_inline --guard always
    quiet $mode
    downloads_meanwhile $mode
    lab_proxy_stop
    lab_report '
expect(report["flows"]["opened"] <= 60, "flows opened by a forged flood")
expect(sum(report["counters"]["dropped"].values()) > 10000, "the flood is not among the drops")' || lab_fail "the report disagrees ($mode)"
done
lab_pass "forged floods"
