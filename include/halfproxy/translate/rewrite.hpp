// SPDX-License-Identifier: BSL-1.0
// Changing header fields in place: each change is noted, and the checksums are put right once at the end.
#pragma once

#include <halfproxy/core/frame.hpp>
#include <halfproxy/wire/checksum.hpp>
#include <halfproxy/wire/parse.hpp>

#include <concepts>
#include <cstdint>

namespace halfproxy {

/// What has changed, by whom it concerns: the IPv4 header's checksum, the transport checksum through the pseudo-header,
/// the transport checksum through the transport header.
struct header_changes {
    checksum_delta network;
    checksum_delta pseudo;
    checksum_delta transport;
};

/// How checksums are kept. Exemplar: incremental_checksum. Models: incremental_checksum, full_checksum, offloaded_checksum. commit() is called once,
/// after the fields of `packet` were changed as `changes` says; `state` tells what the transport checksum field held before
/// and is updated when the policy changes that.
template <class Checksum>
concept checksum_policy = requires(packet_view const& packet, header_changes const& changes, checksum_state& state) {
    { Checksum::commit(packet, changes, state) } noexcept -> std::same_as<void>;
};

/// Adds the difference (RFC 1624): cost independent of the packet's size, and an error made elsewhere stays visible to the receiver.
/// A partial checksum takes only the pseudo-header's part: the device still sums the rest.
struct incremental_checksum {
    static void commit(packet_view const& packet, header_changes const& changes, checksum_state& state) noexcept;
};

/// Computes both checksums anew, over the whole packet. Hides earlier errors; for packets whose checksum is known to be unusable.
struct full_checksum {
    static void commit(packet_view const& packet, header_changes const& changes, checksum_state& state) noexcept;
};

/// Leaves the transport checksum to the device: the field holds the pseudo-header's sum, the state becomes partial.
/// For devices whose capabilities say partial_checksums; the caller fills in checksum_start and checksum_offset.
struct offloaded_checksum {
    static void commit(packet_view const& packet, header_changes const& changes, checksum_state& state) noexcept;
};

/// The transport header's checksum field, or nullptr where there is none (later fragments, other protocols, UDP without one).
[[nodiscard]] big16* transport_checksum_field(packet_view const& packet) noexcept;

}  // namespace halfproxy

#include <halfproxy/translate/impl/rewrite.hpp>
