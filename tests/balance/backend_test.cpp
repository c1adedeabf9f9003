// SPDX-License-Identifier: BSL-1.0
// What the modes of a service mean for its packets.
#include <halfproxy/balance/backend.hpp>

#include <doctest/doctest.h>

#include <type_traits>

using namespace halfproxy;

TEST_CASE("modes differ in what is rewritten, where answers go, and how the backend is known") {
    struct row { forward_mode mode; bool keeps, elsewhere, station; };
    for (row const& r : {row{forward_mode::dnat, false, false, false}, row{forward_mode::fullnat, false, false, false}, row{forward_mode::dsr, true, true, true},
                         row{forward_mode::ipip, true, true, false}, row{forward_mode::transparent, true, false, true}}) {
        CHECK(keeps_destination(r.mode) == r.keeps);
        CHECK(answers_elsewhere(r.mode) == r.elsewhere);
        CHECK(goes_by_station(r.mode) == r.station);
    }
}

TEST_CASE("a server is its address and port") {
    static_assert(std::is_trivially_copyable_v<backend>);
    backend a, b;
    a.address = b.address = ip_address::v4(1);
    b.weight = 9;
    CHECK(a.same_server(b));
    b.port = 1;
    CHECK_FALSE(a.same_server(b));
}
