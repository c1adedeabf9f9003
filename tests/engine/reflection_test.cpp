// SPDX-License-Identifier: BSL-1.0
// Reflection: no answer to a SYN is longer than the SYN was, so forged sources gain nothing by us.
#include <halfproxy/engine/engine.hpp>

#include "tests/support/splice.hpp"

#include <iterator>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

/// Any SYN: options of any kind and length, tags, data, and the flags a SYN may have beside.
byte_string any_syn(split_mix64& random, endpoints& e) {
    e.version = random.below(2) == 0 ? 4 : 6;
    e.client_port = 1 + static_cast<unsigned>(random.below(65'535));
    segment syn;
    syn.seq = static_cast<std::uint32_t>(random());
    constexpr unsigned beside[] = {0, 0, 0, flags::psh, flags::urg, flags::ece | flags::cwr};
    syn.flags = flags::syn | beside[random.below(std::size(beside))];
    syn.window = static_cast<unsigned>(random.below(65'536));
    std::size_t const option_bytes = 4 * random.below(11);
    while (syn.raw_options.size() < option_bytes) {
        constexpr unsigned known[] = {1, 2, 3, 4, 8, 34, 30, 5, 19, 0};
        unsigned const kind = random.below(4) != 0 ? known[random.below(std::size(known))] : static_cast<unsigned>(random.below(256));
        constexpr unsigned right[] = {1, 1, 4, 3, 2, 10, 0, 0, 10, 0};
        unsigned const length = kind < 9 && random.below(8) != 0 ? right[kind] : static_cast<unsigned>(random.below(12));
        syn.raw_options = syn.raw_options + u8(kind);
        if (kind > 1) syn.raw_options = syn.raw_options + u8(length);
        for (unsigned i = 2; kind > 1 && i < length; ++i) syn.raw_options = syn.raw_options + u8(static_cast<unsigned>(random.below(256)));
    }
    syn.raw_options.resize(option_bytes);
    syn.payload = filled(random.below(3) == 0 ? random.below(100) : 0);
    byte_string const datagram = tcp_datagram(e, true, syn);
    switch (random.below(4)) {
        case 0: return ethernet(datagram, {{0x8100, 7}});
        case 1: return ethernet(datagram, {{0x88a8, 7}, {0x8100, 8}});
        default: return ethernet(datagram);
    }
}

}  // namespace

TEST_CASE("whatever a SYN looks like, by either method and whoever resets, its answer is no longer than it was, and nothing is kept") {
    split_mix64 random(20261128);
    for (int variant = 0; variant < 6; ++variant) {
        engine_config c = guarded();
        c.guard.method = variant % 3 == 0 ? guard_method::splice : guard_method::challenge_reset;
        c.guard.reset_by = variant % 3 == 1 ? reset_by::client : reset_by::proxy;
        c.normalize.malformed = variant < 3 ? malformed_policy::drop : malformed_policy::pass;
        c.promise.ecn = true;
        timeline<> l(c);
        unsigned answered = 0;
        for (int i = 0; i < 5'000; ++i) {
            byte_string const sent = any_syn(random, l.ends);
            outcome const o = l.sends(side::outside, sent);
            CHECK((o.fate == verdict::reply || o.fate == verdict::drop));
            if (!o.packet) continue;
            ++answered;
            if (o.packet->bytes.size() > sent.size()) FAIL_CHECK("reflected ", o.packet->bytes.size(), " bytes for ", sent.size());
        }
        CHECK(answered > 1'000);
        CHECK(l.counters().originated == 0);
        CHECK(l.proxy().flows_now() == 0);
    }
}
