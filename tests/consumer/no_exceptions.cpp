// SPDX-License-Identifier: BSL-1.0
// An embedder without exceptions and RTTI: includes all of the core and uses it.
#include <halfproxy/halfproxy.hpp>

#include <array>
#include <cstdint>

#if defined(__cpp_exceptions) || defined(__cpp_rtti)
#error "compile this with -fno-exceptions -fno-rtti"
#endif

int main() {
    halfproxy::outbox out(1);
    std::array<std::uint8_t, 3> const bytes{0x45, 0, 0};
    auto const packet = halfproxy::parse<halfproxy::link_type::raw_ip>(halfproxy::byte_view(bytes));
    bool const refused = packet.layout().error == halfproxy::drop_reason::ip_header_truncated;
    bool const full = out.push(halfproxy::side::outside, bytes) && !out.push(halfproxy::side::outside, bytes);
    return refused && full ? 0 : 1;
}
