// SPDX-License-Identifier: BSL-1.0
// NAT mappings: which external endpoint stands for an inside one, for as long as flows use it and a while longer.
//
// Read RFC 4787 sections 4 and 5, RFC 5382 section 4, RFC 5508 section 3 and RFC 7857 first.
#pragma once

#include <halfproxy/core/time.hpp>
#include <halfproxy/wire/headers.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <vector>

namespace halfproxy {

/// How long a mapping outlives the last flow that used it. A flow ends no sooner than its own timeout after its last packet, so the floors of RFC 4787
/// REQ-5, RFC 5382 REQ-5 and RFC 5508 REQ-2 are the flows' timeouts (flow_timeouts::under_nat()); what stands here is added to them, so that an application
/// which is silent in between keeps its endpoint.
struct binding_lingers {
    timeout_ms tcp = 0;
    timeout_ms udp = 120'000;
    timeout_ms icmp = 0;
    timeout_ms other = 120'000;

    friend bool operator==(binding_lingers const&, binding_lingers const&) noexcept = default;
};

/// Who a mapping is for. With endpoint-independent mapping `remote` stays empty (RFC 4787 REQ-1), so that all flows of one inside endpoint share it.
template <class Address>
struct binding_key {
    Address inside{};
    Address remote{};
    std::uint16_t inside_port = 0;
    std::uint16_t remote_port = 0;
    std::uint16_t zone = 0;
    std::uint16_t rule = 0;  ///< whose mapping: each rule's are its own
    std::uint8_t protocol = 0;
    std::uint8_t by_remote = 0;  ///< 1: for `remote` only
    std::uint16_t by_name = 0;   ///< of the destination as the client calls it, where that is not where it leads; 0: it is

    friend constexpr bool operator==(binding_key const&, binding_key const&) noexcept = default;
};

/// What a packet from elsewhere is addressed to, and where it comes from.
template <class Address>
struct binding_target {
    Address outside{};
    Address remote{};
    std::uint16_t outside_port = 0;
    std::uint16_t remote_port = 0;
    std::uint16_t zone = 0;
    std::uint8_t protocol = 0;
    std::uint8_t by_remote = 0;

    friend constexpr bool operator==(binding_target const&, binding_target const&) noexcept = default;
};

template <class Address>
struct nat_binding {
    binding_key<Address> key{};
    Address outside{};
    std::uint16_t outside_port = 0;
    std::uint16_t place = 0;      ///< number of `outside` in its pool
    std::uint8_t inside_side = 0; ///< the port behind which the inside host is
    std::uint32_t flows = 0;      ///< that use it; 0: it lingers

    [[nodiscard]] binding_target<Address> target() const noexcept {
        return {outside, key.remote, outside_port, key.remote_port, key.zone, key.protocol, key.by_remote};
    }
};

/// A fixed number of mappings, found from either side. All memory is allocated in the constructor. Each is held by flows (counted), then lingers, then
/// ends. When all are taken, the one that has lingered longest ends early; one that is held never does. Work: constant, as long as the hash spreads.
template <class Address>
class binding_table {
  public:
    binding_table(std::uint32_t capacity, binding_lingers const& lingers, std::uint64_t seed);

    [[nodiscard]] std::optional<std::uint32_t> find(binding_key<Address> const& key) const noexcept;

    /// The mapping that a packet to `t` belongs to: one for its sender alone, or one for everybody. `t.by_remote` is not looked at.
    [[nodiscard]] std::optional<std::uint32_t> find(binding_target<Address> t) const noexcept;

    /// Begins to fetch what find() will read.
    void prefetch(binding_key<Address> const& key) const noexcept { __builtin_prefetch(&heads_[0][slot_of(key)]); }
    /// Begins to fetch what insert() of a mapping with this target will write.
    void prefetch(binding_target<Address> const& target) const noexcept {
        __builtin_prefetch(&heads_[1][slot_of(target)], 1);
        if (unused_ != none) __builtin_prefetch(&entries_[unused_], 1);
    }

    /// Adds a mapping, held once. Neither its key nor its target may be there already. Nothing when all are held. `ended(nat_binding const&)` is called
    /// for one that gives way.
    template <class Ended>
    [[nodiscard]] std::optional<std::uint32_t> insert(nat_binding<Address> const& binding, Ended&& ended) noexcept;
    /// Whether insert() would find room.
    [[nodiscard]] bool has_room() const noexcept { return unused_ != none || lingering_ != 0; }

