// SPDX-License-Identifier: BSL-1.0
// Connections as timelines, and what conn.log's documentation says of each. Whole captures: tests/captures/flows_test.py.
#include <halfproxy/track/conn_log.hpp>

#include "tests/support/logged_conversation.hpp"

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <array>
#include <bitset>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace halfproxy;
using namespace halfproxy::test;
using conversation = logged_conversation;

TEST_CASE("a connection goes from attempt to established to ended") {
    conversation c;
    c.says(0, "S");
    CHECK(c.state() == "S0");
    c.says(1, "SA", 0, 1).says(0, "A", 1, 1);
    CHECK(c.state() == "S1");
    c.says(0, "FA", 1, 1);
    CHECK(c.state() == "S2");
    c.says(1, "FA", 1, 2);
    CHECK(c.state() == "SF");
    CHECK(c.history() == "ShAFf");
}

TEST_CASE("the responder ends first") { CHECK(conversation().handshake().says(1, "FA", 1, 1).state() == "S3"); }

TEST_CASE("an attempt answered by a RST is rejected") {
    conversation c;
    c.says(0, "S").says(1, "RA", 0, 1);
    CHECK(c.state() == "REJ");
    CHECK(c.history() == "Sr");
}

TEST_CASE("who sends a RST after the handshake aborts") {
    CHECK(conversation().handshake().says(0, "R", 1).state() == "RSTO");
    CHECK(conversation().handshake().says(0, "PA", 1, 1, 5).says(1, "R", 1).state() == "RSTR");
}

TEST_CASE("a SYN and a RST of the originator are an abandoned attempt only with nothing between") {
    CHECK(conversation().says(0, "S").says(0, "R", 1).state() == "RSTOS0");
    conversation data;
    data.says(0, "S").says(0, "A", 1, 1).says(0, "R", 1);
    CHECK(data.history() == "SAR");
    CHECK(data.state() == "OTH");
}

TEST_CASE("a SYN and a FIN without a SYN-ACK between are SH") {
    conversation c;
    c.says(0, "S").says(0, "FA", 1, 1);
    CHECK(c.state() == "SH");
    CHECK(c.history() == "SF");
}

TEST_CASE("traffic without any SYN, FIN or RST is OTH") {
    conversation c;
    c.says(0, "PA", 100, 200, 5).says(1, "PA", 200, 105, 7);
    CHECK(c.state() == "OTH");
    CHECK(c.history() == "Dd");
}

TEST_CASE("without a SYN, the responder's RST and FIN are RSTRH and SHR") {
    CHECK(conversation(80, true).says(0, "SA", 0, 1).says(0, "R", 1).state() == "RSTRH");
    CHECK(conversation(80, true).says(0, "SA", 0, 1).says(0, "FA", 1, 1).state() == "SHR");
}

TEST_CASE("a RST after the FINs of both sides changes nothing") {
    conversation c;
    c.handshake().says(0, "FA", 1, 1).says(1, "FA", 1, 2).says(0, "R", 2);
    CHECK(c.state() == "SF");
    CHECK(c.history() == "ShAFfR");
}

TEST_CASE("a FIN after a FIN and a RST of the other side is a normal end") {
    conversation c;
    c.handshake().says(0, "FA", 1, 1).says(0, "R", 2).says(1, "FA", 1, 2);
    CHECK(c.state() == "SF");
}

TEST_CASE("a SYN captured after its SYN-ACK belongs to the same connection") {
    conversation c;
    c.says(0, "SA", 0, 1);
    CHECK_FALSE(c.log.is_reuse(c.segment(1, "S", 0, 0, 0)));
    c.says(1, "S").says(1, "A", 1, 1);
    CHECK(c.history() == "Hs^A");
    CHECK(c.state() == "S1");
}

