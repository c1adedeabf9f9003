// SPDX-License-Identifier: BSL-1.0
// An admission policy of your own: a type with one function, asked for each flow that would begin, compiled into the engine.
#include <halfproxy/engine/engine.hpp>

#include <fmt/format.h>

#include <type_traits>

using namespace halfproxy;

/// Mail is refused, our own network trusted, and everybody else challenged, whatever the guard's mode.
struct office_policy {
    template <class Address>
    [[nodiscard]] admission decide(flow_request<Address> const& request) noexcept {
        if (request.tuple.destination_port == 25) return admission::deny;
        if constexpr (std::is_same_v<Address, std::uint32_t>)
            if (request.tuple.source >> 8 == 0xc00002) return admission::admit;  // 192.0.2.0/24
        return request.proven ? admission::admit : admission::challenge;
    }
};
static_assert(admission_policy<office_policy>);

using office_proxy = engine<policies<office_policy>>;

static void knock(office_proxy& proxy, ipv6_bytes const& client, std::uint16_t port) {
    packet_origin const origin{.link_kind = link_type::raw_ip,
                               .ip_version = 4,
                               .source = client,
                               .destination = {198, 51, 100, 80},
                               .source_port = big16{40000},
                               .destination_port = big16{port}};
    std::array<std::uint8_t, 256> buffer;
    frame f{.data = buffer.data(), .capacity = 256, .arrival = side::outside, .link = link_type::raw_ip};
    f.length = f.wire_length =
        static_cast<std::uint32_t>(build_tcp(buffer, origin, {{1}, {}, tcp_flag::syn, 64240}, {}));
    outbox originated(outbox_per_packet);
    proxy.process({&f, 1}, time_point{}, originated);
    constexpr char const* outcomes[] = {"forwarded to the server", "answered with a cookie", "held", "dropped"};
    fmt::print("{}.{}.{}.{} to port {}: {}{}{}\n", client[0], client[1], client[2], client[3], port,
               outcomes[static_cast<std::size_t>(f.outcome)], f.reason == drop_reason::none ? "" : ", ",
               f.reason == drop_reason::none ? "" : to_string(f.reason));
}

int main() {
    office_proxy proxy({.guard = {.mode = guard_mode::always}});
    knock(proxy, {192, 0, 2, 7}, 443);
    knock(proxy, {203, 0, 113, 9}, 443);
    knock(proxy, {192, 0, 2, 7}, 25);
    knock(proxy, {203, 0, 113, 9}, 25);
}
