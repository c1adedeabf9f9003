// SPDX-License-Identifier: BSL-1.0
// Why a flood may not be sent from here. A generator of packets with false sources belongs in a lab and nowhere else.
#pragma once

#include <string>

namespace halfproxy::test {

/// Empty when all of this holds, else the first thing that does not:
///  - HALFPROXY_LAB_MARK names the file that tests/wire_lab/lab.sh wrote, which holds the network namespace the lab was
///    started from, and this is another one; nor is it the one of process 1, where that can be read;
///  - every interface here is a veth or the loopback; no default route leads out.
std::string why_no_flood_from_here();

}  // namespace halfproxy::test
