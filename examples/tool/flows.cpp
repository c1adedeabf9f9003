// SPDX-License-Identifier: BSL-1.0
// halfproxy flows: which flow a packet belongs to, when a flow is over, and its row.
#include "flows.hpp"

#include "capture_source.hpp"
#include "transport_sum.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace halfproxy::tool {

// --- Flows ---------------------------------------------------------------

/// Why it is fast: the table's memory is fetched for a whole burst before the first packet of it is counted.
void flow_listing::observe(std::span<capture_record const> records) {
    for (; records.size() > burst; records = records.subspan(burst)) observe_burst(records.first(burst));
    observe_burst(records);
}

void flow_listing::observe_burst(std::span<capture_record const> records) {
    for (std::size_t i = 0; i < records.size(); ++i) {
        sighting& s = sightings_[i];
        belongs_[i] = read_sighting(records[i], s);
        if (!belongs_[i]) continue;
        hashes_[i] = flows_.hash(s.forward);
        flows_.prefetch_bucket(hashes_[i]);
    }
    for (std::size_t i = 0; i < records.size(); ++i)
        if (belongs_[i]) flows_.prefetch_record(flows_.candidate(hashes_[i]));
    for (std::size_t i = 0; i < records.size(); ++i) {
        now_ = std::max(now_, records[i].time);
        expire(now_);
        if (belongs_[i]) observe_one(sightings_[i], hashes_[i], records[i]);
    }
}

void flow_listing::observe_one(sighting const& s, std::uint64_t hash, capture_record const& record) {
    flow_handle const handle = find_or_open(s, hash, record);
    if (!handle) return;
    count(s, handle);
    schedule(handle.number(), flows_.record(handle).log.next_timer());
}

flow_handle flow_listing::find_or_open(sighting const& s, std::uint64_t hash, capture_record const& record) {
    flow_handle const found = flows_.find(s.forward, hash);
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
    flow.log = whole_conn_log(s.protocol, record.time, reversed, reversed ? source : destination, timeouts_);
    flow.scheduled = time_point::max();
    flow.serial = ++opened_;
    packet_layout const outer = parse(record.link, record.bytes, record.wire_length).layout();
    flow.tagged = outer.vlan_count != 0;
    flow.vlan = static_cast<std::uint16_t>(outer.vlan[0] & 0x0fffu);
    flow.has_ports = s.has_ports;
    flow.service = unparsed_content(s);
    return inserted.handle;
}

void flow_listing::count(sighting const& s, flow_handle handle) {
    whole_conn_log& log = flows_.record(handle).log;
    unsigned const direction = handle.direction();
    bool const is_tcp = s.protocol == ip_protocol::tcp;
    if (is_tcp && s.packet.layout().error != drop_reason::none) return;  // a header that ends nowhere
    bool const unsummed = is_tcp && s.packet.tcp().checksum == 0;  // as in an IPv4 header: left to the sender's device
    if (s.has_ports && !unsummed && transport_sum_of(s.packet) == transport_sum::bad)
        return log.observe_bad_checksum(direction, s.ip_bytes);
    if (is_tcp) return log.observe(s.segment, direction, s.ip_bytes);
    std::uint32_t payload = s.has_ports ? s.packet.layout().payload_bytes() : 0;  // of a header not read
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

std::string_view protocol_name(observed_flow const& flow) {
    if (!flow.has_ports) return "unknown_transport";
    std::uint8_t const protocol = flow.log.protocol();
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
    rows_.text(protocol_name(flow));
}

void flow_listing::write_counts(whole_conn_log const& log) {
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
    if (flow.service.empty())
        rows_.absent();
    else
        rows_.text(flow.service);
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
    std::array<capture_record, flow_listing::burst> records;
    std::size_t n = 0;
    do {
        for (n = 0; n < records.size() && capture.next(records[n]);) ++n;
        flows.observe({records.data(), n});
    } while (n == records.size());
    flows.finish();
    rows.finish();
    if (flows.evicted() != 0)
        fmt::print(stderr, "halfproxy: {} flows were written before their end: more than {} were open at once\n",
                   flows.evicted(), capacity);
    return capture.finish();
}

}  // namespace halfproxy::tool
