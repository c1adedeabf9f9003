// SPDX-License-Identifier: BSL-1.0
// The client's end of a check's connection, segment by segment, across the end of the sequence space.
#include <halfproxy/run/probe_connection.hpp>

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

using namespace halfproxy;
using event = probe_connection::event;

namespace {

constexpr seq_num isn{0xfffffffd}, server_isn{0xfffffff0};

byte_view bytes_of(std::string_view text) { return {reinterpret_cast<std::uint8_t const*>(text.data()), text.size()}; }

/// A connection, and what is said to it in numbers that begin with each end's ISN.
struct talk {
    explicit talk(std::string const& request_text = "0123456789") : request(request_text) { c.open(isn, bytes_of(request)); }

    probe_connection::reading hears(unsigned flags, std::uint32_t seq, std::uint32_t ack, std::string_view data = {}, unsigned window = 1'000,
                                    tcp_options const& options = {}) {
        tcp_header h{};
        h.sequence = (server_isn + seq).value;
        h.acknowledgment = (isn + ack).value;
        h.flags = static_cast<std::uint8_t>(flags);
        h.window = static_cast<std::uint16_t>(window);
        return c.take(h, options, bytes_of(data), 536);
    }
    /// All that is sent now, as text: flags, SEQ, ACK, payload.
    std::string says(std::size_t room = 100) {
        std::string out;
        while (auto const s = c.next(room)) {
            for (auto const& [bit, letter] : {std::pair{tcp_flag::syn, 'S'}, {tcp_flag::rst, 'R'}, {tcp_flag::psh, 'P'}, {tcp_flag::ack, '.'}})
                if ((s->fields.flags & bit) != 0) out += letter;
            out += std::to_string(s->fields.seq - isn);
            if ((s->fields.flags & tcp_flag::ack) != 0) out.append(",").append(std::to_string(s->fields.ack - server_isn));
            if (!s->payload.empty()) out.append(":").append(s->payload.begin(), s->payload.end());
            out += " ";
        }
        return out;
    }
    void connects(unsigned window = 1'000, std::uint16_t mss = 100) {
        REQUIRE(says() == "S0 ");
        tcp_options o;
        o.has_mss = mss != 0;
        o.mss = mss;
        REQUIRE(hears(tcp_flag::syn | tcp_flag::ack, 0, 1, {}, window, o).what == event::connected);
    }
    std::string reads(probe_connection::reading const& r) { return r.what == event::answer ? std::string(r.data.begin(), r.data.end()) + (r.ended ? "|" : "") : "nothing"; }

    std::string request;
    probe_connection c{};
};

constexpr unsigned ack = tcp_flag::ack, fin = tcp_flag::fin | tcp_flag::ack, rst = tcp_flag::rst;

}  // namespace

TEST_CASE("it opens with a SYN, sends its request with the ACK, and ends with a RST at the number the server expects") {
    talk t;
    t.connects();
    CHECK(t.says() == "P.1,1:0123456789 ");
    CHECK(t.says().empty());
    CHECK(t.c.is_open());
    CHECK(t.c.reset().fields.seq == isn + 11);
    CHECK(!t.c.is_open());
    CHECK(t.hears(ack, 1, 11, "late").what == event::nothing);
    CHECK(t.says().empty());
}

