// SPDX-License-Identifier: BSL-1.0
// What the fuzzers feed: each target takes any bytes and returns what is wrong with the answer, or nullptr.
#pragma once

#include <halfproxy/io/pcap_file.hpp>
#include <halfproxy/io/pcap_io.hpp>

#include "tests/support/look_at_packet.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>

namespace halfproxy::test {

/// The bytes as a frame behind every link header, whole and as the beginning of a longer one. The last byte picks the wire's length.
inline char const* fuzz_parse(byte_view bytes) {
    std::size_t const missing = bytes.empty() ? 0 : bytes.back() * 16u;
    packet_look const whole = look_at_packet(bytes, bytes.size());
    packet_look const cut = look_at_packet(bytes, bytes.size() + missing);
    return whole.broken != nullptr ? whole.broken : cut.broken;
}

/// The bytes as the option area of a segment: at most 40 of them.
inline char const* fuzz_tcp_options(byte_view bytes) {
    packet_look look;
    look_at_options(look, bytes.first(std::min<std::size_t>(bytes.size(), 40)));
    return look.broken;
}

/// Reads the bytes as a file and writes them again: what was read must be read once more, the same.
inline char const* check_round_trip(byte_view file, capture_format format) {
    memory_sink sink;
    pcap_writer writer(sink, format, link_type::ethernet);
    pcap_reader reader(file);
    capture_record record;
    while (reader.next(record))
        if (!writer.write({record.bytes, record.time, record.wire_length})) return "memory takes everything";
    pcap_reader first(file), second(sink.bytes);
    capture_record again;
    while (first.next(record)) {
        if (!second.next(again)) return "a written packet is read";
        if (!std::equal(record.bytes.begin(), record.bytes.end(), again.bytes.begin(), again.bytes.end()) ||
            record.wire_length != again.wire_length)
            return "a written packet is read the same";
    }
    return second.next(again) || second.status() != capture_status::end ? "what is written ends well" : nullptr;
}

inline char const* fuzz_pcap_reader(byte_view bytes) {
    pcap_reader reader(bytes);
    capture_record record;
    std::uint64_t count = 0;
    while (reader.next(record)) {
        if (record.number != ++count) return "records are numbered from 1";
        if (record.bytes.size() > max_capture_record_bytes) return "no record exceeds the limit";
        if (record.wire_length < record.bytes.size()) return "the wire had at least what was captured";
        if (!record.bytes.empty() &&
            (record.bytes.data() < bytes.data() || record.bytes.data() + record.bytes.size() > bytes.data() + bytes.size()))
            return "a record lies within the file";
    }
    if (reader.status() == capture_status::ok) return "a reader that stops says why";
    if (reader.status() != capture_status::end && reader.message().empty()) return "what is wrong has a message";
    if (reader.offset() > bytes.size()) return "the offset lies within the file";
    if (bytes.size() % 8 == 0) {  // the port's buffer of 1 MiB costs more than all the rest
        pcap_reader_io io(bytes);
        std::array<frame, 16> in;
        std::uint64_t received = 0;
        while (std::size_t const n = io.receive(in)) received += n;
        if (received != count || !io.done()) return "the port gives every record of the file";
    }
    if (char const* const wrong = check_round_trip(bytes, capture_format::pcap)) return wrong;
    return check_round_trip(bytes, capture_format::pcapng);
}

}  // namespace halfproxy::test
