// SPDX-License-Identifier: BSL-1.0
// Connections as timelines, and what conn.log's documentation says of each. Whole captures: tests/captures/flows_test.py.
#include <halfproxy/track/conn_log.hpp>

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

namespace {

conn_log_timeouts const timeouts{};

time_point at_ms(std::int64_t ms) { return time_point(std::chrono::milliseconds(ms)); }

std::uint8_t flags_of(std::string_view letters) {
    constexpr std::string_view names = "FSRPA";
    std::uint8_t bits = 0;
    for (char const c : letters) bits = static_cast<std::uint8_t>(bits | 1u << names.find(c));
    return bits;
}

/// Direction 0 speaks first. Positions are relative to initial sequence numbers of 1000 and 5000.
struct conversation {
    explicit conversation(std::uint16_t port = 8111, bool reversed = false)
        : log(ip_protocol::tcp, at_ms(0), reversed, port, timeouts) {}

    conn_log_segment segment(unsigned direction, std::string_view flags, std::uint32_t seq, std::uint32_t ack,
                             std::uint32_t payload) const {
        seq_num const own = isn[direction] + seq;
        seq_num const other = isn[direction ^ 1u] + ack;
        return {.time = at_ms(now_ms),
                .sequence = own,
                .acknowledgment = other,
                .payload_bytes = payload,
                .window = 1000,
                .flags = flags_of(flags)};
    }
    conversation& says(unsigned direction, std::string_view flags, std::uint32_t seq = 0, std::uint32_t ack = 0,
                       std::uint32_t payload = 0) {
        ++now_ms;
        log.observe(segment(direction, flags, seq, ack, payload), direction, 40 + payload);
        return *this;
    }
    conversation& handshake() { return says(0, "S").says(1, "SA", 0, 1).says(0, "A", 1, 1); }
    conversation& waits(std::int64_t ms) { return now_ms += ms, *this; }
    bool over() { return log.expire(at_ms(now_ms)); }
    std::string state() const { return std::string(to_string(log.state())); }
    std::string history() const { return std::string(log.history()); }

    conn_log log;
    std::array<seq_num, 2> isn{{{1000}, {5000}}};
    std::int64_t now_ms = 0;
};

}  // namespace

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

TEST_CASE("the responder's letters are small ones") {
    conversation c;
    c.handshake().says(1, "A", 1, 1).says(1, "PA", 1, 1, 5).says(1, "PA", 1, 1, 5).says(1, "FA", 6, 1).says(1, "R", 7);
    CHECK(c.history() == "ShAadtfr");
}

TEST_CASE("FIN with RST is I, SYN with either is Q, once for each side and beside nothing else") {
    conversation c;
    c.handshake();
    for (int i = 0; i < 3; ++i) c.says(0, "FR", 1).says(0, "SF", 0).says(1, "SR", 0).says(1, "FRA", 1, 1);
    CHECK(c.history() == "ShAIQqi");
    conversation all;
    all.handshake().says(0, "SFR", 1);
    CHECK(all.history() == "ShAI");
}

TEST_CASE("SYN, FIN and RST are written again where they stand elsewhere in the stream, data and ACKs never") {
    conversation ends;
    ends.handshake().says(0, "FA", 1, 1).says(0, "FA", 1, 1).says(0, "FA", 9, 1).says(1, "R", 1).says(1, "R", 1).says(1, "R", 4);
    CHECK(ends.history() == "ShAFFrr");
    conversation answers;
    answers.says(0, "S").says(1, "SA", 0, 1).says(1, "SA", 0, 1).says(1, "R", 1).says(1, "SA", 50, 1).says(1, "SA", 50, 1);
    CHECK(answers.history() == "Shrh");
    conversation talk;
    talk.handshake();
    for (std::uint32_t i = 0; i < 5; ++i) talk.says(0, "PA", 1 + i, 1, 1).says(1, "A", 1, 2 + i);
    CHECK(talk.history() == "ShADa");
}

TEST_CASE("a SYN that moves the stream's begin stands at that begin, and is not written again") {
    conversation c;
    c.says(0, "S").says(0, "S", 70).says(1, "SA", 0, 71).says(0, "A", 71, 1);
    CHECK(c.history() == "ShA");
    CHECK(c.log.bytes(0) == 0);
}

