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
    static std::uint32_t encode(halfproxy::cookie_options const&, bool) noexcept { return 0; }
    static halfproxy::cookie_options decode(std::uint32_t, bool) noexcept { return {}; }
};

unsigned test() { return halfproxy::syn_cookie<halfproxy::siphash_2_4, layout>::mac_bits; }
