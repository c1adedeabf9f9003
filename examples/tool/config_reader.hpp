// SPDX-License-Identifier: BSL-1.0
// A visitor of the schema that takes values out of a TOML table and refuses what it does not know.
#pragma once

#include "choices.hpp"
#include "config_values.hpp"
#include "tool_config.hpp"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace halfproxy::tool {

/// Reads one table. Every accessor takes note of its key; finish() refuses keys nobody asked for. All errors are
/// usage_error "FILE:LINE: KEY: ...", KEY with the names of the tables around it.
class config_reader {
  public:
    config_reader(std::string const& file, std::string prefix, toml::table const& table)
        : file_(file), prefix_(std::move(prefix)), table_(table) {}

    template <class Enum>
    void choice(std::string_view key, Enum& out, presence needed = presence::optional) {
        toml::node const* node = find(key);
        if (node == nullptr) {
            if (needed == presence::required) fail(key, "is missing: one of " + names_of<Enum>());
            return;
        }
        bool const truth = node->is_boolean();
        std::string const word = truth ? (node->as_boolean()->get() ? "true" : "false") : node->value<std::string>().value_or(std::string{});
        auto const value = value_of<Enum>(word);
        if (!value) fail(key, fmt::format("must be one of {}, not {}", names_of<Enum>(), text_of(*node)));
        out = *value;
    }

    template <class Enum>
    void choice(std::string_view key, std::optional<Enum>& out) {
        if (!table_.contains(key)) return known_.emplace_back(key), void();
        Enum chosen{};
        choice(key, chosen);
        out = chosen;
    }

    template <class Number>
    void number(std::string_view key, Number& out, std::uint32_t least, std::uint32_t most, presence needed = presence::optional) {
        toml::node const* node = find(key);
        if (node != nullptr) out = static_cast<Number>(integer(key, *node, least, most));
        if (node == nullptr && needed == presence::required) fail(key, fmt::format("is missing: an integer from {} to {}", least, most));
    }

    void preset(std::string_view key, tool_config& config);  ///< decides the timeouts; so do rules of source NAT
    void mode(std::string_view key, io_settings& io);  ///< routed ports need not be promiscuous
    void flag(std::string_view key, bool& out);
    void text(std::string_view key, std::string& out);
    void seconds(std::string_view key, timeout_ms& out, std::uint32_t least, std::uint32_t most);
    void seconds(std::string_view key, std::optional<timeout_ms>& out, timeout_ms unset, std::uint32_t least, std::uint32_t most);
    void timeout(std::string_view key, timeout_ms& out);  ///< seconds, or "never"
    void mark(std::string_view key, std::uint32_t& out, std::uint32_t least);  ///< a number, or "never"
    void expected_connections(std::string_view key, guard_config& guard);      ///< the marks follow from it
    void address(std::string_view key, ip_address& out);  ///< required
    void optional_address(std::string_view key, ip_address& out);  ///< not printed when there is none
    void port_address(std::string_view key, halfproxy::port_address& out);  ///< required
    void prefix(std::string_view key, ip_prefix& out);
    void route_prefix(std::string_view key, ip_prefix& out);  ///< required, of one family
    void prefixes(std::string_view key, std::vector<ip_prefix>& out);
    void protocol(std::string_view key, std::optional<std::uint8_t>& out);
    void ports(std::string_view key, port_range& out);
    void optional_ports(std::string_view key, port_range& out) { ports(key, out); }  ///< not printed when there are none
    void statuses(std::string_view key, port_range& out);
    void station(std::string_view key, station_address& out);
    void secret(tool_config& config);
    /// Whether values are read; else they are written, and were judged before.
    [[nodiscard]] static constexpr bool reads() noexcept { return true; }

    /// A key the design has and this version has not: refused, for accepting it would be a promise.
    void unavailable(std::string_view key);
    /// A rule over values already read, blamed on `key`.
    void require(bool holds, std::string_view key, std::string_view otherwise) const {
        if (!holds) fail(key, otherwise);
    }

    template <class Describe>
    void section(std::string_view key, Describe describe) {
        toml::node const* node = find(key);
        if (node == nullptr) return;
        if (!node->is_table()) fail(key, fmt::format("is a table: write [{}]", key));
        read_table(key, *node->as_table(), describe);
    }

    /// A table whose presence says something: absent, `out` stays empty.
    template <class Item, class Describe>
    void optional_section(std::string_view key, std::optional<Item>& out, Describe describe) {
        if (table_.contains(key)) out.emplace();
        section(key, [&](config_reader& r) { describe(r, *out); });
    }

    template <class Item, class Describe>
    void tables(std::string_view key, std::vector<Item>& out, Describe describe) {
        toml::node const* node = find(key);
        if (node == nullptr) return;
        if (!node->is_array_of_tables()) fail(key, fmt::format("is a list of tables: write [[{}]] before each", key));
        for (toml::node const& item : *node->as_array())
            read_table(key, *item.as_table(), [&](config_reader& r) { describe(r, out.emplace_back()); });
    }

    void finish() const;

  private:
    template <class Describe>
    void read_table(std::string_view key, toml::table const& table, Describe const& describe) {
        config_reader inner(file_, fmt::format("{}{}.", prefix_, key), table);
        describe(inner);
        inner.finish();
    }

    template <class Parse>
    auto parsed(std::string_view key, toml::node const& node, Parse parse);
    [[nodiscard]] toml::node const* find(std::string_view key);
    [[nodiscard]] std::int64_t integer(std::string_view key, toml::node const& node, std::int64_t least,
                                       std::int64_t most) const;
    [[nodiscard]] std::string string(std::string_view key, toml::node const& node) const;
    [[nodiscard]] static std::string text_of(toml::node const& node);
    [[noreturn]] void fail(std::string_view key, std::string_view what) const;

    std::string const& file_;
    std::string prefix_;
    toml::table const& table_;
    std::vector<std::string> known_{};
};

}  // namespace halfproxy::tool
