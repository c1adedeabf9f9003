// SPDX-License-Identifier: BSL-1.0
// The letters of a connection's history: when each is written, for whom, and how often.
#include <halfproxy/track/conn_log.hpp>

#include "tests/support/logged_conversation.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <string_view>

using namespace halfproxy;
using namespace halfproxy::test;
using conversation = logged_conversation;

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
    ends.handshake()
        .says(0, "FA", 1, 1)
        .says(0, "FA", 1, 1)
        .says(0, "FA", 9, 1)
        .says(1, "R", 1)
        .says(1, "R", 1)
        .says(1, "R", 4);
    CHECK(ends.history() == "ShAFFrr");
    conversation answers;
    answers.says(0, "S")
        .says(1, "SA", 0, 1)
        .says(1, "SA", 0, 1)
        .says(1, "R", 1)
        .says(1, "SA", 50, 1)
        .says(1, "SA", 50, 1);
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
    for (std::uint32_t i = 0; i < 500; ++i)
        log.observe({.sequence = {2 + i}, .window = 1, .flags = flags_of("R")}, 0, 40);
    CHECK(log.history() == "S" + std::string(500, 'R'));
    CHECK(log.state() == conn_state::rstos0);
}
