// SPDX-License-Identifier: BSL-1.0
// A correct TCP end and a bad cable, for properties: sliding window both ways, SACK, timestamps, probes, keepalives, FIN; no timers, chance decides
// what is sent next.
#pragma once

#include <halfproxy/core/random.hpp>
#include <halfproxy/track/tcp_tracker.hpp>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <optional>
#include <set>

namespace halfproxy::test {

/// One end: sliding window both ways, in its own words of RFC 9293. Offsets count from the ISN; 64 bits, so that only the wire wraps.
struct end_point {
    bool client;
    std::uint32_t isn;
    std::optional<unsigned> offered_scale;
    bool sack;
    std::uint32_t buffer;      ///< of received data
    std::uint64_t to_send;     ///< bytes before the FIN
    bool offers_timestamps = false;
    std::uint32_t clock = 0;   ///< of its timestamps

    enum { closed, syn_sent, syn_received, open, reset } state = closed;
    std::uint32_t peer_isn = 0;
    bool scaling = false, sacking = false;
    unsigned peer_scale = 0;
    std::uint64_t una = 0, next = 1, highest = 1;  ///< send side; the SYN is 0
    std::uint64_t edge = 1;                        ///< one past what the peer lets us send
    std::uint64_t received = 0;                    ///< RCV.NXT
    std::uint64_t promised = 0;                    ///< right edge told to the peer: never taken back
    std::uint64_t unread = 0;
    std::set<std::uint64_t> pieces{};              ///< bytes beyond RCV.NXT that are here
    std::optional<std::uint64_t> peer_fin{};
    bool stamping = false;             ///< both offered timestamps
    std::uint32_t recent = 0;          ///< TS.Recent (RFC 7323 section 4.3)
    std::uint64_t acknowledged = 0;    ///< Last.ACK.sent

    [[nodiscard]] std::uint64_t fin_at() const { return to_send + 1; }
    [[nodiscard]] unsigned own_scale() const { return scaling ? *offered_scale : 0; }
    [[nodiscard]] bool done() const { return state == open && una > fin_at() && peer_fin && received > *peer_fin; }

    [[nodiscard]] tcp_segment base(std::uint8_t flags, std::uint64_t seq) {
        tcp_segment s;
        s.flags = flags;
        s.seq = {isn + static_cast<std::uint32_t>(seq)};
        if ((flags & tcp_flag::ack) != 0) s.ack = {peer_isn + static_cast<std::uint32_t>(received)};
        if (stamping || (offers_timestamps && state == syn_sent)) {
            s.has_timestamps = true;
            s.timestamp_value = clock;
            s.timestamp_echo = (flags & tcp_flag::ack) != 0 ? recent : 0;
        }
        acknowledged = received;
        std::uint64_t room = unread < buffer ? buffer - unread : 0;
        if ((flags & tcp_flag::syn) != 0) {
            s.window = static_cast<std::uint16_t>(std::min<std::uint64_t>(room, 0xffff));
            if (offered_scale && (client || peer_offered)) s.has_window_scale = true, s.window_scale = static_cast<std::uint8_t>(*offered_scale);
            s.sack_permitted = sack;
            promised = std::max(promised, received + s.window);
            return s;
        }
        if ((flags & tcp_flag::ack) == 0) return s;
        // Rounded up when that is needed to keep an earlier promise.
        if (received + room < promised) room = promised - received;
        std::uint64_t const units = (room + (std::uint64_t{1} << own_scale()) - 1) >> own_scale();
        s.window = static_cast<std::uint16_t>(std::min<std::uint64_t>(units, 0xffff));
        promised = std::max(promised, received + (std::uint64_t{s.window} << own_scale()));
        if (sacking && !pieces.empty()) {
            s.has_sack = true;
            s.sack_right = {peer_isn + static_cast<std::uint32_t>(*pieces.rbegin() + 1)};
        }
        return s;
    }
    bool peer_offered = false;

    [[nodiscard]] tcp_segment ack() { return base(tcp_flag::ack, next); }

    /// Something this end may send now of its own accord.
    std::optional<tcp_segment> act(split_mix64& random) {
        switch (state) {
            case closed:
                if (!client) return std::nullopt;
                state = syn_sent;
                [[fallthrough]];
            case syn_sent: return base(tcp_flag::syn, 0);
            case syn_received: return base(tcp_flag::syn | tcp_flag::ack, 0);
            case reset: return std::nullopt;
            case open: break;
        }
        if (unread > 0 && random.below(2) == 0) {
            unread -= 1 + random.below(static_cast<std::uint32_t>(unread));
            return ack();
        }
        if (random.below(8) == 0) return base(tcp_flag::ack, next - 1);  // keepalive (RFC 9293 section 3.8.4)
        if (una < next && random.below(3) == 0) return data(una == 0 ? 1 : una, random);  // retransmission
        if (next > fin_at()) return una > fin_at() ? std::nullopt : std::optional(data(fin_at(), random));
        if (next >= edge) {
            if (una < next) return data(una, random);
            tcp_segment probe = base(tcp_flag::ack, next);  // window closed: one byte (RFC 9293 section 3.8.6.1)
            if (next < fin_at() && next == edge) {
                probe.payload_bytes = 1;
                next = highest = std::max(highest, next + 1);
            } else if (next == fin_at()) {
                return std::nullopt;
            }
            return probe;
        }
        return data(next, random);
    }

