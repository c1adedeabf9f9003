// SPDX-License-Identifier: BSL-1.0
// A hash table of fixed capacity: one record per flow, found by either direction's key, looked up in bursts.
//
// Why it is fast: a lookup reads one 64-byte bucket (ten 16-bit tags compared at once) and then the record itself, whose
// full key decides. The second bucket of a key is read only where a counter in the first says that something overflowed.
// Both reads of every lookup in a burst are started by prefetches before any is waited for.
#pragma once

#include <halfproxy/track/impl/flow_index.hpp>

#include <algorithm>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

namespace halfproxy {

/// Which record, and which of its directions a key belongs to. Small enough to keep one per packet of a burst. Stays
/// valid until that record is erased; flow_table::generation() tells whether anything changed since.
class flow_handle {
  public:
    constexpr flow_handle() noexcept = default;
    constexpr flow_handle(std::uint32_t number, unsigned direction) noexcept : value_(number << 1 | (direction & 1u)) {}

    [[nodiscard]] constexpr explicit operator bool() const noexcept { return value_ != nothing; }
    [[nodiscard]] constexpr std::uint32_t number() const noexcept { return value_ >> 1; }
    [[nodiscard]] constexpr unsigned direction() const noexcept { return value_ & 1u; }
    [[nodiscard]] friend constexpr bool operator==(flow_handle, flow_handle) noexcept = default;

    /// The number and, in bit 0, the direction; all ones for nothing.
    [[nodiscard]] constexpr std::uint32_t value() const noexcept { return value_; }
    [[nodiscard]] static constexpr flow_handle from_value(std::uint32_t value) noexcept {
        flow_handle h;
        h.value_ = value;
        return h;
    }

  private:
    static constexpr std::uint32_t nothing = ~std::uint32_t{0};
    std::uint32_t value_ = nothing;
};

/// What can be stored: it knows its own keys. `key(d)` is the key of direction 0 or 1; `matches(k, d)` compares all of it.
/// A record that has only one key says `static constexpr unsigned directions = 1`; without that it has two (which may be
/// equal: then direction 0 is found). Keys must not change while the record is in the table.
///
/// Exemplar:
///     struct record {
///         bool matches(Key const& k, unsigned direction) const noexcept;
///         Key key(unsigned direction) const noexcept;
///     };
/// Models: the engine's flow records, the two in tests/track/flow_table_test.cpp.
template <class Record, class Key>
concept flow_record = std::regular<Key> && std::is_nothrow_default_constructible_v<Record> &&
                      std::is_nothrow_destructible_v<Record> && requires(Record const& r, Key const& k, unsigned d) {
                          { r.matches(k, d) } -> std::same_as<bool>;
                          { r.key(d) } -> std::convertible_to<Key>;
                      };

/// A hash of keys, seeded by its constructor so that a stranger cannot choose keys of one bucket. The table takes the
/// bucket from the upper 32 bits and the tag from the lower 16: both must depend on all of the key.
template <class Hash, class Key>
concept flow_hash = requires(Hash const& h, Key const& k) {
    { h(k) } noexcept -> std::same_as<std::uint64_t>;
};

/// Where a table's memory comes from; asked for one block, in the table's constructor.
/// allocate() answers with writable memory of that size and alignment (a power of two), or throws std::bad_alloc.
/// Models: heap_memory, memory_source, huge_page_memory (track/huge_page_memory.hpp).
template <class Memory>
concept table_memory = requires(Memory& m, void* p, std::size_t bytes, std::size_t alignment) {
    { m.allocate(bytes, alignment) } -> std::same_as<void*>;
    { m.deallocate(p, bytes, alignment) } noexcept;
};

struct heap_memory {
    [[nodiscard]] void* allocate(std::size_t bytes, std::size_t alignment) {
        return ::operator new(bytes, std::align_val_t{alignment});
    }
    void deallocate(void* p, std::size_t, std::size_t alignment) noexcept {
        ::operator delete(p, std::align_val_t{alignment});
    }
};

/// A table_memory chosen at run time: heap_memory, or any model without state, memory_source::of<huge_page_memory>() for instance.
class memory_source {
  public:
    constexpr memory_source() noexcept : memory_source(of<heap_memory>()) {}

    template <table_memory Memory>
        requires std::is_empty_v<Memory>
    [[nodiscard]] static constexpr memory_source of() noexcept {
        return {[](std::size_t bytes, std::size_t alignment) { return Memory{}.allocate(bytes, alignment); },
                [](void* p, std::size_t bytes, std::size_t alignment) noexcept { Memory{}.deallocate(p, bytes, alignment); }};
    }

