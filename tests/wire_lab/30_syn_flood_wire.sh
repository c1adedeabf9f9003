#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# Under a SYN flood every one of 200 downloads succeeds, the server sees none of the flood, and memory stays as it is.
. "$(dirname "$0")/lab.sh"
lab_need curl sha256sum python3
lab_enter "$0" "$@"
lab_build

sum=$(lab_file file $((1 << 20)))
lab_http "$LAB_DIR/www"
lab_inline --guard always
lab_download "http://$LAB_SERVER4/file" 20 "$sum" || lab_fail "downloads before the flood"

memory() { echo "$(lab_memory "$LAB_PROXY" RssAnon) $(lab_memory "$LAB_PROXY" VmData)"; }
read -r anonymous_before data_before < <(memory)
lab_flood flood --rate 60000 --seconds 45
flood=$LAB_PID
lab_download "http://$LAB_SERVER4/file" 200 "$sum" || lab_fail "$LAB_WRONG of 200 downloads failed under the flood"
half_open=$(lab_in server ss -Htn state syn-recv | wc -l)
lab_stop "$flood"
read -r anonymous_after data_after < <(memory)
lab_proxy_stop
cat "$LAB_DIR/flood.out"

[ "$half_open" -lt 20 ] || lab_fail "the server has $half_open half-open connections: the flood got through"
# A sanitizer keeps books of its own; a flow kept per SYN would still show many times over.
allowance=$([ -n "${HALFPROXY_SANITIZE:-}" ] && echo 4096 || echo 0)
[ $((anonymous_after - anonymous_before)) -le "$allowance" ] && [ $((data_after - data_before)) -le "$allowance" ] ||
    lab_fail "memory grew: anonymous $anonymous_before to $anonymous_after kB, data $data_before to $data_after kB"
lab_report '
flood = json.load(open(directory + "/flood.out"))
expect(flood["packets_per_second"] > 10000, "no flood worth the name")
seen = report["io"]["outside"]["received"] + report["io"]["outside"]["kernel_drops"]
expect(seen >= flood["sent"], "the flood did not reach the proxy")
expect(report["syns_seen"] > 0.1 * flood["sent"], "SYNs were not counted")
expect(report["cookies_sent"] > 0.9 * report["syns_seen"], "SYNs were left without a cookie")
expect(220 <= report["flows"]["opened"] <= 260, "flows opened by the flood")
expect(report["flows"]["peak"] < 230, "flows held by the flood")' || lab_fail "the report disagrees"
lab_pass "200 downloads under a SYN flood"
