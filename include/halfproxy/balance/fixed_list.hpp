// SPDX-License-Identifier: BSL-1.0
// A list that never grows beyond what its constructor allocated, and whose copies have the same room.
#pragma once

#include <cstddef>
#include <vector>

namespace halfproxy {

/// Like std::vector after reserve(), but the room is part of the value: a copy of a std::vector keeps its elements only, and would allocate later.
template <class T>
class fixed_list {
  public:
    explicit fixed_list(std::size_t capacity) : items_(capacity) {}

    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] std::size_t capacity() const noexcept { return items_.size(); }
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
    [[nodiscard]] bool full() const noexcept { return size_ == items_.size(); }
    [[nodiscard]] T* data() noexcept { return items_.data(); }
    [[nodiscard]] T const* data() const noexcept { return items_.data(); }
    [[nodiscard]] T* begin() noexcept { return data(); }
    [[nodiscard]] T* end() noexcept { return data() + size_; }
    [[nodiscard]] T const* begin() const noexcept { return data(); }
    [[nodiscard]] T const* end() const noexcept { return data() + size_; }
    [[nodiscard]] T& operator[](std::size_t i) noexcept { return items_[i]; }
    [[nodiscard]] T const& operator[](std::size_t i) const noexcept { return items_[i]; }
    [[nodiscard]] T const& back() const noexcept { return items_[size_ - 1]; }  ///< of a list that is not empty

    /// Of a list that is not full.
    void push_back(T const& item) noexcept { items_[size_++] = item; }
    void pop_back() noexcept { --size_; }
    void clear() noexcept { size_ = 0; }

  private:
    std::vector<T> items_;
    std::size_t size_ = 0;
};

}  // namespace halfproxy