TEST_CASE("a FIN's place is the end of its data") {
    conversation c;
    c.handshake().says(0, "FA", 1, 1, 10).says(0, "FA", 11, 1).says(0, "FA", 6, 1, 5);
    CHECK(c.history() == "ShAFT");
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

TEST_CASE("a lone SYN-ACK is turned round by the first traffic") {
    conversation c;
    c.says(0, "SA", 0, 1);
    CHECK(c.history() == "H");
    CHECK(c.log.originator() == 0);
    c.says(1, "A", 1, 1).says(1, "PA", 1, 1, 5);
    CHECK(c.history() == "^hAD");
    CHECK(c.log.originator() == 1);
    CHECK(c.log.bytes(c.log.originator()) == 5);
}

TEST_CASE("a SYN captured after its SYN-ACK belongs to the same connection") {
    conversation c;
    c.says(0, "SA", 0, 1);
    CHECK_FALSE(c.log.is_reuse(c.segment(1, "S", 0, 0, 0)));
    c.says(1, "S").says(1, "A", 1, 1);
    CHECK(c.history() == "Hs^A");
    CHECK(c.state() == "S1");
}

TEST_CASE("retransmissions are written at the 1st, 10th and 100th time") {
    conversation c;
    c.handshake().says(0, "PA", 1, 1, 10);
    for (int i = 0; i < 9; ++i) c.says(0, "PA", 1, 1, 10);
    CHECK(c.history() == "ShADT");
    c.says(0, "PA", 1, 1, 10);
    CHECK(c.history() == "ShADTT");
    for (int i = 0; i < 90; ++i) c.says(0, "PA", 1, 1, 10);
    CHECK(c.history() == "ShADTTT");
}

TEST_CASE("bad checksums, zero windows and gaps too are written at the 1st, 10th and 100th time") {
    conversation sums;
    sums.handshake();
    for (int i = 0; i < 100; ++i) sums.log.observe_bad_checksum(0, 60);
    CHECK(sums.history() == "ShACCC");
    conversation windows;
    windows.handshake();
    conn_log_segment shut = windows.segment(1, "A", 1, 1, 0);
    shut.window = 0;
    for (int i = 0; i < 10; ++i) windows.log.observe(shut, 1, 40);
    CHECK(windows.history() == "ShAaww");
    conversation gaps;
    gaps.handshake();
    for (std::uint32_t i = 0; i < 10; ++i) gaps.says(0, "PA", 11 + 20 * i, 1, 10).says(1, "A", 1, 21 + 20 * i);
    CHECK(gaps.history() == "ShADaGG");
    CHECK(gaps.log.missed_bytes() == 100);
}

TEST_CASE("a bad checksum is written and its segment not counted") {
    conversation c;
    c.handshake();
    c.log.observe_bad_checksum(1, 100);
    CHECK(c.history() == "ShAc");
    CHECK(c.log.packets(1) == 1);
}

TEST_CASE("a zero window counts until the other side has ended") {
    conversation c;
    c.handshake();
    conn_log_segment closed_window = c.segment(0, "A", 1, 1, 0);
    closed_window.window = 0;
    c.log.observe(closed_window, 0, 40);
    CHECK(c.history() == "ShAW");
    conversation ended;
    ended.handshake().says(1, "FA", 1, 1);
    ended.log.observe(closed_window, 0, 40);
    CHECK(ended.history() == "ShAf");
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

TEST_CASE("a history of ever new RSTs stays within its capacity") {
    conversation c;
    c.handshake();
    for (std::uint32_t i = 1; i < 500; ++i) c.says(0, "R", i);
    CHECK(c.history().size() == conn_history::capacity);
}

namespace {

struct growing_history {
    void add(char letter) noexcept { letters += letter; }
    void assign(std::string_view all) noexcept { letters = all; }
    [[nodiscard]] std::string_view view() const noexcept { return letters; }
    std::string letters;
};

}  // namespace

TEST_CASE("a history that grows keeps every letter") {
    basic_conn_log<growing_history> log(ip_protocol::tcp, at_ms(0), false, 8111, timeouts);
    log.observe({.sequence = {1}, .window = 1, .flags = flags_of("S")}, 0, 40);
    for (std::uint32_t i = 0; i < 500; ++i) log.observe({.sequence = {2 + i}, .window = 1, .flags = flags_of("R")}, 0, 40);
    CHECK(log.history() == "S" + std::string(500, 'R'));
    CHECK(log.state() == conn_state::rstos0);
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
