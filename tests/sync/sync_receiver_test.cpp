// SPDX-License-Identifier: BSL-1.0
// What is heard: in order, once, of this session, from who has the key. And links that lose, repeat and disorder.
#include <halfproxy/sync/sync_receiver.hpp>

#include "tests/support/synced.hpp"

#include <halfproxy/core/random.hpp>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

world_of const w;

void converse(synced_pair& p, end const& client, end const& server) {
    for (int i = 0; i < 2; ++i) p.active->line.sends(side::inside, ethernet(udp_datagram(client, server)));
    outcome const again = p.active->line.sends(side::inside, ethernet(udp_datagram(client, server)));
    if (again.packet) p.active->line.sends(side::outside, ethernet(udp_datagram(server, source_of(*again.packet))));
}

}  // namespace

TEST_CASE("a frame of an earlier session, kept and sent again, changes nothing, whoever was restarted since") {
    synced_pair p;
    std::vector<sync_bytes> kept;
    p.fate = [&](bool to_standby, sync_bytes const& bytes) {
        if (to_standby) kept.push_back(bytes);
        return 1u;
    };
    converse(p, w.inside(1, 4000), w.outside(9, 53));
    p.run();
    p.active->line.after(400'000);
    p.run();
    REQUIRE(p.standby->proxy().flows_now() == 0);
    p.lose_active();
    p.run();
    std::vector<sync_bytes> const old = kept;
    sync_receiver_counters const before = p.receiver->counters();
    std::vector<sync_bytes> answers;
    for (sync_bytes const& frame : old) p.receiver->hear(frame, p.standby->now(), [&](byte_view a) { answers.emplace_back(a.begin(), a.end()); });
    CHECK(p.standby->proxy().flows_now() == 0);
    CHECK(p.receiver->counters().frames == before.frames);
    CHECK(p.receiver->caught_up());
    for (sync_bytes const& a : answers) p.sender->hear(a, p.active->now());  // and nobody is led astray by what it answers
    CHECK(p.sender->stage() == sync_stage::following);
    p.lose_standby();
    for (sync_bytes const& frame : old) p.receiver->hear(frame, p.standby->now(), [](byte_view) {});
    CHECK(p.standby->proxy().flows_now() == 0);
    CHECK(p.receiver->counters().frames == 0);
    CHECK(p.receiver->counters().replayed + p.receiver->counters().greetings == old.size());
    CHECK_FALSE(p.receiver->caught_up());
}

TEST_CASE("frames that are forged, cut or for somebody else count under their reason, and nothing is answered") {
    synced_pair p;
    p.run();
    unsigned answered = 0;
    auto const hears = [&](sync_bytes const& bytes) { p.receiver->hear(bytes, p.standby->now(), [&](byte_view) { ++answered; }); };
    sync_bytes kept;
    p.fate = [&](bool to_standby, sync_bytes const& bytes) {
        if (to_standby) kept = bytes;
        return 0u;
    };
    converse(p, w.inside(1, 4000), w.outside(9, 53));
    p.step();
    REQUIRE(kept.size() > shortest_sync_frame);
    for (std::size_t n = 0; n < kept.size(); ++n) {
        hears({kept.begin(), kept.begin() + static_cast<std::ptrdiff_t>(n)});
        sync_bytes changed = kept;
        changed[n] ^= 0x10;
        hears(changed);
    }
    auto const& faults = p.receiver->counters().faults;
    CHECK(faults[static_cast<std::size_t>(sync_fault::length)] == shortest_sync_frame);
    CHECK(faults[static_cast<std::size_t>(sync_fault::foreign)] == 2);
    CHECK(faults[static_cast<std::size_t>(sync_fault::version)] == 1);
    CHECK(faults[static_cast<std::size_t>(sync_fault::unauthenticated)] == kept.size() - 3 + kept.size() - shortest_sync_frame);
    sync_bytes answer(shortest_sync_frame);
    sync_writer made(answer, {.kind = sync_kind::answer, .sender = 1, .receiver = 2, .number = 3});
    REQUIRE(made.finish(sync_key) == answer.size());
    hears(answer);
    CHECK(p.receiver->counters().misdirected == 1);
    CHECK(answered == 0);
    CHECK(p.standby->proxy().flows_now() == 0);
    hears(kept);
    CHECK(answered == 1);
    CHECK(p.standby->proxy().flows_now() == 1);
    hears(kept);
    CHECK(answered == 2);
    CHECK(p.receiver->counters().duplicate == 1);
}

TEST_CASE("a frame that comes before its turn is not applied, and comes again") {
    synced_pair p;
    p.run();
    std::vector<sync_bytes> held;
    p.fate = [&](bool to_standby, sync_bytes const& bytes) {
        if (to_standby) held.push_back(bytes);
        return to_standby ? 0u : 1u;
    };
    for (unsigned n = 0; n < 3; ++n) {
        converse(p, w.inside(1, 4000 + n), w.outside(9, 53));
        p.step();
    }
    REQUIRE(held.size() == 3);
    p.fate = [](bool, sync_bytes const&) { return 1u; };
    for (std::size_t const n : {2u, 1u}) p.receiver->hear(held[n], p.standby->now(), [](byte_view) {});
    CHECK(p.receiver->counters().ahead == 2);
    CHECK(p.standby->proxy().flows_now() == 0);
    p.run(20);
    CHECK(p.equal());
}

TEST_CASE("a flow that stands in the way of a newer one is replaced, but not one that lives here or is our own") {
    synced_config c;
    c.nat = napt(w);
    c.removals = 0;  // every end is lost, so that all is told anew
    synced_pair p(c);
    auto const flow = [](unsigned host) { return w.inside(host, 4000); };
    converse(p, flow(1), w.outside(9, 53));
    p.run();
    REQUIRE(p.standby->proxy().flows_now() == 1);
    p.lose_active();  // which begins anew, so that the same client gets another port
    converse(p, flow(2), w.outside(9, 53));
    converse(p, flow(1), w.outside(9, 53));
    p.run();
    CHECK(p.receiver->counters().replaced >= 1);
    CHECK(p.equal());
}

TEST_CASE("when what is swept may have held what others were refused for, all is heard once more, and then it is complete") {
    synced_config c;
    c.nat = napt(w, {2000, 2003});
    c.nat.linger.udp = 0;
    synced_pair p(c);
    for (unsigned n = 1; n <= 4; ++n) converse(p, w.inside(n, 4000), w.outside(9, 53));  // all ports
    p.run();
    REQUIRE(p.standby->ports_held(17) == 4);
    p.lose_active();
    for (unsigned n = 11; n <= 14; ++n) converse(p, w.inside(n, 4000), w.outside(8, 53));
    p.run(20);
    CHECK(p.receiver->counters().adoptions[static_cast<std::size_t>(adoption::port_taken)] == 4);
    CHECK(p.receiver->counters().swept == 4);
    CHECK(p.sender->counters().restarted == 1);
    CHECK(p.receiver->caught_up());
    CHECK(p.receiver->counters().caught_up == 2);
    CHECK(p.equal());
    CHECK(p.standby->ports_held(17) == 4);
}

TEST_CASE("a standby with less room takes what it can, says how much it refused, and is told again") {
    synced_config small;
    small.engine.limits.flows_v4 = 5;
    synced_pair p({}, {.refresh_every = 60'000}, small);
    for (unsigned n = 0; n < 8; ++n) converse(p, w.inside(1, 4000 + n), w.outside(9, 53));
    p.run();
    CHECK(p.standby->proxy().flows_now() == 5);
    CHECK(p.receiver->refused() == 3);
    CHECK(p.receiver->caught_up());
    for (int n = 0; n < 10; ++n) {
        p.after(5'000);
        p.step();
    }
    CHECK(p.receiver->refused() == 6);
}

TEST_CASE("over a link that loses, repeats and disorders frames both tables become equal, whatever was opened, ended or restarted meanwhile") {
    std::uint64_t lost = 0, resent = 0, duplicate = 0, ahead = 0, removed = 0, overflowed = 0;
    for (std::uint64_t seed = 1; seed <= 12; ++seed) {
        CAPTURE(seed);
        split_mix64 random(seed);
        synced_config c;
        c.engine.timeouts.udp_new = c.engine.timeouts.udp_replied = 1'500;
        c.nat = napt(w, {2000, 2199});
        c.nat.linger = {0, 0, 0, 0};
        c.removals = seed % 3 == 0 ? 1 : 64;
        synced_pair p(c, {.frame_bytes = 300, .window = 4, .resend_after = 40, .refresh_every = 700, .sign_of_life = 100});
        p.active->line.verify_checksums = p.standby->line.verify_checksums = false;
        p.fate = [&](bool, sync_bytes const&) {
            std::uint32_t const dice = random.below(100);
            lost += dice < 25;
            return dice < 25 ? 0u : dice < 35 ? 2u : 1u;
        };
        auto const disorder = [&] {
            p.sender->step(p.active->now(), [&](byte_view f) { p.send(true, f); });
            for (std::uint32_t n = random.below(8); n != 0; --n) {
                bool const side = random.below(2) == 0;
                auto const& queue = side ? p.to_standby : p.to_active;
                if (!queue.empty()) p.deliver_one(side, random.below(static_cast<std::uint32_t>(queue.size())));
            }
        };
        for (int turn = 0; turn < 150; ++turn) {
            if (random.below(2) == 0) converse(p, w.inside(random.below(40), 4000), w.outside(random.below(2), 53));
            disorder();
            p.after(5 + random.below(30));
            if (random.below(60) == 0) p.lose_standby();
            if (random.below(100) == 0) {
                resent += p.sender->counters().resent;
                p.lose_active();
            }
        }
        p.fate = [](bool, sync_bytes const&) { return 1u; };
        for (int turn = 0; turn < 100 && (turn < 5 || !p.equal() || !p.receiver->caught_up()); ++turn) p.run(1);
        CHECK(p.receiver->caught_up());
        CHECK(p.equal());
        CHECK(p.standby->ports_held(17) == p.active->ports_held(17));
        resent += p.sender->counters().resent;
        overflowed += p.sender->counters().overflowed;
        duplicate += p.receiver->counters().duplicate;
        ahead += p.receiver->counters().ahead;
        removed += p.receiver->counters().removed;
    }
    for (std::uint64_t const happened : {lost, resent, duplicate, ahead, removed, overflowed}) CHECK(happened > 0);
    MESSAGE(lost << " lost, " << resent << " sent again, " << duplicate << " twice, " << ahead << " ahead, " << removed << " removed, " << overflowed << " overflows");
}
