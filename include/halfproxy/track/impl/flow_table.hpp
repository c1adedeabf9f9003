// SPDX-License-Identifier: BSL-1.0
// Bodies of track/flow_table.hpp.
#pragma once

#include <halfproxy/track/flow_table.hpp>

#define HALFPROXY_FLOW_TABLE_TEMPLATE                            \
    template <class Key, class Record, class Hash, class Memory> \
        requires flow_record<Record, Key> && flow_hash<Hash, Key> && table_memory<Memory>
#define HALFPROXY_FLOW_TABLE flow_table<Key, Record, Hash, Memory>

namespace halfproxy {

HALFPROXY_FLOW_TABLE_TEMPLATE
HALFPROXY_FLOW_TABLE::flow_table(std::uint32_t capacity, Hash hash, Memory memory)
    : hash_(std::move(hash)),
      memory_(std::move(memory)),
      capacity_(std::min(capacity, max_capacity)),
      block_(static_cast<std::byte*>(memory_.allocate(memory_bytes(), block_alignment))),
      index_(block_, index_buckets()),
      records_(reinterpret_cast<Record*>(block_ + records_offset())),
      live_(reinterpret_cast<std::uint64_t*>(block_ + live_offset())) {
    std::uninitialized_fill_n(live_, live_words(), std::uint64_t{0});
    for (std::uint32_t number = capacity_; number-- > 0;) give_back(number);
}

HALFPROXY_FLOW_TABLE_TEMPLATE
HALFPROXY_FLOW_TABLE::~flow_table() {
    if constexpr (!std::is_trivially_destructible_v<Record>)
        for_each([](std::uint32_t, Record& r) { std::destroy_at(&r); });
    memory_.deallocate(block_, memory_bytes(), block_alignment);
}

HALFPROXY_FLOW_TABLE_TEMPLATE
[[gnu::noinline]] flow_handle HALFPROXY_FLOW_TABLE::find(Key const& key, std::uint64_t hash) const noexcept {
    return flow_handle::from_value(index_.find(hash, [&](std::uint32_t value) {
        flow_handle const h = flow_handle::from_value(value);
        return records_[h.number()].matches(key, h.direction());
    }));
}

HALFPROXY_FLOW_TABLE_TEMPLATE
flow_handle HALFPROXY_FLOW_TABLE::candidate(std::uint64_t hash) const noexcept {
    return flow_handle::from_value(index_.find(hash, [](std::uint32_t) { return true; }));
}

HALFPROXY_FLOW_TABLE_TEMPLATE
void HALFPROXY_FLOW_TABLE::prefetch_record(flow_handle handle) const noexcept {
    if (!handle) return;
    auto const* bytes = reinterpret_cast<std::byte const*>(&records_[handle.number()]);
    for (std::size_t at = 0; at < sizeof(Record); at += 64) __builtin_prefetch(bytes + at, 1);
}

HALFPROXY_FLOW_TABLE_TEMPLATE
flow_handle HALFPROXY_FLOW_TABLE::confirm(Key const& key, std::uint64_t hash, flow_handle candidate) const noexcept {
    if (candidate && records_[candidate.number()].matches(key, candidate.direction())) [[likely]] return candidate;
    return find(key, hash);
}

HALFPROXY_FLOW_TABLE_TEMPLATE
void HALFPROXY_FLOW_TABLE::find_burst(std::span<Key const> keys, std::span<std::uint64_t const> hashes,
                                      std::span<flow_handle> results) const noexcept {
    for (std::size_t at = 0; at < keys.size(); at += burst_piece)
        find_piece(&keys[at], &hashes[at], &results[at], std::min(burst_piece, keys.size() - at));
}

HALFPROXY_FLOW_TABLE_TEMPLATE
void HALFPROXY_FLOW_TABLE::find_piece(Key const* keys, std::uint64_t const* hashes, flow_handle* results,
                                      std::size_t count) const noexcept {
    for (std::size_t i = 0; i < count; ++i) prefetch_bucket(hashes[i]);
    for (std::size_t i = 0; i < count; ++i) prefetch_record(results[i] = candidate(hashes[i]));
    for (std::size_t i = 0; i < count; ++i)
        if (results[i]) results[i] = confirm(keys[i], hashes[i], results[i]);
}

HALFPROXY_FLOW_TABLE_TEMPLATE
insert_result HALFPROXY_FLOW_TABLE::insert(Key const& key0, Key const& key1) noexcept {
    std::uint64_t const hash1 = directions == 2 ? hash_(key1) : 0;
    if (directions == 2) index_.prefetch(hash1);  // the first key's bucket has usually been looked at already
    if (unused_ != end_of_list) __builtin_prefetch(&records_[unused_], 1);
    return insert(key0, hash_(key0), key1, hash1);
}

HALFPROXY_FLOW_TABLE_TEMPLATE
insert_result HALFPROXY_FLOW_TABLE::insert(Key const& key0, std::uint64_t hash0, Key const& key1,
                                           std::uint64_t hash1) noexcept {
    if (flow_handle const there = find(key0, hash0)) return {there, insert_status::exists};
    bool const second = directions == 2 && !(key0 == key1);
    if (second)
        if (flow_handle const there = find(key1, hash1)) return {there, insert_status::exists};
    if (unused_ == end_of_list) return {{}, insert_status::full};
    std::uint32_t const number = unused_;
    if (!place(number, hash0, hash1, second)) return {{}, insert_status::index_full};
    take_unused();
    ++generation_;
    return {flow_handle{number, 0}, insert_status::inserted};
}

HALFPROXY_FLOW_TABLE_TEMPLATE
bool HALFPROXY_FLOW_TABLE::place(std::uint32_t number, std::uint64_t hash0, std::uint64_t hash1, bool second) noexcept {
    flow_handle const h0{number, 0}, h1{number, 1};
    if (!index_.place(hash0, h0.value())) return false;
    if (!second || index_.place(hash1, h1.value())) return true;
    index_.remove(hash0, h0.value());
    return false;
}

HALFPROXY_FLOW_TABLE_TEMPLATE
bool HALFPROXY_FLOW_TABLE::erase(std::uint32_t number) noexcept {
    if (!is_live(number)) return false;
    flow_handle const h0{number, 0}, h1{number, 1};
    Key const key0 = records_[number].key(0);
    std::uint64_t const hash0 = hash_(key0);
    if (!index_.contains(hash0, h0.value())) return false;
    if constexpr (directions == 2) {
        if (Key const key1 = records_[number].key(1); !(key0 == key1)) {
            std::uint64_t const hash1 = hash_(key1);
            if (!index_.contains(hash1, h1.value())) return false;
            index_.remove(hash1, h1.value());
        }
    }
    index_.remove(hash0, h0.value());
    std::destroy_at(&records_[number]);
    live_[number / 64] &= ~(std::uint64_t{1} << number % 64);
    give_back(number);
    --size_;
    ++generation_;
    return true;
}

HALFPROXY_FLOW_TABLE_TEMPLATE
void HALFPROXY_FLOW_TABLE::take_unused() noexcept {
    std::uint32_t const number = unused_;
    std::memcpy(&unused_, static_cast<void const*>(&records_[number]), sizeof unused_);
    std::construct_at(&records_[number]);
    live_[number / 64] |= std::uint64_t{1} << number % 64;
    peak_ = std::max(peak_, ++size_);
}

HALFPROXY_FLOW_TABLE_TEMPLATE
void HALFPROXY_FLOW_TABLE::give_back(std::uint32_t number) noexcept {
    std::memcpy(static_cast<void*>(&records_[number]), &unused_, sizeof unused_);
    unused_ = number;
}

HALFPROXY_FLOW_TABLE_TEMPLATE
template <class Visit>
void HALFPROXY_FLOW_TABLE::for_each(Visit&& visit) {
    for (std::uint32_t number = 0; number < capacity_;) {
        number = skip_to_live(number);
        if (is_live(number)) visit(number, records_[number]), ++number;
    }
}

HALFPROXY_FLOW_TABLE_TEMPLATE
template <class Visit>
std::uint32_t HALFPROXY_FLOW_TABLE::sample(std::uint32_t count, Visit&& visit) {
    std::uint32_t const wanted = std::min(count, size_);  // else one record could be visited twice
    std::uint32_t visited = 0;
    for (std::uint32_t steps = 2 * wanted + 1; visited < wanted && steps != 0; --steps) {
        hand_ = skip_to_live(hand_ < capacity_ ? hand_ : 0);
        if (!is_live(hand_)) continue;
        std::uint32_t const number = hand_++;
        ++visited;
        if (!visit(number, records_[number])) break;
    }
    return visited;
}

// The first live record from `number` on in its word of 64, or the beginning of the next word.
HALFPROXY_FLOW_TABLE_TEMPLATE
std::uint32_t HALFPROXY_FLOW_TABLE::skip_to_live(std::uint32_t number) const noexcept {
    std::uint64_t const bits = live_[number / 64] >> number % 64;
    return bits != 0 ? number + static_cast<std::uint32_t>(std::countr_zero(bits)) : (number / 64 + 1) * 64;
}

}  // namespace halfproxy

#undef HALFPROXY_FLOW_TABLE
#undef HALFPROXY_FLOW_TABLE_TEMPLATE
