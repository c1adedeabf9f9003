// SPDX-License-Identifier: BSL-1.0
// halfproxy flows: which flow a packet belongs to, when a flow is over, and its row.
#include "flows.hpp"

#include "capture_source.hpp"
#include "flows_decap.hpp"
#include "transport_sum.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>

namespace halfproxy::tool {

namespace {

// --- Which flow ---------------------------------------------------------------

constexpr std::uint8_t is_ipv4_key = 4;
constexpr std::uint16_t no_zone = 0xffff;  // of a key that no packet has

/// The type of the answer, for messages that are answered; 0xffff otherwise. RFC 792, 950 and 1256; RFC 4443, 4861, 2710,
/// 4620 and 6275.
std::uint16_t icmp_counterpart(std::uint8_t ip_version, std::uint8_t type) {
    struct pair {
        std::uint8_t query;
        std::uint8_t answer;
    };
    constexpr std::array<pair, 5> v4{{{8, 0}, {13, 14}, {15, 16}, {10, 9}, {17, 18}}};
    constexpr std::array<pair, 6> v6{{{128, 129}, {133, 134}, {135, 136}, {130, 131}, {139, 140}, {144, 145}}};
    auto const search = [type](auto const& pairs) -> std::uint16_t {
        for (pair const p : pairs) {
            if (p.query == type) return p.answer;
            if (p.answer == type) return p.query;
        }
        return 0xffff;
    };
    return ip_version == 4 ? search(v4) : search(v6);
}

void set_addresses(observed_key& key, const_packet_view const& packet) {
    if (packet.layout().ip_version == 6) {
        key.tuple.source = packet.ipv6().source;
        key.tuple.destination = packet.ipv6().destination;
        return;
    }
    std::uint8_t const* const ip = packet.bytes().data() + packet.layout().network_offset;
    std::memcpy(key.tuple.source.data() + 12, ip + offsetof(ipv4_header, source), 4);
    std::memcpy(key.tuple.destination.data() + 12, ip + offsetof(ipv4_header, destination), 4);
    key.reserved = is_ipv4_key;
}

/// Both keys of the packet's flow. A message that has no answer forms a flow of one direction.
void set_keys(observed_key& forward, observed_key& backward, const_packet_view const& packet) {
    forward.protocol = packet.layout().protocol;
    set_addresses(forward, packet);
    bool answered = true;
    if (packet.is_icmp()) {
        forward.protocol = ip_protocol::icmp;
        std::uint16_t const counterpart = icmp_counterpart(packet.layout().ip_version, packet.icmp().type);
        answered = counterpart != 0xffff;
        forward.tuple.source_port = packet.icmp().type;
        forward.tuple.destination_port = answered ? counterpart : packet.icmp().code;
    } else {
        std::uint8_t const* const ports = packet.bytes().data() + packet.layout().transport_offset;
        forward.tuple.source_port = header_at<big16>(ports);
        forward.tuple.destination_port = header_at<big16>(ports + 2);
    }
    backward = forward;
    backward.tuple = forward.tuple.reversed();
    if (!answered) backward.zone = no_zone;
}

/// What a flow can be made of: an IP header that its receiver takes, and a transport header that is no later fragment's.
/// A header checksum of 0 that is wrong was left to the sender's device, behind which the capture was not taken.
bool belongs_to_flow(const_packet_view const& packet) {
    packet_layout const& l = packet.layout();
    if (!l.has_transport || l.error == drop_reason::ip_total_length) return false;
    if (l.ip_version == 6 || packet.ipv4().checksum == 0) return true;
    return verify_ipv4_header(packet) == checksum_verdict::good;
}

conn_log_segment to_segment(const_packet_view const& packet, time_point now) {
    tcp_header const& tcp = packet.tcp();
    return {.time = now,
            .sequence = {tcp.sequence},
            .acknowledgment = {tcp.acknowledgment},
            .payload_bytes = packet.layout().payload_bytes(),
            .window = tcp.window,
            .flags = tcp.flags,
            .payload_captured = packet.bytes().size() >= packet.layout().datagram_end};
}

/// Of a datagram that was cut into fragments, the first alone says how long it was; the later ones are not looked at.
std::uint32_t ip_bytes_of(const_packet_view const& packet) {
    packet_layout const& l = packet.layout();
    if (packet.is_udp() && l.more_fragments) return l.transport_offset - l.network_offset + packet.udp().length;
    return l.datagram_end - l.network_offset;
}

}  // namespace

// --- Flows ---------------------------------------------------------------

void flow_listing::observe(capture_record const& record) {
    now_ = std::max(now_, record.time);
    expire(now_);
    sighting s;
    s.packet = find_flow_packet(record.link, record.bytes, record.wire_length);
    if (!belongs_to_flow(s.packet)) return;
    set_keys(s.forward, s.backward, s.packet);
    s.protocol = s.forward.protocol;
    s.ip_bytes = ip_bytes_of(s.packet);
    s.segment.time = record.time;
    if (s.packet.is_tcp()) s.segment = to_segment(s.packet, record.time);
    flow_handle const handle = find_or_open(s, record);
    if (!handle) return;
    count(s, handle);
    schedule(handle.number(), flows_.record(handle).log.next_timer());
}

flow_handle flow_listing::find_or_open(sighting const& s, capture_record const& record) {
    flow_handle const found = flows_.find(s.forward);
    if (!found) return open(s, record);
    if (s.protocol != ip_protocol::tcp || !flows_.record(found).log.is_reuse(s.segment)) return found;
    end(found.number());
    return open(s, record);
}

flow_handle flow_listing::open(sighting const& s, capture_record const& record) {
    if (flows_.size() == flows_.capacity()) make_room();
    insert_result const inserted = flows_.insert(s.forward, s.backward);
    if (!inserted) return {};
    observed_flow& flow = flows_.record(inserted.handle);
    flow.forward = s.forward;
    flow.backward = s.backward;
    auto const [source, destination] = std::pair(s.forward.tuple.source_port, s.forward.tuple.destination_port);
    bool const reversed = begins_reversed(s.protocol, source, destination, s.segment.flags);
    flow.log = conn_log(s.protocol, record.time, reversed, reversed ? source : destination, timeouts_);
    flow.scheduled = time_point::max();
    flow.serial = ++opened_;
    packet_layout const outer = parse(record.link, record.bytes, record.wire_length).layout();
    flow.tagged = outer.vlan_count != 0;
    flow.vlan = static_cast<std::uint16_t>(outer.vlan[0] & 0x0fffu);
    return inserted.handle;
}

void flow_listing::count(sighting const& s, flow_handle handle) {
    conn_log& log = flows_.record(handle).log;
    unsigned const direction = handle.direction();
    bool const is_tcp = s.protocol == ip_protocol::tcp;
    if (is_tcp && s.packet.layout().error != drop_reason::none) return;  // a header that ends nowhere
    if (transport_sum_of(s.packet) == transport_sum::bad) return log.observe_bad_checksum(direction, s.ip_bytes);
    if (is_tcp) return log.observe(s.segment, direction, s.ip_bytes);
    std::uint32_t payload = s.packet.layout().payload_bytes();
    if (s.packet.is_udp()) {
        std::uint32_t const length = s.packet.udp().length;
        payload = length > sizeof(udp_header) ? length - static_cast<std::uint32_t>(sizeof(udp_header)) : 0;
    }
    log.observe_datagram(s.segment.time, direction, payload, s.ip_bytes);
}

// --- Time and room ---------------------------------------------------------------

void flow_listing::schedule(std::uint32_t number, time_point due) {
    observed_flow& flow = flows_.record(number);
    if (due >= flow.scheduled) return;  // that entry will look again
    flow.scheduled = due;
    agenda_.push({due, number, flow.serial});
}

void flow_listing::expire(time_point now) {
    while (!agenda_.empty() && agenda_.top().due <= now) {
        agenda_entry const entry = agenda_.top();
        agenda_.pop();
        if (!flows_.is_live(entry.number)) continue;
        observed_flow& flow = flows_.record(entry.number);
        if (flow.serial != entry.serial || flow.scheduled != entry.due) continue;
        flow.scheduled = time_point::max();
        if (flow.log.expire(now))
            end(entry.number);
        else
            schedule(entry.number, flow.log.next_timer());
    }
}

void flow_listing::end(std::uint32_t number) {
    write(flows_.record(number));
    flows_.erase(number);
}

void flow_listing::make_room() {
    constexpr std::uint32_t candidates = 16;
    std::uint32_t oldest = 0;
    time_point last = time_point::max();
    flows_.sample(candidates, [&](std::uint32_t number, observed_flow const& flow) {
        if (flow.log.last() < last) oldest = number, last = flow.log.last();
        return true;
    });
    if (last == time_point::max()) return;
    ++evicted_;
    end(oldest);
}

void flow_listing::finish() {
    std::vector<std::uint32_t> open;
    flows_.for_each([&](std::uint32_t number, observed_flow const&) { open.push_back(number); });
    std::sort(open.begin(), open.end(),
              [this](auto a, auto b) { return flows_.record(a).serial < flows_.record(b).serial; });
    for (std::uint32_t const number : open) end(number);
}

// --- Rows ---------------------------------------------------------------

namespace {

/// The same flow gets the same name in every run: C and 18 digits.
std::array<char, 19> uid_of(observed_flow const& flow) {
    constexpr std::string_view digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    auto const time = static_cast<std::uint64_t>(flow.log.first().time_since_epoch().count());
    std::array<char, 19> uid{'C'};
    std::size_t at = 1;
    for (std::uint64_t const seed : {time, ~flow.serial}) {
        std::uint64_t value = flow_key_hash(seed)(flow.forward);
        for (int i = 0; i < 9; ++i, value /= digits.size()) uid[at++] = digits[value % digits.size()];
    }
    return uid;
}

std::string_view protocol_name(std::uint8_t protocol) {
    return protocol == ip_protocol::tcp ? "tcp" : protocol == ip_protocol::udp ? "udp" : "icmp";
}

}  // namespace

void flow_listing::write_identity(observed_flow const& flow) {
    rows_.seconds(flow.log.first().time_since_epoch());
    std::array const uid = uid_of(flow);
    rows_.text({uid.data(), uid.size()});
    for (unsigned const direction : {flow.log.originator(), flow.log.responder()}) {
        observed_key const& key = flow.key(direction);
        if (key.reserved == is_ipv4_key)
            rows_.ipv4(header_at<big32>(key.tuple.source.data() + 12));
        else
            rows_.ipv6(key.tuple.source);
        rows_.number(key.tuple.source_port);
    }
    rows_.text(protocol_name(flow.log.protocol()));
}

void flow_listing::write_counts(conn_log const& log) {
    if (log.last() > log.first()) {
        // Unsigned: a damaged capture's times may lie farther apart than a duration can say.
        auto const ns = static_cast<std::uint64_t>(log.last().time_since_epoch().count()) -
                        static_cast<std::uint64_t>(log.first().time_since_epoch().count());
        constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max();
        packet_clock::duration const duration(static_cast<std::int64_t>(std::min(ns, most)));
        rows_.seconds(duration);
        rows_.number(log.bytes(log.originator()));
        rows_.number(log.bytes(log.responder()));
    } else {
        for (int i = 0; i < 3; ++i) rows_.absent();
    }
    rows_.text(to_string(log.state()));
    rows_.number(log.missed_bytes());
    if (log.history().empty())
        rows_.absent();
    else
        rows_.text(log.history());
    for (unsigned const direction : {log.originator(), log.responder()}) {
        rows_.number(log.packets(direction));
        rows_.number(log.ip_bytes(direction));
    }
}

void flow_listing::write(observed_flow const& flow) {
    constexpr int application_columns = 6;  // server_name to http.uri: nothing reads payloads yet
    write_identity(flow);
    rows_.absent();  // service
    write_counts(flow.log);
    if (flow.tagged)
        rows_.number(flow.vlan);
    else
        rows_.absent();
    for (int i = 0; i < application_columns; ++i) rows_.absent();
    rows_.end_row();
}

int run_flows(flows_options const& options) {
    constexpr std::uint64_t max_flows = 256 * 1024;
    constexpr std::uint64_t least_record_bytes = 36;  // pcap's record header, and the shortest IPv4 header
    capture_source capture(options.in);
    row_writer rows(flows_columns, options.format, "-");
    auto const capacity = std::min(max_flows, capture.file_bytes() / least_record_bytes + 1);
    flow_listing flows(rows, static_cast<std::uint32_t>(capacity), conn_log_timeouts{});
    capture_record record;
    while (capture.next(record)) flows.observe(record);
    flows.finish();
    rows.finish();
    if (flows.evicted() != 0)
        fmt::print(stderr, "halfproxy: {} flows were written before their end: more than {} were open at once\n",
                   flows.evicted(), capacity);
    return capture.finish();
}

}  // namespace halfproxy::tool