TEST_CASE("a request is cut by the room there is, the server's MSS and its window") {
    talk t;
    t.connects(5, 4);
    CHECK(t.says(3) == "P.1,1:012 P.4,1:34 ");
    CHECK(t.hears(ack, 1, 6, {}, 100).what == event::nothing);
    CHECK(t.says() == "P.6,1:5678 P.10,1:9 ");
    talk without(std::string(1'000, 'x'));
    without.connects(0xffff, 0);
    CHECK(without.says(2'000).size() > 536);
    CHECK(without.c.reset().fields.seq == isn + 1'001);
}

TEST_CASE("what is not acknowledged is sent again, one byte even into a closed window (RFC 9293 section 3.8.6.1)") {
    talk t;
    CHECK(t.says() == "S0 ");
    t.c.retry();
    CHECK(t.says() == "S0 ");
    CHECK(t.hears(tcp_flag::syn | ack, 0, 1, {}, 0).what == event::connected);
    CHECK(t.says() == ".1,1 ");
    t.c.retry();
    CHECK(t.says() == "P.1,1:0 ");
    CHECK(t.hears(ack, 1, 2, {}, 4).what == event::nothing);
    CHECK(t.says() == "P.2,1:1234 ");
    CHECK(t.hears(ack, 1, 4, {}, 50).what == event::nothing);
    CHECK(t.says() == "P.6,1:56789 ");
    t.c.retry();
    CHECK(t.says() == "P.4,1:3456789 ");
    CHECK(t.hears(ack, 1, 11).what == event::nothing);
    t.c.retry();
    CHECK(t.says().empty());
}

TEST_CASE("an answer is taken in order, what is known is left out, what lies beyond is asked for") {
    talk t;
    t.connects();
    t.says();
    CHECK(t.reads(t.hears(ack, 1, 11, "abc")) == "abc");
    CHECK(t.says() == ".11,4 ");
    CHECK(t.reads(t.hears(ack, 7, 11, "ghi")) == "nothing");
    CHECK(t.says() == ".11,4 ");
    CHECK(t.reads(t.hears(ack, 2, 11, "bcdef")) == "def");
    CHECK(t.reads(t.hears(ack, 1, 11, "abc")) == "nothing");
    CHECK(t.says() == ".11,7 ");
    CHECK(t.reads(t.hears(fin, 7, 11, "ghi")) == "ghi|");
    CHECK(t.says() == ".11,11 ");
    CHECK(t.reads(t.hears(fin, 7, 11, "ghi")) == "nothing");  // it has not heard our ACK
    CHECK(t.says() == ".11,11 ");
    CHECK(t.hears(ack, 11, 11).what == event::nothing);
    CHECK(t.says().empty());
    CHECK(t.hears(ack, 10, 11).what == event::nothing);  // a keepalive
    CHECK(t.says() == ".11,11 ");
}

TEST_CASE("a RST refuses the SYN that it acknowledges, and ends a connection only at the exact number (RFC 5961 section 3.2)") {
    talk refused;
    refused.says();
    CHECK(refused.hears(rst | ack, 0, 2).what == event::nothing);
    CHECK(refused.hears(rst, 0, 1).what == event::nothing);
    CHECK(refused.hears(rst | ack, 0, 1).what == event::refused);
    CHECK(!refused.c.is_open());
    talk t;
    t.connects();
    t.says();
    CHECK(t.hears(rst, 2, 0).what == event::nothing);
    CHECK(t.says() == ".11,1 ");
    CHECK(t.hears(rst, 1, 0).what == event::reset);
    CHECK(!t.c.is_open());
}

TEST_CASE("an older connection that the server still has is reset there, and the SYN sent again (RFC 9293 section 3.10.7.3)") {
    talk t;
    t.says();
    CHECK(t.hears(ack, 500, 0x7000).what == event::nothing);
    CHECK(t.says() == "R28672 S0 ");
    CHECK(t.hears(tcp_flag::syn, 0, 0).what == event::nothing);  // a simultaneous open is none of ours
    CHECK(t.hears(ack, 0, 1).what == event::nothing);
    CHECK(t.says().empty());
}

TEST_CASE("a SYN, and an ACK of what was never sent, on an open connection draw an ACK and change nothing (RFC 5961 sections 4.2 and 5.2)") {
    talk t;
    t.connects();
    t.says();
    CHECK(t.hears(tcp_flag::syn | ack, 0, 1).what == event::nothing);
    CHECK(t.says() == ".11,1 ");
    CHECK(t.hears(ack, 1, 12).what == event::nothing);
    CHECK(t.says() == ".11,1 ");
    t.c.retry();
    CHECK(t.says() == "P.1,1:0123456789 ");
    CHECK(t.hears(0, 1, 11, "no ACK").what == event::nothing);
    CHECK(t.says().empty());
}
