// SPDX-License-Identifier: BSL-1.0
// What is sent, when, and again: frames, sessions, windows, and what the other end or the journal can do to them.
#include <halfproxy/sync/sync_sender.hpp>

#include "tests/support/synced.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

world_of const w;

/// UDP conversations, each of three packets.
void open(synced_pair& p, unsigned first, unsigned count) {
    for (unsigned n = first; n < first + count; ++n) {
        end const client = w.inside(1 + n / 30'000, 1'000 + n % 30'000), server = w.outside(9, 53);
        for (int i = 0; i < 2; ++i) p.active->line.sends(side::inside, ethernet(udp_datagram(client, server)));
        p.active->line.sends(side::outside, ethernet(udp_datagram(server, client)));
    }
}
synced_config roomy(std::uint32_t flows) {
    synced_config c;
    c.engine.limits.flows_v4 = flows;
    return c;
}

}  // namespace

TEST_CASE("a flow is added, told again at its pace, and removed; the other hears each") {
    synced_pair p({}, {.refresh_every = 1'000});
    p.run();
    CHECK(p.sender->stage() == sync_stage::following);
    CHECK(p.receiver->caught_up());
    open(p, 0, 1);
    p.step();
    CHECK(p.sender->counters().added == 1);
    CHECK(p.receiver->counters().adoptions[static_cast<std::size_t>(adoption::adopted)] == 1);
    p.run(500);
    CHECK(p.sender->counters().added == 1);
    CHECK(p.sender->counters().refreshed >= 4);
    CHECK(p.sender->counters().refreshed <= 6);
    CHECK(p.receiver->counters().adoptions[static_cast<std::size_t>(adoption::refreshed)] == p.sender->counters().refreshed);
    p.active->line.after(200'000);
    p.step();
    CHECK(p.sender->counters().removed == 1);
    CHECK(p.receiver->counters().removed == 1);
    CHECK(p.standby->proxy().flows_now() == 0);
}

TEST_CASE("a thousand flows are told in few frames, none longer than allowed, and not more on their way than the window holds") {
    synced_pair p(roomy(2'000), {.window = 8});
    open(p, 0, 1'000);
    std::uint32_t most = 0;
    while (!p.receiver->caught_up()) {
        p.sender->step(p.active->now(), [&](byte_view f) { p.send(true, f); });
        most = std::max(most, p.sender->on_their_way());
        while (!p.to_standby.empty()) p.deliver_one(true);
        while (!p.to_active.empty()) p.deliver_one(false);
        p.after(1);
    }
    CHECK(most == 8);
    CHECK(p.standby->proxy().flows_now() == 1'000);
    CHECK(p.sender->counters().frames <= 27);  // 35 bytes each, 38 in a frame
    CHECK(p.sender->counters().resent == 0);
    CHECK(p.lengths.rbegin()->first <= 1'400);
    CHECK(p.sender->memory_bytes() < 8 * 1'400 + 1'000);
}

TEST_CASE("what is not acknowledged is sent again, as it was, so often; then the other is taken for lost, and greeted until it answers") {
    synced_pair p({}, {.resend_after = 100, .resends = 3, .sign_of_life = 500});
    p.run();
    open(p, 0, 1);
    std::vector<std::pair<std::uint64_t, sync_bytes>> sent;
    std::uint64_t const begin = p.active->line.now_ms();
    p.fate = [&](bool to_standby, sync_bytes const& bytes) {
        if (to_standby) sent.emplace_back(p.active->line.now_ms() - begin, bytes);
        return 0u;
    };
    for (int n = 0; n < 100; ++n) {
        p.step();
        p.after(10);
    }
    REQUIRE(sent.size() == 6);
    for (std::size_t n = 0; n < 4; ++n) {
        CHECK(sent[n].first == 100 * n);
        CHECK(sent[n].second == sent[0].second);
    }
    CHECK(p.sender->counters().lost == 1);
    CHECK(p.sender->stage() == sync_stage::seeking);
    CHECK(sent[4].first == 410);
    CHECK(sent[5].first == 910);
    CHECK(sent[4].second.size() == shortest_sync_frame);
    p.fate = [](bool, sync_bytes const&) { return 1u; };
    p.after(500);
    p.run();
    CHECK(p.sender->stage() == sync_stage::following);
    CHECK(p.equal());
}

TEST_CASE("when an answer is lost the frame comes again, and is taken once") {
    synced_pair p({}, {.refresh_every = 1'000'000});
    p.run();
    open(p, 0, 3);
    unsigned answers = 0;
    p.fate = [&](bool to_standby, sync_bytes const&) { return to_standby || answers++ != 0 ? 1u : 0u; };
    p.step();
    CHECK(p.sender->on_their_way() == 1);
    p.run(12);
    CHECK(p.sender->on_their_way() == 0);
    CHECK(p.sender->counters().resent == 1);
    CHECK(p.receiver->counters().duplicate == 1);
    CHECK(p.receiver->counters().adoptions[static_cast<std::size_t>(adoption::adopted)] == 3);
    CHECK(p.receiver->counters().adoptions[static_cast<std::size_t>(adoption::refreshed)] == 0);
}

TEST_CASE("an idle sender gives a sign of life, by which it learns that the other was restarted") {
    synced_pair p({}, {.sign_of_life = 1'000});
    p.run();
    std::uint64_t const before = p.sender->counters().frames;
    p.run(300);
    CHECK(p.sender->counters().frames - before == 3);
    p.lose_standby();
    p.run(150);
    CHECK(p.sender->counters().restarted == 1);
    CHECK(p.receiver->caught_up());
}

TEST_CASE("a standby that was restarted is told everything anew") {
    synced_pair p;
    open(p, 0, 20);
    p.run();
    p.lose_standby();
    open(p, 20, 5);
    CHECK(p.standby->proxy().flows_now() == 0);
    p.run(20);
    CHECK(p.sender->counters().restarted == 1);
    CHECK(p.sender->counters().sessions == 2);
    CHECK(p.standby->proxy().flows_now() == 25);
    CHECK(p.equal());
    CHECK(p.receiver->caught_up());
}

TEST_CASE("an active one that was restarted tells what it has, and what it no longer has is swept at the standby") {
    synced_pair p;
    open(p, 0, 20);
    p.run();
    p.lose_active();
    open(p, 10, 15);
    CHECK(p.standby->proxy().flows_now() == 20);  // until everything was told
    p.run();
    CHECK(p.standby->proxy().flows_now() == 15);
    CHECK(p.receiver->counters().swept == 10);
    CHECK(p.receiver->counters().sessions == 2);
    CHECK(p.equal());
}

TEST_CASE("when more flows end than the journal holds, all is told anew") {
    synced_config c = roomy(1'000);
    c.removals = 10;
    synced_pair p(c);
    open(p, 0, 50);
    p.run();
    REQUIRE(p.standby->proxy().flows_now() == 50);
    p.active->line.after(179'000);
    open(p, 100, 5);
    p.active->line.after(2'000);  // the fifty have ended
    REQUIRE(p.active->proxy().flows_now() == 5);
    p.run();
    CHECK(p.sender->counters().overflowed == 1);
    CHECK(p.sender->counters().removed == 0);
    CHECK(p.receiver->counters().swept == 50);
    CHECK(p.equal());
    CHECK(p.sender->stage() == sync_stage::following);
}

TEST_CASE("a tuple that is used again is told as another flow, behind the end of the one before") {
    synced_config c;
    c.nat = napt(w, {2000, 2001});
    c.nat.linger.udp = 0;
    synced_pair p(c);
    auto& line = p.active->line;
    auto const converse = [&](unsigned host) {
        end const client = w.inside(host, 4000), server = w.outside(9, 53);
        end const seen = source_of(*line.sends(side::inside, ethernet(udp_datagram(client, server))).packet);
        line.sends(side::outside, ethernet(udp_datagram(server, seen)));
        line.sends(side::inside, ethernet(udp_datagram(client, server)));
    };
    converse(1);
    converse(2);
    p.run();
    line.after(181'000);
    converse(3);  // their ports
    converse(1);
    p.run();
    CHECK(p.receiver->refused() == 0);
    CHECK(p.receiver->counters().removed == 2);
    CHECK(p.equal());
    CHECK(p.standby->ports_held(17) == 2);
}

TEST_CASE("what a sender hears that is no answer of its session counts under its reason and changes nothing") {
    synced_pair p;
    open(p, 0, 3);
    p.run();
    sync_sender_counters const before = p.sender->counters();
    auto const hears = [&](sync_head const& head, siphash_key const& key = sync_key) {
        sync_bytes room(shortest_sync_frame);
        sync_writer made(room, head);
        REQUIRE(made.finish(key) == room.size());
        p.sender->hear(room, p.active->now());
    };
    std::uint64_t const session = p.sending.instance;
    hears({.kind = sync_kind::flows, .sender = session, .receiver = 1, .number = 1});
    CHECK(p.sender->counters().misdirected == before.misdirected + 1);
    hears({.kind = sync_kind::answer, .sender = session - 1, .receiver = 1, .number = 1});  // of another sender
    hears({.kind = sync_kind::answer, .sender = session + 1, .receiver = 1, .number = 1});
    CHECK(p.sender->counters().answers_old == before.answers_old + 2);
    hears({.kind = sync_kind::answer, .sender = session, .receiver = 1, .number = 1}, {1, 2});
    p.sender->hear(sync_bytes(10), p.active->now());
    CHECK(p.sender->counters().faults[static_cast<std::size_t>(sync_fault::unauthenticated)] == 1);
    CHECK(p.sender->counters().faults[static_cast<std::size_t>(sync_fault::length)] == 1);
    CHECK(p.sender->stage() == sync_stage::following);
    CHECK(p.sender->counters().answers == before.answers);
}

TEST_CASE("an answer that was kept and comes again, or acknowledges what was never sent, is old") {
    synced_pair p;
    std::vector<sync_bytes> answers;
    p.fate = [&](bool to_standby, sync_bytes const& bytes) {
        if (!to_standby) answers.push_back(bytes);
        return 1u;
    };
    for (unsigned n = 0; n < 5; ++n) {
        open(p, n, 1);
        p.step();
    }
    REQUIRE(answers.size() >= 5);
    std::uint64_t const old = p.sender->counters().answers_old;
    for (std::size_t n = 0; n + 1 < answers.size(); ++n) p.sender->hear(answers[n], p.active->now());
    CHECK(p.sender->counters().answers_old == old + answers.size() - 1);
    CHECK(p.sender->on_their_way() == 0);
    sync_reading const last = read_sync_frame(answers.back(), sync_key);
    sync_bytes room(shortest_sync_frame);
    sync_head head = last.head;
    ++head.number;
    sync_writer made(room, head);
    REQUIRE(made.finish(sync_key) == room.size());
    p.sender->hear(room, p.active->now());
    CHECK(p.sender->counters().answers_old == old + answers.size());
    open(p, 5, 1);
    p.step();
    CHECK(p.equal());
}
