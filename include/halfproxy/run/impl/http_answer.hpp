// SPDX-License-Identifier: BSL-1.0
// Bodies of run/http_answer.hpp.
#pragma once

#include <halfproxy/run/http_answer.hpp>

namespace halfproxy {

inline stream_search::stream_search(std::string_view text) : text_(text), border_(text.size()) {
    for (std::size_t i = 1, k = 0; i < text.size(); ++i) {
        while (k > 0 && text[i] != text[k]) k = border_[k - 1];
        if (text[i] == text[k]) ++k;
        border_[i] = static_cast<std::uint16_t>(k);
    }
}

inline void stream_search::take(std::uint8_t byte) noexcept {
    if (found()) return;
    auto const c = static_cast<char>(byte);
    while (matched_ > 0 && text_[matched_] != c) matched_ = border_[matched_ - 1];
    if (text_[matched_] == c) ++matched_;
}

}  // namespace halfproxy
