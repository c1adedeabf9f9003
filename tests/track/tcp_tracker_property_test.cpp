// SPDX-License-Identifier: BSL-1.0
// Two correct TCP ends over a link that loses, doubles and reorders: the tracker between them must not stand in their way.
#include <halfproxy/track/tcp_tracker.hpp>

#include <halfproxy/core/random.hpp>

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <string>

using namespace halfproxy;

namespace {

constexpr std::uint8_t SYN = tcp_flag::syn, ACK = tcp_flag::ack, FIN = tcp_flag::fin, RST = tcp_flag::rst;

/// One end: sliding window both ways, in its own words of RFC 9293. Offsets count from the ISN; 64 bits, so that only the wire wraps.
struct end_point {
    bool client;
    std::uint32_t isn;
    std::optional<unsigned> offered_scale;
    bool sack;
    std::uint32_t buffer;      ///< of received data
    std::uint64_t to_send;     ///< bytes before the FIN

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

    [[nodiscard]] std::uint64_t fin_at() const { return to_send + 1; }
    [[nodiscard]] unsigned own_scale() const { return scaling ? *offered_scale : 0; }
    [[nodiscard]] bool done() const { return state == open && una > fin_at() && peer_fin && received > *peer_fin; }

    [[nodiscard]] tcp_segment base(std::uint8_t flags, std::uint64_t seq) {
        tcp_segment s;
        s.flags = flags;
        s.seq = {isn + static_cast<std::uint32_t>(seq)};
        if ((flags & ACK) != 0) s.ack = {peer_isn + static_cast<std::uint32_t>(received)};
        std::uint64_t room = unread < buffer ? buffer - unread : 0;
        if ((flags & SYN) != 0) {
            s.window = static_cast<std::uint16_t>(std::min<std::uint64_t>(room, 0xffff));
            if (offered_scale && (client || peer_offered)) s.has_window_scale = true, s.window_scale = static_cast<std::uint8_t>(*offered_scale);
            s.sack_permitted = sack;
            promised = std::max(promised, received + s.window);
            return s;
        }
        if ((flags & ACK) == 0) return s;
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

    [[nodiscard]] tcp_segment ack() { return base(ACK, next); }

    /// Something this end may send now of its own accord.
    std::optional<tcp_segment> act(split_mix64& random) {
        switch (state) {
            case closed:
                if (!client) return std::nullopt;
                state = syn_sent;
                [[fallthrough]];
            case syn_sent: return base(SYN, 0);
            case syn_received: return base(SYN | ACK, 0);
            case reset: return std::nullopt;
            case open: break;
        }
        if (unread > 0 && random.below(2) == 0) {
            unread -= 1 + random.below(static_cast<std::uint32_t>(unread));
            return ack();
        }
        if (random.below(8) == 0) return base(ACK, next - 1);  // keepalive (RFC 9293 section 3.8.4)
        if (una < next && random.below(3) == 0) return data(una == 0 ? 1 : una, random);  // retransmission
        if (next > fin_at()) return una > fin_at() ? std::nullopt : std::optional(data(fin_at(), random));
        if (next >= edge) {
            if (una < next) return data(una, random);
            tcp_segment probe = base(ACK, next);  // window closed: one byte (RFC 9293 section 3.8.6.1)
            if (next < fin_at() && next == edge) {
                probe.payload_bytes = 1;
                next = highest = std::max(highest, next + 1);
            } else if (next == fin_at()) {
                return std::nullopt;
            }
            return probe;
        }
        tcp_segment const s = data(next, random);
        next += s.length();
        highest = std::max(highest, next);
        return s;
    }

    [[nodiscard]] tcp_segment data(std::uint64_t from, split_mix64& random) {
        if (from == fin_at()) {
            return base(FIN | ACK, from);
        }
        std::uint64_t const limit = std::min({from + 1 + random.below(1460), fin_at(), std::max(edge, from + 1)});
        tcp_segment s = base(ACK, from);
        s.payload_bytes = static_cast<std::uint32_t>(limit - from);
        return s;
    }

    /// What it answers to a segment.
    std::optional<tcp_segment> hear(tcp_segment const& s) {
        if (state == reset) return std::nullopt;
        if ((s.flags & RST) != 0) {
            if (state >= open && s.seq.value == peer_isn + static_cast<std::uint32_t>(received)) state = reset;
            return std::nullopt;
        }
        if ((s.flags & SYN) != 0) return hear_syn(s);
        if (state < syn_received) return std::nullopt;
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

    std::optional<tcp_segment> hear_syn(tcp_segment const& s) {
        if (state == closed && !client && (s.flags & ACK) == 0) {
            peer_isn = s.seq.value;
            settle(s);
            state = syn_received;
            return base(SYN | ACK, 0);
        }
        if (state == syn_received) return base(SYN | ACK, 0);
        if (state == syn_sent && (s.flags & ACK) != 0 && s.ack.value == isn + 1) {
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
    }

    std::optional<tcp_segment> take(tcp_segment const& s) {
        if (s.length() == 0 && s.seq.value == peer_isn + static_cast<std::uint32_t>(received)) return std::nullopt;
        std::int32_t const ahead = s.seq - seq_num{peer_isn + static_cast<std::uint32_t>(received)};
        std::int64_t const begin = static_cast<std::int64_t>(received) + ahead;
        if ((s.flags & FIN) != 0) peer_fin = static_cast<std::uint64_t>(begin) + s.payload_bytes;
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
};

/// A one-way piece of cable.
struct cable {
    link_faults faults;
    std::deque<tcp_segment> on_it{};

    void put(tcp_segment const& s, split_mix64& random) {
        if (random.below(256) < faults.lose) return;
        on_it.push_back(s);
        if (random.below(256) < faults.duplicate) on_it.push_back(s);
    }
    std::optional<tcp_segment> get(split_mix64& random) {
        if (on_it.empty()) return std::nullopt;
        std::size_t at = 0;
        if (random.below(256) < faults.reorder) at = random.below(static_cast<std::uint32_t>(std::min<std::size_t>(on_it.size(), 20)));
        tcp_segment const s = on_it[at];
        on_it.erase(on_it.begin() + static_cast<std::ptrdiff_t>(at));
        return s;
    }
};

/// The whole run: true when both ends have delivered everything.
template <class Checks>
struct run {
    end_point client, server;
    link_faults faults;
    split_mix64 random;
    tcp_connection c{};
    bool opened = false;
    std::string first_drop{};

    bool operator()() {
        cable up_near{faults}, up_far{faults}, down_near{faults}, down_far{faults};
        for (int step = 0; step < 60'000; ++step) {
            if (client.done() && server.done()) return true;
            switch (random.below(6)) {
                case 0:
                    if (auto s = client.act(random)) up_near.put(*s, random);
                    break;
                case 1:
                    if (auto s = server.act(random)) down_near.put(*s, random);
                    break;
                case 2:
                    if (auto s = up_near.get(random)) pass(direction::from_client, *s, up_far);
                    break;
                case 3:
                    if (auto s = down_near.get(random)) pass(direction::from_server, *s, down_far);
                    break;
                case 4:
                    if (auto s = up_far.get(random))
                        if (auto answer = server.hear(*s)) down_near.put(*answer, random);
                    break;
                default:
                    if (auto s = down_far.get(random))
                        if (auto answer = client.hear(*s)) up_near.put(*answer, random);
            }
        }
        return false;
    }

    void pass(direction from, tcp_segment const& s, cable& on) {
        if (!opened) {
            if ((s.flags & SYN) == 0) return;
            tcp_tracker<Checks>::open(c, s);
            opened = true;
        } else {
            track_result const r = tcp_tracker<Checks>::update(c, from, s);
            if (r.outcome == track_outcome::drop) {
                if (!obsolete(from, s) && first_drop.empty())
                    first_drop = std::string(to_string(r.reason)) + " from " + (from == direction::from_client ? "client" : "server");
                return;
            }
        }
        on.put(s, random);
    }

    /// All its data has arrived: a copy that was more than a window late. Strict checks may drop those.
    [[nodiscard]] bool obsolete(direction from, tcp_segment const& s) const {
        if (!Checks::old_segments) return false;
        end_point const& to = from == direction::from_client ? server : client;
        return s.end().at_or_before(seq_num{to.peer_isn + static_cast<std::uint32_t>(to.received)});
    }
};

template <class Checks>
void holds(bool heavy) {
    int runs = 0, delivered_runs = 0;
    auto const property = [&](std::uint64_t seed) {
        split_mix64 random(seed);
        constexpr std::uint32_t corners[] = {0, 1, 0x7fff'ffff, 0x8000'0000, 0xffff'ffff, 0xffff'fc00, 0x7fff'fc00};
        auto const isn = [&] { return random.below(2) ? corners[random.below(7)] : static_cast<std::uint32_t>(random()); };
        auto const scale = [&]() -> std::optional<unsigned> { return random.below(3) == 0 ? std::nullopt : std::optional(random.below(15)); };
        auto const buffer = [&] { return random.below(2) ? 500 + random.below(4000) : 1 + random.below(200'000) + 500; };
        end_point const client{true, isn(), scale(), random.below(2) == 0, buffer(), random.below(6000)};
        end_point const server{false, isn(), scale(), random.below(2) == 0, buffer(), random.below(6000)};
        link_faults const faults{heavy ? random.below(60) : 0, heavy ? random.below(60) : 0, heavy ? random.below(128) : 0};
        run<Checks> r{client, server, faults, split_mix64(random())};
        bool const delivered = r();
        ++runs;
        delivered_runs += delivered;
        RC_LOG() << "drop: " << r.first_drop << ", client una " << r.client.una << " of " << r.client.to_send << " state " << int(r.client.state) << ", server una "
                 << r.server.una << " of " << r.server.to_send << " state " << int(r.server.state) << "\n";
        RC_ASSERT(r.first_drop.empty());
        RC_ASSERT(delivered || heavy);
        if (delivered) RC_ASSERT(r.c.state == tcp_state::time_wait || heavy);
    };
    CHECK(rc::check(property));
    CHECK(delivered_runs * 4 >= runs * 3);  // a link on which nothing moves would prove nothing
}

}  // namespace

TEST_CASE("correct ends over a good link: no drop, everything delivered, TIME-WAIT at the end (loose)") { holds<loose_checks>(false); }
TEST_CASE("correct ends over a link that loses, doubles and reorders: no drop (loose)") { holds<loose_checks>(true); }
TEST_CASE("correct ends over a good link: no drop (strict)") { holds<strict_checks>(false); }
TEST_CASE("correct ends over a link that loses, doubles and reorders: only data that has arrived is dropped (strict)") { holds<strict_checks>(true); }
