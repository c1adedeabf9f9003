// SPDX-License-Identifier: BSL-1.0
// Fragmented datagrams in progress: the first fragment decides, later ones follow it, earlier ones wait for it. Nothing is put together.
//
// Read RFC 791 section 3.2, RFC 8200 section 4.5, RFC 1858, RFC 3128, RFC 5722, RFC 6946, RFC 7112 and RFC 8900 first.
#pragma once

#include <halfproxy/core/frame_pool.hpp>
#include <halfproxy/core/time.hpp>
#include <halfproxy/core/verdict.hpp>
#include <halfproxy/track/flow_key.hpp>
#include <halfproxy/wire/parse.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace halfproxy {

/// Of one datagram. 65,507 bytes of UDP in frames of 1,500 are 45 fragments; who cuts finer means no good.
inline constexpr std::size_t fragments_per_datagram = 64;

/// Of one datagram: what may wait for its first fragment, and thus leaves behind it at once.
inline constexpr std::uint8_t waiting_per_datagram = 16;

/// Which bytes of its datagram a fragment carries, counted from the first byte behind the IP header (IPv6: behind the fragment header).
struct fragment_piece {
    std::uint16_t begin = 0;
    std::uint16_t end = 0;  ///< one past the last
    bool last = false;

    friend constexpr bool operator==(fragment_piece const&, fragment_piece const&) noexcept = default;
};

/// A fragment no sender makes: of no bytes, beyond 64 KiB, not the last and no multiple of 8 bytes long (RFC 791, RFC 8200 section 4.5), or at
/// offset 1, where it would write over the flags of the first one's TCP header (RFC 3128).
[[nodiscard]] bool is_impossible_fragment(packet_layout const& fragment) noexcept;

/// A first fragment that ends inside its headers: what it does not show would not be checked (RFC 1858 section 3, RFC 7112 section 5).
[[nodiscard]] bool is_tiny_fragment(packet_view const& packet) noexcept;

/// Of a fragment that is not impossible.
[[nodiscard]] fragment_piece piece_of(packet_layout const& fragment) noexcept;

/// What tells datagrams in progress apart: addresses, identification (in the place of the ports), zone, the port they arrive at (`reserved`), and in
/// IPv4 the protocol. In IPv6 fragments of one datagram may disagree about the next header (RFC 8200 section 4.5).
template <class Address>
[[nodiscard]] flow_key<Address> fragment_key(packet_view const& fragment, side arrival) noexcept;

/// All fixed at the start.
struct fragment_limits {
    std::uint32_t datagrams = 0;      ///< in progress at once; 0: every fragment is refused
    std::uint32_t waiting = 0;        ///< fragments that wait for their first, of all datagrams together
    std::uint32_t slot_bytes = 0;     ///< the longest frame that can wait
    timeout_ms timeout = 30'000;      ///< from a datagram's first-arriving fragment to its first, and from there to its end
};

enum class fragment_step : std::uint8_t {
    first,   ///< judge it, then call decide()
    follow,  ///< its first has been judged: see fate()
    wait,    ///< its first has not come: call keep()
    refuse,  ///< drop it
};

/// What is to be done with a fragment.
struct fragment_place {
    fragment_step step = fragment_step::refuse;
    drop_reason reason = drop_reason::none;  ///< when it is refused
    std::uint32_t number = 0;                ///< of its datagram, otherwise
};

/// A table of fixed size. `Fate` is plain data of the user's: what the first fragment decided, for those that follow.
///
/// * An exact copy of a fragment is refused (fragment_duplicate) and changes nothing: RFC 8200 section 4.5 lets a receiver do so, and since only one
///   of them passes, it does not matter whether their bytes are the same.
/// * Any other overlap spoils the datagram: the fragment, all that wait and all that come later are refused (fragment_overlap, RFC 5722). So do a
///   fragment beyond a known end or a second end (fragment_end), too many (fragment_limit), and one that cannot wait (fragment_no_room).
/// * When every byte of a datagram has passed, it is forgotten: its identification may be used anew (RFC 4963). What comes late begins a new one, as at
///   its receiver.
/// * When the table is full, the datagram that waits longest for its first fragment gives way, or else the one whose first is oldest; when no slot is
///   free to wait in, the datagram that waits longest. Later fragments of what gave way wait, and never pass.
///
/// Frames that waited and are given up are told to `discard(frame const&, drop_reason)`. Work per fragment: at most fragments_per_datagram
/// comparisons, and waiting_per_datagram frames for each datagram that is given up.
template <class Address, class Fate>
class fragment_table {
  public:
    using key_type = flow_key<Address>;

    /// `seed` keeps strangers from aiming at one bucket.
    fragment_table(fragment_limits const& limits, std::uint64_t seed);

    /// Notes a fragment and says what to do with it.
    template <class Discard>
    [[nodiscard]] fragment_place arrive(key_type const& key, fragment_piece const& piece, stamp_ms now, Discard&& discard) noexcept;

    /// Copies a fragment that is to wait. none, or why it cannot: then the datagram is spoiled.
    template <class Discard>
    [[nodiscard]] drop_reason keep(std::uint32_t number, frame const& fragment, stamp_ms now, Discard&& discard) noexcept;