    /// One more flow uses it.
    void hold(std::uint32_t number) noexcept;

    /// One flow less. Without any it lingers, or ends at once: then ended(nat_binding const&) is called.
    template <class Ended>
    void let_go(std::uint32_t number, stamp_ms now, Ended&& ended) noexcept;

    /// Ends the mapping of exactly this target, if it lingers. Whether it did.
    template <class Ended>
    bool end_lingering(binding_target<Address> const& target, Ended&& ended) noexcept;

    /// Ends mappings that have lingered long enough, at most `budget`; returns how many.
    template <class Ended>
    std::uint32_t expire(stamp_ms now, std::uint32_t budget, Ended&& ended) noexcept;

    /// When the next one ends.
    [[nodiscard]] std::optional<stamp_ms> next_deadline(stamp_ms now) const noexcept;

    /// Those that begin to linger from now on linger so long.
    void use(binding_lingers const& lingers) noexcept { lingers_ = lingers; }
    /// It is another rule's from now on, whose pool numbers its address so.
    void give_to(std::uint32_t number, std::uint16_t rule, std::uint16_t place) noexcept;
    /// Calls visit(number, nat_binding const&) for every mapping. Work: linear in the capacity.
    template <class Visit>
    void for_each(Visit&& visit) const;

    [[nodiscard]] nat_binding<Address> const& operator[](std::uint32_t number) const noexcept { return entries_[number].binding; }
    [[nodiscard]] std::uint32_t size() const noexcept { return size_; }
    [[nodiscard]] std::uint32_t lingering() const noexcept { return lingering_; }
    [[nodiscard]] std::uint32_t capacity() const noexcept { return static_cast<std::uint32_t>(entries_.size()); }
    [[nodiscard]] std::uint64_t cut_short() const noexcept { return cut_short_; }  ///< gave way before their time
    [[nodiscard]] std::size_t memory_bytes() const noexcept { return memory_bytes(capacity()); }
    [[nodiscard]] static std::size_t memory_bytes(std::uint32_t capacity) noexcept {
        return std::size_t{capacity} * sizeof(entry) + 2 * heads_for(capacity) * sizeof(std::uint32_t);
    }

  private:
    static constexpr std::uint32_t none = ~std::uint32_t{0};
    static constexpr std::size_t classes = 4;  ///< tcp, udp, icmp, other: lingering as long as each other, so the first to begin is the first to end

    struct entry {
        nat_binding<Address> binding{};
        std::array<std::uint32_t, 2> next{none, none};  ///< in the chains by key and by target
        std::uint32_t older = none, younger = none;     ///< among those that linger
        stamp_ms until{};
    };
    struct line {
        std::uint32_t oldest = none, youngest = none;
    };

    [[nodiscard]] static std::size_t heads_for(std::uint32_t capacity) noexcept;
    [[nodiscard]] static std::size_t class_of(std::uint8_t protocol) noexcept;
    [[nodiscard]] timeout_ms linger_of(std::uint8_t protocol) const noexcept;
    template <class Key>
    [[nodiscard]] std::size_t slot_of(Key const& key) const noexcept;
    [[nodiscard]] std::optional<std::uint32_t> find_exactly(binding_target<Address> const& t) const noexcept;
    void link(std::uint32_t& head, unsigned chain, std::uint32_t number) noexcept;
    void unlink(std::uint32_t& head, unsigned chain, std::uint32_t number) noexcept;
    void begin_lingering(std::uint32_t number, stamp_ms until) noexcept;
    void stop_lingering(std::uint32_t number) noexcept;
    [[nodiscard]] std::uint32_t longest_lingering() const noexcept;
    template <class Ended>
    void end(std::uint32_t number, Ended&& ended) noexcept;

    std::vector<entry> entries_;
    std::array<std::vector<std::uint32_t>, 2> heads_;
    std::array<line, classes> lines_{};
    binding_lingers lingers_;
    std::uint64_t seed_;
    std::uint32_t unused_ = none;  ///< first of a list through next[0]
    std::uint32_t size_ = 0;
    std::uint32_t lingering_ = 0;
    std::uint32_t by_remote_ = 0;
    std::uint64_t cut_short_ = 0;
};

}  // namespace halfproxy

#include <halfproxy/translate/impl/nat_binding.hpp>
