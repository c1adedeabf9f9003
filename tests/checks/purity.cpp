// SPDX-License-Identifier: BSL-1.0
// Components that the default engine does not instantiate, so that purity_check can see what they call.
#include <halfproxy/halfproxy.hpp>

namespace halfproxy {

template class fault_io<memory_io>;
template class flow_table<ipv4_key, ipv4_flow, flow_key_hash, heap_memory>;
template basic_packet_view<byte_view> parse(link_type, byte_view, std::size_t) noexcept;
template basic_packet_view<byte_view> parse_quoted(basic_packet_view<byte_view> const&) noexcept;

/// A router is not a template: its bodies are compiled where they are called.
void run_router(router& r, frame& f, outbox& out, std::span<frame> errors) {
    r.begin({});
    if (r.arrive(f, out)) static_cast<void>(r.depart(f, side::inside, true));
    r.depart(out, 0);
    r.end_errors(errors.first(r.begin_errors(errors)), out);
    r.finish(out);
    static_cast<void>(r.next_deadline());
}
router make_router(router_config const& config) { return router(config); }

}  // namespace halfproxy
