// SPDX-License-Identifier: BSL-1.0
// Which settings can follow which, by comparing what `check` would print of both.
#include "reload.hpp"

#include "system.hpp"

#include <halfproxy/admit/siphash.hpp>

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <array>
#include <bit>
#include <string_view>
#include <vector>

namespace halfproxy::tool {
namespace {

std::vector<std::string_view> lines_of(std::string_view text) {
    std::vector<std::string_view> lines;
    while (!text.empty()) {
        std::size_t const end = std::min(text.find('\n'), text.size() - 1);
        lines.push_back(text.substr(0, end));
        text.remove_prefix(end + 1);
    }
    return lines;
}

/// Of the first line in which two printed configurations differ: the key with the tables around it, and what it was and is to be.
struct difference {
    std::string key{};
    std::string before{};
    std::string after{};
};

std::string value_in(std::string_view line) {
    std::size_t const at = line.find(" = ");
    return std::string(at == line.npos ? line : line.substr(at + 3));
}

std::optional<difference> first_difference(std::string const& before, std::string const& after) {
    auto const a = lines_of(before), b = lines_of(after);
    std::string table;
    for (std::size_t i = 0; i < std::max(a.size(), b.size()); ++i) {
        std::string_view const was = i < a.size() ? a[i] : std::string_view{}, is = i < b.size() ? b[i] : std::string_view{};
        if (was != is) {
            bool const same_key = was.substr(0, was.find(" = ")) == is.substr(0, is.find(" = "));
            std::string_view const name = is.substr(0, is.find(" = "));
            if (!same_key || name.empty() || name[0] == '[') return difference{table, {}, {}};
            return difference{table + (table.empty() ? "" : ".") + std::string(name), value_in(was), value_in(is)};
        }
        if (!is.empty() && is[0] == '[') table = is.substr(is.find_first_not_of('['), is.find(']') - is.find_first_not_of('['));
    }
    return std::nullopt;
}

/// "FILE:LINE" where the file has the key, else the file alone: then its default is meant.
std::string place_of(std::filesystem::path const& file, std::string_view key) {
    try {
        toml::table const table = toml::parse_file(file.string());
        if (auto const node = table.at_path(key)) return fmt::format("{}:{}", file.string(), node.node()->source().begin.line);
    } catch (toml::parse_error const&) {  // it was well a moment ago: someone is writing it
    }
    return file.string();
}

}  // namespace

std::uint64_t mark_of(secret_key const& secret) {
    static siphash_key const key = [] {
        std::array<std::uint8_t, sizeof(siphash_key)> bytes;
        fill_random(bytes);
        return std::bit_cast<siphash_key>(bytes);
    }();
    auto const words = std::bit_cast<std::array<std::uint64_t, 2>>(secret.bytes);
    return siphash_2_4{}(key, words, 0, sizeof secret.bytes);
}

tool_config changed(running_config const& running, tool_config const& next) {
    tool_config out = running.config;
    out.preset = next.preset;
    out.engine = halfproxy::changed(out.engine, next.engine);
    out.io.addresses = next.io.addresses;
    out.io.routes = next.io.routes;
    out.io.routed_here = next.io.routed_here;
    out.io.unreachable = next.io.unreachable;
    if (running.parts.nat) {
        out.nat = next.nat;
        out.nat.bindings_v4 = running.config.nat.bindings_v4;
        out.nat.bindings_v6 = running.config.nat.bindings_v6;
    }
    if (running.parts.services) out.services.services = next.services.services;
    return out;
}

std::string fault_of_change(std::filesystem::path const& file, running_config const& running, tool_config const& next) {
    if (!running.parts.services && !next.services.services.empty())
        return fmt::format("{}: service: cannot come while running where there was none at the start", place_of(file, "service"));
    if (!running.parts.nat && !next.nat.empty()) {
        std::string_view const key = !next.nat.snat.empty() ? "snat" : !next.nat.dnat.empty() ? "dnat" : "static";
        return fmt::format("{}: {}: cannot come while running where there was no translation at the start", place_of(file, key), key);
    }
    if (next.secret_given != running.config.secret_given || (next.secret_given && mark_of(next.engine.secret) != running.secret_mark))
        return fmt::format("{}: guard.secret: cannot change while running", place_of(file, "guard.secret"));
    if (auto const fault = halfproxy::fault_of_change(running.config.nat, next.nat))
        return fmt::format("{}: snat.{}: {}", place_of(file, "snat"), fault->key, fault->text);
    auto const d = first_difference(config_text(changed(running, next)), config_text(next));
    if (!d) return {};
    std::string const what = d->before.empty() ? "cannot change while running" : fmt::format("cannot change while running, from {} to {}", d->before, d->after);
    return fmt::format("{}: {}: {}", place_of(file, d->key), d->key, what);
}

}  // namespace halfproxy::tool
