// SPDX-License-Identifier: BSL-1.0
// How long a flow may be silent, by state: two presets, every value overridable.
#pragma once

#include <halfproxy/core/time.hpp>

#include <initializer_list>

namespace halfproxy {

/// All in milliseconds; `never` is allowed everywhere.
struct flow_timeouts {
    timeout_ms syn_sent;         ///< the initiator's SYN is unanswered
    timeout_ms syn_received;     ///< SYN-ACK seen, third ACK missing
    timeout_ms established;
    timeout_ms half_closed;      ///< one FIN seen: data may still flow the other way for hours
    timeout_ms last_ack;         ///< both FINs seen, the last one unacknowledged
    timeout_ms time_wait;
    timeout_ms closed;           ///< after a RST
    timeout_ms unacknowledged;   ///< data outstanding beyond the window; only ever shortens
    timeout_ms retransmitting;   ///< three identical packets, or window 0; only ever shortens. Senders back off to 120 s between two of them
    // Flows without states of their own: from the first packet until one of the other side, and between two of those.
    timeout_ms udp_new;
    timeout_ms udp_replied;
    timeout_ms icmp;           ///< queries, answered or not
    timeout_ms other_new;      ///< every other IP protocol: GRE, ESP, SCTP and so on, by addresses
    timeout_ms other_replied;
    timeout_ms fragment;  ///< a datagram in fragments: until its first one comes, and from there to its last. Receivers give up after 15 s (RFC 791) to 60 s (RFC 8200)

    /// A firewall in the path: patient with idle connections. RFC 5382 REQ-5 asks for at least 2 h 4 min of an established one, RFC 4787 REQ-5
    /// and RFC 6092 section 3.2 for 2 min of UDP and other protocols (5 min recommended), RFC 5508 REQ-2 for 60 s of ICMP queries.
    [[nodiscard]] static constexpr flow_timeouts firewall() noexcept {
        return {.syn_sent = 120'000, .syn_received = 60'000, .established = 86'400'000, .half_closed = 14'400'000,
                .last_ack = 30'000, .time_wait = 120'000, .closed = 10'000, .unacknowledged = 300'000,
                .retransmitting = 300'000, .udp_new = 120'000, .udp_replied = 300'000, .icmp = 60'000, .other_new = 120'000,
                .other_replied = 600'000, .fragment = 30'000};
    }
    /// Before a server farm: many short connections, memory is what counts. Below what the RFCs ask of a NAT: its servers have well-known ports, for
    /// which RFC 4787 REQ-5a allows it.
    [[nodiscard]] static constexpr flow_timeouts adc() noexcept {
        return {.syn_sent = 10'000, .syn_received = 10'000, .established = 300'000, .half_closed = 300'000,
                .last_ack = 10'000, .time_wait = 5'000, .closed = 2'000, .unacknowledged = 60'000,
                .retransmitting = 150'000, .udp_new = 10'000, .udp_replied = 60'000, .icmp = 10'000, .other_new = 30'000,
                .other_replied = 300'000, .fragment = 15'000};
    }

    /// Raised to the floors for translated flows: established 2 h 4 min, opening and closing 4 min (RFC 5382 REQ-5, RFC 7857 section 2), UDP and other
    /// protocols 2 min, ICMP queries 1 min (RFC 4787 REQ-5, RFC 5508 REQ-2).
    [[nodiscard]] constexpr flow_timeouts under_nat() const noexcept {
        flow_timeouts t = *this;
        auto const raise = [](timeout_ms& value, timeout_ms floor) { value = value < floor ? floor : value; };
        raise(t.established, 7'440'000);
        for (timeout_ms* transitory : {&t.syn_sent, &t.syn_received, &t.half_closed, &t.last_ack, &t.time_wait, &t.closed}) raise(*transitory, 240'000);
        for (timeout_ms* datagrams : {&t.udp_new, &t.udp_replied, &t.other_new, &t.other_replied}) raise(*datagrams, 120'000);
        raise(t.icmp, 60'000);
        return t;
    }
};

}  // namespace halfproxy
