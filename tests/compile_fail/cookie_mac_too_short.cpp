// SPDX-License-Identifier: BSL-1.0
// A cookie layout that leaves the MAC fewer than 24 bits would let guesses through.
// expect: guessed ACK
#include <halfproxy/admit/syn_cookie.hpp>

struct layout {
#ifdef HALFPROXY_MUST_FAIL
    static constexpr unsigned option_bits = 8;
#else
    static constexpr unsigned option_bits = 4;
#endif
    static constexpr unsigned least_mss = 536;
    static halfproxy::cookie_options kept(halfproxy::cookie_options const& options, bool) noexcept { return options; }
    static std::uint32_t encode(halfproxy::cookie_options const&, bool, bool) noexcept { return 0; }
    static halfproxy::cookie_options decode(std::uint32_t, bool, bool) noexcept { return {}; }
    static halfproxy::isn_parity parity(std::uint32_t, bool) noexcept { return halfproxy::isn_parity::unsaid; }
};

unsigned test() { return halfproxy::syn_cookie<halfproxy::siphash_2_4, layout>::mac_bits; }
