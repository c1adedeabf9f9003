// SPDX-License-Identifier: BSL-1.0
// The least of a set of numbered things, each of whose keys may change at any time.
#pragma once

#include <halfproxy/balance/fixed_list.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace halfproxy {

/// A binary heap that knows where each member stands. Members are numbers below the capacity; of equal keys the lower number is less. Allocates in
/// its constructor only. set() and erase() take at most log2(size) steps, the rest one.
template <class Key>
class indexed_heap {
  public:
    explicit indexed_heap(std::uint32_t capacity) : heap_(capacity), where_(capacity, absent) {}

    [[nodiscard]] bool empty() const noexcept { return heap_.empty(); }
    [[nodiscard]] std::uint32_t size() const noexcept { return static_cast<std::uint32_t>(heap_.size()); }
    [[nodiscard]] std::uint32_t capacity() const noexcept { return static_cast<std::uint32_t>(where_.size()); }
    [[nodiscard]] bool contains(std::uint32_t member) const noexcept { return where_[member] != absent; }
    [[nodiscard]] std::uint32_t top() const noexcept { return heap_[0].member; }  ///< of a heap that is not empty
    [[nodiscard]] Key const& top_key() const noexcept { return heap_[0].key; }
    [[nodiscard]] Key const& key(std::uint32_t member) const noexcept { return heap_[where_[member]].key; }  ///< of one it contains
    [[nodiscard]] std::size_t memory_bytes() const noexcept {
        return heap_.capacity() * sizeof(entry) + where_.size() * sizeof(std::uint32_t);
    }

    /// Puts it in, or gives it another key.
    void set(std::uint32_t member, Key const& key) noexcept {
        std::uint32_t at = where_[member];
        if (at == absent) {
            at = size();
            heap_.push_back({key, member});
        }
        place(at, {key, member});
    }

    void erase(std::uint32_t member) noexcept {
        std::uint32_t const at = where_[member];
        if (at == absent) return;
        where_[member] = absent;
        entry const last = heap_.back();
        heap_.pop_back();
        if (last.member != member) place(at, last);
    }

    void clear() noexcept {
        for (entry const& e : heap_) where_[e.member] = absent;
        heap_.clear();
    }

  private:
    static constexpr std::uint32_t absent = ~std::uint32_t{0};

    struct entry {
        Key key;
        std::uint32_t member;
    };

    [[nodiscard]] static bool less(entry const& a, entry const& b) noexcept {
        if (a.key < b.key) return true;
        return !(b.key < a.key) && a.member < b.member;
    }
    void put(std::uint32_t at, entry const& e) noexcept {
        heap_[at] = e;
        where_[e.member] = at;
    }

    /// The entry belongs at `at` or above or below.
    void place(std::uint32_t at, entry const& e) noexcept {
        for (; at > 0 && less(e, heap_[(at - 1) / 2]); at = (at - 1) / 2) put(at, heap_[(at - 1) / 2]);
        for (std::uint32_t child = 2 * at + 1; child < size(); child = 2 * at + 1) {
            if (child + 1 < size() && less(heap_[child + 1], heap_[child])) ++child;
            if (!less(heap_[child], e)) break;
            put(at, heap_[child]);
            at = child;
        }
        put(at, e);
    }

    fixed_list<entry> heap_;
    std::vector<std::uint32_t> where_;
};

}  // namespace halfproxy
