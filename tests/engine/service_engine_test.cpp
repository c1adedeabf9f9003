// SPDX-License-Identifier: BSL-1.0
// Services in other people's names need somebody's name to go in.
#include <halfproxy/engine/service_engine.hpp>

#include "tests/support/services.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

snat_rule rule_for(ip_prefix const& to) {
    snat_rule r;
    r.origin = flow_origin::outside;
    r.to = to;
    r.pool = {{ip_address::v4(0x0a000063), 32}};
    return r;
}

}  // namespace

TEST_CASE("full NAT needs a rule of source NAT that holds every backend, for clients outside") {
    service_config s = service_of(2);
    nat_config nat;
    CHECK(fault_of_fullnat(s, nat) == "");
    s.mode = forward_mode::fullnat;
    std::string_view const missing = "\"fullnat\" needs a [[snat]] with clients = \"outside\" or \"both\", from everywhere, whose `to` holds every backend";
    CHECK(fault_of_fullnat(s, nat) == missing);
    nat.snat = {rule_for({ip_address::v4(backend4(0)), 32})};
    CHECK(fault_of_fullnat(s, nat) == missing);
    nat.snat.push_back(rule_for({ip_address::v4(backend4(1)), 32}));
    CHECK(fault_of_fullnat(s, nat) == "");
    nat.snat = {rule_for({})};
    CHECK(fault_of_fullnat(s, nat) == "");
    nat.snat[0].origin = flow_origin::inside;
    CHECK(fault_of_fullnat(s, nat) == missing);
    nat.snat[0].origin = flow_origin::both;
    nat.snat[0].protocol = ip_protocol::udp;
    CHECK(fault_of_fullnat(s, nat) == missing);
}