    [[nodiscard]] void* allocate(std::size_t bytes, std::size_t alignment) { return allocate_(bytes, alignment); }
    void deallocate(void* p, std::size_t bytes, std::size_t alignment) noexcept { deallocate_(p, bytes, alignment); }

  private:
    using allocate_function = void* (*)(std::size_t, std::size_t);
    using deallocate_function = void (*)(void*, std::size_t, std::size_t) noexcept;

    constexpr memory_source(allocate_function a, deallocate_function d) noexcept : allocate_(a), deallocate_(d) {}

    allocate_function allocate_;
    deallocate_function deallocate_;
};

enum class insert_status : std::uint8_t {
    inserted,
    exists,      ///< a record with one of the keys is there: the handle tells which; nothing changed
    full,        ///< every record is taken; nothing changed
    index_full,  ///< no room in the buckets of one of the keys: only with a bad hash; nothing changed
};

struct insert_result {
    flow_handle handle{};  ///< direction 0 of the new record, or the existing one
    insert_status status = insert_status::full;

    [[nodiscard]] explicit operator bool() const noexcept { return status == insert_status::inserted; }
};

/// Not for several threads at once: one table per engine, one engine per thread. All memory is allocated and touched in
/// the constructor: 24 bytes of index per flow (for two directions), the records, one bit per record.
template <class Key, class Record, class Hash, class Memory = heap_memory>
    requires flow_record<Record, Key> && flow_hash<Hash, Key> && table_memory<Memory>
class flow_table {
  public:
    static constexpr unsigned directions = [] {
        if constexpr (requires { Record::directions; }) return unsigned{Record::directions};
        else return 2u;
    }();
    static_assert(directions == 1 || directions == 2);
    static constexpr std::uint32_t max_capacity = 0x7fff'ffffu;
    /// find_burst() overlaps the misses of this many lookups; longer bursts are done in pieces.
    static constexpr std::size_t burst_piece = 64;

    /// Room for `capacity` records, at most max_capacity; 0 makes a table that is always full.
    explicit flow_table(std::uint32_t capacity, Hash hash = {}, Memory memory = {});
    ~flow_table();
    flow_table(flow_table const&) = delete;
    flow_table& operator=(flow_table const&) = delete;

    // --- Looking up -----------------------------------------------------------------------------------------------------

    [[nodiscard]] std::uint64_t hash(Key const& key) const noexcept { return hash_(key); }

    /// The record that has this key, or nothing. Work: at most two buckets, and a record per equal tag.
    [[nodiscard]] flow_handle find(Key const& key, std::uint64_t hash) const noexcept;
    [[nodiscard]] flow_handle find(Key const& key) const noexcept { return find(key, hash_(key)); }

    /// find() for many keys at once, their memory reads overlapped. The spans have the same length; hashes[i] is
    /// hash(keys[i]).
    void find_burst(std::span<Key const> keys, std::span<std::uint64_t const> hashes,
                    std::span<flow_handle> results) const noexcept;

    /// The steps of find_burst(), for a caller with a burst loop of its own: prefetch_bucket() for all, then candidate()
    /// and prefetch_record() for all, then confirm() each.
    void prefetch_bucket(std::uint64_t hash) const noexcept { index_.prefetch(hash); }
    /// The first entry with the hash's tag, whatever its key: right but for one lookup in about ten thousand.
    [[nodiscard]] flow_handle candidate(std::uint64_t hash) const noexcept;
    /// All cache lines of the record, for writing. Nothing for an empty handle.
    void prefetch_record(flow_handle handle) const noexcept;
    /// find(), given what candidate() said for that hash. Also right when the table changed in between, as long as the
    /// candidate was not erased since: look at generation().
    [[nodiscard]] flow_handle confirm(Key const& key, std::uint64_t hash, flow_handle candidate) const noexcept;

    // --- Changing -------------------------------------------------------------------------------------------------------

    /// Adds a value-initialised record under both keys, or under none. The caller fills it so that key(0) and key(1)
    /// answer these keys before the next call of any member. With one direction the second key is not looked at.
    /// Work: at most 22 buckets; two, practically always. Earlier handles stay valid.
    [[nodiscard]] insert_result insert(Key const& key0, Key const& key1) noexcept;
    [[nodiscard]] insert_result insert(Key const& key0, std::uint64_t hash0, Key const& key1, std::uint64_t hash1) noexcept;

    /// Removes the record; handles of other records stay valid. Its number is the first to be used again. False, and
    /// nothing changed, when it is not in the table or its keys are not those it was inserted under.
    bool erase(flow_handle handle) noexcept { return erase(handle.number()); }
    bool erase(std::uint32_t number) noexcept;

