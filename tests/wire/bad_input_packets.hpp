// SPDX-License-Identifier: BSL-1.0
// The packets of bad_input_cases.hpp: each a good one with one thing wrong.
#pragma once

#include "tests/support/cut_datagram.hpp"
#include "tests/support/timeline.hpp"

#include <vector>

namespace halfproxy::test::bad_input {

using frames = std::vector<byte_string>;

inline constexpr std::size_t ip_at = 14;

/// A good packet of a client, to be spoiled: a SYN with the usual options, or the next data of the connection below.
struct draft {
    unsigned version = 4;
    bool established = false;
    ip4 v4{};
    ip6 v6{};
    tcp segment{};

    [[nodiscard]] std::size_t transport_at() const { return ip_at + (version == 4 ? 20u : 40u); }
    [[nodiscard]] byte_string tcp_frame() const {
        return ethernet(version == 4 ? tcp_packet(v4, segment) : tcp_packet(v6, segment));
    }
    [[nodiscard]] byte_string tcp_frame(byte_string options) const {
        draft d = *this;
        d.segment.options = std::move(options);
        return d.tcp_frame();
    }
    [[nodiscard]] byte_string udp_frame(unsigned from = 40000, unsigned to = 80) const {
        byte_string const datagram = u16(from) + u16(to) + u16(18) + u16(0) + filled(10);
        return ethernet(version == 4 ? udp_in(v4, datagram) : udp_in(v6, datagram));
    }
    [[nodiscard]] draft from(std::uint32_t address4, byte_string const& address6) const {
        draft d = *this;
        d.v4.source = address4;
        d.v6.source = address6;
        return d;
    }
    [[nodiscard]] draft to(std::uint32_t address4, byte_string const& address6) const {
        draft d = *this;
        d.v4.destination = address4;
        d.v6.destination = address6;
        return d;
    }

