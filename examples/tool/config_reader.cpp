// SPDX-License-Identifier: BSL-1.0
// From TOML to a configuration; whatever is wrong is said with file, line and key.
#include "config_reader.hpp"

#include "config_schema.hpp"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <system_error>

namespace halfproxy::tool {
namespace {

/// A configuration larger than this is no configuration.
constexpr std::streamoff largest_file = 16 << 20;

std::string read_file(std::filesystem::path const& path) {
    std::ifstream in(path, std::ios::binary);
    std::ostringstream content;
    if (std::filesystem::is_directory(path) || !in || (in.peek() != EOF && !(content << in.rdbuf())))
        throw usage_error(fmt::format(
            "cannot read {}: {}", path.string(),
            std::filesystem::is_directory(path) ? "it is a directory" : std::generic_category().message(errno)));
    if (content.tellp() > largest_file) throw usage_error(fmt::format("{} is larger than 16 MiB", path.string()));
    return std::move(content).str();
}

std::string trimmed(std::string text) {
    auto const is_space = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
    text.erase(std::find_if_not(text.rbegin(), text.rend(), is_space).base(), text.end());
    text.erase(text.begin(), std::find_if_not(text.begin(), text.end(), is_space));
    return text;
}

}  // namespace

toml::node const* config_reader::find(std::string_view key) {
    known_.emplace_back(key);
    return table_.get(key);
}

void config_reader::fail(std::string_view key, std::string_view what) const {
    auto const entry = table_.find(key);
    auto const line = entry != table_.end() ? entry->first.source().begin.line : table_.source().begin.line;
    throw usage_error(fmt::format("{}:{}: {}{}: {}", file_, line, prefix_, key, what));
}

std::string config_reader::text_of(toml::node const& node) {
    std::ostringstream text;
    node.visit([&](auto const& n) { text << n; });
    return std::move(text).str();
}

std::int64_t config_reader::integer(std::string_view key, toml::node const& node, std::int64_t least,
                                    std::int64_t most) const {
    auto const* const value = node.as_integer();
    if (value == nullptr || value->get() < least || value->get() > most)
        fail(key, fmt::format("must be an integer from {} to {}, not {}", least, most, text_of(node)));
    return value->get();
}

std::string config_reader::string(std::string_view key, toml::node const& node) const {
    auto const* const value = node.as_string();
    if (value == nullptr) fail(key, fmt::format("must be a string in quotes, not {}", text_of(node)));
    return value->get();
}

template <class Parse>
auto config_reader::parsed(std::string_view key, toml::node const& node, Parse parse) {
    std::string const text = string(key, node);
    try {
        return parse(text);
    } catch (std::invalid_argument const& e) {
        fail(key, fmt::format("{} {}", text_of(node), e.what()));
    }
}

void config_reader::preset(std::string_view key, tool_config& config) {
    choice(key, config.preset);
    config.engine.timeouts = config.preset == timeout_preset::adc ? flow_timeouts::adc() : flow_timeouts::firewall();
    if (table_.contains("snat")) config.engine.timeouts = config.engine.timeouts.under_nat();
}

void config_reader::mode(std::string_view key, io_settings& io) {
    choice(key, io.mode);
    if (io.mode == deployment::routed) io.promiscuous = false;
}

void config_reader::flag(std::string_view key, bool& out) {
    toml::node const* const node = find(key);
    if (node == nullptr) return;
    if (!node->is_boolean()) fail(key, fmt::format("must be true or false, not {}", text_of(*node)));
    out = node->as_boolean()->get();
}

void config_reader::text(std::string_view key, std::string& out) {
    toml::node const* const node = find(key);
    if (node == nullptr) return;
    out = string(key, *node);
    if (out.empty()) fail(key, "must not be empty");
}

void config_reader::seconds(std::string_view key, timeout_ms& out, std::uint32_t least, std::uint32_t most) {
    toml::node const* const node = find(key);
    if (node == nullptr) return;
    double const value = node->is_number() ? node->value<double>().value_or(-1) : -1;
    if (!(value >= least && value <= most))
        fail(key, fmt::format("must be a number of seconds from {} to {}, not {}", least, most, text_of(*node)));
    out = static_cast<timeout_ms>(std::llround(value * 1000));
}

void config_reader::seconds(std::string_view key, std::optional<timeout_ms>& out, timeout_ms, std::uint32_t least,
                            std::uint32_t most) {
    timeout_ms given = 0;
    seconds(key, given, least, most);
    if (table_.contains(key)) out = given;
}

void config_reader::mark(std::string_view key, std::uint32_t& out, std::uint32_t least) {
    toml::node const* const node = find(key);
    if (node == nullptr) return;
    bool const never_reached = node->value<std::string>() == "never";
    if (node->is_string() && !never_reached)
        fail(key, fmt::format("must be a number or \"never\", not {}", text_of(*node)));
    out = never_reached ? no_mark : static_cast<std::uint32_t>(integer(key, *node, least, 1'000'000'000));
}

void config_reader::expected_connections(std::string_view key, guard_config& guard) {
    number(key, guard.expected_connections_per_s, 1, 100'000'000);
    guard.marks = guard_marks::for_rate(guard.expected_connections_per_s);
    guard.service_marks = guard_marks::for_rate(guard.expected_connections_per_s / 2);
}

void config_reader::timeout(std::string_view key, timeout_ms& out) {
    toml::node const* const node = find(key);
    if (node != nullptr && node->value<std::string>() == "never") {
        out = never;
        return;
    }
    if (node != nullptr && node->is_string())
        fail(key, fmt::format("must be seconds or \"never\", not {}", text_of(*node)));
    seconds(key, out, 0, longest_timeout_s);
}

void config_reader::address(std::string_view key, ip_address& out) {
    toml::node const* const node = find(key);
    if (node == nullptr) fail(key, "is missing: an IPv4 or IPv6 address");
    out = parsed(key, *node, parse_address);
}

void config_reader::optional_address(std::string_view key, ip_address& out) {
    if (toml::node const* const node = find(key)) out = parsed(key, *node, parse_address);
}

void config_reader::port_address(std::string_view key, halfproxy::port_address& out) {
    toml::node const* const node = find(key);
    if (node == nullptr) fail(key, "is missing: an address with the length of its prefix, as in \"192.0.2.1/24\"");
    ip_prefix const parsed_prefix = parsed(key, *node, parse_address_with_length);
    out.address = parsed_prefix.address;
    out.length = parsed_prefix.length;
}

void config_reader::route_prefix(std::string_view key, ip_prefix& out) {
    toml::node const* const node = find(key);
    if (node == nullptr) fail(key, "is missing: a prefix, \"0.0.0.0/0\" or \"::/0\" for all that has no other route");
    out = parsed(key, *node, parse_prefix);
    if (out.address.version == 0) fail(key, "is of no family: write \"0.0.0.0/0\" or \"::/0\"");
}

void config_reader::prefix(std::string_view key, ip_prefix& out) {
    if (toml::node const* const node = find(key)) out = parsed(key, *node, parse_prefix);
}

void config_reader::prefixes(std::string_view key, std::vector<ip_prefix>& out) {
    toml::node const* const node = find(key);
    if (node == nullptr) return;
    if (!node->is_array()) fail(key, fmt::format("must be a list of prefixes, not {}", text_of(*node)));
    for (toml::node const& item : *node->as_array()) out.push_back(parsed(key, item, parse_prefix));
}

void config_reader::protocol(std::string_view key, std::optional<std::uint8_t>& out) {
    toml::node const* const node = find(key);
    if (node == nullptr) return;
    if (node->is_integer())
        out = static_cast<std::uint8_t>(integer(key, *node, 0, 255));
    else
        out = parsed(key, *node, parse_protocol);
}

void config_reader::ports(std::string_view key, port_range& out) {
    toml::node const* const node = find(key);
    if (node == nullptr) return;
    if (node->is_integer())
        out.first = out.last = static_cast<std::uint16_t>(integer(key, *node, 1, 65'535));
    else
        out = parsed(key, *node, parse_ports);
}

void config_reader::statuses(std::string_view key, port_range& out) {
    toml::node const* const node = find(key);
    if (node == nullptr) return;
    if (node->is_integer())
        out.first = out.last = static_cast<std::uint16_t>(integer(key, *node, 100, 599));
    else
        out = parsed(key, *node, parse_statuses);
}

void config_reader::station(std::string_view key, station_address& out) {
    if (toml::node const* const node = find(key)) out = parsed(key, *node, parse_station);
}

void config_reader::secret(tool_config& config) {
    toml::node const* const in_place = find("secret");
    toml::node const* const in_file = find("secret_file");
    if (in_place != nullptr && in_file != nullptr)
        fail("secret_file", "only one of secret and secret_file may be given");
    if (in_place == nullptr && in_file == nullptr) return;
    config.secret_given = true;
    std::string_view const key = in_place != nullptr ? "secret" : "secret_file";
    try {
        if (in_place != nullptr) {
            config.engine.secret = parse_secret(string(key, *in_place));
            return;
        }
        // A relative path is relative to the configuration, wherever the program was started.
        auto const path = std::filesystem::absolute(file_).parent_path() / string(key, *in_file);
        config.secret_file = path.lexically_normal().string();
        config.engine.secret = parse_secret(trimmed(read_file(path)));
    } catch (std::invalid_argument const& e) {  // must not repeat the text: it may be a secret but for one digit
        fail(key, e.what());
    } catch (usage_error const& e) {
        if (in_place != nullptr) throw;
        fail(key, e.what());
    }
}

void config_reader::unavailable(std::string_view key) {
    if (table_.contains(key)) fail(key, "is not available in this version");
}

void config_reader::finish() const {
    for (auto const& [key, node] : table_)
        if (std::find(known_.begin(), known_.end(), key.str()) == known_.end())
            fail(key.str(), fmt::format("unknown key; known here: {}", fmt::join(known_, ", ")));
}

tool_config load_config(std::filesystem::path const& file) {
    std::string const name = file.string();
    std::string const content = read_file(file);
    try {
        toml::table const table = toml::parse(content, name);
        tool_config config;
        config_reader reader(name, "", table);
        describe(reader, config);
        reader.finish();
        return config;
    } catch (toml::parse_error const& e) {
        throw usage_error(
            fmt::format("{}:{}:{}: {}", name, e.source().begin.line, e.source().begin.column, e.description()));
    }
}

}  // namespace halfproxy::tool
