// SPDX-License-Identifier: BSL-1.0
// A capture through the engine: time comes from the packets, so a day of traffic replays in an instant, always alike.
#include <halfproxy/engine/engine.hpp>
#include <halfproxy/io/packet_io.hpp>
#include <halfproxy/io/pcap_file.hpp>

#include <fmt/format.h>

#include <filesystem>
#include <vector>

using namespace halfproxy;

/// The capture was taken beside the servers 198.51.100.0/24 and 2001:db8:2::/48: what they send comes from inside.
static side arrival_of(capture_record const& record) {
    const_packet_view const packet = parse(record.link, record.bytes, record.wire_length);
    bool const v4_server = packet.layout().ip_version == 4 && packet.ipv4().source >> 8 == 0xc63364;
    bool const v6_server = packet.layout().ip_version == 6 && packet.ipv6().source[5] == 2;
    return v4_server || v6_server ? side::inside : side::outside;
}

int main(int argc, char** argv) {
    auto const bundled = std::filesystem::path(__FILE__).parent_path() / "data/quickstart.pcap";
    capture_file const file(argc > 1 ? argv[1] : bundled.string());
    half_proxy proxy({.limits = {.flows_v4 = 1000, .flows_v6 = 1000, .handshakes = 100}});
    outbox originated(outbox_per_advance);

    pcap_reader reader(file.bytes());
    std::vector<std::uint8_t> buffer;
    for (capture_record record; reader.next(record);) {
        buffer.assign(record.bytes.begin(), record.bytes.end());
        buffer.resize(buffer.size() + frame_slack_bytes);  // the engine may let a packet grow in place
        frame f{buffer.data(), static_cast<std::uint32_t>(record.bytes.size()),
                static_cast<std::uint32_t>(buffer.size())};
        f.wire_length = record.wire_length;
        f.arrival = arrival_of(record);
        f.link = record.link;
        proxy.advance(record.time, originated);
        proxy.process({&f, 1}, record.time, originated);
        originated.clear();  // a live proxy would send them
    }

    engine_counters const& c = proxy.counters();
    fmt::print("{} packets: {} forwarded, {} dropped; {} flows opened\n", c.received, c.forwarded, c.dropped_total(),
               c.flows_opened);
    proxy.for_each_flow([](auto const& flow) {
        fmt::print("protocol {:2}, port {:5} to {:5}: {:2} packets there, {:2} back, {} bytes back\n", flow.protocol,
                   flow.tuple[0].source_port, flow.tuple[0].destination_port, flow.packets[0], flow.packets[1],
                   flow.bytes[1]);
    });
    if (reader.status() != capture_status::end) fmt::print("{}\n", reader.message());
    return reader.status() == capture_status::end ? 0 : 1;
}
