// SPDX-License-Identifier: BSL-1.0
// The engine's cost per packet: established flows, a SYN flood, ACKs with and without a valid cookie, whole connections.
//
// Each iteration is one batch of 1024 frames, given to process() 64 at a time. What lies between batches is not timed: frames are built
// (new segments, in order) or restored, and every verdict and rewritten number is checked. Both clocks are read twice per batch,
// under 1 % of it. established/* runs spliced flows, every packet shifted: the dearest kind without address translation;
// established_plain/* those whose SYN was let through.
#include "support/fleet.hpp"
#include "support/flows.hpp"

#include <halfproxy/engine/address_plan.hpp>
#include <halfproxy/engine/engine.hpp>
#include <halfproxy/track/huge_page_memory.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

namespace {

using namespace halfproxy;
using bench::batch;

/// Source NAT to one of 256 addresses and a port, and the virtual server's address to the real one: all four parts change. The
/// client's 24 bits are spread over both, so no two flows get the same answer.
struct nat_all {
    [[nodiscard]] address_answer<std::uint32_t> translate(flow_request<std::uint32_t> const& r, stamp_ms) noexcept {
        auto const port = static_cast<std::uint16_t>(r.tuple.source);
        std::uint32_t const pool = port != 0 ? 0x0ac8'0000u : 0x0ac9'0000u;
        return {{pool | (r.tuple.source >> 16 & 0xffu), 0x0a01'0001u, port != 0 ? port : std::uint16_t{1}, 8443}};
    }
    [[nodiscard]] address_answer<ipv6_bytes> translate(flow_request<ipv6_bytes> const& r, stamp_ms) noexcept {
        ipv6_tuple t = r.tuple;
        t.source[0] = 0xfd;
        t.destination[0] = 0xfd;
        t.destination_port = 8443;
        return {t};
    }
};

using plain_engine = engine<>;
using nat_all_engine = engine<policies<admit_by_guard, nat_all, no_observer>>;

template <class Address>
inline constexpr bool is_v4 = std::is_same_v<Address, std::uint32_t>;

[[nodiscard]] engine_config config_for(bool v4, std::uint32_t flows, guard_mode mode) {
    engine_config c;
    c.guard.mode = mode;
    c.limits.flows_v4 = v4 ? flows : 1;
    c.limits.flows_v6 = v4 ? 1 : flows;
    c.secret = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};
    c.memory = memory_source::of<huge_page_memory>();
    c.seed = 0x0123'4567'89ab'cdefu;
    return c;
}

/// How flow `id` looks to its server.
template <class Engine, class Address>
[[nodiscard]] flow_tuple<Address> server_side(std::uint32_t id) {
    flow_tuple<Address> const t = bench::client_tuple<Address>(id);
    if constexpr (std::is_same_v<Engine, nat_all_engine>)
        return nat_all{}.translate(flow_request<Address>{t, 0, ip_protocol::tcp, side::outside, true}, {}).server_tuple;
    else
        return t;
}

template <class Engine, class Address>
struct fixture : bench::fleet<Engine, Address> {
    std::uint32_t flows;
    bench::random_order order;
    bool whole;

    explicit fixture(std::uint32_t n, bool opened = true) : fixture(n, guard_mode::always) { whole = !opened || open_all(); }

  protected:
    fixture(std::uint32_t n, guard_mode mode)
        : bench::fleet<Engine, Address>(config_for(is_v4<Address>, n, mode), n), flows(n), order(n), whole(false) {}

  public:

