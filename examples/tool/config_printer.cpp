// SPDX-License-Identifier: BSL-1.0
// From a configuration to TOML that reads back to the same.
#include "choices.hpp"
#include "config_schema.hpp"

#include <fmt/format.h>

#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace halfproxy::tool {
namespace {

/// A TOML basic string: quotes, backslashes and control characters escaped.
std::string toml_string(std::string_view text) {
    std::string out = "\"";
    for (char const c : text) {
        auto const byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\')
            (out += '\\') += c;
        else if (byte < 0x20 || byte == 0x7f)
            out += fmt::format("\\u{:04X}", byte);
        else
            out += c;
    }
    return out += '"';
}

/// The schema's visitor that writes every key with its value.
class config_printer {
  public:
    template <class Enum>
    void choice(std::string_view key, Enum value, presence = presence::optional) {
        std::string_view const name = name_of(value);
        line(key, name == "true" || name == "false" ? std::string(name) : toml_string(name));
    }
    template <class Number>
    void number(std::string_view key, Number value, std::uint32_t, std::uint32_t, presence = presence::optional) {
        line(key, std::to_string(value));
    }
    template <class Enum>
    void choice(std::string_view key, std::optional<Enum> const& value) {
        if (value) choice(key, *value);
    }
    void preset(std::string_view key, tool_config const& config) { choice(key, config.preset); }
    void mode(std::string_view key, io_settings const& io) { choice(key, io.mode); }
    void flag(std::string_view key, bool value) { line(key, value ? "true" : "false"); }
    void text(std::string_view key, std::string const& value) {
        if (!value.empty()) line(key, toml_string(value));
    }
    void seconds(std::string_view key, timeout_ms value, std::uint32_t, std::uint32_t) {
        line(key, seconds_text(value));
    }
    void seconds(std::string_view key, std::optional<timeout_ms> const&, timeout_ms effective, std::uint32_t, std::uint32_t) {
        line(key, seconds_text(effective));
    }
    void mark(std::string_view key, std::uint32_t value, std::uint32_t) {
        line(key, value == no_mark ? "\"never\"" : std::to_string(value));
    }
    void expected_connections(std::string_view key, guard_config const& guard) {
        line(key, std::to_string(guard.expected_connections_per_s));
    }
    void timeout(std::string_view key, timeout_ms value) {
        line(key, value == never ? "\"never\"" : seconds_text(value));
    }
    void address(std::string_view key, ip_address const& value) { line(key, toml_string(to_text(value))); }
    void optional_address(std::string_view key, ip_address const& value) {
        if (value.version != 0) address(key, value);
    }
    void port_address(std::string_view key, halfproxy::port_address const& value) {
        line(key, toml_string(fmt::format("{}/{}", to_text(value.address), value.length)));
    }
    void route_prefix(std::string_view key, ip_prefix const& value) { prefix(key, value); }
    void prefix(std::string_view key, ip_prefix const& value) { line(key, toml_string(to_text(value))); }
    void prefixes(std::string_view key, std::vector<ip_prefix> const& values) {
        std::vector<std::string> items;
        for (ip_prefix const& value : values) items.push_back(toml_string(to_text(value)));
        line(key, fmt::format("[{}]", fmt::join(items, ", ")));
    }
    void protocol(std::string_view key, std::optional<std::uint8_t> const& value) {
        line(key, toml_string(to_text(value)));
    }
    void ports(std::string_view key, port_range const& value) { line(key, toml_string(to_text(value))); }
    void optional_ports(std::string_view key, port_range const& value) {
        if (value.first != 0) ports(key, value);
    }
    void statuses(std::string_view key, port_range const& value) { ports(key, value); }
    void station(std::string_view key, station_address const& value) {
        if (value != station_address{}) line(key, toml_string(to_text(value)));
    }
    [[nodiscard]] static constexpr bool reads() noexcept { return false; }
    void secret(tool_config const& config) {
        if (config.secret_file)
            line("secret_file", toml_string(*config.secret_file));
        else
            text_ += config.secret_given ? "# secret is set; it is not shown\n"
                                         : "# secret: none given, a random one at each start\n";
    }
    void unavailable(std::string_view) {}
    void require(bool, std::string_view, std::string_view) {}

    template <class Describe>
    void section(std::string_view key, Describe describe) {
        std::string const around = path_;
        path_ += path_.empty() ? std::string(key) : fmt::format(".{}", key);
        text_ += fmt::format("\n[{}]\n", path_);
        describe(*this);
        path_ = around;
    }
    template <class Item, class Describe>
    void optional_section(std::string_view key, std::optional<Item>& item, Describe describe) {
        if (item) section(key, [&](config_printer& p) { describe(p, *item); });
    }
    template <class Item, class Describe>
    void tables(std::string_view key, std::vector<Item>& items, Describe describe) {
        std::string const around = path_;
        path_ += path_.empty() ? std::string(key) : fmt::format(".{}", key);
        for (Item& item : items) {
            text_ += fmt::format("\n[[{}]]\n", path_);
            describe(*this, item);
        }
        path_ = around;
    }

    [[nodiscard]] std::string take() && { return std::move(text_); }

  private:
    void line(std::string_view key, std::string_view value) {
        fmt::format_to(std::back_inserter(text_), "{} = {}\n", key, value);
    }

    std::string text_{};
    std::string path_{};  ///< of the table being written
};

}  // namespace

std::string config_text(tool_config const& config) {
    config_printer printer;
    tool_config copy = config;  // the schema speaks of variables, for the reader's sake
    describe(printer, copy);
    return std::move(printer).take();
}

}  // namespace halfproxy::tool