    // --- Reaching records -----------------------------------------------------------------------------------------------

    [[nodiscard]] Record& record(flow_handle handle) noexcept { return records_[handle.number()]; }
    [[nodiscard]] Record const& record(flow_handle handle) const noexcept { return records_[handle.number()]; }
    [[nodiscard]] Record& record(std::uint32_t number) noexcept { return records_[number]; }
    [[nodiscard]] Record const& record(std::uint32_t number) const noexcept { return records_[number]; }
    /// The record with number 0; number i stands at [i]. For accessors such as a timer wheel's; fixed for the table's life.
    [[nodiscard]] Record* records() noexcept { return records_; }
    [[nodiscard]] bool is_live(std::uint32_t number) const noexcept {
        return number < capacity_ && (live_[number / 64] >> (number % 64) & 1u) != 0;
    }

    /// Calls visit(number, record) for every record, in order of number. `visit` may erase any record, and insert.
    template <class Visit>
    void for_each(Visit&& visit);

    /// A clock hand for eviction: calls visit(number, record) -> bool for up to `count` records, beginning where the last
    /// call ended, until it answers false. No record twice. Work: at most `count` records and 2 `count` + 1 words that
    /// stand for 64 records each, so in a nearly empty table it may find fewer than there are.
    /// Returns the number visited. `visit` may erase any record, and insert.
    template <class Visit>
    std::uint32_t sample(std::uint32_t count, Visit&& visit);

    // --- Figures --------------------------------------------------------------------------------------------------------

    [[nodiscard]] std::uint32_t size() const noexcept { return size_; }
    [[nodiscard]] std::uint32_t peak() const noexcept { return peak_; }
    [[nodiscard]] std::uint32_t capacity() const noexcept { return capacity_; }
    [[nodiscard]] std::size_t index_bytes() const noexcept { return index_.bytes(); }
    [[nodiscard]] std::size_t memory_bytes() const noexcept { return live_offset() + live_words() * sizeof(std::uint64_t); }
    /// Counts successful inserts and erases: equal means every earlier lookup still holds.
    [[nodiscard]] std::uint64_t generation() const noexcept { return generation_; }
    /// Entries that live in their second bucket now: what makes lookups read two. For reports and tests.
    [[nodiscard]] std::uint64_t overflowed() const noexcept { return index_.overflowed(); }

  private:
    // One block: index, then records, then one bit per record that says whether it is in use.
    static constexpr std::uint32_t end_of_list = ~std::uint32_t{0};
    static constexpr std::size_t record_alignment = std::max<std::size_t>(128, alignof(Record));  // lines are fetched in pairs
    static constexpr std::size_t block_alignment = std::max<std::size_t>(4096, record_alignment);
    static_assert(sizeof(Record) >= sizeof(std::uint32_t), "an unused record holds the number of the next unused one");

    [[nodiscard]] static constexpr std::size_t round_up(std::size_t n, std::size_t to) noexcept { return (n + to - 1) / to * to; }
    [[nodiscard]] std::size_t index_buckets() const noexcept {
        return detail::flow_index::buckets_for(std::uint64_t{capacity_} * directions);
    }
    [[nodiscard]] std::size_t records_offset() const noexcept {
        return round_up(index_buckets() * sizeof(detail::index_bucket), record_alignment);
    }
    [[nodiscard]] std::size_t live_offset() const noexcept {
        return round_up(records_offset() + std::size_t{capacity_} * sizeof(Record), sizeof(std::uint64_t));
    }
    [[nodiscard]] std::size_t live_words() const noexcept { return (std::size_t{capacity_} + 63) / 64; }

    void find_piece(Key const* keys, std::uint64_t const* hashes, flow_handle* results, std::size_t count) const noexcept;
    [[nodiscard]] bool place(std::uint32_t number, std::uint64_t hash0, std::uint64_t hash1, bool second) noexcept;
    void take_unused() noexcept;
    void give_back(std::uint32_t number) noexcept;
    [[nodiscard]] std::uint32_t skip_to_live(std::uint32_t number) const noexcept;

    [[no_unique_address]] Hash hash_;
    [[no_unique_address]] Memory memory_;
    std::uint32_t capacity_;
    std::byte* block_;
    detail::flow_index index_;
    Record* records_;
    std::uint64_t* live_;
    std::uint32_t size_ = 0;
    std::uint32_t peak_ = 0;
    std::uint32_t unused_ = end_of_list;  // a stack, so that a number used lately (its lines still cached) is used next
    std::uint32_t hand_ = 0;              // where sample() goes on
    std::uint64_t generation_ = 0;
};

}  // namespace halfproxy

#include <halfproxy/track/impl/flow_table.hpp>
