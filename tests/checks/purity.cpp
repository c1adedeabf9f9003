// SPDX-License-Identifier: BSL-1.0
// The core's templates instantiated, so that purity_check can see what they call.
#include <halfproxy/halfproxy.hpp>

namespace halfproxy {

template class syn_cookie<>;
template basic_packet_view<byte_span> parse(link_type, byte_span, std::size_t) noexcept;
template basic_packet_view<byte_span> parse_quoted(basic_packet_view<byte_span> const&) noexcept;

}  // namespace halfproxy
