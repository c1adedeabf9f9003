// SPDX-License-Identifier: BSL-1.0
// Bodies of sync/sync_frame.hpp. What is written and what is read pass through one description of an event, so that neither can forget a field.
#pragma once

#include <halfproxy/sync/sync_frame.hpp>

#include <array>
#include <type_traits>

namespace halfproxy {

namespace detail {

inline constexpr std::uint16_t sync_magic = 0x6873;

/// Bits of an event's flags.
namespace sync_flag {
inline constexpr std::uint16_t from_inside = 0x0001;
inline constexpr std::uint16_t hairpin = 0x0002;
inline constexpr std::uint16_t led = 0x0004;
inline constexpr std::uint16_t translated = 0x0008;
inline constexpr std::uint16_t spliced = 0x0010;
inline constexpr std::uint16_t mends = 0x0020;
inline constexpr std::uint16_t source_mapping = 0x0040;
inline constexpr std::uint16_t source_by_remote = 0x0080;
inline constexpr std::uint16_t destination_mapping = 0x0100;
inline constexpr std::uint16_t destination_by_remote = 0x0200;
inline constexpr std::uint16_t service = 0x0400;
inline constexpr std::uint16_t all = 0x07ff;
}  // namespace sync_flag

/// Appends big-endian numbers. Beyond the end of its room it only counts.
class sync_output {
  public:
    explicit sync_output(std::span<std::uint8_t> room) noexcept : room_(room) {}

    template <class Integer>
    bool number(Integer value) noexcept {
        for (std::size_t i = sizeof value; i-- > 0;) byte(static_cast<std::uint8_t>(std::uint64_t{value} >> 8 * i));
        return true;
    }
    bool bytes(ipv6_bytes const& all) noexcept {
        for (std::uint8_t const b : all) byte(b);
        return true;
    }
    [[nodiscard]] std::size_t size() const noexcept { return at_; }
    [[nodiscard]] bool fits() const noexcept { return at_ <= room_.size(); }

  private:
    void byte(std::uint8_t b) noexcept {
        if (at_ < room_.size()) room_[at_] = b;
        ++at_;
    }
    std::span<std::uint8_t> room_;
    std::size_t at_ = 0;
};

/// Takes them off again. False where there are none left.
class sync_input {
  public:
    explicit sync_input(byte_view bytes) noexcept : rest_(bytes) {}

    template <class Integer>
    [[nodiscard]] bool number(Integer& value) noexcept {
        if (rest_.size() < sizeof value) return false;
        std::uint64_t n = 0;
        for (std::size_t i = 0; i < sizeof value; ++i) n = n << 8 | rest_[i];
        value = static_cast<Integer>(n);
        rest_ = rest_.subspan(sizeof value);
        return true;
    }
    [[nodiscard]] bool bytes(ipv6_bytes& all) noexcept {
        if (rest_.size() < all.size()) return false;
        for (std::size_t i = 0; i < all.size(); ++i) all[i] = rest_[i];
        rest_ = rest_.subspan(all.size());
        return true;
    }
    [[nodiscard]] bool empty() const noexcept { return rest_.empty(); }

