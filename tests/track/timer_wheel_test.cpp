// SPDX-License-Identifier: BSL-1.0
// The timer wheel against an ordered multimap, through jumps, stalls, the stamps' wrap, and callbacks that meddle.
#include <halfproxy/track/timer_wheel.hpp>

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

using namespace halfproxy;

namespace {

struct entry {
    timer_link timer{};
    stamp_ms deadline{};
};

struct entry_links {
    std::vector<entry>* entries;
    timer_link& link(std::uint32_t index) const noexcept { return (*entries)[index].timer; }
};

// Ticks of 64 ms: the engine's wheel. The small one reaches every edge of a turn in a few steps.
using wheel_type = timer_wheel<entry_links>;
using small_wheel = timer_wheel<entry_links, 4, 64>;

constexpr std::uint32_t plenty = 1'000'000;

template <class Wheel>
struct rig {
    std::vector<entry> entries;
    Wheel wheel;
    std::vector<std::uint32_t> fired{};

    explicit rig(std::size_t count, stamp_ms start = {}) : entries(count), wheel(entry_links{&entries}, start) {}

    void arm(std::uint32_t index, stamp_ms deadline) {
        entries[index].deadline = deadline;
        wheel.arm(index, deadline);
    }
    // What an owner does: not yet, then file again; otherwise it has fired.
    std::uint32_t advance(stamp_ms now, std::uint32_t budget = plenty) {
        return wheel.advance(now, budget, [&](std::uint32_t i) -> std::optional<stamp_ms> {
            if (entries[i].deadline - wheel.now() > 0) return entries[i].deadline;
            fired.push_back(i);
            return std::nullopt;
        });
    }
    std::vector<std::uint32_t> take_fired() {
        std::sort(fired.begin(), fired.end());
        return std::exchange(fired, {});
    }
};

using numbers = std::vector<std::uint32_t>;

}  // namespace

TEST_CASE("an entry fires at its deadline rounded up to a slot, not before, and once") {
    rig<wheel_type> r(1);
    r.arm(0, {1000});
    CHECK(r.wheel.next_deadline() == stamp_ms{1024});
    CHECK(r.advance({1000}) == 0);
    CHECK(r.advance({1023}) == 0);
    CHECK(r.advance({1024}) == 1);
    CHECK(r.take_fired() == numbers{0});
    CHECK_FALSE(r.wheel.armed(0));
    CHECK_FALSE(r.wheel.next_deadline());
    CHECK(r.advance({5000}) == 0);
}