    /// The first fragment has been judged.
    void decide(std::uint32_t number, stamp_ms now) noexcept;

    /// What waited, after decide(): follow(frame&) may change it in place and says why it must not leave, or none: then it leaves by send_ready().
    template <class Follow, class Discard>
    void release(std::uint32_t number, Follow&& follow, Discard&& discard) noexcept;

    /// Call when a first or following fragment has been dealt with: forgets the datagram when it was the last of them.
    void settle(std::uint32_t number) noexcept;

    /// What was released leaves through the port opposite to where it came from, as far as there is room; what not, at the next call. Returns how many.
    std::uint32_t send_ready(outbox& out) noexcept;
    /// The outbox was sent: its frames are free again.
    void reclaim() noexcept { pool_.reclaim(); }

    /// Gives up datagrams whose time is over, at most `budget`.
    template <class Discard>
    void expire(stamp_ms now, std::uint32_t budget, Discard&& discard) noexcept;
    /// When expire() or send_ready() has something to do.
    [[nodiscard]] std::optional<stamp_ms> next_deadline(stamp_ms now) const noexcept;

    [[nodiscard]] Fate& fate(std::uint32_t number) noexcept { return datagrams_[number].fate; }
    /// Bytes of the whole datagram behind its IP header; 0 while its last fragment has not come.
    [[nodiscard]] std::uint16_t whole_bytes(std::uint32_t number) const noexcept { return datagrams_[number].whole; }

    /// The fate of the datagram whose first fragment has been judged, or nullptr.
    [[nodiscard]] Fate const* find_fate(key_type const& key, stamp_ms now) const noexcept;

    [[nodiscard]] std::uint32_t size() const noexcept { return size_; }
    [[nodiscard]] std::uint32_t waiting() const noexcept { return pool_.waiting(); }
    [[nodiscard]] std::size_t memory_bytes() const noexcept { return memory_bytes(limits_); }
    [[nodiscard]] static std::size_t memory_bytes(fragment_limits const& limits) noexcept;

  private:
    static constexpr std::uint32_t none = ~std::uint32_t{0};

    enum class phase : std::uint8_t { waiting, decided, spoiled };

    struct span {
        std::uint16_t begin, end;
    };

    struct datagram {
        key_type key{};
        Fate fate{};
        stamp_ms deadline{};
        std::uint32_t next = none;  ///< in its bucket, or among the free
        std::uint32_t older = none, newer = none;
        frame_queue held{};
        std::uint16_t whole = 0;    ///< bytes of the datagram, when known
        std::uint16_t highest = 0;  ///< one past the highest byte that has come
        std::uint16_t bytes = 0;    ///< that have come
        std::uint8_t count = 0;
        std::uint8_t held_count = 0;
        phase state = phase::waiting;
        drop_reason spoiled_by = drop_reason::none;
        std::array<span, fragments_per_datagram> seen;
    };

    /// By age, which is the order of deadlines, for all have the same timeout.
    struct age_list {
        std::uint32_t oldest = none, newest = none;
    };

    [[nodiscard]] age_list& list_of(datagram const& d) noexcept { return d.state == phase::waiting ? waiting_ : judged_; }
    [[nodiscard]] bool is_over(datagram const& d, stamp_ms now) const noexcept { return now - d.deadline >= 0; }
    [[nodiscard]] std::size_t bucket_of(key_type const& key) const noexcept { return hash_(key) & (buckets_.size() - 1); }
    [[nodiscard]] std::uint32_t find(key_type const& key) const noexcept;
    template <class Discard>
    [[nodiscard]] std::uint32_t begin(key_type const& key, stamp_ms now, Discard&& discard) noexcept;
    [[nodiscard]] static drop_reason misfit(datagram const& d, fragment_piece const& piece) noexcept;
    static void note(datagram& d, fragment_piece const& piece) noexcept;
    template <class Discard>
    void spoil(std::uint32_t number, drop_reason reason, stamp_ms now, Discard&& discard) noexcept;
    template <class Discard>
    void drop_held(datagram& d, drop_reason reason, Discard&& discard) noexcept;
    template <class Discard>
    void give_up(std::uint32_t number, drop_reason reason, Discard&& discard) noexcept;
    void judged(std::uint32_t number, phase state, stamp_ms now) noexcept;
    void append(age_list& list, std::uint32_t number) noexcept;
    void unlink(age_list& list, std::uint32_t number) noexcept;
    void forget(std::uint32_t number) noexcept;

    fragment_limits limits_;
    flow_key_hash hash_;
    std::vector<datagram> datagrams_;
    std::vector<std::uint32_t> buckets_;  ///< as many as a power of two; the first of each chain
    std::uint32_t free_ = none;
    std::uint32_t size_ = 0;
    age_list waiting_{};
    age_list judged_{};
    frame_pool pool_;
    frame_queue ready_{};  ///< released, for want of room in the outbox not lent yet
};

}  // namespace halfproxy

#include <halfproxy/track/impl/fragments.hpp>
