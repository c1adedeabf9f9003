// SPDX-License-Identifier: BSL-1.0
// The fuzz targets without a fuzzer: our captures, and mutations of them that are the same on every machine.
#include "tests/fuzz/targets.hpp"

#include <halfproxy/core/random.hpp>

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <string>
#include <vector>

using namespace halfproxy;
using namespace halfproxy::test;
namespace fs = std::filesystem;

namespace {

using bytes = std::vector<std::uint8_t>;

std::vector<bytes> files() {
    char const* const folder = std::getenv("HALFPROXY_SOURCE_DIR");
    std::vector<fs::path> paths;
    for (auto const& entry : fs::directory_iterator(fs::path(folder != nullptr ? folder : ".") / "tests/captures"))
        if (entry.path().extension().string().starts_with(".pcap")) paths.push_back(entry.path());
    std::sort(paths.begin(), paths.end());
    std::vector<bytes> out;
    for (fs::path const& path : paths) {
        capture_file const file(path.string());
        out.emplace_back(file.bytes().begin(), file.bytes().end());
    }
    return out;
}

std::vector<bytes> packets() {
    std::vector<bytes> out;
    for (bytes const& file : files()) {
        pcap_reader reader(file);
        capture_record record;
        while (reader.next(record)) out.emplace_back(record.bytes.begin(), record.bytes.end());
    }
    return out;
}

/// One to eight changes: a flipped bit, a byte of the kind that breaks parsers, a cut, a doubled or a removed part.
bytes mutated(bytes in, split_mix64& random) {
    static constexpr std::uint8_t nasty[] = {0, 1, 2, 3, 4, 5, 7, 8, 0x0f, 0x10, 0x40, 0x45, 0x60, 0x7f, 0x80, 0xf0, 0xff};
    for (std::uint32_t n = 1 + random.below(8); n != 0 && !in.empty(); --n) {
        std::uint32_t const at = random.below(static_cast<std::uint32_t>(in.size()));
        auto const place = in.begin() + at;
        switch (random.below(8)) {
            case 0:
            case 1:
            case 2: *place = static_cast<std::uint8_t>(*place ^ 1u << random.below(8)); break;
            case 3:
            case 4: *place = nasty[random.below(sizeof nasty)]; break;
            case 5: in.resize(at); break;
            case 6: in.erase(place, place + std::min<std::ptrdiff_t>(random.below(16), in.end() - place)); break;
            default: {
                bytes const part(place, place + std::min<std::ptrdiff_t>(random.below(16), in.end() - place));
                in.insert(place, part.begin(), part.end());
            }
        }
    }
    in.shrink_to_fit();  // an exact block, so that a sanitizer sees one byte too many
    return in;
}

void run(char const* (*target)(byte_view), std::vector<bytes> const& corpus, std::size_t mutations) {
    REQUIRE(!corpus.empty());
    for (bytes const& input : corpus)
        if (char const* const broken = target(input)) FAIL_CHECK(std::string(broken));
    for (std::size_t i = 0; i < mutations; ++i) {
        CAPTURE(i);
        split_mix64 random(i);
        bytes const input = mutated(corpus[random.below(static_cast<std::uint32_t>(corpus.size()))], random);
        if (char const* const broken = target(input)) FAIL_CHECK(std::string(broken));
    }
}

}  // namespace

TEST_CASE("mutated packets are parsed within their bytes, and the layout's promises hold") {
    run(fuzz_parse, packets(), 100'000);
}

TEST_CASE("mutated TCP options are read within their bytes") {
    std::vector<bytes> options;
    for (bytes const& packet : packets())
        if (packet.size() > 54)
            options.emplace_back(packet.begin() + 54, packet.begin() + std::min<std::ptrdiff_t>(std::ssize(packet), 94));
    run(fuzz_tcp_options, options, 200'000);
}

TEST_CASE("mutated captures end with a reason, and what was read can be written and read again") {
    run(fuzz_pcap_reader, files(), 3'000);
}
