// SPDX-License-Identifier: BSL-1.0
// Which bytes of a stream were seen, without the bytes: enough to find what the receiver has and the capture has not.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace halfproxy::detail {

/// Positions as in conn_log: the first byte is 1. All bytes before `complete()` were seen or given up.
class stream_gaps {
  public:
    /// Ranges kept beyond a hole. One more forgets the farthest, which is then counted as missed if it is acknowledged.
    static constexpr std::size_t max_ranges = 16;
    /// Data far beyond a hole, none of it acknowledged: the other direction is not in the capture, nothing can be said.
    static constexpr std::int64_t max_beyond_hole = 16384;
    static constexpr std::int64_t max_unacknowledged = 10 * 1024 * 1024;

    [[nodiscard]] std::int64_t complete() const noexcept { return complete_; }
    [[nodiscard]] bool given_up() const noexcept { return given_up_; }
    bool ended = false;  ///< the stream's end was reached and reported; kept here for the caller

    /// Seen but not acknowledged.
    [[nodiscard]] bool holds_data() const noexcept { return highest_ > trimmed_; }

    /// Bytes [begin, end) were seen. True when they lengthened the complete part.
    bool insert(std::int64_t begin, std::int64_t end) noexcept {
        if (end <= trimmed_) return false;
        begin = std::max(begin, trimmed_);
        highest_ = std::max(highest_, end);
        if (begin > complete_) return keep(begin, end), false;
        if (end <= complete_) return false;
        complete_ = end;
        absorb();
        return true;
    }

    /// Everything before `position` needs no memory any more.
    void trim_complete() noexcept { trimmed_ = std::max(trimmed_, complete_); }

    /// The receiver has everything before `position`: calls missed(bytes) for each hole before it.
    template <class Missed>
    void acknowledge(std::int64_t position, bool may_be_virtual, Missed&& missed) noexcept {
        if (position <= trimmed_) return;
        // Of a stream whose begin was not seen, position 1 and 2 are our own invention (2: after a keep-alive).
        if (position > complete_ && !(may_be_virtual && position <= 2)) give_up_to(position, missed);
        trimmed_ = position;
    }

    void give_up_if_hopeless(bool nothing_acknowledged) noexcept {
        bool const blind = nothing_acknowledged && holds_data() && highest_ - complete_ > max_beyond_hole;
        if (!blind && complete_ - trimmed_ + kept_bytes() <= max_unacknowledged) return;
        given_up_ = true;
        count_ = 0;
        highest_ = trimmed_;
    }

  private:
    struct range {  // the low 32 bits of both ends: they lie within 2^31 of complete_
        std::uint32_t begin;
        std::uint32_t end;
    };

    [[nodiscard]] std::int64_t full(std::uint32_t low) const noexcept {
        return complete_ + static_cast<std::int32_t>(low - static_cast<std::uint32_t>(complete_));
    }
    [[nodiscard]] std::int64_t kept_bytes() const noexcept {
        std::int64_t sum = 0;
        for (std::size_t i = 0; i < count_; ++i) sum += ranges_[i].end - ranges_[i].begin;
        return sum;
    }

    void drop_front(std::size_t n) noexcept {
        std::copy(ranges_.begin() + n, ranges_.begin() + count_, ranges_.begin());
        count_ = static_cast<std::uint8_t>(count_ - n);
    }

    void absorb() noexcept {
        std::size_t n = 0;
        std::int64_t reached = complete_;
        for (; n < count_ && full(ranges_[n].begin) <= reached; ++n) reached = std::max(reached, full(ranges_[n].end));
        if (n != 0) drop_front(n);
        complete_ = reached;
    }

    /// Ranges stay sorted and apart; one that touches its neighbours is merged with them.
    void keep(std::int64_t begin, std::int64_t end) noexcept {
        if (end - complete_ >= std::int64_t{1} << 31) return;
        std::size_t at = 0;
        while (at < count_ && full(ranges_[at].end) < begin) ++at;
        std::size_t past = at;
        for (; past < count_ && full(ranges_[past].begin) <= end; ++past) {
            begin = std::min(begin, full(ranges_[past].begin));
            end = std::max(end, full(ranges_[past].end));
        }
        if (past == at) {
            if (at == max_ranges) return;
            if (count_ == max_ranges) --count_;
            std::copy_backward(ranges_.begin() + at, ranges_.begin() + count_, ranges_.begin() + count_ + 1);
            ++count_;
        } else {
            std::copy(ranges_.begin() + past, ranges_.begin() + count_, ranges_.begin() + at + 1);
            count_ = static_cast<std::uint8_t>(count_ - (past - at - 1));
        }
        ranges_[at] = {static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end)};
    }

    template <class Missed>
    void give_up_to(std::int64_t position, Missed&& missed) noexcept {
        while (count_ != 0 && full(ranges_[0].begin) < position) {
            std::int64_t const hole_end = full(ranges_[0].begin);
            if (!given_up_) missed(static_cast<std::uint64_t>(hole_end - complete_));
            complete_ = hole_end;
            absorb();
        }
        if (complete_ >= position) return;
        if (!given_up_) missed(static_cast<std::uint64_t>(position - complete_));
        complete_ = position;
        absorb();
    }

    std::int64_t complete_ = 1;
    std::int64_t trimmed_ = 1;
    std::int64_t highest_ = 1;
    std::array<range, max_ranges> ranges_{};
    std::uint8_t count_ = 0;
    bool given_up_ = false;
};

}  // namespace halfproxy::detail
