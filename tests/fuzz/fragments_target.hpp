// SPDX-License-Identifier: BSL-1.0
// Any bytes as fragments that come to a small table, and what must hold of those that pass.
#pragma once

#include <halfproxy/track/fragments.hpp>

#include <array>
#include <bitset>
#include <cstdint>

namespace halfproxy::test {

/// Of a few datagrams: which units have passed since their first fragment did, kept by plain means.
class fragment_play {
    auto discard() noexcept {
        return [this](frame const&, drop_reason) { ++given_up_; };
    }

  public:
    explicit fragment_play(byte_view bytes) : bytes_(bytes), table_({3, 4, 64, timeout}, 5) {}

    char const* run() {
        while (broken_ == nullptr && at_ < bytes_.size()) step();
        now_ = now_ + timeout;
        table_.expire(now_, 100, discard());
        expect(table_.size() == 0 && table_.waiting() == 0, "everything is given up in time");
        expect(!table_.next_deadline(now_), "an empty table has no deadline");
        expect(kept_ == left_ + given_up_, "what waited has left or was given up");
        return broken_;
    }

    std::uint64_t passed = 0, spoiled = 0;  ///< for the test: how far the plays go

  private:
    static constexpr timeout_ms timeout = 1'000;
    static constexpr std::size_t units = 0x10000 / 8;

    unsigned next() noexcept { return at_ < bytes_.size() ? bytes_[at_++] : 0; }
    void expect(bool holds, char const* what) noexcept {
        if (!holds && broken_ == nullptr) broken_ = what;
    }
    void step() {
        unsigned const what = next();
        if (what < 8) {
            now_ = now_ + (1u << what);
            return table_.expire(now_, 2, discard());
        }
        unsigned const id = what & 7u, begin = next() % 24;
        unsigned const length = 1 + (what >> 3 & 3u) * (next() % 4);
        bool const last = (what & 0x20u) != 0;
        fragment_piece const piece{static_cast<std::uint16_t>(begin * 8), static_cast<std::uint16_t>((begin + length) * 8), last};
        give(id, piece);
        expect(table_.size() <= 3 && table_.waiting() <= 4, "the table keeps its limits");
    }

    void give(unsigned id, fragment_piece const& piece) {
        ipv4_key const key{{1, 2, 0, static_cast<std::uint16_t>(id)}, 0, 17, 0};
        fragment_place const place = table_.arrive(key, piece, now_, discard());
        std::array<std::uint8_t, 4> bytes{static_cast<std::uint8_t>(id), static_cast<std::uint8_t>(piece.begin / 8), static_cast<std::uint8_t>(piece.end / 8), 0};
        frame f;
        f.data = bytes.data();
        f.length = f.wire_length = f.capacity = bytes.size();
        switch (place.step) {
            case fragment_step::refuse:
                spoiled += place.reason == drop_reason::fragment_overlap;
                if (place.reason != drop_reason::fragment_duplicate) open_[id] = false;
                return expect(place.reason != drop_reason::none, "who is refused hears why");
            case fragment_step::wait:
                if (table_.keep(place.number, f, now_, discard()) == drop_reason::none) ++kept_;
                return;
            case fragment_step::follow: expect(piece.begin != 0, "a first fragment does not follow"); break;
            case fragment_step::first:
                expect(piece.begin == 0, "only the first decides");
                open_[id] = true;
                seen_[id].reset();
                table_.fate(place.number) = static_cast<int>(id);
                table_.decide(place.number, now_);
        }
        pass(id, piece.begin / 8u, piece.end / 8u);
        expect(table_.fate(place.number) == static_cast<int>(id), "a fate belongs to its datagram");
        if (place.step == fragment_step::first) release(place.number);
        table_.settle(place.number);
    }

    void release(std::uint32_t number) {
        table_.release(number, [this](frame& f) {
            pass(f.data[0], f.data[1], f.data[2]);
            return drop_reason::none;
        }, discard());
        outbox out(16);
        left_ += table_.send_ready(out);
        table_.reclaim();
    }

    void pass(unsigned id, unsigned begin, unsigned end) {
        ++passed;
        expect(open_[id], "nothing passes before its first, nor behind an overlap");
        for (unsigned u = begin; u < end; ++u) {
            expect(!seen_[id][u], "no byte passes twice");
            seen_[id][u] = true;
        }
    }

    byte_view bytes_;
    std::size_t at_ = 0;
    fragment_table<std::uint32_t, int> table_;
    stamp_ms now_{};
    std::array<std::bitset<units>, 8> seen_{};
    std::array<bool, 8> open_{};
    std::uint64_t kept_ = 0, left_ = 0, given_up_ = 0;
    char const* broken_ = nullptr;
};

inline char const* fuzz_fragments(byte_view bytes) { return fragment_play(bytes).run(); }

}  // namespace halfproxy::test
