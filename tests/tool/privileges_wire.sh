# SPDX-License-Identifier: BSL-1.0
# Once it says "ready", inline holds no capability in any thread and cannot get one back, and its packets still flow.
. "$(dirname "$0")/../wire_lab/lab.sh"
lab_need ping
lab_enter "$0" "$@"
lab_build
lab_inline --guard always
[ "$(cat "$LAB_DIR/proxy.out")" = ready ] || lab_fail "standard output holds more than \"ready\": $(cat "$LAB_DIR/proxy.out")"
for status in /proc/"$LAB_PROXY"/task/*/status; do
    for set in CapInh CapPrm CapEff CapBnd CapAmb; do
        grep -qE "^$set:[[:space:]]0+$" "$status" || lab_fail "$(grep "^$set" "$status") is left"
    done
    grep -qE "^NoNewPrivs:[[:space:]]1$" "$status" || lab_fail "new privileges are possible"
done
lab_in client ping -c 3 -i 0.2 -W 5 $LAB_SERVER4 > /dev/null || lab_fail "no packet passes"
lab_proxy_stop
lab_report 'expect(report["packets"]["forwarded"] >= 6, "the echoes are not in the report")' || lab_fail "the report disagrees"
lab_pass "no capability is left"
