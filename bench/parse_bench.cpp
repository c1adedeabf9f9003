// SPDX-License-Identifier: BSL-1.0
// From a frame's bytes to its addresses, ports, sequence numbers and TCP timestamps, in ours and in libtins.
//
// Frames carry 12 bytes of options and 24 of payload (checksums are nobody's business here); 64 of them, different in addresses and numbers, lie in the first-level cache. All
// that was read is summed and compared with what was written.
#include <halfproxy/wire/build.hpp>
#include <halfproxy/wire/parse.hpp>
#include <halfproxy/wire/tcp_options.hpp>

#include <benchmark/benchmark.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(HALFPROXY_BENCH_LIBTINS)
#include <tins/ethernetII.h>
#include <tins/ip.h>
#include <tins/ipv6.h>
#include <tins/tcp.h>
#endif

namespace {

using namespace halfproxy;

constexpr std::size_t frame_count = 64;
constexpr std::size_t payload_bytes = 24;

struct test_frames {
    std::array<std::array<std::uint8_t, 192>, frame_count> bytes{};
    std::size_t length = 0;
    std::uint64_t sum = 0;  // of every port, sequence number, acknowledgment, TSval, and the address's last byte

    explicit test_frames(std::uint8_t ip_version) {
        for (std::uint32_t i = 0; i < frame_count; ++i) add(ip_version, i);
    }
    void add(std::uint8_t ip_version, std::uint32_t i) {
        packet_origin o;
        auto& link = header_at<ethernet_header>(o.link.data());
        link.type = ip_version == 4 ? ether_type::ipv4 : ether_type::ipv6;
        o.link_bytes = sizeof(ethernet_header);
        o.ip_version = ip_version;
        o.source = ip_version == 4 ? ipv6_bytes{10, 0, 0, static_cast<std::uint8_t>(i)} : ipv6_bytes{0x20, 1, 0xd, 0xb8};
        o.source[ip_version == 4 ? 3 : 15] = static_cast<std::uint8_t>(i);
        o.destination = o.source;
        o.source_port = static_cast<std::uint16_t>(1024 + i);
        o.destination_port = 443;
        tcp_fields const fields{seq_num{i * 1000}, seq_num{i * 7 + 1}, tcp_flag::ack, 500};
        built_options const options{.has_timestamps = true, .timestamp_value = i + 5, .timestamp_echo = 9};
        length = build_tcp(bytes[i], o, fields, options) + payload_bytes;
        std::uint8_t* const ip = bytes[i].data() + sizeof(ethernet_header);
        if (ip_version == 4)
            header_at<ipv4_header>(ip).total_length += payload_bytes;
        else
            header_at<ipv6_header>(ip).payload_length += payload_bytes;
        sum += i + (1024 + i) + 443 + i * 1000 + (i * 7 + 1) + (i + 5) + payload_bytes;
    }
};

void finish(benchmark::State& state, std::uint64_t sum, std::uint64_t expected) {
    if (sum != static_cast<std::uint64_t>(state.iterations()) * expected)
        return state.SkipWithError("what was read is not what was written");
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(frame_count));
}

void ours(benchmark::State& state, std::uint8_t ip_version) {
    test_frames f(ip_version);
    std::uint64_t sum = 0;
    for (auto _ : state) {
        for (auto& bytes : f.bytes) {
            benchmark::DoNotOptimize(bytes.data());
            const_packet_view const p = parse<link_type::ethernet>(byte_view{bytes.data(), f.length});
            if (!p.is_tcp()) return state.SkipWithError("no TCP was found");
            tcp_options const o = parse_tcp_options(p.tcp_options());
            std::uint8_t const last = ip_version == 4 ? static_cast<std::uint8_t>(p.ipv4().source & 0xffu) : p.ipv6().source[15];
            sum += last + std::uint64_t{p.tcp().source_port} + p.tcp().destination_port + p.tcp().sequence +
                   p.tcp().acknowledgment + o.timestamp_value + p.layout().payload_bytes();
        }
        benchmark::ClobberMemory();
    }
    finish(state, sum, f.sum);
}

#if defined(HALFPROXY_BENCH_LIBTINS)
void libtins(benchmark::State& state, std::uint8_t ip_version) {
    test_frames f(ip_version);
    std::uint64_t sum = 0;
    for (auto _ : state) {
        for (auto& bytes : f.bytes) {
            Tins::EthernetII const frame(bytes.data(), static_cast<std::uint32_t>(f.length));
            auto const* tcp = frame.find_pdu<Tins::TCP>();
            if (tcp == nullptr) return state.SkipWithError("no TCP was found");
            std::uint8_t last = 0;
            if (ip_version == 4)
                last = static_cast<std::uint8_t>(std::uint32_t{frame.find_pdu<Tins::IP>()->src_addr()} >> 24);
            else
                last = *(frame.find_pdu<Tins::IPv6>()->src_addr().end() - 1);
            sum += last + std::uint64_t{tcp->sport()} + tcp->dport() + tcp->seq() + tcp->ack_seq() + tcp->timestamp().first +
                   tcp->inner_pdu()->size();
        }
    }
    finish(state, sum, f.sum);
}
BENCHMARK_CAPTURE(libtins, v4, std::uint8_t{4})->Name("peer/libtins/parse/tcp_v4");
BENCHMARK_CAPTURE(libtins, v6, std::uint8_t{6})->Name("peer/libtins/parse/tcp_v6");
#endif

BENCHMARK_CAPTURE(ours, v4, std::uint8_t{4})->Name("parse/tcp_v4");
BENCHMARK_CAPTURE(ours, v6, std::uint8_t{6})->Name("parse/tcp_v6");

}  // namespace

BENCHMARK_MAIN();
