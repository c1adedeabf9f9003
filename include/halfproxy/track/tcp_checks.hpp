// SPDX-License-Identifier: BSL-1.0
// Which of the TCP tracker's checks may drop a segment: off, loose and strict are sets of them, and each can be chosen by itself.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace halfproxy {

/// name, in loose, in strict, sentence. Configuration keys and tables come from this list. What a check that is off lets through
/// is either followed or, where it can only be late, passed without counting.
#define HALFPROXY_TCP_CHECKS(X)                                                                                          \
    X(state, true, true, "flags must fit the connection's state (RFC 9293 section 3.10.7)")                              \
    X(syn_ack, true, true, "a SYN-ACK must acknowledge the SYN")                                                         \
    X(answer_seen, true, true, "the client goes on only after the server's answer passed here")                          \
    X(seq_above, true, true, "data must not begin more than a window beyond the window")                                 \
    X(overshoot, false, true, "nor anywhere beyond it; off: it passes, and its acknowledgment too")                      \
    X(seq_below, false, true, "data must not lie more than a window below what was sent")                                \
    X(ack_above, true, true, "nothing may be acknowledged that was never sent, SACK blocks included")                    \
    X(ack_below, false, true, "acknowledgments must not lie more than a window, at least 66000, below what was sent")    \
    X(rst_window, true, true, "a RST must lie in the window (RFC 5961 section 3)")                                       \
    X(rst_exact, true, true, "a RST closes only at the number its receiver expects (RFC 5961 section 3)")                \
    X(syn_synchronized, false, false, "no SYN on a live connection; off: it draws a challenge ACK (RFC 5961 section 4)") \
    X(timestamps, false, true, "a timestamp must not be older than the last one echoed (PAWS, RFC 7323 section 5)")

enum class tcp_check : std::uint8_t {
#define HALFPROXY_X(name, loose, strict, text) name,
    HALFPROXY_TCP_CHECKS(HALFPROXY_X)
#undef HALFPROXY_X
};

inline constexpr std::size_t tcp_check_count = 0
#define HALFPROXY_X(name, loose, strict, text) +1
    HALFPROXY_TCP_CHECKS(HALFPROXY_X)
#undef HALFPROXY_X
    ;

/// A set of checks; structural, so that it can be a template argument.
struct tcp_check_set {
    std::uint16_t bits = 0;

    [[nodiscard]] constexpr bool has(tcp_check c) const noexcept { return (bits >> static_cast<unsigned>(c) & 1u) != 0; }
    [[nodiscard]] constexpr tcp_check_set with(tcp_check c) const noexcept {
        return {static_cast<std::uint16_t>(bits | 1u << static_cast<unsigned>(c))};
    }
    [[nodiscard]] constexpr tcp_check_set without(tcp_check c) const noexcept {
        return {static_cast<std::uint16_t>(bits & ~(1u << static_cast<unsigned>(c)))};
    }
    friend constexpr bool operator==(tcp_check_set, tcp_check_set) noexcept = default;
};
static_assert(tcp_check_count <= 16);

/// Nothing is dropped for its numbers or its state; the state machine runs all the same, and any RST closes.
inline constexpr tcp_check_set off_check_set{};
/// What no correct end sends, apart from what may only be late.
inline constexpr tcp_check_set loose_check_set = [] {
    tcp_check_set set;
#define HALFPROXY_X(name, loose, strict, text) set = loose ? set.with(tcp_check::name) : set;
    HALFPROXY_TCP_CHECKS(HALFPROXY_X)
#undef HALFPROXY_X
    return set;
}();
/// Besides, late copies of what was received long ago.
inline constexpr tcp_check_set strict_check_set = [] {
    tcp_check_set set;
#define HALFPROXY_X(name, loose, strict, text) set = strict ? set.with(tcp_check::name) : set;
    HALFPROXY_TCP_CHECKS(HALFPROXY_X)
#undef HALFPROXY_X
    return set;
}();

struct tcp_check_text {
    std::string_view name;
    std::string_view sentence;
};

/// Indexed by `tcp_check`.
inline constexpr std::array<tcp_check_text, tcp_check_count> tcp_check_texts{{
#define HALFPROXY_X(name, loose, strict, text) {#name, text},
    HALFPROXY_TCP_CHECKS(HALFPROXY_X)
#undef HALFPROXY_X
}};

/// Which checks are on. Asked where a segment has failed one, never for one that fails none; `uses_timestamps` alone decides at compile
/// time, since PAWS must read every segment's timestamps. Exemplar: fixed_checks<loose_check_set>. Models: fixed_checks, chosen_checks.
template <class Checks>
concept tcp_checks = requires(Checks const& checks, tcp_check which) {
    { checks.has(which) } -> std::same_as<bool>;
    { Checks::uses_timestamps } -> std::convertible_to<bool>;
};

/// Chosen at compile time: what is off is not there.
template <tcp_check_set Set>
struct fixed_checks {
    static constexpr bool uses_timestamps = Set.has(tcp_check::timestamps);
    [[nodiscard]] static constexpr bool has(tcp_check which) noexcept { return Set.has(which); }
};
using no_checks = fixed_checks<off_check_set>;
using loose_checks = fixed_checks<loose_check_set>;
using strict_checks = fixed_checks<strict_check_set>;

/// Chosen at run time, except for timestamps: choose between the two once, outside the loop over packets.
template <bool Timestamps>
class chosen_checks {
  public:
    static constexpr bool uses_timestamps = Timestamps;
    constexpr explicit chosen_checks(tcp_check_set set) noexcept : set_(set) {}
    [[nodiscard]] constexpr bool has(tcp_check which) const noexcept { return set_.has(which); }

  private:
    tcp_check_set set_;
};

}  // namespace halfproxy
