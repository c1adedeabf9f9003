// SPDX-License-Identifier: BSL-1.0
// A packet view looks at bytes; text is not taken for them.
// expect: contiguous_bytes | constraints not satisfied
#include <halfproxy/wire/parse.hpp>

#include <string_view>

#ifdef HALFPROXY_MUST_FAIL
using bytes = std::string_view;
#else
using bytes = halfproxy::byte_view;
#endif

bool test(bytes frame) { return halfproxy::parse<halfproxy::link_type::ethernet>(frame).is_ip(); }