TEST_CASE("data that was acknowledged but not captured is missed") {
    conversation c;
    c.handshake().says(0, "PA", 1, 1, 10).says(0, "PA", 31, 1, 10).says(1, "A", 1, 41);
    CHECK(c.history() == "ShADaG");
    CHECK(c.log.missed_bytes() == 20);
    CHECK(c.log.bytes(0) == 40);
}

TEST_CASE("a segment that the snap length cut is missed like one that never came") {
    conversation c;
    c.handshake();
    conn_log_segment cut = c.segment(0, "PA", 1, 1, 50);
    cut.payload_captured = false;
    c.log.observe(cut, 0, 90);
    c.says(1, "A", 1, 51);
    CHECK(c.log.missed_bytes() == 50);
}

TEST_CASE("nothing is called missed in a connection whose begin was not seen") {
    conversation c;
    c.says(0, "A", 1, 1).says(1, "A", 500, 900).says(1, "A", 700, 1900);
    CHECK(c.log.missed_bytes() == 0);
    CHECK(c.history() == "Aa");
}

TEST_CASE("a FIN without captured data tells how much there was, beyond 2 GiB too") {
    conversation c;
    c.handshake().says(0, "FA", 3'000'000'000u, 1);
    CHECK(c.log.bytes(0) == doctest::Approx(3'000'000'000.0 - 1).epsilon(1e-9));
}

TEST_CASE("sizes go on counting when sequence numbers wrap more than once") {
    conversation c;
    c.handshake();
    std::uint64_t sent = 0;
    std::uint32_t seq = 1;
    for (int i = 0; i < 20; ++i) {
        constexpr std::uint32_t step = 500'000'000;
        c.says(0, "A", seq + step - 1, 1, 1);
        c.says(1, "A", 1, seq + step);
        seq += step;
        sent += step;
    }
    CHECK(c.log.bytes(0) == sent);
}

TEST_CASE("a SYN with another sequence number begins another connection") {
    conversation c;
    c.says(0, "S");
    CHECK_FALSE(c.log.is_reuse(c.segment(0, "S", 0, 0, 0)));
    CHECK(c.log.is_reuse(c.segment(0, "S", 70, 0, 0)));
    c.says(1, "SA", 0, 1);
    CHECK_FALSE(c.log.is_reuse(c.segment(1, "SA", 0, 1, 0)));
    CHECK_FALSE(c.log.is_reuse(c.segment(0, "PA", 70, 1, 5)));
}

TEST_CASE("after one side's end even a repeated SYN begins another connection") {
    conversation c;
    c.handshake().says(0, "R", 1);
    CHECK(c.log.is_reuse(c.segment(0, "S", 0, 0, 0)));
}

TEST_CASE("an attempt is over after 5 s without answer") {
    conversation c;
    c.says(0, "S");
    CHECK(c.log.next_timer() == at_ms(5000));
    CHECK_FALSE(c.waits(4990).over());
    CHECK(c.waits(10).over());
}

TEST_CASE("an ended connection takes stragglers for 5 s") {
    conversation c;
    c.handshake().says(0, "FA", 1, 1).says(1, "FA", 1, 2);
    std::int64_t const end = c.now_ms;
    c.waits(4000).says(0, "A", 2, 2);
    CHECK(c.log.last() == at_ms(end));
    CHECK_FALSE(c.over());
    CHECK(c.waits(1000).over());
}

TEST_CASE("silence ends an established connection after 5 minutes, an interactive one after an hour") {
    conversation c;
    c.handshake();
    CHECK_FALSE(c.waits(299'999).over());
    CHECK(c.waits(1).over());
    conversation ssh(22);
    ssh.handshake();
    CHECK_FALSE(ssh.waits(3'599'999).over());
    CHECK(ssh.waits(1).over());
}

TEST_CASE("a connection that only one side has ended lives on while there is traffic") {
    conversation c;
    c.handshake().says(0, "FA", 1, 1);
    for (std::uint32_t i = 0; i < 10; ++i) {
        c.waits(4000).says(1, "PA", 1 + i, 2, 1);
        CHECK_FALSE(c.over());
    }
}

TEST_CASE("datagrams make S0, SF and SHR, and end after a minute of silence") {
    conn_log log(ip_protocol::udp, at_ms(0), false, 8112, timeouts);
    log.observe_datagram(at_ms(0), 0, 10, 38);
    CHECK(log.state() == conn_state::s0);
    log.observe_datagram(at_ms(1), 1, 20, 48);
    CHECK(log.state() == conn_state::sf);
    CHECK(log.history() == "Dd");
    CHECK(log.bytes(1) == 20);
    CHECK(log.ip_bytes(1) == 48);
    CHECK_FALSE(log.expire(at_ms(60'000)));
    CHECK(log.expire(at_ms(60'001)));
    conn_log answer(ip_protocol::udp, at_ms(0), true, 53, timeouts);
    answer.observe_datagram(at_ms(0), 0, 10, 38);
    CHECK(answer.state() == conn_state::shr);
    CHECK(answer.history() == "^d");
}

TEST_CASE("ICMP has neither state nor history") {
    conn_log log(ip_protocol::icmp, at_ms(0), false, 0, timeouts);
    log.observe_datagram(at_ms(0), 0, 10, 38);
    log.observe_bad_checksum(0, 38);
    CHECK(log.state() == conn_state::oth);
    CHECK(log.history().empty());
    CHECK(log.packets(0) == 1);
}

TEST_CASE("a flow that begins with a server's port begins reversed") {
    CHECK(begins_reversed(ip_protocol::udp, 53, 40000, 0));
    CHECK_FALSE(begins_reversed(ip_protocol::udp, 40000, 53, 0));
    CHECK_FALSE(begins_reversed(ip_protocol::udp, 53, 123, 0));
    CHECK(begins_reversed(ip_protocol::tcp, 443, 40000, flags_of("SA")));
    CHECK_FALSE(begins_reversed(ip_protocol::tcp, 443, 40000, flags_of("S")));
    CHECK_FALSE(begins_reversed(ip_protocol::tcp, 80, 443, flags_of("SA")));
    CHECK(begins_reversed(ip_protocol::tcp, 80, 443, flags_of("A")));
    CHECK_FALSE(begins_reversed(ip_protocol::tcp, 443, 80, flags_of("A")));
}

TEST_CASE("a time at the end of the clock's range is no undefined behaviour, and its timers never come") {
    conn_log log(ip_protocol::tcp, time_point::max(), false, 8111, timeouts);
    log.observe({.time = time_point::max(), .flags = flags_of("S")}, 0, 40);
    CHECK(log.next_timer() == time_point::max());
    CHECK(log.state() == conn_state::s0);
}

TEST_CASE("missed bytes are those that a map of every byte says were acknowledged unseen") {
    constexpr std::size_t space = 600;
    bool const holds = rc::check([] {
        detail::stream_gaps gaps;
        std::bitset<space> seen;
        std::size_t acked = 1;
        std::uint64_t missed = 0;
        std::uint64_t expected = 0;
        int const steps = *rc::gen::inRange(1, 24);
        for (int step = 0; step < steps; ++step) {
            auto const begin = *rc::gen::inRange<std::size_t>(1, space - 60);
            if (*rc::gen::inRange(0, 4) != 0) {
                std::size_t const end = begin + *rc::gen::inRange<std::size_t>(1, 60);
                gaps.insert(static_cast<std::int64_t>(begin), static_cast<std::int64_t>(end));
                for (std::size_t i = begin; i < end; ++i) seen.set(i);
                continue;
            }
            gaps.acknowledge(static_cast<std::int64_t>(begin), false, [&](std::uint64_t n) { missed += n; });
            for (; acked < begin; ++acked) expected += seen.test(acked) ? 0 : 1;
        }
        RC_ASSERT(missed == expected);
    });
    CHECK(holds);
}