  private:
    template <class Ip>
    [[nodiscard]] static byte_string udp_in(Ip ip, byte_string const& datagram) {
        ip.protocol = 17;
        return encode(ip, sealed(ip, datagram, 6));
    }
};

inline byte_string with_byte(byte_string frame, std::size_t at, unsigned value) {
    frame[at] = static_cast<std::uint8_t>(value);
    return frame;
}

/// With a header checksum that is right again.
inline byte_string with_ip4_byte(byte_string frame, std::size_t at, unsigned value) {
    frame[ip_at + at] = static_cast<std::uint8_t>(value);
    put16(frame, ip_at + 10, 0);
    put16(frame, ip_at + 10, naive_checksum(byte_view(frame).subspan(ip_at, 20)));
    return frame;
}

inline byte_string with_ip_length(draft const& d, std::size_t length) {
    byte_string frame = d.tcp_frame();
    put16(frame, ip_at + (d.version == 4 ? 2 : 4), static_cast<unsigned>(length));
    return d.version == 4 ? with_ip4_byte(frame, 0, 0x45) : frame;
}

inline byte_string ip6_ending(unsigned last_words) { return zeros(10) + u16(0xffff) + u16(last_words) + u16(1); }
inline byte_string const unspecified = zeros(16);
inline byte_string const loopback6 = zeros(15) + u8(1);
inline byte_string const group6 = u16(0xff02) + zeros(13) + u8(1);

// --- IP ---------------------------------------------------------------

inline frames ip_header_cut(draft const& d) {
    byte_string const frame = d.tcp_frame();
    frames all;
    for (std::size_t n = ip_at; n < d.transport_at(); ++n)
        all.emplace_back(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(n));
    return all;
}

inline frames ip_version_lies(draft const& d) {
    frames all;
    for (unsigned nibble = 0; nibble < 16; ++nibble)
        if (nibble != d.version)
            all.push_back(with_byte(d.tcp_frame(), ip_at, nibble << 4 | (d.version == 4 ? 5u : 0u)));
    return all;
}

inline frames ip_header_length_lies(draft const& d) {
    frames all;
    for (unsigned words = 0; words < 5; ++words) all.push_back(with_ip4_byte(d.tcp_frame(), 0, 0x40 | words));
    byte_string datagram = d.tcp_frame();
    datagram[ip_at + 3] = 40;  // the datagram ends behind 40 bytes, its header behind 60
    datagram[ip_at + 2] = 0;
    datagram.resize(ip_at + 60);
    all.push_back(with_ip4_byte(datagram, 0, 0x4f));
    return all;
}

inline frames ip_length_too_long(draft const& d) {
    std::size_t const whole = d.tcp_frame().size() - ip_at - (d.version == 4 ? 0u : 40u);
    frames all{with_ip_length(d, whole + 1), with_ip_length(d, 0xffff)};
    byte_string const cut = d.tcp_frame();
    for (std::size_t n = d.transport_at(); n < cut.size(); ++n)
        all.emplace_back(cut.begin(), cut.begin() + static_cast<std::ptrdiff_t>(n));
    return all;
}

inline frames ip_length_in_tcp(draft const& d) {
    std::size_t const header = d.version == 4 ? 20 : 0;
    return {with_ip_length(d, header + 1), with_ip_length(d, header + 19)};
}

inline frames ip_length_zero(draft const& d) { return {with_ip_length(d, 0)}; }

inline frames ip_sum_wrong(draft const& d) {
    byte_string frame = d.tcp_frame();
    frame[ip_at + 10] ^= 0x40;
    return {frame};
}

inline frames extension_cut(draft const& d) {
    ip6 ip = d.v6;
    ip.extensions = {{60, {9, 1, 4, 0, 0, 0, 0}}};  // 80 bytes announced
    return {ethernet(encode(ip, zeros(20)))};
}

inline frames extension_chain(draft const& d) {
    draft chained = d;
    chained.v6.extensions.assign(9, {60, {0, 1, 4, 0, 0, 0, 0}});
    return {chained.tcp_frame()};
}

inline byte_string piece(draft const& d, std::size_t begin, std::size_t end, bool more) {
    draft long_one = d;
    long_one.segment.payload = filled(100);
    byte_string const frame = long_one.tcp_frame();
    return ethernet(fragment_of({frame.begin() + static_cast<std::ptrdiff_t>(ip_at), frame.end()}, begin, end, more));
}

inline frames fragment_impossible(draft const& d) {
    byte_string beyond = piece(d, 0, 8, false);  // at 65,528
    if (d.version == 6) {
        put16(beyond, ip_at + 40 + 2, 0xfff8);
        return {piece(d, 0, 44, true), piece(d, 8, 48, true), piece(d, 16, 16, false), beyond};
    }
    beyond[ip_at + 6] = 0x1f;
    return {piece(d, 0, 44, true), piece(d, 8, 48, true), piece(d, 16, 16, false), with_ip4_byte(beyond, 7, 0xff)};
}
inline frames fragment_without_headers(draft const& d) {
    draft with_options = d;
    with_options.segment.options = byte_string(12, 1);
    return {piece(d, 0, 8, true), piece(d, 0, 16, true), piece(with_options, 0, 24, true)};
}
inline frames fragment_of_end(draft const& d) {
    frames all;
    for (unsigned const bits : {flags::syn, flags::syn | flags::ack, flags::rst, flags::rst | flags::ack}) {
        draft ending = d;
        ending.segment.flags = bits;
        all.push_back(piece(ending, 0, 48, true));
    }
    return all;
}
inline frames fragment_of_data(draft const& d) {
    draft data = d;
    data.segment.flags = flags::ack;
    return {piece(data, 0, 48, true)};
}

inline frames no_hops(draft const& d) {
    return {d.version == 4 ? with_ip4_byte(d.tcp_frame(), 8, 0) : with_byte(d.tcp_frame(), ip_at + 7, 0)};
}

// --- Addresses ---------------------------------------------------------------

inline frames of_both_protocols(draft const& d) { return {d.tcp_frame(), d.udp_frame()}; }

inline frames land(draft const& d) {
    draft same = d.from(d.v4.destination, d.v6.destination);
    frames all = of_both_protocols(same);
    same.segment.source_port = same.segment.destination_port;
    all.push_back(same.tcp_frame());
    return all;
}

inline frames from_group(draft const& d) {
    frames all = of_both_protocols(d.from(0xe0000001, group6));
    if (d.version == 4) all.push_back(d.from(0xffffffff, {}).tcp_frame());
    return all;
}

inline frames from_nowhere(draft const& d) { return of_both_protocols(d.from(0x00000001, unspecified)); }
inline frames from_loopback(draft const& d) { return of_both_protocols(d.from(0x7f000001, loopback6)); }
inline frames from_mapped(draft const& d) { return of_both_protocols(d.from(0, ip6_ending(0xc000))); }

inline frames to_group(draft const& d) {
    frames all{d.to(0xe0000001, group6).tcp_frame()};
    if (d.version == 4) all.push_back(d.to(0xffffffff, {}).tcp_frame());
    return all;
}

inline frames to_nowhere(draft const& d) {
    frames all = of_both_protocols(d.to(0x7f000001, loopback6));
    all.push_back(d.to(0x00000001, unspecified).tcp_frame());
    return all;
}

// --- TCP ---------------------------------------------------------------

inline frames tcp_port_0(draft const& d) {
    draft from = d, to = d;
    from.segment.source_port = 0;
    to.segment.destination_port = 0;
    return {from.tcp_frame(), to.tcp_frame()};
}

inline frames data_offset_lies(draft const& d) {
    frames all;
    draft lying = d;
    for (unsigned words = 0; words < 5; ++words) {
        lying.segment.data_offset = words;
        all.push_back(lying.tcp_frame());
    }
    lying.segment.data_offset = 15;
    lying.segment.options = {};
    lying.segment.payload = filled(39);
    all.push_back(lying.tcp_frame());
    return all;
}

inline frames option_length_0_or_1(draft const& d) {
    return {d.tcp_frame({1, 1, 2, 0}), d.tcp_frame({1, 1, 2, 1}), d.tcp_frame({254, 0, 1, 1}),
            d.tcp_frame({254, 1, 1, 1})};
}

inline frames option_beyond_header(draft const& d) {
    return {d.tcp_frame({1, 1, 8, 10}), d.tcp_frame({1, 254, 4, 0}), d.tcp_frame({1, 1, 1, 2}),
            d.tcp_frame({254, 255, 0, 0})};
}

inline frames option_of_wrong_size(draft const& d) {
    return {d.tcp_frame({2, 3, 5, 1}), d.tcp_frame({3, 4, 7, 7}), d.tcp_frame({1, 4, 3, 0}),
            d.tcp_frame(byte_string{5, 11} + zeros(9) + u8(1)), d.tcp_frame(byte_string{8, 9} + zeros(7) + zeros(3))};
}

inline frames option_twice(draft const& d) {
    byte_string const timestamps = byte_string{8, 10} + u32(7) + u32(0) + u16(0x0101);
    return {d.tcp_frame(timestamps + timestamps), d.tcp_frame({2, 4, 5, 0xb4, 2, 4, 0, 1}),
            d.tcp_frame({3, 3, 7, 3, 3, 1, 1, 1})};
}

inline frames window_scale_15(draft const& d) { return {d.tcp_frame({3, 3, 15, 1}), d.tcp_frame({3, 3, 255, 1})}; }

inline byte_string with_wrong_sum(byte_string frame, std::size_t at) {
    frame[at] ^= 0x10;
    return frame;
}

inline frames tcp_sum_wrong(draft const& d) { return {with_wrong_sum(d.tcp_frame(), d.transport_at() + 16)}; }

inline frames end_sum_wrong(draft const& d) {
    frames all;
    for (unsigned const bits : {flags::fin | flags::ack, flags::rst, flags::rst | flags::ack}) {
        draft ending = d;
        ending.segment.flags = bits;
        all.push_back(with_wrong_sum(ending.tcp_frame(), d.transport_at() + 16));
    }
    return all;
}

inline frames syn_with_data(draft const& d) {
    draft with_data = d;
    with_data.segment.flags = flags::syn;
    with_data.segment.payload = filled(20);
    return {with_data.tcp_frame()};
}

// --- UDP and ICMP ---------------------------------------------------------------

inline frames udp_length_lies(draft const& d) {
    frames all;
    for (unsigned const length : {0u, 7u, 19u, 0xffffu}) {
        byte_string frame = d.udp_frame();
        put16(frame, d.transport_at() + 4, length);
        all.push_back(frame);
    }
    return all;
}

inline frames udp_sum_wrong(draft const& d) { return {with_wrong_sum(d.udp_frame(), d.transport_at() + 6)}; }
inline frames icmp_sum_wrong(draft const& d) {
    byte_string const echo =
        ethernet(d.version == 4 ? icmp_packet(d.v4, 8, 0, filled(8)) : icmp_packet(d.v6, 128, 0, filled(8)));
    return {with_wrong_sum(echo, d.transport_at() + 2)};
}
inline byte_string icmp_about(draft const& d, unsigned type4, unsigned type6, byte_string const& quoted) {
    return ethernet(d.version == 4 ? icmp_packet(d.v4, type4, 0, quoted) : icmp_packet(d.v6, type6, 0, quoted));
}

/// A packet of the other end, which the client's errors would be about.
inline byte_string answer_datagram(draft const& d) {
    byte_string const frame = d.from(d.v4.destination, d.v6.destination).to(d.v4.source, d.v6.source).udp_frame(80, 40000);
    return {frame.begin() + static_cast<std::ptrdiff_t>(ip_at), frame.end()};
}
inline frames icmp_obsolete(draft const& d) {
    frames all{icmp_about(d, 5, 137, answer_datagram(d))};
    if (d.version == 4) all.push_back(icmp_about(d, 4, 0, answer_datagram(d)));
    return all;
}
inline frames icmp_about_error(draft const& d) {
    draft const back = d.from(d.v4.destination, d.v6.destination).to(d.v4.source, d.v6.source);
    byte_string const error = icmp_about(back, 3, 1, answer_datagram(back));
    return {icmp_about(d, 3, 1, {error.begin() + static_cast<std::ptrdiff_t>(ip_at), error.end()})};
}
inline frames icmp_quote_short(draft const& d) {
    draft back = d.from(d.v4.destination, d.v6.destination).to(d.v4.source, d.v6.source);
    std::swap(back.segment.source_port, back.segment.destination_port);
    byte_string const frame = back.tcp_frame();
    return {icmp_about(d, 3, 1, {frame.begin() + static_cast<std::ptrdiff_t>(ip_at), frame.begin() + static_cast<std::ptrdiff_t>(d.transport_at() + 7)})};
}
inline frames udp_to_port_0(draft const& d) { return {d.udp_frame(40000, 0)}; }
inline frames udp_from_port_0(draft const& d) { return {d.udp_frame(0, 80)}; }

inline frames icmp_header_cut(draft const& d) {
    byte_string const echo = ethernet(d.version == 4 ? icmp_packet(d.v4, 8, 0, {}) : icmp_packet(d.v6, 128, 0, {}));
    byte_string cut(echo.begin(), echo.end() - 1);
    if (d.version == 6) return {with_byte(cut, ip_at + 5, 7)};
    cut[ip_at + 3] = 27;
    return {with_ip4_byte(cut, 0, 0x45)};
}

}  // namespace halfproxy::test::bad_input
