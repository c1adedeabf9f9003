// SPDX-License-Identifier: BSL-1.0
// Two half proxies side by side, the active one and the standby, and a link between them that may lose, repeat and disorder frames.
#pragma once

#include "tests/support/nat_lab.hpp"
#include "tests/support/splice.hpp"

#include <halfproxy/engine/service_engine.hpp>
#include <halfproxy/sync/sync_receiver.hpp>
#include <halfproxy/sync/sync_sender.hpp>

#include <deque>
#include <map>

namespace halfproxy::test {

/// With everything an engine can have; what is not configured is not there.
using synced_policies = policies<admit_by_guard, virtual_services<address_plan>, sync_tap>;
using synced_engine = engine<synced_policies>;

struct synced_config {
    engine_config engine = impatient();
    nat_config nat{};
    services_config services{};
    std::uint32_t removals = 64;
};

inline siphash_key const sync_key{0x0706'0504'0302'0100, 0x0f0e'0d0c'0b0a'0908};

/// One of the two.
struct synced_node {
    explicit synced_node(synced_config const& c)
        : journal(c.engine.limits, c.removals),
          line(c.engine, {}, synced_policies{{}, virtual_services<address_plan>(c.services, c.engine.limits, 1, address_plan(c.nat, c.engine.limits)), sync_tap(journal)}) {}

    sync_journal journal;
    timeline<synced_policies> line;

    [[nodiscard]] synced_engine& proxy() { return line.proxy(); }
    [[nodiscard]] virtual_services<address_plan>& addresses() { return proxy().policies().addresses; }
    [[nodiscard]] time_point now() const { return time_point(std::chrono::milliseconds(1'000'000 + line.now_ms())); }

    /// All that can be told, in an order of its own, without what grows old.
    template <class Address>
    [[nodiscard]] std::vector<flow_state<Address>> told() {
        std::vector<flow_state<Address>> all;
        for (std::uint32_t n = 0; n < proxy().template flow_limit<Address>(); ++n)
            if (auto s = proxy().template state_of<Address>(n)) {
                s->idle_ms = s->age_ms = 0;
                s->packets = {};
                s->tcp.end = {};
                s->client_timestamp = 0;
                all.push_back(*s);
            }
        std::sort(all.begin(), all.end(), [](auto const& a, auto const& b) {
            auto const order = [](auto const& t) { return std::tie(t.source, t.destination, t.source_port, t.destination_port); };
            return std::pair(a.key.protocol, order(a.key.tuple)) < std::pair(b.key.protocol, order(b.key.tuple));
        });
        return all;
    }
    [[nodiscard]] std::uint64_t ports_held(std::uint8_t protocol) {
        std::uint64_t sum = 0;
        addresses().next().for_each_pool([&](std::uint32_t, std::uint8_t p, auto const& pool) { sum += p == protocol ? pool.held() : 0; });
        return sum;
    }
};

using sync_bytes = std::vector<std::uint8_t>;

/// What the link does to a frame: how often it arrives.
using link_fate = std::function<unsigned(bool to_standby, sync_bytes const&)>;

struct synced_pair {
    using sender_type = sync_sender<synced_engine>;
    using receiver_type = sync_receiver<synced_engine>;

    explicit synced_pair(synced_config const& c = {}, sync_sender_config const& how = {}, std::optional<synced_config> const& other = {})
        : config(c), standby_config(other.value_or(c)), sending(how), active(std::make_unique<synced_node>(c)), standby(std::make_unique<synced_node>(standby_config)) {
        sending.key = sync_key;
        restart_sender();
        restart_receiver();
    }

    synced_config config, standby_config;
    sync_sender_config sending;
    std::unique_ptr<synced_node> active, standby;
    std::unique_ptr<sender_type> sender;
    std::unique_ptr<receiver_type> receiver;
    link_fate fate = [](bool, sync_bytes const&) { return 1u; };
    std::deque<sync_bytes> to_standby, to_active;
    std::map<std::size_t, unsigned> lengths{};  ///< of frames to the standby

    void restart_sender() {
        sending.instance = instances_ += 1'000'003;
        sender = std::make_unique<sender_type>(sending, active->proxy(), active->journal);
    }
    void restart_receiver() { receiver = std::make_unique<receiver_type>(sync_receiver_config{sync_key, instances_ += 1'000'003}, standby->proxy(), standby->journal); }
    /// The process died: nothing is left of what it knew.
    void lose_standby() {
        std::uint64_t const ms = standby->line.now_ms();
        receiver.reset();
        standby = std::make_unique<synced_node>(standby_config);
        standby->line.at(ms);
        restart_receiver();
    }
    void lose_active() {
        std::uint64_t const ms = active->line.now_ms();
        sender.reset();
        active = std::make_unique<synced_node>(config);
        active->line.at(ms);
        restart_sender();
    }

    void send(bool standby_side, byte_view frame) {
        sync_bytes bytes(frame.begin(), frame.end());
        for (unsigned n = fate(standby_side, bytes); n != 0; --n) (standby_side ? to_standby : to_active).push_back(bytes);
        if (standby_side) ++lengths[bytes.size()];
    }
    void deliver_one(bool standby_side, std::size_t which = 0) {
        auto& queue = standby_side ? to_standby : to_active;
        sync_bytes const bytes = queue[which];
        queue.erase(queue.begin() + static_cast<std::ptrdiff_t>(which));
        if (standby_side)
            receiver->hear(bytes, standby->now(), [this](byte_view f) { send(false, f); });
        else
            sender->hear(bytes, active->now());
    }
    /// One step of the sender, and all that comes of it.
    void step() {
        sender->step(active->now(), [this](byte_view f) { send(true, f); });
        while (!to_standby.empty() || !to_active.empty()) {
            while (!to_standby.empty()) deliver_one(true);
            while (!to_active.empty()) deliver_one(false);
        }
    }
    /// Time passes for both.
    void after(std::uint64_t ms) {
        active->line.after(ms);
        standby->line.after(ms);
    }
    /// So many steps, 10 ms apart.
    void run(unsigned steps = 5) {
        for (; steps != 0; --steps) {
            step();
            after(10);
        }
    }
    /// The same packet through both, as if the standby were the one: what leaves is the same, byte by byte.
    decoded same(side at, byte_string const& frame_bytes) {
        outcome const a = active->line.sends(at, frame_bytes);
        outcome const b = standby->line.sends(at, frame_bytes);
        CHECK(b.reason == drop_reason::none);
        REQUIRE(a.fate == b.fate);
        REQUIRE(a.packet);
        REQUIRE(b.packet);
        CHECK(a.packet->bytes == b.packet->bytes);
        return *b.packet;
    }
    [[nodiscard]] bool equal() {
        return active->told<std::uint32_t>() == standby->told<std::uint32_t>() && active->told<ipv6_bytes>() == standby->told<ipv6_bytes>();
    }

  private:
    std::uint64_t instances_ = 0x1234'5678'9abc'0000;
};

}  // namespace halfproxy::test

extern template class halfproxy::engine<halfproxy::test::synced_policies>;  // in synced.cpp: it takes long to compile
