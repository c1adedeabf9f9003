// SPDX-License-Identifier: BSL-1.0
// Components that the default engine does not instantiate, so that purity_check can see what they call.
#include <halfproxy/halfproxy.hpp>

namespace halfproxy {

template class fault_io<memory_io>;
template class flow_table<ipv4_key, ipv4_flow, flow_key_hash, heap_memory>;
template basic_packet_view<byte_view> parse(link_type, byte_view, std::size_t) noexcept;
template basic_packet_view<byte_view> parse_quoted(basic_packet_view<byte_view> const&) noexcept;

}  // namespace halfproxy
