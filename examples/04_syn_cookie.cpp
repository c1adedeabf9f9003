// SPDX-License-Identifier: BSL-1.0
// SYN cookies alone: all that is known of a client fits into the numbers it sends back, so nothing is stored.
#include <halfproxy/admit/syn_cookie.hpp>

#include <fmt/format.h>

#include <chrono>

using namespace halfproxy;
using namespace std::chrono_literals;

static void show(char const* what, std::optional<cookie_options> const& options) {
    if (!options)
        fmt::print("{:<32} refused\n", what);
    else
        fmt::print("{:<32} accepted: MSS {}, window scale {}, SACK {}, timestamps {}\n", what, options->mss,
                   options->window_scale, options->sack_permitted, options->has_timestamps);
}

int main() {
    secret_key const secret{{1, 2, 3, 4, 5, 6, 7, 8}};  // production: 16 bytes of the system's random source
    syn_cookie<> cookies(secret, 30'000);               // keys turn every 30 s
    time_point const now{1000s};

    // 192.0.2.10:40000 to 198.51.100.80:443 with the ISN 12345.
    cookie_subject client{{0xc000020ac6336450}, 1, 40000, 443, {12345}};
    cookie_options const offered{.mss = 1460, .has_window_scale = true, .window_scale = 7, .sack_permitted = true};
    cookie const made = cookies.make(client, offered, false, now);
    cookie_echo const echo{made.isn, std::nullopt};

    show("its ACK", cookies.check(client, echo, false, now + 1s));
    show("its ACK, 20 s later", cookies.check(client, echo, false, now + 20s));
    show("its ACK, 90 s later", cookies.check(client, echo, false, now + 90s));
    show("one bit guessed wrong", cookies.check(client, {{made.isn.value ^ 0x80}, std::nullopt}, false, now + 1s));
    client.client_port = 40001;
    show("the same number, another port", cookies.check(client, echo, false, now + 1s));
}
