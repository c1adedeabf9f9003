// SPDX-License-Identifier: BSL-1.0
// Address and port rules, first match decides.
#pragma once

#include <halfproxy/wire/address.hpp>

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace halfproxy {

enum class rule_action : std::uint8_t {
    allow,  ///< may open a flow
    deny,   ///< dropped silently: drop_reason::rule_denied
    reset,  ///< TCP: answered with a RST; other protocols: dropped
    fast,   ///< forwarded without flow, tracking or challenge
};

/// Whether it lets no flow be opened.
[[nodiscard]] constexpr bool refuses(rule_action action) noexcept { return action == rule_action::deny || action == rule_action::reset; }

/// The direction of a rule is that of a flow's first packet: `from` is who opens it.
struct acl_rule {
    rule_action action = rule_action::allow;
    ip_prefix from{};                        ///< default: everybody
    ip_prefix to{};
    std::optional<std::uint8_t> protocol{};  ///< IP protocol number; none: every protocol
    port_range ports{};                      ///< destination port; only TCP and UDP have one
};

/// What a rule looks at.
struct acl_query {
    ip_address from;
    ip_address to;
    std::uint8_t protocol;
    std::uint16_t port;  ///< destination; 0 for protocols without
};

/// Asked once per new flow and once per challenge, never for an established flow's packets. Work: linear in the rules, whose number the
/// configuration bounds.
class acl {
  public:
    acl() = default;
    explicit acl(std::vector<acl_rule> rules) : rules_(std::move(rules)) {}

    /// The first matching rule's action; allow when none matches.
    [[nodiscard]] rule_action decide(acl_query const& query) const noexcept {
        for (acl_rule const& rule : rules_)
            if (matches(rule, query)) return rule.action;
        return rule_action::allow;
    }

    [[nodiscard]] std::span<acl_rule const> rules() const noexcept { return rules_; }

  private:
    [[nodiscard]] static bool matches(acl_rule const& rule, acl_query const& query) noexcept {
        return (!rule.protocol || *rule.protocol == query.protocol) && rule.ports.contains(query.port) &&
               rule.from.contains(query.from) && rule.to.contains(query.to);
    }

    std::vector<acl_rule> rules_;
};

}  // namespace halfproxy
