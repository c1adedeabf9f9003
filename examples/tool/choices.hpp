// SPDX-License-Identifier: BSL-1.0
// The words that stand for enumerators, on the command line and in the configuration alike.
#pragma once

#include "commands.hpp"
#include "tool_config.hpp"

#include <halfproxy/admit/acl.hpp>
#include <halfproxy/engine/config.hpp>

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace halfproxy::tool {

template <class Value>
struct choice {
    std::string_view name;
    Value value;
};

/// Found by overload on the enumeration, so that a key's type alone decides its words.
constexpr auto choices_of(row_format) {
    return std::to_array<choice<row_format>>({{"tsv", row_format::tsv}, {"json", row_format::json}});
}
constexpr auto choices_of(io_backend) {
    return std::to_array<choice<io_backend>>({{"af_packet", io_backend::af_packet}, {"af_xdp", io_backend::af_xdp}});
}
constexpr auto choices_of(guard_mode) {
    return std::to_array<choice<guard_mode>>({{"off", guard_mode::off},
                                              {"auto", guard_mode::automatic},
                                              {"always", guard_mode::always},
                                              {"monitor", guard_mode::monitor}});
}
constexpr auto choices_of(guard_method) {
    return std::to_array<choice<guard_method>>(
        {{"splice", guard_method::splice}, {"challenge_reset", guard_method::challenge_reset}});
}
constexpr auto choices_of(reset_by) {
    return std::to_array<choice<reset_by>>({{"client", reset_by::client}, {"proxy", reset_by::proxy}});
}
constexpr auto choices_of(guarded_sides) {
    return std::to_array<choice<guarded_sides>>(
        {{"outside", guarded_sides::outside}, {"inside", guarded_sides::inside}, {"both", guarded_sides::both}});
}
constexpr auto choices_of(side) {
    return std::to_array<choice<side>>({{"outside", side::outside}, {"inside", side::inside}});
}
constexpr auto choices_of(proxy_protocol) {
    return std::to_array<choice<proxy_protocol>>({{"none", proxy_protocol::none}, {"v1", proxy_protocol::v1}, {"v2", proxy_protocol::v2}});
}
constexpr auto choices_of(proxy_header) {
    return std::to_array<choice<proxy_header>>({{"none", proxy_header::none}, {"v1", proxy_header::v1}, {"v2", proxy_header::v2}});
}
constexpr auto choices_of(carrier) {
    return std::to_array<choice<carrier>>({{"ipip", carrier::ipip}, {"gue", carrier::gue}, {"gue_direct", carrier::gue_direct}});
}
constexpr auto choices_of(known) {
    return std::to_array<choice<known>>({{"unknown", known::unknown}, {"no", known::no}, {"yes", known::yes}});
}
constexpr auto choices_of(invalid_ack_policy) {
    return std::to_array<choice<invalid_ack_policy>>(
        {{"drop", invalid_ack_policy::drop}, {"reset", invalid_ack_policy::reset}});
}
constexpr auto choices_of(timeout_preset) {
    return std::to_array<choice<timeout_preset>>(
        {{"firewall", timeout_preset::firewall}, {"adc", timeout_preset::adc}});
}
constexpr auto choices_of(deployment) {
    return std::to_array<choice<deployment>>({{"bridge", deployment::bridge}, {"routed", deployment::routed}});
}
constexpr auto choices_of(unreachable_policy) {
    return std::to_array<choice<unreachable_policy>>({{"icmp", unreachable_policy::icmp}, {"drop", unreachable_policy::drop}});
}
constexpr auto choices_of(strictness) {
    return std::to_array<choice<strictness>>(
        {{"off", strictness::off}, {"loose", strictness::loose}, {"strict", strictness::strict}});
}
constexpr auto choices_of(pickup) {
    return std::to_array<choice<pickup>>(
        {{"syn_only", pickup::syn_only}, {"data_only", pickup::data_only}, {"any", pickup::any}});
}
constexpr auto choices_of(asymmetric_paths) {
    return std::to_array<choice<asymmetric_paths>>(
        {{"false", asymmetric_paths::no}, {"true", asymmetric_paths::yes}, {"detect", asymmetric_paths::detect}});
}
constexpr auto choices_of(denied_sessions) {
    return std::to_array<choice<denied_sessions>>({{"keep", denied_sessions::keep}, {"end", denied_sessions::end}});
}
constexpr auto choices_of(malformed_policy) {
    return std::to_array<choice<malformed_policy>>(
        {{"drop", malformed_policy::drop}, {"pass", malformed_policy::pass}});
}
constexpr auto choices_of(fragment_policy) {
    return std::to_array<choice<fragment_policy>>(
        {{"reassemble", fragment_policy::reassemble}, {"pass", fragment_policy::pass}, {"drop", fragment_policy::drop}});
}
constexpr auto choices_of(fast_open_policy) {
    return std::to_array<choice<fast_open_policy>>({{"pass", fast_open_policy::pass}, {"strip", fast_open_policy::strip}});
}
constexpr auto choices_of(nat_mapping) {
    return std::to_array<choice<nat_mapping>>({{"endpoint_independent", nat_mapping::endpoint_independent},
                                               {"address_and_port_dependent", nat_mapping::address_and_port_dependent}});
}
constexpr auto choices_of(nat_filtering) {
    return std::to_array<choice<nat_filtering>>({{"endpoint_independent", nat_filtering::endpoint_independent},
                                                 {"address_and_port_dependent", nat_filtering::address_and_port_dependent}});
}
constexpr auto choices_of(flow_origin) {
    return std::to_array<choice<flow_origin>>(
        {{"inside", flow_origin::inside}, {"outside", flow_origin::outside}, {"both", flow_origin::both}});
}
constexpr auto choices_of(port_order) {
    return std::to_array<choice<port_order>>({{"random", port_order::random}, {"sequential", port_order::sequential}});
}
constexpr auto choices_of(forward_mode) {
    return std::to_array<choice<forward_mode>>({{"dnat", forward_mode::dnat},
                                                {"fullnat", forward_mode::fullnat},
                                                {"dsr", forward_mode::dsr},
                                                {"ipip", forward_mode::ipip},
                                                {"transparent", forward_mode::transparent}});
}
constexpr auto choices_of(on_down) {
    return std::to_array<choice<on_down>>({{"leave", on_down::leave}, {"reset", on_down::reset}, {"move", on_down::move}});
}
constexpr auto choices_of(health_probe) {
    return std::to_array<choice<health_probe>>(
        {{"tcp", health_probe::tcp}, {"http", health_probe::http}, {"icmp", health_probe::icmp}, {"udp", health_probe::udp}});
}
constexpr auto choices_of(scheduler_kind) {
    return std::to_array<choice<scheduler_kind>>({{"round_robin", scheduler_kind::round_robin},
                                                  {"weighted_round_robin", scheduler_kind::weighted_round_robin},
                                                  {"least_connections", scheduler_kind::least_connections},
                                                  {"weighted_least_connections", scheduler_kind::weighted_least_connections},
                                                  {"source_hash", scheduler_kind::source_hash},
                                                  {"maglev", scheduler_kind::maglev},
                                                  {"power_of_two", scheduler_kind::power_of_two},
                                                  {"first_alive", scheduler_kind::first_alive}});
}
constexpr auto choices_of(rule_action) {
    return std::to_array<choice<rule_action>>({{"allow", rule_action::allow},
                                               {"deny", rule_action::deny},
                                               {"reset", rule_action::reset},
                                               {"fast", rule_action::fast}});
}

template <class Value>
[[nodiscard]] std::optional<Value> value_of(std::string_view name) {
    for (auto const& c : choices_of(Value{}))
        if (c.name == name) return c.value;
    return std::nullopt;
}

template <class Value>
[[nodiscard]] std::string_view name_of(Value value) {
    for (auto const& c : choices_of(Value{}))
        if (c.value == value) return c.name;
    return {};
}

/// "off|auto|always|monitor"
template <class Value>
[[nodiscard]] std::string names_of() {
    std::string names;
    for (auto const& c : choices_of(Value{})) (names += names.empty() ? "" : "|") += c.name;
    return names;
}

}  // namespace halfproxy::tool