    [[nodiscard]] bool open_all() {
        for (std::uint32_t first = 0; first < flows; first += batch) {
            std::uint32_t const last = std::min<std::uint32_t>(first + batch, flows);
            prepare_syns(first, last);
            this->run();
            prepare_acks(first, last);
            this->run();
            if (!this->all(verdict::forward)) return false;
            prepare_syn_acks(first, last);
            this->run();
            if (!this->all(verdict::forward) || this->out().frames().size() != last - first) return false;
        }
        return this->engine().flows_now() == flows;
    }
    void prepare_syns(std::uint32_t first, std::uint32_t last) {
        prepare(first, last, [this](std::uint32_t id) { this->client_syn(id); });
    }
    /// Behind a run of the same clients' SYNs, whose answers stand in the ring.
    void prepare_acks(std::uint32_t first, std::uint32_t last) {
        for (std::uint32_t id = first; id < last; ++id) this->note_cookie(id, id - first);
        prepare(first, last, [this](std::uint32_t id) { this->client_sends(id, 0); });
    }
    void prepare_syn_acks(std::uint32_t first, std::uint32_t last) {
        prepare(first, last, [this](std::uint32_t id) { this->server_syn_ack(id, server_side<Engine, Address>(id)); });
    }
    void prepare(std::uint32_t first, std::uint32_t last, auto&& frame_of) {
        this->ring().clear();
        for (std::uint32_t id = first; id < last; ++id) frame_of(id);
    }
};

/// Connections whose SYN was let through: the server's numbers are the client's.
template <class Engine, class Address>
struct plain_fixture : fixture<Engine, Address> {
    explicit plain_fixture(std::uint32_t n) : fixture<Engine, Address>(n, guard_mode::off) { this->whole = open_plainly(); }