TEST_CASE("a deadline that has passed, or is now, fires with the next slot") {
    rig<wheel_type> r(2, {10'000});
    r.arm(0, {9'000});
    r.arm(1, {10'000});
    CHECK(r.wheel.next_deadline() == stamp_ms{10'064});
    CHECK(r.advance({10'063}) == 0);
    CHECK(r.advance({10'064}) == 2);
    CHECK(r.take_fired() == numbers{0, 1});
}

TEST_CASE("a deadline moved later without telling the wheel costs one call and fires at its new time") {
    rig<wheel_type> r(1);
    r.arm(0, {640});
    r.entries[0].deadline = {1280};
    CHECK(r.advance({640}) == 1);
    CHECK(r.take_fired().empty());
    CHECK(r.wheel.next_deadline() == stamp_ms{1280});
    CHECK(r.advance({1280}) == 1);
    CHECK(r.take_fired() == numbers{0});
}

TEST_CASE("arming again moves an entry, sooner or later; cancelling takes it out; both leave its neighbours") {
    rig<wheel_type> r(5);
    for (std::uint32_t i = 0; i < 5; ++i) r.arm(i, {6400});
    r.arm(1, {64});
    r.arm(2, {12'800});
    r.wheel.cancel(3);
    r.wheel.cancel(3);
    CHECK(r.wheel.size() == 4);
    CHECK(r.wheel.next_deadline() == stamp_ms{64});
    r.advance({64});
    CHECK(r.take_fired() == numbers{1});
    r.advance({6400});
    CHECK(r.take_fired() == numbers{0, 4});
    r.advance({12'800});
    CHECK(r.take_fired() == numbers{2});
    CHECK(r.wheel.size() == 0);
}

TEST_CASE("a deadline beyond the horizon is called up at the horizon and fires at its own time") {
    rig<wheel_type> r(1);
    std::uint32_t const day_ms = 86'400'000;
    r.arm(0, {day_ms});
    std::uint32_t calls = 0;
    while (r.fired.empty()) {
        stamp_ms const next = r.wheel.next_deadline().value();
        REQUIRE(next - r.wheel.now() <= static_cast<std::int32_t>(wheel_type::horizon_ms + 64));
        calls += r.advance(next);
        REQUIRE(calls < 1000);
    }
    CHECK(r.wheel.now() == stamp_ms{day_ms});
    CHECK(calls <= day_ms / wheel_type::horizon_ms + 1);
}

TEST_CASE("work is bounded by the budget; what is left is due at once and comes with the next calls") {
    rig<wheel_type> r(1000);
    for (std::uint32_t i = 0; i < 1000; ++i) r.arm(i, {i});
    std::uint32_t rounds = 0;
    while (r.wheel.size() != 0) {
        std::uint32_t const calls = r.advance({2000}, 64);
        CHECK(calls <= 64);
        if (r.wheel.size() != 0) CHECK(r.wheel.next_deadline().value() - stamp_ms{2000} <= 0);
        REQUIRE(++rounds < 20);
    }
    CHECK(rounds == 16);
    CHECK(r.take_fired().size() == 1000);
    CHECK(r.advance({2000}, 0) == 0);
}

TEST_CASE("after a jump of many turns every entry that is due fires within one call, every other one is filed again") {
    for (std::uint32_t const jump : {wheel_type::horizon_ms, wheel_type::horizon_ms + 64, 3 * wheel_type::horizon_ms + 17,
                                     2'000'000'000u}) {
        CAPTURE(jump);
        rig<wheel_type> r(2000, {0xfff0'0000});
        for (std::uint32_t i = 0; i < 1000; ++i) r.arm(i, stamp_ms{0xfff0'0000} + i * 260);
        for (std::uint32_t i = 1000; i < 2000; ++i) r.arm(i, stamp_ms{0xfff0'0000} + jump + 64 + i);
        std::uint32_t const calls = r.advance(stamp_ms{0xfff0'0000} + jump);
        CHECK(r.take_fired().size() == 1000);
        CHECK(calls <= 4000);
        CHECK(r.wheel.size() == 1000);
        r.advance(stamp_ms{0xfff0'0000} + jump + 64 + 1999 + 64);
        CHECK(r.take_fired().size() == 1000);
    }
}

TEST_CASE("stamps wrap at 2^32 ms and nothing fires early, late or twice") {
    stamp_ms const start{0xffff'ff00};
    rig<wheel_type> r(3, start);
    r.arm(0, start + 128);
    r.arm(1, start + 512);   // behind the wrap
    r.arm(2, start + 1024);
    CHECK(r.wheel.next_deadline() == start + 128);
    r.advance(start + 128);
    CHECK(r.take_fired() == numbers{0});
    CHECK(r.wheel.next_deadline() == start + 512);
    r.advance(start + 511);
    CHECK(r.take_fired().empty());
    r.advance(start + 512);
    CHECK(r.take_fired() == numbers{1});
    r.advance(start + 1024);
    CHECK(r.take_fired() == numbers{2});
}

TEST_CASE("a time that runs backwards is taken as the last one") {
    rig<wheel_type> r(1, {1000});
    r.advance({2000});
    r.arm(0, {2100});
    CHECK(r.advance({500}) == 0);
    CHECK(r.wheel.now() == stamp_ms{2000});
    CHECK(r.advance({2200}) == 1);
}

TEST_CASE("a callback that always answers with the past is called once per slot, not for ever") {
    rig<wheel_type> r(1);
    r.arm(0, {64});
    std::uint32_t calls = 0;
    for (std::uint32_t ms = 0; ms <= 6400; ms += 10)
        calls += r.wheel.advance({ms}, plenty, [](std::uint32_t) { return std::optional<stamp_ms>{stamp_ms{0}}; });
    CHECK(calls == 100);
    // and after a jump of ten turns at most twice
    calls = r.wheel.advance({6400 + 10 * wheel_type::horizon_ms}, plenty, [](std::uint32_t) { return std::optional<stamp_ms>{stamp_ms{0}}; });
    CHECK(calls <= 2);
    CHECK(r.wheel.armed(0));
}

TEST_CASE("a callback may cancel entries of the slot being emptied, arm others, and arm its own") {
    rig<wheel_type> r(6);
    for (std::uint32_t i = 0; i < 5; ++i) r.arm(i, {64});
    numbers called;
    std::uint32_t const calls = r.wheel.advance({64}, plenty, [&](std::uint32_t i) -> std::optional<stamp_ms> {
        called.push_back(i);
        if (called.size() == 1) {
            for (std::uint32_t other = 0; other < 5; ++other)
                if (other != i && other % 2 == 0) r.wheel.cancel(other);
            r.wheel.arm(5, {64});
            r.wheel.arm(i, {640});
        }
        return std::nullopt;
    });
    CHECK(calls == called.size());
    for (std::uint32_t const i : called) CHECK((i == called.front() || i % 2 == 1));
    CHECK_FALSE(r.wheel.armed(1));
    CHECK_FALSE(r.wheel.armed(3));
    CHECK(r.wheel.armed(5));
    CHECK(r.wheel.armed(called.front()));
    CHECK(r.wheel.size() == 2);
    CHECK(r.wheel.next_deadline() == stamp_ms{128});
}

TEST_CASE("next_deadline finds the earliest slot wherever it lies in the turn") {
    for (std::uint32_t offset = 0; offset < wheel_type::horizon_ms; offset += 6400) {
        rig<wheel_type> r(2);
        r.advance({offset});
        for (std::uint32_t const ahead : {64u, 4096u, 4160u, 100'032u, 262'080u}) {
            std::uint32_t const deadline = (offset + ahead) / 64 * 64;
            r.arm(0, {deadline});
            REQUIRE(r.wheel.next_deadline() == stamp_ms{deadline});
            r.arm(1, {deadline - 32});
            REQUIRE(r.wheel.next_deadline() == stamp_ms{deadline});
            r.wheel.cancel(1);
        }
    }
}

namespace {

enum class action : std::uint8_t { arm, move_later, cancel, advance_little, advance_much, advance_turns, starve };
struct step {
    action what;
    std::uint32_t index;
    std::uint32_t amount;
};

void expect(bool holds, char const* what) {
    if (!holds) RC_FAIL(what);
}

// A wheel beside a multimap of true deadlines in 64-bit time. Whatever the order of calls: nothing fires before its deadline,
// nothing that is a slot overdue stays when the budget sufficed, and nothing is lost.
template <class Wheel, std::uint32_t SlotMs>
class wheel_with_model {
  public:
    static constexpr std::uint32_t count = 24;

    explicit wheel_with_model(std::uint32_t start) : start_(start), rig_(count, {start}) {}

    void apply(step const& s) {
        std::uint32_t const i = s.index % count;
        switch (s.what) {
            case action::arm: return arm(i, s.amount % (5 * Wheel::horizon_ms / 2));
            case action::move_later: return move_later(i, s.amount % Wheel::horizon_ms);
            case action::cancel: return cancel(i);
            case action::advance_little: return advance(s.amount % (3 * SlotMs), plenty);
            case action::advance_much: return advance(s.amount % Wheel::horizon_ms, plenty);
            case action::advance_turns: return advance(s.amount % (4 * Wheel::horizon_ms), plenty);
            case action::starve: return advance(s.amount % (2 * Wheel::horizon_ms), s.amount % 4);
        }
    }
    void drain() {
        for (int rounds = 0; !deadlines_.empty(); ++rounds) {
            expect(rounds < 1000, "the wheel drains");
            std::optional<stamp_ms> const next = rig_.wheel.next_deadline();
            expect(next.has_value(), "an armed entry has a next deadline");
            advance(static_cast<std::uint32_t>(std::max(*next - rig_.wheel.now(), 0)), plenty);
        }
        expect(rig_.wheel.size() == 0 && !rig_.wheel.next_deadline(), "an empty wheel has no next deadline");
    }

  private:
    using model = std::multimap<std::uint64_t, std::uint32_t>;

    [[nodiscard]] stamp_ms stamp(std::uint64_t ms) const { return stamp_ms{start_} + static_cast<std::uint32_t>(ms); }
    model::iterator at(std::uint32_t i) {
        return std::find_if(deadlines_.begin(), deadlines_.end(), [i](auto const& d) { return d.second == i; });
    }
    void arm(std::uint32_t i, std::uint32_t ahead) {
        if (auto const known = at(i); known != deadlines_.end()) deadlines_.erase(known);
        deadlines_.emplace(now_ + ahead, i);
        rig_.arm(i, stamp(now_ + ahead));
    }
    void move_later(std::uint32_t i, std::uint32_t by) {
        auto const known = at(i);
        if (known == deadlines_.end()) return;
        std::uint64_t const later = known->first + by;
        deadlines_.erase(known);
        deadlines_.emplace(later, i);
        rig_.entries[i].deadline = stamp(later);
    }
    void cancel(std::uint32_t i) {
        if (auto const known = at(i); known != deadlines_.end()) deadlines_.erase(known);
        rig_.wheel.cancel(i);
        expect(!rig_.wheel.armed(i), "a cancelled entry is not armed");
    }
    void advance(std::uint32_t by, std::uint32_t budget) {
        now_ += by;
        std::uint32_t const calls = rig_.advance(stamp(now_), budget);
        expect(calls <= budget, "the budget holds");
        for (std::uint32_t const i : rig_.take_fired()) {
            auto const known = at(i);
            expect(known != deadlines_.end(), "only an armed entry fires, and once");
            expect(known->first <= now_, "nothing fires early");
            deadlines_.erase(known);
        }
        expect(rig_.wheel.size() == deadlines_.size(), "no entry is lost");
        if (calls < budget && !deadlines_.empty())
            expect(deadlines_.begin()->first + SlotMs > now_, "nothing is a slot late once the budget sufficed");
    }

    std::uint32_t start_;
    std::uint64_t now_ = 0;
    rig<Wheel> rig_;
    model deadlines_;
};

rc::Gen<std::vector<step>> steps() {
    return rc::gen::container<std::vector<step>>(rc::gen::map(
        rc::gen::tuple(rc::gen::inRange(0, 7), rc::gen::arbitrary<std::uint32_t>(),
                       rc::gen::inRange<std::uint32_t>(0, 10'000'000)),
        [](auto const& t) { return step{static_cast<action>(std::get<0>(t)), std::get<1>(t), std::get<2>(t)}; }));
}

template <class Wheel, std::uint32_t SlotMs>
void behaves_like_a_multimap() {
    wheel_with_model<Wheel, SlotMs> pair(*rc::gen::element(0u, 1u, 63u, 0x7fff'ff00u, 0xffff'ff00u, 0xffff'ffffu));
    for (step const& s : *steps()) pair.apply(s);
    pair.drain();
}

}  // namespace

TEST_CASE("a wheel fires what an ordered map of deadlines would, at most a slot later, whatever happens in between") {
    CHECK(rc::check("64 ms, 4096 slots", [] { behaves_like_a_multimap<wheel_type, 64>(); }));
    CHECK(rc::check("4 ms, 64 slots", [] { behaves_like_a_multimap<small_wheel, 4>(); }));
}
