// SPDX-License-Identifier: BSL-1.0
// One row per packet of a capture: what the parser finds, under Wireshark's names.
#pragma once

#include "rows.hpp"

#include <halfproxy/io/pcap_file.hpp>

#include <array>
#include <string_view>

namespace halfproxy::tool {

inline constexpr std::array<std::string_view, 27> dissect_columns{"frame.number",
                                                                  "frame.len",
                                                                  "eth.type",
                                                                  "vlan.id",
                                                                  "ip.version",
                                                                  "ip.src",
                                                                  "ip.dst",
                                                                  "ip.proto",
                                                                  "ip.ttl",
                                                                  "ip.frag_offset",
                                                                  "ip.mf",
                                                                  "srcport",
                                                                  "dstport",
                                                                  "tcp.seq",
                                                                  "tcp.ack",
                                                                  "tcp.flags",
                                                                  "tcp.window",
                                                                  "tcp.len",
                                                                  "tcp.options.mss",
                                                                  "tcp.options.wscale",
                                                                  "tcp.options.sack_perm",
                                                                  "tcp.options.sack",
                                                                  "tcp.options.tsval",
                                                                  "tcp.options.tsecr",
                                                                  "ip.checksum",
                                                                  "l4.checksum",
                                                                  "error"};

/// Of the outermost IP layer; what a column has nothing to say about is absent.
void write_dissect_row(row_writer& rows, capture_record const& record);

}  // namespace halfproxy::tool