    [[nodiscard]] bool open_plainly() {
        for (std::uint32_t first = 0; first < this->flows; first += batch) {
            std::uint32_t const last = std::min<std::uint32_t>(first + batch, this->flows);
            this->prepare_syns(first, last);
            this->run();
            for (std::uint32_t id = first; id < last; ++id) this->note_plain(id);
            this->prepare_syn_acks(first, last);
            this->run();
            this->prepare(first, last, [this](std::uint32_t id) { this->client_sends(id, 0); });
            this->run();
            if (!this->all(verdict::forward)) return false;
        }
        return this->engine().flows_now() == this->flows && this->engine().half_open() == 0;
    }
};

constexpr std::int64_t batch_packets = static_cast<std::int64_t>(batch);

/// Whether the batch left with the other end's numbers.
template <class Fixture>
[[nodiscard]] bool translated(Fixture& f, std::array<std::uint32_t, batch> const& ids) {
    for (std::size_t i = 0; i < batch; ++i) {
        packet_view const p = parse<link_type::ethernet>(f.ring().frames()[i].bytes());
        // The connection has moved on by later frames of the batch; the distance is under what one batch can send.
        std::uint32_t const shift = f.at(ids[i]).shift;
        bool const from_server = f.ring().frames()[i].arrival == side::inside;
        std::uint32_t const number = from_server ? p.tcp().sequence.value() - shift : p.tcp().acknowledgment.value();
        if (f.at(ids[i]).server_next.value - number > 100 * batch) return false;
    }
    return true;
}

// 100-byte data from the server, 76-byte data from the client, each also acknowledging: from either end at random.
template <class Engine, class Address, template <class, class> class Fixture = fixture>
void established(benchmark::State& state, std::uint32_t flows) {
    auto& f = bench::built_once<Fixture<Engine, Address>>(flows);
    if (!f.whole) return state.SkipWithError("not every connection was opened");
    std::array<std::uint32_t, batch> ids;
    std::uint32_t round = 0;
    for (auto _ : state) {
        state.PauseTiming();
        ++round;
        f.ring().clear();
        for (std::size_t i = 0; i < batch; i += bench::burst) std::copy_n(f.order.next_burst(), bench::burst, &ids[i]);
        for (std::uint32_t const id : ids) {
            if (((id * 0x9e37'79b1u >> 13 ^ round) & 1u) != 0)
                f.client_sends(id, 10);
            else
                f.server_sends(id, server_side<Engine, Address>(id), 34);
        }
        state.ResumeTiming();
        f.run();
        state.PauseTiming();
        if (!f.all(verdict::forward)) return state.SkipWithError("a packet was not forwarded");
        if (!translated(f, ids)) return state.SkipWithError("a packet has the wrong numbers");
        state.ResumeTiming();
    }
    state.SetItemsProcessed(state.iterations() * batch_packets);
}

// SYNs with the options of a Linux client (74 bytes over IPv4), each from another source.
template <class Address>
void syn_cookie(benchmark::State& state) {
    bench::fleet<plain_engine, Address> f(config_for(is_v4<Address>, 1024, guard_mode::always), batch);
    for (std::uint32_t id = 0; id < batch; ++id) f.client_syn(id);
    f.ring().keep();
    for (auto _ : state) {
        state.PauseTiming();
        f.ring().restore();
        state.ResumeTiming();
        f.run();
        state.PauseTiming();
        if (!f.all(verdict::reply)) return state.SkipWithError("a SYN was not answered");
        state.ResumeTiming();
    }
    packet_view const last = parse<link_type::ethernet>(f.ring().frames().back().bytes());
    if (last.tcp().flags != (tcp_flag::syn | tcp_flag::ack) || f.engine().flows_peak() != 0)
        return state.SkipWithError("the answers are no cookies");
    state.SetItemsProcessed(state.iterations() * batch_packets);
}

// ACKs with timestamps that acknowledge nothing of ours.
template <class Address>
void ack_invalid(benchmark::State& state) {
    bench::fleet<plain_engine, Address> f(config_for(is_v4<Address>, 100'000, guard_mode::always), batch);
    for (std::uint32_t id = 0; id < batch; ++id) {
        f.at(id) = {seq_num{id * 69'069u}, seq_num{id * 40'503u}, 0, 0};
        f.client_sends(id, 0);
    }
    f.ring().keep();
    for (auto _ : state) {
        state.PauseTiming();
        f.ring().restore();
        state.ResumeTiming();
        f.run();
        state.PauseTiming();
        if (!f.all(verdict::drop, drop_reason::cookie_invalid)) return state.SkipWithError("an ACK was not refused");
        state.ResumeTiming();
    }
    state.SetItemsProcessed(state.iterations() * batch_packets);
}

// Cookies that come back: each opens a flow and becomes the SYN to the server. Untimed: the SYNs before, and the servers' RSTs
// behind, which end the flows.
template <class Address>
void ack_valid(benchmark::State& state) {
    fixture<plain_engine, Address> f(batch, false);
    for (auto _ : state) {
        state.PauseTiming();
        f.prepare_syns(0, batch);
        f.run();
        f.prepare_acks(0, batch);
        state.ResumeTiming();
        f.run();
        state.PauseTiming();
        if (!f.all(verdict::forward) || f.engine().flows_now() != batch) return state.SkipWithError("a cookie was refused");
        f.prepare(0, batch, [&](std::uint32_t id) { f.server_refuses(id); });
        f.run();
        if (f.engine().flows_now() != 0) return state.SkipWithError("a refused connection is still there");
        state.ResumeTiming();
    }
    state.SetItemsProcessed(state.iterations() * batch_packets);
}

/// The untimed preparation of a step, its timed run, and whether all its packets left.
template <class Fixture>
bool timed_step(benchmark::State& state, Fixture& f, verdict outcome, auto&& prepare) {
    prepare();
    state.ResumeTiming();
    f.run();
    state.PauseTiming();
    return f.all(outcome);
}

// A whole connection: SYN, cookie, ACK, the server's SYN-ACK, a request, a response, both FINs, and the timer that forgets
// it: nine received packets, time per packet.
template <class Address>
void lifecycle(benchmark::State& state) {
    fixture<plain_engine, Address> f(batch, false);
    constexpr std::uint8_t fin = tcp_flag::fin | tcp_flag::ack;
    auto const server = [](std::uint32_t id) { return server_side<plain_engine, Address>(id); };
    auto const step = [&](verdict outcome, auto&& frame_of) {
        return timed_step(state, f, outcome, [&] { f.prepare(0, batch, frame_of); });
    };
    for (auto _ : state) {
        state.PauseTiming();
        bool good = timed_step(state, f, verdict::reply, [&] { f.prepare_syns(0, batch); });
        good &= timed_step(state, f, verdict::forward, [&] { f.prepare_acks(0, batch); });
        good &= timed_step(state, f, verdict::forward, [&] { f.prepare_syn_acks(0, batch); });
        good &= step(verdict::forward, [&](std::uint32_t id) { f.client_sends(id, 30); });
        good &= step(verdict::forward, [&](std::uint32_t id) { f.server_sends(id, server(id), 34); });
        good &= step(verdict::forward, [&](std::uint32_t id) { f.client_sends(id, 0); });
        good &= step(verdict::forward, [&](std::uint32_t id) { f.client_sends(id, 0, fin); });
        good &= step(verdict::forward, [&](std::uint32_t id) { f.server_sends(id, server(id), 0, fin); });
        good &= step(verdict::forward, [&](std::uint32_t id) { f.client_sends(id, 0); });
        if (!good || f.engine().flows_now() != batch) return state.SkipWithError("a packet was not let through");
        f.pass(std::chrono::minutes(5));
        state.ResumeTiming();
        for (int calls = 0; calls < 1000 && f.engine().flows_now() != 0; ++calls) f.advance();
        if (f.engine().flows_now() != 0) return state.SkipWithError("flows outlive their timeout");
    }
    state.SetItemsProcessed(state.iterations() * batch_packets * 9);
}

/// Source NAT of every client through one pool of four addresses.
template <class Address>
[[nodiscard]] address_plan napt(limits_config const& limits, nat_mapping mapping, bool share) {
    nat_config nat;
    snat_rule rule;
    rule.origin = flow_origin::outside;
    rule.pool = {is_v4<Address> ? ip_prefix{ip_address::v4(0xcb00'7104), 30} : ip_prefix{ip_address::v6({0xfd, 1}), 126}};
    rule.mapping = mapping;
    rule.share_ports = share;
    nat.snat = {rule};
    nat.linger = {0, 0, 0, 0};
    return address_plan(nat, limits);
}

// SYNs that open flows through a plan with a pool: a mapping is made, a port given, the SYN rewritten. Each client is another one. Untimed: the flows'
// end by their timeout, which gives the ports back.
template <class Address>
void new_nat(benchmark::State& state, nat_mapping mapping, bool share) {
    engine_config const config = config_for(is_v4<Address>, 65'536, guard_mode::off);
    bench::fleet<nat_engine, Address> f(config, 65'536, policies<admit_by_guard, address_plan>{{}, napt<Address>(config.limits, mapping, share), {}});
    std::uint32_t next = 0;
    for (auto _ : state) {
        state.PauseTiming();
        f.ring().clear();
        for (std::size_t i = 0; i < batch; ++i) f.client_syn(next++ % 65'536);
        state.ResumeTiming();
        f.run();
        state.PauseTiming();
        if (!f.all(verdict::forward) || f.engine().flows_now() != batch) return state.SkipWithError("a flow was not opened");
        if (f.engine().policies().addresses.template bindings<Address>().size() != batch) return state.SkipWithError("a mapping is missing");
        f.pass(std::chrono::minutes(5));
        for (int calls = 0; calls < 1000 && f.engine().flows_now() != 0; ++calls) f.advance();
        if (f.engine().policies().addresses.template bindings<Address>().size() != 0) return state.SkipWithError("a mapping outlives its flow");
        state.ResumeTiming();
    }
    state.SetItemsProcessed(state.iterations() * batch_packets);
}

template <class Address>
void add_family(std::string const& family) {
    auto const add_one = [&](std::string const& name, auto* function) {
        benchmark::RegisterBenchmark((name + "/" + family).c_str(), function);
    };
    for (std::uint32_t const flows : bench::flow_counts)
        bench::add("engine/established/" + family, flows, established<plain_engine, Address>);
    for (std::uint32_t const flows : bench::flow_counts)
        bench::add("engine/established_plain/" + family, flows, established<plain_engine, Address, plain_fixture>);
    for (std::uint32_t const flows : bench::flow_counts)
        bench::add("engine/established_nat/" + family, flows, established<nat_all_engine, Address>);
    add_one("engine/syn_cookie", syn_cookie<Address>);
    add_one("engine/ack_valid", ack_valid<Address>);
    add_one("engine/ack_invalid", ack_invalid<Address>);
    add_one("engine/lifecycle", lifecycle<Address>);
    auto const add_nat = [&](std::string const& name, nat_mapping mapping, bool share) {
        benchmark::RegisterBenchmark((name + "/" + family).c_str(), new_nat<Address>, mapping, share);
    };
    add_nat("engine/new_nat", nat_mapping::endpoint_independent, false);
    add_nat("engine/new_nat_by_remote", nat_mapping::address_and_port_dependent, false);
    add_nat("engine/new_nat_shared_ports", nat_mapping::address_and_port_dependent, true);
}

}  // namespace

int main(int argc, char** argv) {
    add_family<std::uint32_t>("v4");
    add_family<ipv6_bytes>("v6");
    return bench::run(argc, argv);
}
