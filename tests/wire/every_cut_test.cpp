// SPDX-License-Identifier: BSL-1.0
// Every packet of every capture at hand, cut at every length into a buffer of exactly that size: under a sanitizer, a read beyond it ends the test.
#include <halfproxy/wire/parse.hpp>

#include <halfproxy/io/pcap_file.hpp>

#include "tests/support/look_at_packet.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

using namespace halfproxy;
using namespace halfproxy::test;
namespace fs = std::filesystem;

namespace {

fs::path project() {
    char const* const folder = std::getenv("HALFPROXY_SOURCE_DIR");
    return folder != nullptr ? folder : ".";
}

std::vector<fs::path> captures_under(fs::path const& folder) {
    std::vector<fs::path> out;
    if (!fs::is_directory(folder)) return out;
    for (fs::directory_entry const& entry : fs::recursive_directory_iterator(folder)) {
        std::string const extension = entry.path().extension().string();
        if (entry.is_regular_file() && (extension == ".pcap" || extension == ".pcapng" || extension == ".cap"))
            out.push_back(entry.path());
    }
    std::sort(out.begin(), out.end());
    return out;
}

/// A copy that ends where its heap block ends. Size 0 has a block too: its one byte is out of bounds for the view.
struct exact_copy {
    explicit exact_copy(byte_view bytes) : block(new std::uint8_t[bytes.size()]), view(block.get(), bytes.size()) {
        std::copy(bytes.begin(), bytes.end(), block.get());
    }
    std::unique_ptr<std::uint8_t[]> block;
    byte_view view;
};

/// All lengths up to `dense`, then every 97th and the whole: headers lie in front, payload is payload.
std::vector<std::size_t> lengths_of(std::size_t size, std::size_t dense) {
    std::vector<std::size_t> out;
    for (std::size_t n = 0; n <= std::min(size, dense); ++n) out.push_back(n);
    for (std::size_t n = dense + 97; n < size; n += 97) out.push_back(n);
    if (size > dense) out.push_back(size);
    return out;
}

struct tally {
    std::size_t packets = 0;
    std::size_t cuts = 0;
    std::uint64_t sum = 0;
};

/// A frame cut on the wire, and one cut by a snap length.
void look_at_cut(link_type link, byte_view cut, std::size_t wire, tally& t) {
    exact_copy const copy(cut);
    for (std::size_t const length : {cut.size(), wire}) {
        packet_look const look = look_at_packet(link, copy.view, length);
        if (look.broken != nullptr) FAIL_CHECK(std::string(look.broken));
        t.sum += look.sum;
    }
    ++t.cuts;
}

void look_at_capture(fs::path const& path, std::size_t dense, tally& t) {
    CAPTURE(path.string());
    capture_file const file(path.string());
    pcap_reader reader(file.bytes());
    capture_record record;
    while (reader.next(record)) {
        CAPTURE(record.number);
        ++t.packets;
        for (std::size_t const n : lengths_of(record.bytes.size(), dense))
            look_at_cut(record.link, record.bytes.first(n), record.wire_length, t);
    }
    CHECK(reader.status() != capture_status::ok);
}

}  // namespace

TEST_CASE("every packet of the project's own captures, cut at every length, is parsed within its bytes") {
    std::vector<fs::path> const captures = captures_under(project() / "tests/captures");
    REQUIRE(captures.size() >= 18);
    tally t;
    for (fs::path const& path : captures) look_at_capture(path, 65535, t);
    CHECK(t.packets > 300);
    CHECK(t.cuts > 20'000);
    MESSAGE(t.packets << " packets, " << t.cuts << " cuts, digest " << t.sum);
}

TEST_CASE("the shared captures, where present, cut the same way within a time budget") {
    char const* const named = std::getenv("HALFPROXY_CAPTURES");
    std::vector<fs::path> const captures =
        captures_under(named != nullptr ? fs::path(named) : project() / "../shared/captures");
    if (captures.empty()) {
        MESSAGE("no shared captures here");
        return;
    }
    using clock = std::chrono::steady_clock;
    clock::time_point const deadline = clock::now() + std::chrono::seconds(30);
    tally t;
    std::size_t files = 0;
    // Every seventh first, and so on: what the budget cuts off is spread over all sources.
    for (std::size_t start = 0; start < 7; ++start)
        for (std::size_t i = start; i < captures.size() && clock::now() < deadline; i += 7, ++files)
            look_at_capture(captures[i], 200, t);
    CHECK(files > 0);
    MESSAGE(files << " of " << captures.size() << " captures, " << t.packets << " packets, " << t.cuts << " cuts");
}
