// SPDX-License-Identifier: BSL-1.0
// The listing of flows within a fixed number of them. What each row says: tests/captures/flows_test.py.
#include "flows.hpp"

#include <halfproxy/io/pcap_file.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

using namespace halfproxy;
using namespace halfproxy::tool;

namespace {

struct listing {
    std::vector<std::vector<std::string>> rows;
    std::uint64_t evicted = 0;

    /// The sum of a column's numbers.
    [[nodiscard]] std::uint64_t sum(std::string_view column) const {
        std::size_t at = 0;
        while (flows_columns[at] != column) ++at;
        std::uint64_t total = 0;
        for (auto const& row : rows) total += std::stoull(row.at(at));
        return total;
    }
};

std::string captures_folder() {
    char const* const root = std::getenv("HALFPROXY_SOURCE_DIR");
    return std::string(root == nullptr ? "." : root) + "/tests/captures/";
}

listing list_flows(std::string const& capture, std::uint32_t capacity) {
    capture_file const file(captures_folder() + capture);
    pcap_reader reader(file.bytes());
    std::FILE* const out = std::tmpfile();
    REQUIRE(out != nullptr);
    row_writer rows(flows_columns, row_format::tsv, "-", out);
    flow_listing flows(rows, capacity, conn_log_timeouts{});
    capture_record record;
    while (reader.next(record)) flows.observe({&record, 1});
    flows.finish();
    rows.finish();
    std::string text(static_cast<std::size_t>(std::ftell(out)), '\0');
    std::rewind(out);
    CHECK(std::fread(text.data(), 1, text.size(), out) == text.size());
    std::fclose(out);
    listing result{{}, flows.evicted()};
    std::istringstream lines(text);
    std::string line;
    std::getline(lines, line);  // the names
    while (std::getline(lines, line)) {
        std::istringstream cells(line);
        result.rows.emplace_back();
        for (std::string cell; std::getline(cells, cell, '\t');) result.rows.back().push_back(cell);
    }
    return result;
}

}  // namespace

TEST_CASE("a table with room for all flows evicts none") {
    listing const all = list_flows("flows.pcap", 1000);
    CHECK(all.evicted == 0);
    for (auto const& row : all.rows) CHECK(row.size() == flows_columns.size());
}

TEST_CASE("a full table writes flows early, and no packet is lost") {
    listing const all = list_flows("flows.pcap", 1000);
    listing const few = list_flows("flows.pcap", 4);
    CHECK(few.evicted > 0);
    CHECK(few.rows.size() > all.rows.size());
    CHECK(few.sum("orig_pkts") + few.sum("resp_pkts") == all.sum("orig_pkts") + all.sum("resp_pkts"));
    CHECK(few.sum("orig_ip_bytes") + few.sum("resp_ip_bytes") == all.sum("orig_ip_bytes") + all.sum("resp_ip_bytes"));
}

TEST_CASE("a table without room lists nothing and does not fail") { CHECK(list_flows("flows.pcap", 0).rows.empty()); }