  private:
    byte_view rest_;
};

// --- An event's parts: of sync_output with values, of sync_input with places for them --------------------------------------------

template <class Stream, class Tuple>
bool pass_tuple(Stream& stream, Tuple& tuple) noexcept {
    auto const address = [&stream](auto& a) {
        if constexpr (std::is_integral_v<std::remove_cvref_t<decltype(a)>>)
            return stream.number(a);
        else
            return stream.bytes(a);
    };
    return address(tuple.source) && address(tuple.destination) && stream.number(tuple.source_port) && stream.number(tuple.destination_port);
}

template <class Stream, class Key>
bool pass_key(Stream& stream, Key& key) noexcept {
    return stream.number(key.protocol) && stream.number(key.zone) && pass_tuple(stream, key.tuple);
}

template <class Stream, class Told>
bool pass_tcp(Stream& stream, Told& tcp, std::uint8_t& state, std::uint8_t& scales) noexcept {
    return stream.number(state) && stream.number(tcp.marks[0]) && stream.number(tcp.marks[1]) && stream.number(scales) &&
           stream.number(tcp.end[0].value) && stream.number(tcp.end[1].value);
}

template <class Stream, class State>
bool pass_splice(Stream& stream, State& s, std::uint8_t& scales) noexcept {
    if (!stream.number(scales) || !stream.number(s.shift.sequence) || !stream.number(s.shift.timestamp)) return false;
    return !s.mends || (stream.number(s.cookie_timestamp) && stream.number(s.client_timestamp));
}

template <class Stream, class Claims>
bool pass_claims(Stream& stream, Claims& c) noexcept {
    if (c.source.held && !stream.number(c.source.by_name)) return false;
    if (c.destination.held && !stream.number(c.destination.by_name)) return false;
    return !c.of_service || (stream.number(c.backend.version) && stream.bytes(c.backend.bytes) && stream.number(c.backend_port));
}

template <class Stream, class State>
bool pass_times(Stream& stream, State& s) noexcept {
    return stream.number(s.idle_ms) && stream.number(s.age_ms) && stream.number(s.packets[0]) && stream.number(s.packets[1]);
}

[[nodiscard]] constexpr std::uint8_t two_scales(std::uint8_t high, std::uint8_t low) noexcept { return static_cast<std::uint8_t>(high << 4 | (low & 0x0f)); }

template <class Address>
[[nodiscard]] std::uint16_t sync_flags_of(flow_state<Address> const& s) noexcept {
    auto const flag = [](bool is, std::uint16_t bit) { return is ? bit : std::uint16_t{0}; };
    flow_claims const& c = s.claims;
    return static_cast<std::uint16_t>(
        flag(s.client_side == side::inside, sync_flag::from_inside) | flag(s.hairpin, sync_flag::hairpin) | flag(s.led, sync_flag::led) |
        flag(s.server_tuple != s.key.tuple, sync_flag::translated) | flag(s.spliced, sync_flag::spliced) | flag(s.mends, sync_flag::mends) |
        flag(c.source.held, sync_flag::source_mapping) | flag(c.source.by_remote, sync_flag::source_by_remote) |
        flag(c.destination.held, sync_flag::destination_mapping) | flag(c.destination.by_remote, sync_flag::destination_by_remote) |
        flag(c.of_service, sync_flag::service));
}

template <class Address>
void use_sync_flags(flow_state<Address>& s, std::uint16_t flags) noexcept {
    auto const is = [flags](std::uint16_t bit) { return (flags & bit) != 0; };
    s.client_side = is(sync_flag::from_inside) ? side::inside : side::outside;
    s.hairpin = is(sync_flag::hairpin);
    s.led = is(sync_flag::led);
    s.spliced = is(sync_flag::spliced);
    s.mends = is(sync_flag::mends);
    s.claims.source = {is(sync_flag::source_mapping), is(sync_flag::source_by_remote), 0};
    s.claims.destination = {is(sync_flag::destination_mapping), is(sync_flag::destination_by_remote), 0};
    s.claims.of_service = is(sync_flag::service);
}

template <class Address>
void write_client(sync_output& out, flow_key<Address> const& key) noexcept {
    out.number(std::uint8_t{std::is_same_v<Address, std::uint32_t> ? 4 : 6});
    pass_key(out, key);
}

template <class Address>
void write_sync_state(sync_output& out, flow_state<Address> const& s) noexcept {
    out.number(sync_flags_of(s));
    pass_times(out, s);
    if (s.server_tuple != s.key.tuple) pass_tuple(out, s.server_tuple);
    auto state = static_cast<std::uint8_t>(s.tcp.state);
    std::uint8_t scales = two_scales(s.tcp.scale[0], s.tcp.scale[1]);
    if (s.key.protocol == ip_protocol::tcp) pass_tcp(out, s.tcp, state, scales);
    scales = two_scales(s.client_scale, s.promised_scale);
    if (s.spliced) pass_splice(out, s, scales);
    pass_claims(out, s.claims);
}

// --- Reading: nothing that a sender of this version would not write ----------------------------------------------------------------

[[nodiscard]] constexpr bool are_scales(std::uint8_t two) noexcept { return two >> 4 <= max_window_scale && (two & 0x0f) <= max_window_scale; }

/// Which flags stand beside which.
template <class Address>
[[nodiscard]] bool is_consistent(flow_state<Address> const& s) noexcept {
    bool const tcp = s.key.protocol == ip_protocol::tcp;
    if ((s.spliced && (!tcp || s.hairpin)) || (s.mends && !s.spliced)) return false;
    flow_claims const& c = s.claims;
    return (c.source.held || !c.source.by_remote) && (c.destination.held || !c.destination.by_remote);
}

[[nodiscard]] inline bool read_sync_tcp(sync_input& in, tcp_told& tcp) noexcept {
    std::uint8_t state = 0, scales = 0;
    if (!pass_tcp(in, tcp, state, scales) || !are_scales(scales)) return false;
    if (state < static_cast<std::uint8_t>(tcp_state::established) || state > static_cast<std::uint8_t>(tcp_state::time_wait)) return false;
    tcp.state = static_cast<tcp_state>(state);
    tcp.scale = {static_cast<std::uint8_t>(scales >> 4), static_cast<std::uint8_t>(scales & 0x0f)};
    return ((tcp.marks[0] | tcp.marks[1]) & ~told_marks) == 0;
}

template <class Address>
[[nodiscard]] bool read_sync_splice(sync_input& in, flow_state<Address>& s) noexcept {
    std::uint8_t scales = 0;
    if (!pass_splice(in, s, scales) || !are_scales(scales)) return false;
    s.client_scale = scales >> 4;
    s.promised_scale = scales & 0x0f;
    return true;
}

[[nodiscard]] inline bool is_address(ip_address const& a) noexcept {
    if (a.version != 4) return a.version == 6;
    for (std::size_t i = 4; i < a.bytes.size(); ++i)
        if (a.bytes[i] != 0) return false;
    return true;
}

template <class Address>
[[nodiscard]] bool read_sync_state(sync_input& in, flow_state<Address>& s) noexcept {
    std::uint16_t flags = 0;
    if (!in.number(flags) || (flags & ~sync_flag::all) != 0 || !pass_times(in, s)) return false;
    use_sync_flags(s, flags);
    s.server_tuple = s.key.tuple;
    bool const translated = (flags & sync_flag::translated) != 0;
    if (translated && (!pass_tuple(in, s.server_tuple) || s.server_tuple == s.key.tuple)) return false;
    if (!is_consistent(s) || (s.led && translated)) return false;
    if (s.key.protocol == ip_protocol::tcp && !read_sync_tcp(in, s.tcp)) return false;
    if (s.spliced && !read_sync_splice(in, s)) return false;
    return pass_claims(in, s.claims) && (!s.claims.of_service || is_address(s.claims.backend));
}

template <class Address, class Visit>
[[nodiscard]] bool visit_sync_event(sync_input& in, sync_event kind, Visit&& visit) {
    flow_state<Address> s;
    if (!pass_key(in, s.key) || s.key.zone >= 0x1000) return false;
    if (kind == sync_event::remove) {
        visit(static_cast<flow_key<Address> const&>(s.key));
        return true;
    }
    if (!read_sync_state(in, s)) return false;
    visit(kind, static_cast<flow_state<Address> const&>(s));
    return true;
}

// --- Frames ------------------------------------------------------------------------------------------------------------------------

[[nodiscard]] inline std::uint64_t sync_mac(byte_view bytes, siphash_key const& key) noexcept {
    std::array<std::uint64_t, longest_sync_frame / 8> words;
    auto const word = [bytes](std::size_t at, std::size_t count) {
        std::uint64_t w = 0;
        for (std::size_t i = 0; i < count; ++i) w |= std::uint64_t{bytes[at + i]} << 8 * i;
        return w;
    };
    std::size_t const whole = bytes.size() / 8;
    for (std::size_t i = 0; i < whole; ++i) words[i] = word(i * 8, 8);
    std::size_t const rest = bytes.size() % 8;
    return siphash_2_4{}(key, {words.data(), whole}, word(whole * 8, rest), static_cast<unsigned>(rest));
}

template <class Stream, class Head>
bool pass_head(Stream& stream, Head& head, std::uint16_t& magic, std::uint8_t& version, std::uint8_t& kind) noexcept {
    return stream.number(magic) && stream.number(version) && stream.number(kind) && stream.number(head.sender) && stream.number(head.receiver) &&
           stream.number(head.number) && stream.number(head.events);
}

struct ignore_sync_events {
    void operator()() const noexcept {}
    template <class Address>
    void operator()(flow_key<Address> const&) const noexcept {}
    template <class Address>
    void operator()(sync_event, flow_state<Address> const&) const noexcept {}
};

}  // namespace detail

inline sync_writer::sync_writer(std::span<std::uint8_t> room, sync_head const& head) noexcept
    : room_(room.first(room.size() < longest_sync_frame ? room.size() : longest_sync_frame)) {
    std::uint16_t magic = detail::sync_magic;
    std::uint8_t version = sync_version;
    auto kind = static_cast<std::uint8_t>(head.kind);
    detail::sync_output out(room_);
    detail::pass_head(out, head, magic, version, kind);
}

/// An event and what `write` puts behind its kind.
template <class Write>
bool sync_writer::append(sync_event kind, Write&& write) noexcept {
    detail::sync_output out(room_.subspan(at_, room_.size() - at_ - sync_mac_bytes));
    out.number(static_cast<std::uint8_t>(kind));
    write(out);
    if (!out.fits()) return false;
    at_ += out.size();
    ++events_;
    return true;
}

template <class Address>
bool sync_writer::tell(sync_event kind, flow_state<Address> const& flow) noexcept {
    return append(kind, [&](detail::sync_output& out) {
        detail::write_client(out, flow.key);
        detail::write_sync_state(out, flow);
    });
}

template <class Address>
bool sync_writer::remove(flow_key<Address> const& client) noexcept {
    return append(sync_event::remove, [&](detail::sync_output& out) { detail::write_client(out, client); });
}

inline bool sync_writer::caught_up() noexcept {
    return append(sync_event::caught_up, [](detail::sync_output&) {});
}

inline std::size_t sync_writer::finish(siphash_key const& key) noexcept {
    room_[sync_head_bytes - 2] = static_cast<std::uint8_t>(events_ >> 8);
    room_[sync_head_bytes - 1] = static_cast<std::uint8_t>(events_);
    detail::sync_output out(room_.subspan(at_));
    out.number(detail::sync_mac(room_.first(at_), key));
    at_ += sync_mac_bytes;
    return at_;
}

template <class Visit>
bool visit_sync_events(byte_view events, std::uint16_t count, Visit&& visit) {
    detail::sync_input in(events);
    for (; count != 0; --count) {
        std::uint8_t kind = 0, family = 0;
        if (!in.number(kind) || kind < 1 || kind > static_cast<std::uint8_t>(sync_event::caught_up)) return false;
        auto const what = static_cast<sync_event>(kind);
        if (what == sync_event::caught_up) {
            visit();
            continue;
        }
        if (!in.number(family) || (family != 4 && family != 6)) return false;
        bool const good = family == 4 ? detail::visit_sync_event<std::uint32_t>(in, what, visit) : detail::visit_sync_event<ipv6_bytes>(in, what, visit);
        if (!good) return false;
    }
    return in.empty();
}

inline sync_reading read_sync_frame(byte_view frame, siphash_key const& key) noexcept {
    if (frame.size() < shortest_sync_frame || frame.size() > longest_sync_frame) return {sync_fault::length};
    sync_reading r;
    std::uint16_t magic = 0;
    std::uint8_t version = 0, kind = 0;
    detail::sync_input in(frame);
    static_cast<void>(detail::pass_head(in, r.head, magic, version, kind));
    if (magic != detail::sync_magic) return {sync_fault::foreign};
    if (version != sync_version) return {sync_fault::version};
    std::size_t const signed_bytes = frame.size() - sync_mac_bytes;
    std::uint64_t mac = 0;
    static_cast<void>(detail::sync_input(frame.subspan(signed_bytes)).number(mac));
    if (detail::sync_mac(frame.first(signed_bytes), key) != mac) return {sync_fault::unauthenticated};
    r.head.kind = static_cast<sync_kind>(kind);
    r.events = frame.subspan(sync_head_bytes, signed_bytes - sync_head_bytes);
    bool const known = r.head.kind == sync_kind::flows || (r.head.kind == sync_kind::answer && r.head.events == 0);
    if (!known || !visit_sync_events(r.events, r.head.events, detail::ignore_sync_events{})) return {sync_fault::malformed};
    return r;
}

}  // namespace halfproxy
