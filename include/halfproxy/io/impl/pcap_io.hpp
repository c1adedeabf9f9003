// SPDX-License-Identifier: BSL-1.0
// How packets of one time stamp are gathered from a capture.
#pragma once

#include <halfproxy/io/pcap_io.hpp>

#include <cstring>

namespace halfproxy {

inline std::size_t pcap_reader_io::receive(std::span<frame> in) noexcept {
    std::size_t used = 0;
    std::size_t count = 0;
    while (ahead_ && count < in.size()) {
        capture_record const& record = *ahead_;
        if (count != 0 && record.time != time_) break;
        std::size_t const need = record.bytes.size() + frame_slack_bytes;
        if (need > buffer_.size() - used) break;
        if (count == 0) {
            time_ = record.time;
            first_number_ = record.number;
        }
        std::uint8_t* const data = buffer_.data() + used;
        if (!record.bytes.empty()) std::memcpy(data, record.bytes.data(), record.bytes.size());
        frame& f = in[count++];
        f = {};
        f.data = data;
        f.length = static_cast<std::uint32_t>(record.bytes.size());
        f.capacity = static_cast<std::uint32_t>(need);
        f.wire_length = record.wire_length;
        f.link = record.link;
        used += need;
        read_ahead();
    }
    return count;
}

}  // namespace halfproxy