    /// From there on, which may be a retransmission that goes on with new data.
    [[nodiscard]] tcp_segment data(std::uint64_t from, split_mix64& random) {
        tcp_segment s = base(tcp_flag::ack, from);
        if (from == fin_at())
            s.flags |= tcp_flag::fin;
        else
            s.payload_bytes = static_cast<std::uint32_t>(std::min({from + 1 + random.below(1460), fin_at(), std::max(edge, from + 1)}) - from);
        next = std::max(next, from + s.length());
        highest = std::max(highest, next);
        return s;
    }

    /// What it answers to a segment.
    std::optional<tcp_segment> hear(tcp_segment const& s) {
        if (state == reset) return std::nullopt;
        if ((s.flags & tcp_flag::rst) != 0) {
            if (state >= open && s.seq.value == peer_isn + static_cast<std::uint32_t>(received)) state = reset;
            return std::nullopt;
        }
        if ((s.flags & tcp_flag::syn) != 0) return hear_syn(s);
        if (state < syn_received) return std::nullopt;
        if (outdated(s)) return ack();
        if (s.has_timestamps && s.seq.at_or_before(seq_num{peer_isn + static_cast<std::uint32_t>(acknowledged)})) recent = s.timestamp_value;
        std::uint64_t const acked = una + static_cast<std::uint32_t>(s.ack.value - (isn + static_cast<std::uint32_t>(una)));
        bool const plausible = acked >= 1 && acked <= highest;
        if (state == syn_received) {
            if (!plausible) return std::nullopt;
            state = open;
        }
        if (plausible && acked >= una) {
            una = acked;
            next = std::max(next, una);
            edge = std::max(edge, acked + (std::uint64_t{s.window} << peer_scale));
        }
        return take(s);
    }

    /// PAWS (RFC 7323 section 5.3).
    [[nodiscard]] bool outdated(tcp_segment const& s) const {
        return stamping && s.has_timestamps && static_cast<std::int32_t>(s.timestamp_value - recent) < 0;
    }

    std::optional<tcp_segment> hear_syn(tcp_segment const& s) {
        if (state == closed && !client && (s.flags & tcp_flag::ack) == 0) {
            peer_isn = s.seq.value;
            settle(s);
            state = syn_received;
            return base(tcp_flag::syn | tcp_flag::ack, 0);
        }
        if (state == syn_received) return base(tcp_flag::syn | tcp_flag::ack, 0);
        if (state == syn_sent && (s.flags & tcp_flag::ack) != 0 && s.ack.value == isn + 1) {
            peer_isn = s.seq.value;
            settle(s);
            una = 1;
            state = open;
        }
        return state == open ? std::optional(ack()) : std::nullopt;  // a challenge ACK, too
    }

    void settle(tcp_segment const& s) {
        received = 1;
        promised = std::max<std::uint64_t>(promised + (client ? 1 : 0), 1);
        peer_offered = s.has_window_scale;
        scaling = offered_scale && s.has_window_scale;
        peer_scale = scaling ? s.window_scale : 0;
        sacking = sack && s.sack_permitted;
        edge = 1 + std::uint64_t{s.window};
        stamping = offers_timestamps && s.has_timestamps;
        recent = s.timestamp_value;
    }

    std::optional<tcp_segment> take(tcp_segment const& s) {
        if (s.length() == 0 && s.seq.value == peer_isn + static_cast<std::uint32_t>(received)) return std::nullopt;
        std::int32_t const ahead = s.seq - seq_num{peer_isn + static_cast<std::uint32_t>(received)};
        std::int64_t const begin = static_cast<std::int64_t>(received) + ahead;
        if ((s.flags & tcp_flag::fin) != 0) peer_fin = static_cast<std::uint64_t>(begin) + s.payload_bytes;
        for (std::int64_t at = begin; at < begin + static_cast<std::int64_t>(s.length()); ++at)
            if (at >= static_cast<std::int64_t>(received) && static_cast<std::uint64_t>(at) < std::max(promised, received)) pieces.insert(static_cast<std::uint64_t>(at));
        if (peer_fin && received == *peer_fin) pieces.insert(received);  // a FIN needs no window
        while (!pieces.empty() && *pieces.begin() == received) {
            pieces.erase(pieces.begin());
            ++received;
            ++unread;
        }
        return ack();
    }
};

struct link_faults {
    unsigned lose, duplicate, reorder;  ///< in 1/256
    unsigned delay = 0;                 ///< for long
};

/// A one-way piece of cable.
struct cable {
    link_faults faults;
    std::deque<tcp_segment> on_it{};
    std::deque<tcp_segment> late{};

    void put(tcp_segment const& s, split_mix64& random) {
        if (random.below(256) < faults.lose) return;
        (random.below(256) < faults.delay ? late : on_it).push_back(s);
        if (random.below(256) < faults.duplicate) on_it.push_back(s);
    }
    std::optional<tcp_segment> get(split_mix64& random) {
        if (!late.empty() && random.below(100) == 0) {
            tcp_segment const s = late.front();
            late.pop_front();
            return s;
        }
        if (on_it.empty()) return std::nullopt;
        std::size_t at = 0;
        if (random.below(256) < faults.reorder) at = random.below(static_cast<std::uint32_t>(std::min<std::size_t>(on_it.size(), 20)));
        tcp_segment const s = on_it[at];
        on_it.erase(on_it.begin() + static_cast<std::ptrdiff_t>(at));
        return s;
    }
};

}  // namespace halfproxy::test
