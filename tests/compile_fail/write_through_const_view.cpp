// SPDX-License-Identifier: BSL-1.0
// A view of bytes that may only be read gives no header that can be written.
// expect: const
#include <halfproxy/wire/parse.hpp>

#ifdef HALFPROXY_MUST_FAIL
using bytes = halfproxy::byte_view;
#else
using bytes = halfproxy::byte_span;
#endif

void test(bytes frame) {
    auto const packet = halfproxy::parse<halfproxy::link_type::ethernet>(frame);
    if (packet.is_tcp()) packet.tcp().window = 0;
}
